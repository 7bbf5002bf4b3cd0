"""The calibration error by hand, and of probabilities that are right."""

import numpy as np
import pytest

from cyclicxr.metrics.calibration import calibration_error

ONE = np.ones((1, 4))


def test_by_hand():
    said, true = np.array([0.95, 0.85, 0.1, 0.25]), np.array([True, False, False, False])
    assert calibration_error(said, true, ONE)[0] == pytest.approx((0.05 + 0.85 + 0.1 + 0.25) / 4)
    assert calibration_error(said, true, np.array([[2.0, 0, 0, 0], [0, 0, 1, 1]])).tolist() == pytest.approx([0.05, 0.175])
    together = calibration_error(np.array([0.71, 0.75, 0.79, 0.75]), np.array([True, True, True, False]), ONE)
    assert together[0] == pytest.approx(0)  # three of four in one bin of mean .75
    assert calibration_error(np.ones(4), np.ones(4, bool), ONE)[0] == 0


def test_right_probabilities_have_a_small_error_and_turned_ones_a_large_one():
    rng = np.random.default_rng(0)
    said = rng.uniform(size=5000)
    true, one = rng.uniform(size=5000) < said, np.ones((1, 5000))
    assert calibration_error(said, true, one)[0] < 0.03
    assert calibration_error(1 - said, true, one)[0] > 0.3
