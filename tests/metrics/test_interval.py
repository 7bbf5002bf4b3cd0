"""Intervals cover what they should, narrow with n, and are the same for the same seed; paired differences forget what both share."""

import numpy as np
import pytest

from cyclicxr.metrics.interval import RESAMPLES, measure, paired, single


def mean_of(values):
    return lambda weights: {"mean": weights @ values / weights.sum(1)}


def test_the_interval_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(5, 2, size=400)
    found = measure(mean_of(values), 400, seed=0)["mean"]
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert found == measure(mean_of(values), 400, seed=0)["mean"]
    assert found.n == 400


def test_a_metric_without_a_case_is_left_out():
    assert measure(lambda weights: {"none": np.full(len(weights), np.nan)}, 3, seed=0) == {}
    assert single(2.0, 7).to_json() == {"value": 2.0, "low": None, "high": None, "n": 7}


def test_a_system_against_itself_differs_by_nothing():
    values = np.random.default_rng(1).normal(size=50)
    found = paired(mean_of(values), mean_of(values), 50, seed=0)["mean"]
    assert found.to_json() == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 50, "p": 1.0}


def test_a_system_that_is_better_on_every_case_has_the_least_p():
    values = np.random.default_rng(1).normal(size=50)
    for sign in (1, -1):
        found = paired(mean_of(values + sign * 0.1), mean_of(values), 50, seed=0)["mean"]
        assert (found.value, found.low, found.high) == pytest.approx((sign * 0.1,) * 3)
        assert found.p == pytest.approx(2 / (RESAMPLES + 1))


def test_p_by_hand():
    """Two cases, better by 1 on one and worse by 2 on the other: a resample's difference is 1, -.5 or -2 with chances 1/4, 1/2, 1/4, so a
    quarter lies above zero: p is near 2 x 1/4."""
    found = paired(mean_of(np.array([1.0, 0.0])), mean_of(np.array([0.0, 2.0])), 2, seed=0, resamples=20000)["mean"]
    assert (found.value, found.low, found.high) == (-0.5, -2, 1)
    assert found.p == pytest.approx(0.5, abs=0.02)


def test_p_of_systems_that_are_equally_good_is_seldom_small():
    """Of 200 pairs of equal systems some 5 % have p < .05."""
    rng = np.random.default_rng(0)
    small = [
        paired(mean_of(rng.normal(size=60)), mean_of(rng.normal(size=60)), 60, seed, resamples=300)["mean"].p < 0.05 for seed in range(200)
    ]
    assert 0.01 <= np.mean(small) <= 0.11


def test_paired_is_narrower_than_unpaired_where_systems_fail_on_the_same_cases():
    rng = np.random.default_rng(2)
    hardness = rng.normal(size=200)
    ours, other = hardness + 0.1 + 0.1 * rng.normal(size=200), hardness + 0.1 * rng.normal(size=200)
    found = paired(mean_of(ours), mean_of(other), 200, seed=0)["mean"]
    apart = [measure(mean_of(values), 200, seed=0)["mean"] for values in (ours, other)]
    unpaired = sum((one.high - one.low) ** 2 for one in apart) ** 0.5
    assert found.high - found.low < unpaired / 4
    assert found.value == pytest.approx(apart[0].value - apart[1].value)
    assert found.p < 0.01 and apart[0].low < apart[1].high


def test_only_metrics_that_both_have_are_compared():
    def more(weights):
        return mean_of(np.arange(3.0))(weights) | {"mine": np.ones(len(weights)), "void": np.full(len(weights), np.nan)}

    def less(weights):
        return mean_of(np.ones(3))(weights) | {"void": np.ones(len(weights))}

    assert list(paired(more, less, 3, seed=0)) == ["mean"]
