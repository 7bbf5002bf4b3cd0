"""The VQ-GAN's shapes, ranges, names and files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.config import OPENI_SMALL, PAPER, VQGANConfig
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.types import InputError

TOY = VQGANConfig(codes=16, code_width=8, channels=8, multipliers=(1, 2, 2), unshuffle=4)
TAMING = dataclasses.replace(PAPER.vqgan, channels=8, code_width=8)


def spread(config: VQGANConfig = TOY) -> VQGAN:
    """Untrained, its codes as far apart as the vectors they stand for."""
    torch.manual_seed(0)
    made = VQGAN(config).eval()
    made.start_codes(torch.rand(4, 1, 64, 64))
    return made


def test_both_presets_give_256_tokens_for_a_film_of_256_pixels():
    for preset in (OPENI_SMALL, PAPER):
        assert preset.vqgan.downsampling == 16
        assert preset.vqgan.codes == 1024
        assert preset.image_tokens == 256


@pytest.mark.parametrize("config", [TOY, TAMING, dataclasses.replace(TOY, multipliers=(1, 1, 1, 1), unshuffle=2, attention=False)])
def test_one_token_for_each_16_x_16_pixels(config: VQGANConfig):
    model = spread(config)
    ids = model.encode(torch.rand(2, 1, 64, 96))
    assert ids.shape == (2, 4, 6)
    assert ids.dtype == torch.long
    film = model.decode(ids)
    assert film.shape == (2, 1, 64, 96)
    assert model.encode(torch.rand(3, 1, 16, 16)).shape == (3, 1, 1)  # a keypatch is one token


def test_decoded_films_stay_in_range_whatever_the_weights():
    model = spread()
    with torch.no_grad():
        model.decoder.conv_out.weight.mul_(100)
    film = model.decode(torch.randint(16, (2, 4, 4)))
    assert float(film.min()) == 0.0
    assert float(film.max()) == 1.0


def test_no_grid_of_squares_is_drawn():
    """Of an untrained decoder: steps of grey at the borders of `unshuffle` squares are no larger than those inside them."""
    film = spread().decode(torch.randint(16, (8, 8, 8)))
    jumps = film.diff(dim=3).abs().mean(dim=(0, 1, 2))  # (w - 1,): step i lies between columns i and i + 1
    at_border = torch.arange(1, len(jumps) + 1) % TOY.unshuffle == 0
    assert float(jumps.mean()) > 0
    assert float(jumps[at_border].mean() / jumps[~at_border].mean()) == pytest.approx(1, abs=0.35)


def test_forward_is_decode_of_encode_before_clamping():
    model = spread()
    pixels = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        redrawn, loss, ids = model(pixels)
    assert torch.equal(ids, model.encode(pixels))
    assert torch.allclose(redrawn.clamp(0, 1), model.decode(ids), atol=1e-5)
    assert loss.ndim == 0


def test_every_weight_but_the_codes_learns_from_the_reconstruction():
    model = spread().train()
    redrawn, loss, _ = model(torch.rand(2, 1, 64, 64))
    (redrawn.abs().mean() + loss).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == ["quantize.embedding.weight"]


def test_names_and_shapes_are_tamings():
    """Of the f16 model with 1,024 codes: 343 tensors without its losses, as published checkpoints hold them."""
    with torch.device("meta"):
        model = VQGAN(PAPER.vqgan)
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for extra in ("counts", "sums", "started"):
        del ours[f"quantize.{extra}"]
    assert len(ours) == 343
    taming = {
        "encoder.conv_in.weight": (128, 1, 3, 3),
        "encoder.down.0.block.1.conv2.weight": (128, 128, 3, 3),
        "encoder.down.1.downsample.conv.weight": (128, 128, 3, 3),
        "encoder.down.2.block.0.nin_shortcut.weight": (256, 128, 1, 1),
        "encoder.down.4.attn.1.proj_out.weight": (512, 512, 1, 1),
        "encoder.mid.attn_1.norm.bias": (512,),
        "encoder.conv_out.weight": (256, 512, 3, 3),
        "quant_conv.weight": (256, 256, 1, 1),
        "quantize.embedding.weight": (1024, 256),
        "post_quant_conv.bias": (256,),
        "decoder.conv_in.weight": (512, 256, 3, 3),
        "decoder.mid.block_2.norm1.weight": (512,),
        "decoder.up.4.attn.2.q.weight": (512, 512, 1, 1),
        "decoder.up.4.upsample.conv.weight": (512, 512, 3, 3),
        "decoder.up.3.block.0.nin_shortcut.weight": (256, 512, 1, 1),
        "decoder.up.1.block.0.conv1.weight": (128, 256, 3, 3),
        "decoder.up.0.block.2.conv1.weight": (128, 128, 3, 3),
        "decoder.norm_out.weight": (128,),
        "decoder.conv_out.weight": (1, 128, 3, 3),
    }
    assert {name: ours.get(name) for name in taming} == taming
    norms = [m for m in model.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert {norm.num_groups for norm in norms} == {32}


def test_saved_weights_come_back(tmp_path: Path):
    model = spread()
    model.save(tmp_path / "vqgan.safetensors")
    loaded = VQGAN.load(tmp_path / "vqgan.safetensors", TOY)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    assert all(
        torch.equal(value, model.state_dict()[name].half().float())
        for name, value in loaded.state_dict().items()
        if value.is_floating_point()
    )
    loaded.save(tmp_path / "again.safetensors")
    pixels = torch.rand(1, 1, 64, 64)
    again = VQGAN.load(tmp_path / "again.safetensors", TOY)
    assert torch.equal(loaded.encode(pixels), again.encode(pixels))
    assert torch.equal(loaded.decode(loaded.encode(pixels)), again.decode(again.encode(pixels)))


def test_the_small_preset_weighs_less_than_12_mb():
    with torch.device("meta"):
        model = VQGAN(OPENI_SMALL.vqgan)
    assert sum(value.numel() for value in model.state_dict().values()) * 2 < 12e6


def test_weights_of_another_config_are_refused_by_name(tmp_path: Path):
    path = tmp_path / "vqgan.safetensors"
    spread().save(path)
    with pytest.raises(InputError, match=r"vqgan\.safetensors.*train again") as caught:
        VQGAN.load(path, dataclasses.replace(TOY, channels=16))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        VQGAN.load(tmp_path / "missing.safetensors", TOY)


def test_wrong_pixels_and_ids_are_refused():
    model = spread()
    with pytest.raises(InputError, match="multiples of 16"):
        model.encode(torch.rand(1, 1, 60, 64))
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        model.encode(torch.rand(1, 1, 64, 64) * 255)
    with pytest.raises(InputError, match="NaN"):
        model.encode(torch.full((1, 1, 64, 64), float("nan")))
    with pytest.raises(InputError, match="16 codes"):
        model.decode(torch.full((1, 2, 2), 16))


@given(st.integers(0, 2**31))
def test_a_film_encodes_to_the_same_ids_each_time(seed: int):
    model = spread()
    pixels = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(model.encode(pixels), model.encode(pixels))
