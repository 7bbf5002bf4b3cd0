"""The VQ-GAN's training at toy width, on drawn phantoms."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from cyclicxr.checkpoint import load_tensors, write_preset
from cyclicxr.config import EncoderConfig, Preset, VQGANConfig
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.tokens.losses import generator_loss
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.training import loop
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, run_loop, seconds_spent
from cyclicxr.training.train_vqgan import DECODER, SHIFT, DecoderTraining, VQGANTraining, measure, shifted, train
from cyclicxr.types import InputError, Study

SIDE = 64
TOY = VQGANConfig(
    codes=32,
    code_width=8,
    channels=16,
    multipliers=(1, 2, 2),
    unshuffle=4,
    epochs=2,
    decoder_epochs=1,
    batch=4,
    learning_rate=2e-3,
    perceptual=0.1,
    adversarial_start=0.5,
    discriminator_channels=4,
    discriminator_crop=32,
)
PRESET = Preset(vqgan=TOY, encoder=EncoderConfig(size=SIDE, widths=(8, 8, 8, 8), heads=(1, 1, 1, 1), convolutions=(0, 1, 0, 0)))


def phantoms(train: int = 12, val: int = 4) -> Corpus:
    splits = ["train"] * train + ["val"] * val
    studies = [Study(id=str(i), patient=str(i), image=f"{i}.png", report="Normal.", split=split) for i, split in enumerate(splits)]
    return Corpus(studies, torch.stack([torch.from_numpy(draw_phantom(i, size=SIDE).pixels.copy()) for i in range(train + val)]))


def blocks(pixels: torch.Tensor) -> list[torch.Tensor]:
    """Stand for a network's maps: means and edges of small squares."""
    small = functional.avg_pool2d(pixels, 4)
    return [torch.cat([small, 1 - small], dim=1)]


def new_training(preset: Preset = PRESET, corpus: Corpus | None = None) -> VQGANTraining:
    torch.manual_seed(0)
    corpus = corpus or phantoms()
    return VQGANTraining(corpus.split("train"), corpus.split("val"), preset, blocks)


def with_numbers(**numbers: float) -> Preset:
    return dataclasses.replace(PRESET, vqgan=dataclasses.replace(TOY, **numbers))


def steps(training: VQGANTraining, count: int, progress: float | None = None) -> dict[str, float]:
    found: dict[str, float] = {}
    for i in range(count):
        torch.manual_seed(i)
        found = training.step([(4 * i + k) % len(training.train) for k in range(4)], progress if progress is not None else i / count)
    return found


@pytest.mark.slow
def test_training_halves_the_reconstruction_error():
    training = new_training()
    training.model.start_codes(training.train.films(list(range(12))))
    before = training.validate()
    training = new_training()
    steps(training, 120)
    after = training.validate()
    assert after["L1"] < 0.5 * before["L1"]
    assert after["PSNR"] > before["PSNR"] + 3
    assert after["usage"] > 0.25


def test_codes_start_at_their_share_of_the_steps():
    training = new_training(with_numbers(codebook_start=0.3))
    early = steps(training, 1, 0.29)
    assert early["commitment"] == 0.0
    assert not bool(training.model.quantize.started)
    late = steps(training, 1, 0.3)
    assert late["commitment"] > 0.0
    assert bool(training.model.quantize.started)


def test_the_discriminator_joins_at_its_share_of_the_steps():
    training = new_training()
    alone = steps(training, 1, 0.49)
    untouched = {name: value.clone() for name, value in training.discriminator.state_dict().items()}
    assert "discriminator" not in alone
    joined = steps(training, 1, 0.5)
    assert {"discriminator", "adversarial", "adversarial weight"} <= set(joined)
    assert joined["adversarial weight"] > 0
    assert any(not torch.equal(value, untouched[name]) for name, value in training.discriminator.state_dict().items())


def test_the_adversarial_gradient_weighs_as_much_as_the_others_at_the_last_layer():
    """The adaptive weight makes the two gradients of the last convolution equally long, times the setting."""
    training = new_training(with_numbers(adversarial=0.5))
    films = training.train.films([0, 1])
    training.model.start_codes(films)
    redrawn, _, _ = training.model.train()(films)
    (other,) = torch.autograd.grad(functional.l1_loss(redrawn, films), redrawn, retain_graph=True)
    torch.manual_seed(0)
    adversarial, _ = training._adversarial(films, redrawn, other)
    last = training.model.last_layer()
    lengths = [float(torch.autograd.grad(redrawn, last, g, retain_graph=True)[0].norm()) for g in (other, adversarial)]
    assert lengths[1] == pytest.approx(0.5 * lengths[0], rel=0.05)


def test_the_adversarial_gradient_points_where_films_look_more_real():
    training = new_training(with_numbers(discriminator_crop=SIDE))
    films = training.train.films([0, 1])
    redrawn, _, _ = training.model.train()(films)
    before = {name: value.clone() for name, value in training.discriminator.state_dict().items()}
    other = torch.ones_like(redrawn) * 1e-3
    adversarial, _ = training._adversarial(films, redrawn, other)
    training.discriminator.load_state_dict(before)
    with torch.no_grad():
        moved = redrawn - 1e-2 * adversarial / adversarial.abs().max()
        assert float(generator_loss(training.discriminator(moved))) < float(generator_loss(training.discriminator(redrawn)))


def test_the_perceptual_loss_reaches_the_reconstruction():
    """Two trainings that differ in the perceptual weight alone part after one step."""
    first, second = new_training(with_numbers(perceptual=0.0)), new_training(with_numbers(perceptual=1.0))
    assert steps(first, 1, 0.1)["perceptual"] == 0.0
    assert steps(second, 1, 0.1)["perceptual"] > 0.0
    assert not torch.equal(first.model.last_layer(), second.model.last_layer())


def test_films_move_by_whole_pixels_and_are_never_mirrored():
    row = torch.arange(SIDE).float() / SIDE
    films = row.view(1, 1, 1, SIDE).expand(16, 1, SIDE, SIDE)
    torch.manual_seed(0)
    moved = shifted(films)
    assert moved.shape == films.shape
    assert bool((moved.diff(dim=-1) >= 0).all()), "brighter to the right before, brighter to the right after"
    assert set(moved.unique().tolist()) <= set(row.tolist()), "no interpolation"
    offsets = (moved[:, 0, 0, SIDE // 2] - row[SIDE // 2]) * SIDE
    assert float(offsets.abs().max()) <= SHIFT
    assert len(offsets.unique()) > 4


def test_a_run_that_is_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole = new_training()
    run_loop("vqgan", whole, RunDirectory(tmp_path / "whole"), epochs=2, seed=0, resume=False)

    killed, taken = new_training(), 0
    step = killed.step

    def dies_at_the_fifth(indices: list[int], progress: float) -> dict[str, float]:
        nonlocal taken
        taken += 1
        if taken == 5:
            raise KeyboardInterrupt
        return step(indices, progress)

    monkeypatch.setattr(killed, "step", dies_at_the_fifth)
    run = RunDirectory(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        run_loop("vqgan", killed, run, epochs=2, seed=0, resume=False)
    torch.manual_seed(123)
    resumed = VQGANTraining(whole.train, whole.val, PRESET, blocks)
    run_loop("vqgan", resumed, run, epochs=2, seed=0, resume=True)

    for part in ("model", "discriminator"):
        expected, found = whole.state()[part], resumed.state()[part]
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert bool(whole.model.quantize.started)


def test_the_decoder_goes_on_alone_and_nearer_to_the_films():
    training = new_training(with_numbers(learning_rate=5e-3))
    training.model.start_codes(training.train.films(list(range(12))))
    before, error = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}, training.validate()["L1"]
    decoder = DecoderTraining(training)
    for i in range(12):
        torch.manual_seed(i)
        decoder.step([i, (i + 1) % 12, (i + 5) % 12], i / 12)
    after = training.model.state_dict()
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"post_quant_conv", "decoder"}
    assert decoder.validate()["L1"] < error


def test_the_discriminator_goes_on_with_the_decoder():
    training = new_training(with_numbers(adversarial_start=1.0))
    training.model.start_codes(training.train.films(list(range(12))))
    untouched = copy.deepcopy(training.discriminator.state_dict())
    found = DecoderTraining(training).step([0, 1, 2], 0.5)
    assert found["adversarial weight"] > 0
    assert any(not torch.equal(value, untouched[name]) for name, value in training.discriminator.state_dict().items())


def test_a_decoder_killed_and_resumed_ends_with_the_same_weights():
    first, second = (DecoderTraining(new_training()) for _ in range(2))
    for decoder in (first, second):
        torch.manual_seed(1)
        decoder.model.start_codes(decoder.whole.train.films(list(range(12))))
    first.step([0, 1], 0.2)
    second.restore(copy.deepcopy(first.state()))
    for decoder in (first, second):
        torch.manual_seed(3)
        decoder.step([2, 3], 0.5)
    assert all(torch.equal(a, b) for a, b in zip(first.decoder.parameters(), second.decoder.parameters(), strict=True))


def test_measure_by_a_vqgan_that_is_known():
    class Grey(VQGAN):
        """Redraws everything in a middle grey, with two codes."""

        def encode(self, pixels):
            return torch.tensor([0, 1]).repeat(len(pixels), 8).view(len(pixels), 4, 4)

        def decode(self, ids):
            return torch.full((len(ids), 1, SIDE, SIDE), 0.5)

    corpus = Corpus(phantoms(2, 1).studies, torch.full((3, SIDE, SIDE), 153, dtype=torch.uint8))  # 0.6
    found = measure(Grey(TOY), corpus, batch=2)
    assert found["L1"] == pytest.approx(0.1, abs=1e-6)
    assert found["PSNR"] == pytest.approx(20.0, abs=1e-3)
    assert found["usage"] == pytest.approx(2 / 32)
    assert found["perplexity"] == pytest.approx(2.0)


def test_the_stage_writes_its_part_and_what_it_learned(tmp_path: Path):
    run = RunDirectory(tmp_path)
    write_preset(run.model, PRESET)
    FilmClassifier(PRESET.encoder, ("effusion",)).save(run.model)
    corpus = phantoms()
    train(corpus, PRESET, run, resume=False)
    numbers = run.records()["vqgan"]
    loaded = VQGAN.load(run.model / "vqgan.safetensors", PRESET.vqgan)
    again = measure(loaded, corpus.split("val"), TOY.batch)
    assert {name: numbers[name] for name in ("L1", "PSNR", "SSIM", "usage", "perplexity")} == pytest.approx(again, rel=1e-4)
    assert numbers["films"] == 4
    assert numbers["seconds"] == pytest.approx(seconds_spent(run, "vqgan") + seconds_spent(run, DECODER))
    assert load_tensors(run.model / "vqgan.safetensors")["quantize.embedding.weight"].shape == (32, 8)


def test_without_a_classifier_the_stage_says_so(tmp_path: Path):
    run = RunDirectory(tmp_path)
    write_preset(run.model, PRESET)
    with pytest.raises(InputError, match=r"findings\.json|classifier"):
        train(phantoms(2, 2), PRESET, run, resume=False)
