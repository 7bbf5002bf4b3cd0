"""Is a probability of .8 right in eight cases of ten? Expected calibration error; knows no model."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

BINS = 10


def calibration_error(
    probabilities: Float[np.ndarray, " n"], true: Bool[np.ndarray, " n"], weights: Float[np.ndarray, "r n"]
) -> Float[np.ndarray, " r"]:
    """Mean distance between what is said and what is true over ten bins of equal width, each bin as heavy as its cases.

    Of .9 and .8 with one of them true and .1 and .2 with none: four bins of one case each, (.1 + .8 + .1 + .2) / 4 = .3.

    Args:
        probabilities: in [0, 1].
        true: what happened.
        weights: how often each case is drawn in each of r resamples.

    Source: Naeini et al., AAAI 2015; Guo et al., ICML 2017.
    """
    bins = np.eye(BINS)[np.minimum((probabilities * BINS).astype(int), BINS - 1)]  # (n, bins)
    gap = (weights * (true - probabilities)) @ bins
    return np.asarray(np.abs(gap).sum(1) / weights.sum(1))
