"""The gate: drawn chests pass in every size, shape and exposure; negatives, turned films and what is no chest do not."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

import cyclicxr
from cyclicxr.checkpoint import load_tensors
from cyclicxr.data import frontal
from cyclicxr.data.frontal import ACCEPTED, REASONS, REMEDIES, SIZE, WEIGHTS, FrontalNet, frontal_scores, judge, require_frontal, thumbnail
from cyclicxr.data.images import read_film
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.types import Film, InputError

BLANK = read_film(Path(cyclicxr.__file__).parent / "assets" / "sample.png")  # a film whose pixels the tests exchange


def film_of(pixels: np.ndarray) -> Film:
    grey = np.asarray(pixels, dtype=np.float32)
    return replace(BLANK, pixels=grey / 255 if pixels.dtype == np.uint8 else grey, path="some film.png")


def chest(seed: int, size: int = 128) -> np.ndarray:
    return draw_phantom(1_000_000 + seed, size=size).pixels  # none of the chests that were learned from


@given(st.integers(0, 10_000), st.sampled_from([64, 100, 256, 700]), st.floats(0.7, 1.4), st.floats(0.7, 1.5))
def test_a_drawn_chest_passes_in_any_size_shape_and_exposure(seed: int, size: int, aspect: float, gamma: float):
    picture = Image.fromarray(chest(seed)).resize((size, round(size * aspect)))
    assert judge(film_of((np.asarray(picture, dtype=np.float32) / 255) ** gamma)).reason == ""


@given(st.integers(0, 10_000), st.floats(0, 0.25), st.sampled_from([0, 255]))
def test_a_border_is_no_reason(seed: int, share: float, level: int):
    border = round(128 * share)
    assert judge(film_of(np.pad(chest(seed), ((0, 0), (border, border)), constant_values=level))).reason == ""


@given(st.integers(0, 10_000))
def test_a_negative_is_inverted_and_a_turned_film_rotated(seed: int):
    pixels = chest(seed)
    assert judge(film_of(255 - pixels)).reason == "inverted"
    assert [judge(film_of(np.rot90(pixels, turns))).reason for turns in (1, 2, 3)] == ["rotated"] * 3


def test_the_film_of_the_package_passes():
    assert judge(BLANK).reason == ""


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_is_no_chest_film(level: int):
    assert judge(film_of(np.full((90, 70), level, dtype=np.uint8))).reason == "not a chest film"


@given(st.integers(0, 2**31), st.integers(2, 300), st.integers(2, 300))
def test_noise_is_no_chest_film(seed: int, height: int, width: int):
    record = judge(film_of(np.random.default_rng(seed).random((height, width))))
    assert record.reason and 0 <= record.score < ACCEPTED


def test_photographs_are_no_chest_films():
    for photograph in load_sample_images().images:
        assert judge(film_of(np.asarray(Image.fromarray(photograph).convert("L")))).reason == "not a chest film"


@given(st.integers(1, 5000), st.integers(1, 40))
def test_any_shape_has_a_thumbnail_of_means(long: int, short: int):
    for shape in ((long, short), (short, long)):
        found = thumbnail(film_of(np.full(shape, 0.25, dtype=np.float32)))
        assert found.shape == (SIZE, SIZE) and torch.allclose(found, torch.tensor(0.25))


def test_a_pixel_of_the_thumbnail_is_the_mean_of_what_it_covers():
    pixels = np.random.default_rng(0).random((2 * SIZE, 4 * SIZE)).astype(np.float32)
    by_hand = pixels.reshape(SIZE, 2, SIZE, 4).mean(axis=(1, 3))
    assert np.allclose(thumbnail(film_of(pixels)).numpy(), by_hand, atol=1e-6)


def test_drawn_films_are_scored_as_films_that_are_read():
    """Four times the thumbnail's size: the mean of 4 x 4 pixels either way."""
    pixels = np.stack([np.asarray(Image.fromarray(chest(i)).resize((4 * SIZE, 4 * SIZE)), dtype=np.float32) / 255 for i in range(3)])
    scores = frontal_scores(torch.from_numpy(pixels)[:, None])
    assert scores.tolist() == pytest.approx([judge(film_of(film)).score for film in pixels], abs=1e-4)


def test_brightness_and_contrast_do_not_matter():
    pixels = chest(1).astype(np.float32) / 255
    assert judge(film_of(0.3 + 0.2 * pixels)).score == pytest.approx(judge(film_of(pixels)).score, abs=1e-3)


def test_a_refusal_is_one_line_with_reason_and_remedy(monkeypatch: pytest.MonkeyPatch):
    for number, reason in enumerate(REASONS[1:], start=1):
        network = FrontalNet().eval()
        torch.nn.init.zeros_(network.head[-1].weight)
        network.head[-1].bias.data = torch.nn.functional.one_hot(torch.tensor(number), len(REASONS)) * 9.0
        monkeypatch.setattr(frontal, "_network", lambda network=network: network)
        with pytest.raises(InputError) as error:
            require_frontal(film_of(chest(0)))
        said = str(error.value)
        assert said.startswith(f"some film.png: looks {reason}") and REMEDIES[reason] in said and "--force" in said and "\n" not in said
        assert require_frontal(film_of(chest(0)), force=True).reason == reason


def test_the_weights_are_few_and_none_is_a_picture():
    tensors = load_tensors(WEIGHTS)
    assert WEIGHTS.stat().st_size < 200_000 and sum(tensor.numel() for tensor in tensors.values()) < 80_000
    assert max(max(tensor.shape[2:], default=1) for tensor in tensors.values()) <= 3  # no kernel is larger than 3 x 3


@pytest.mark.parametrize(("table", "caught"), [("studies", False), ("laterals", True)])
def test_real_films_of_validation_patients(openi: Path, table: str, caught: bool):
    with (openi / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"][:100]
    flagged = [judge(read_film(openi / row["image"])).reason != "" for row in rows]
    assert np.mean(flagged) >= 0.95 if caught else np.mean(flagged) <= 0.01
