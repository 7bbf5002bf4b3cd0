"""Intervals cover what they should, narrow with n, and are the same for the same seed."""

import numpy as np
import pytest

from cyclicxr.metrics.interval import measure, single


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
