"""The four stages: shapes, boxes, and PVT's own layers where the config asks for PVT."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional
from transformers.models.pvt.modeling_pvt import PvtLayer

from cyclicxr.config import EncoderConfig, preset
from cyclicxr.patches.adapatch import AdaPatch
from cyclicxr.patches.encoder import ImageEncoder, ResidualBlock, StagePatches

TOY = EncoderConfig(
    size=64,
    widths=(4, 8, 8, 12),
    convolutions=(1, 1, 1, 1),
    attentions=(0, 0, 1, 1),
    heads=(1, 2, 2, 3),
    size_scale=1.0,
    dropout=0.0,
)


def encoder(config: EncoderConfig = TOY) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(config).eval()


def test_four_stages_halve_the_grid():
    found = encoder()(torch.rand(2, 1, 64, 64))
    assert [tuple(stage.features.shape) for stage in found] == [(2, 256, 4), (2, 64, 8), (2, 16, 8), (2, 4, 12)]
    assert [tuple(stage.boxes.shape) for stage in found] == [(2, 256, 4), (2, 64, 4), (2, 16, 4), (2, 4, 4)]
    assert found[3].anchors.tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_an_untrained_encoder_looks_at_the_fixed_grid():
    for stage, side in zip(encoder()(torch.rand(2, 1, 64, 64)), (16, 8, 4, 2), strict=True):
        torch.testing.assert_close((stage.boxes[..., :2] + stage.boxes[..., 2:]) / 2, stage.anchors.expand(2, -1, 2), atol=1e-6, rtol=0)
        torch.testing.assert_close(stage.boxes[..., 2:] - stage.boxes[..., :2], torch.full((2, side**2, 2), 1 / side), atol=1e-6, rtol=0)


PVT = dataclasses.replace(TOY, stem="patch", convolutions=(0, 0, 0, 0), attentions=(1, 1, 1, 2), offset_scale=1.0)


def fixed_grid(part: AdaPatch, feature_map: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What AdaPatch is without adapting: the fully connected layer f5 over the 2 x 2 cells of each fixed patch."""
    b, c, _, _ = feature_map.shape
    cells = functional.unfold(feature_map, 2, stride=2).view(b, c, 4, part.grid**2).permute(0, 3, 2, 1)
    half = 0.5 / part.grid
    return part.embed(cells.flatten(2)), torch.cat([part.centres - half, part.centres + half], dim=1).expand(b, -1, 4)


@pytest.mark.parametrize("config", [TOY, PVT], ids=["conv", "patch"])
@torch.no_grad()
def test_with_zeroed_heads_the_whole_encoder_is_that_of_fixed_patches(config: EncoderConfig, monkeypatch: pytest.MonkeyPatch):
    built, films = encoder(config).double(), torch.rand(2, 1, 64, 64, dtype=torch.float64)
    for stage in list(built.stages)[1:]:
        torch.nn.init.normal_(stage.patches.heads.weight)
        stage.patches.reset_heads()
    found = built(films)
    monkeypatch.setattr(AdaPatch, "forward", fixed_grid)
    for ours, fixed in zip(found, built(films), strict=True):
        assert float((ours.features - fixed.features).abs().max()) < 1e-6
        assert float((ours.boxes - fixed.boxes).abs().max()) < 1e-6


@pytest.mark.parametrize("config", [TOY, PVT], ids=["conv", "patch"])
def test_layers_computed_again_give_the_same_loss_and_gradients(config: EncoderConfig):
    found = []
    for checkpointing in (False, True):
        built = encoder(dataclasses.replace(config, checkpointing=checkpointing, dropout=0.1)).train()
        torch.manual_seed(5)
        loss = sum(stage.features.square().mean() for stage in built(torch.rand(2, 1, 64, 64)))
        loss.backward()
        moments = {name: buffer for name, buffer in built.named_buffers() if "running" in name}
        found.append((float(loss.detach()), {name: p.grad for name, p in built.named_parameters()}, moments))
    (plain, gradients, moments), (again, gradients_again, moments_again) = found
    assert again == pytest.approx(plain, abs=1e-6)
    torch.testing.assert_close(gradients_again, gradients, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(moments_again, moments)  # the batch norms saw each batch once


def test_with_checkpointing_a_layer_runs_twice_in_training_alone():
    built = encoder(dataclasses.replace(PVT, checkpointing=True))
    runs: list[int] = []
    built.stages[3].attentions[0].attention.register_forward_hook(lambda *_: runs.append(1))
    built(torch.rand(1, 1, 64, 64))[3].features.sum().backward()
    assert len(runs) == 1
    built.train()(torch.rand(1, 1, 64, 64))[3].features.sum().backward()
    assert len(runs) == 3


@torch.no_grad()
def test_the_class_token_is_seen_by_stage_4_and_is_no_patch():
    built, films = encoder(PVT), torch.rand(1, 1, 64, 64)
    before = built(films)
    assert [stage.token is not None for stage in built.stages] == [False, False, False, True]
    built.stages[3].token.add_(torch.randn(1, 12))
    after = built(films)
    assert before[3].features.shape == after[3].features.shape == (1, 4, 12)
    assert torch.equal(before[2].features, after[2].features) and not torch.allclose(before[3].features, after[3].features)


def test_patches_adapt_from_stage_2_on():
    kinds = [isinstance(stage.patches, AdaPatch) for stage in encoder().stages]
    assert kinds == [False, True, True, True]


def test_without_adapatch_every_film_has_the_same_boxes():
    fixed = encoder(dataclasses.replace(TOY, adaptive=False))
    adaptive = encoder()
    for built in (fixed, adaptive):
        for stage in list(built.stages)[1:]:
            torch.nn.init.normal_(stage.patches.heads.weight)
    films = torch.rand(2, 1, 64, 64)
    assert torch.equal(fixed(films)[2].boxes[0], fixed(films)[2].boxes[1])
    assert not torch.equal(adaptive(films)[2].boxes[0], adaptive(films)[2].boxes[1])


def test_as_map_lays_patches_out_row_by_row():
    """Six numbers a row would not be square; four patches of two channels are."""
    features = torch.arange(8.0).view(1, 4, 2)
    laid = StagePatches(features, torch.zeros(1, 4, 4), torch.zeros(4, 2)).as_map()
    assert laid.tolist() == [[[[0.0, 2.0], [4.0, 6.0]], [[1.0, 3.0], [5.0, 7.0]]]]


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 1, 32, 32\)"):
        encoder()(torch.rand(2, 1, 32, 32))


def test_one_film_is_encoded_as_it_is_in_a_batch():
    films = torch.rand(3, 1, 64, 64)
    built = encoder()
    torch.testing.assert_close(built(films[1:2])[2].features, built(films)[2].features[1:2], atol=1e-5, rtol=1e-4)


def test_the_paper_preset_is_pvt_medium_with_adapatch():
    """At toy width: a 4 x 4 patch embedding, and PvtLayers alone, 3, 4, 18 and 3 of them as in PVT-medium."""
    paper = preset("paper").encoder
    assert (paper.widths, paper.attentions) == ((64, 128, 320, 512), (3, 4, 18, 3))
    built = encoder(dataclasses.replace(paper, size=64, widths=(4, 8, 10, 16)))
    assert isinstance(built.stages[0].patches, torch.nn.Conv2d) and built.stages[0].patches.kernel_size == (4, 4)
    assert [len(stage.attentions) for stage in built.stages] == [3, 4, 18, 3]
    assert all(isinstance(layer, PvtLayer) for stage in built.stages for layer in stage.attentions)
    assert not any(isinstance(part, ResidualBlock) for part in built.modules())
    ratios = [layer.attention.self.sequences_reduction_ratio for stage in built.stages for layer in stage.attentions[:1]]
    assert ratios == [8, 4, 2, 1]
    assert [tuple(s.features.shape) for s in built(torch.rand(1, 1, 64, 64))] == [(1, 256, 4), (1, 64, 8), (1, 16, 10), (1, 4, 16)]


@pytest.mark.parametrize("config", [TOY, PVT], ids=["conv", "patch"])
def test_gradients_reach_every_weight(config: EncoderConfig):
    built = ImageEncoder(config).train()
    for stage in list(built.stages)[1:]:
        torch.nn.init.normal_(stage.patches.heads.weight, std=0.01)
    sum(stage.features.square().mean() * (stage.features[..., 0].std() + 1) for stage in built(torch.rand(2, 1, 64, 64))).backward()
    assert [name for name, tensor in built.named_parameters() if tensor.grad is None] == []
