"""Reconstruction error by hand, MS-SSIM against torchmetrics, and pixels in the wrong range."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from cyclicxr.data.phantom import draw_phantom
from cyclicxr.metrics.image import SMALLEST, likeness_of_pairs, random_pairs, reconstruction_error
from cyclicxr.types import InputError


def test_reconstruction_error_by_hand():
    films = torch.full((2, 1, 32, 32), 0.5)
    redrawn = films.clone()
    redrawn[1] += 0.1
    errors = reconstruction_error(films, redrawn)
    assert errors["L1"].tolist() == pytest.approx([0, 0.1], abs=1e-6)
    assert errors["PSNR"].tolist() == pytest.approx([100, 20], rel=1e-4)  # 10 log10(1 / 0.01)
    assert errors["SSIM"][0] == pytest.approx(1)
    assert errors["SSIM"][1] < 1


def test_a_range_of_255_is_refused():
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        reconstruction_error(torch.full((1, 1, 16, 16), 200.0), torch.zeros(1, 1, 16, 16))


def test_errors_are_the_same_under_autocast() -> None:
    """SSIM in bfloat16 was .13 where it is .6: mixed precision must not reach a metric."""
    torch.manual_seed(0)
    films = torch.rand(2, 1, 32, 32)
    redrawn = (films + 0.02 * torch.randn_like(films)).clamp(0, 1)
    exact = reconstruction_error(films, redrawn)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = reconstruction_error(films, redrawn)
    assert all(torch.equal(mixed[name], exact[name]) for name in exact)


@pytest.fixture(scope="module")
def films():
    return torch.stack([torch.from_numpy(draw_phantom(seed, size=200).pixels) for seed in range(5)])


def test_likeness_is_that_of_torchmetrics(films):
    pairs = np.array([[0, 1], [2, 4], [3, 1]])
    left, right = (films[pairs[:, side]].unsqueeze(1).float() / 255 for side in (0, 1))
    theirs = multiscale_structural_similarity_index_measure(left, right, data_range=1.0, reduction="none")
    assert likeness_of_pairs(films, pairs) == pytest.approx(theirs.reshape(-1).numpy(), abs=1e-5)


def test_a_film_is_like_itself_and_less_like_another_the_more_is_added(films):
    rng = np.random.default_rng(0)
    noisy = [films[0].numpy() + rng.normal(0, sigma, films[0].shape) for sigma in (5, 40)]
    together = torch.from_numpy(np.stack([films[0].numpy(), *noisy]).clip(0, 255).astype(np.uint8))
    same, little, much = likeness_of_pairs(together, np.array([[0, 0], [0, 1], [0, 2]]))
    assert same == pytest.approx(1, abs=1e-5)
    assert same > little > much > 0
    assert likeness_of_pairs(films, np.array([[0, 1]]))[0] < little


def test_films_too_small_for_five_scales_are_refused():
    small = torch.zeros(2, SMALLEST - 1, 200, dtype=torch.uint8)
    with pytest.raises(InputError, match="too small"):
        likeness_of_pairs(small, np.array([[0, 1]]))


@given(st.integers(2, 40), st.integers(0, 100), st.integers(1, 60))
def test_random_pairs_are_distinct_and_of_two_films(n, seed, count):
    pairs = random_pairs(n, seed, count)
    assert len(pairs) == min(count, n * (n - 1) // 2)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.max() < n
    assert (random_pairs(n, seed, count) == pairs).all()
