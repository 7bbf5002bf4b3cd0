"""FID and KID against closed forms, torchmetrics, and what they must do with fewer films than features."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from cyclicxr.metrics.frechet import frechet_distance, frechet_measure, kernel_distance
from cyclicxr.metrics.interval import measure
from cyclicxr.types import InputError


def gaussian(n, d, seed, shift=0.0, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


def kernel_value(real, drawn):
    return float(kernel_distance(real, drawn)(np.ones((1, len(real))))["KID"][0])


def test_fid_is_the_closed_form():
    # One feature: (difference of means)² + (difference of standard deviations)².
    real, drawn = gaussian(500, 1, 0), gaussian(500, 1, 1, shift=2, scale=3)
    expected = (real.mean() - drawn.mean()) ** 2 + (real.std() - drawn.std()) ** 2
    assert frechet_distance(real, drawn) == pytest.approx(float(expected), rel=1e-9)


def test_fid_of_uncorrelated_features_by_hand():
    # Columns of ±a and ±b, each sign pattern once: means 0, covariance diag(a², b²) · 4/3. Scaled by (2, 3), shifted by (1, 0):
    # 1² + 4/3 · ((2a - a)² + (3b - b)²) = 1 + 4/3 · (1 + 16) for a = 1, b = 2.
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    real = signs * torch.tensor([1.0, 2])
    drawn = real * torch.tensor([2.0, 3]) + torch.tensor([1.0, 0])
    assert frechet_distance(real, drawn) == pytest.approx(1 + 4 / 3 * 17, rel=1e-12)


@given(st.integers(0, 1000), st.integers(2, 60), st.integers(1, 12))
def test_fid_agrees_with_torchmetrics_where_there_are_more_films_than_features(seed, more, d):
    real, drawn = gaussian(d + more, d, seed), gaussian(d + more, d, seed + 1, shift=0.5, scale=1.5)
    theirs = _compute_fid(real.mean(0), torch.atleast_2d(torch.cov(real.T)), drawn.mean(0), torch.atleast_2d(torch.cov(drawn.T)))
    assert frechet_distance(real, drawn) == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(300, 16), (20, 64), (2, 500)])
def test_fid_of_the_same_films_is_zero_for_few_films_as_for_many(n, d):
    real = gaussian(n, d, 0) * 100
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9 * float(real.square().sum()) / n)
    assert frechet_distance(real, real.flip(0)) == pytest.approx(0, abs=1e-9 * float(real.square().sum()) / n)


def test_fid_with_fewer_films_than_features_does_not_change_when_features_without_content_are_added():
    real, drawn = gaussian(20, 10, 0), gaussian(20, 10, 1, scale=2)
    wide = [torch.cat([features, torch.full((20, 90), 3.0, dtype=torch.float64)], dim=1) for features in (real, drawn)]
    turn = torch.linalg.qr(gaussian(100, 100, 2)).Q  # and when they are turned
    assert frechet_distance(*(features @ turn for features in wide)) == pytest.approx(frechet_distance(real, drawn), rel=1e-9)


def test_fid_is_biased_for_few_films_and_kid_is_not():
    small = [(gaussian(20, 16, 2 * seed), gaussian(20, 16, 2 * seed + 1)) for seed in range(40)]
    assert np.mean([frechet_distance(*pair) for pair in small]) > 5
    assert frechet_distance(gaussian(2000, 16, 1), gaussian(2000, 16, 2)) < 0.2
    assert abs(np.mean([kernel_value(*pair) for pair in small])) < 0.1  # a third of what one feature set in four dims apart has
    assert kernel_value(gaussian(20, 16, 0), gaussian(20, 16, 1, shift=1)) > 1


def test_duplicated_films_weigh_as_often_as_they_occur():
    real, drawn = gaussian(6, 3, 0), gaussian(6, 3, 1, shift=1)
    rows = [0, 0, 1, 3, 3, 3]
    weights = np.bincount(rows, minlength=6)[None].astype(float)
    twice = measure(kernel_distance(real, drawn), 6, seed=0)
    assert twice["KID"].low < twice["KID"].value < twice["KID"].high
    # KID by hand: pairs of different films alone, as often as they occur.
    kernel = lambda a, b: float((a @ b / 3 + 1) ** 3)  # noqa: E731
    pairs = [(i, j) for i in rows for j in rows if i != j]
    by_hand = sum(
        kernel(real[i], real[j]) + kernel(drawn[i], drawn[j]) - kernel(real[i], drawn[j]) - kernel(drawn[i], real[j]) for i, j in pairs
    )
    assert kernel_distance(real, drawn)(weights)["KID"][0] == pytest.approx(by_hand / len(pairs), rel=1e-9)


def test_kid_is_torchmetrics_less_the_pairs_of_one_study():
    real, drawn = gaussian(30, 5, 0), gaussian(30, 5, 1, shift=0.3)
    cross = (real @ drawn.T / 5 + 1) ** 3
    between = float(cross.sum() - cross.diag().sum()) / (30 * 29)
    assert kernel_value(real, drawn) == pytest.approx(float(poly_mmd(real, drawn)) + 2 * float(cross.mean()) - 2 * between, rel=1e-9)
    assert kernel_value(real, real) == pytest.approx(0, abs=1e-9)


def test_kid_is_the_same_in_blocks(monkeypatch):
    real, drawn = gaussian(30, 5, 0), gaussian(30, 5, 1)
    whole = kernel_value(real, drawn)
    monkeypatch.setattr("cyclicxr.metrics.frechet._BLOCK", 7)
    assert kernel_value(real, drawn) == pytest.approx(whole, rel=1e-9)


def test_the_interval_holds_the_value_and_is_left_out_where_a_resample_takes_too_long(monkeypatch):
    real, drawn = gaussian(40, 60, 0), gaussian(40, 60, 1, shift=0.2)
    found = frechet_measure(real, drawn, seed=0)
    assert found.value == frechet_distance(real, drawn)
    assert found.low < found.value < found.high
    assert found == frechet_measure(real, drawn, seed=0)
    assert frechet_measure(real, real, seed=0).low == 0
    monkeypatch.setattr("cyclicxr.metrics.frechet._WIDEST", 39)
    assert frechet_measure(real, drawn, seed=0).low is None


def test_the_interval_is_as_wide_as_fid_varies_from_draw_to_draw():
    values = [frechet_distance(gaussian(200, 4, 2 * seed), gaussian(200, 4, 2 * seed + 1, shift=1)) for seed in range(60)]
    found = frechet_measure(gaussian(200, 4, 0), gaussian(200, 4, 1, shift=1), seed=0)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(float(np.std(values)), rel=0.35)


@pytest.mark.parametrize("drawn", [torch.zeros(3, 2), torch.zeros(4, 3), torch.full((4, 2), torch.nan)])
def test_unequal_or_broken_features_are_refused(drawn):
    for distance, name in ((frechet_distance, "FID"), (kernel_distance, "KID")):
        with pytest.raises(InputError, match=name):
            distance(torch.zeros(4, 2), drawn)


def test_a_single_film_is_refused():
    with pytest.raises(InputError, match="2 at least"):
        frechet_distance(torch.zeros(1, 2), torch.zeros(1, 2))
