"""Bootstrap intervals over cases: a metric is a function of how often each case is drawn, two systems are compared on the same draws;
knows no metric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RESAMPLES = 1000
_LEVEL = 95.0

Statistic = Callable[[Float[np.ndarray, "r n"]], dict[str, Float[np.ndarray, " r"]]]


@dataclass(frozen=True)
class Measure:
    """One number of a table.

    Args:
        value: the metric over all cases; or a difference of two systems.
        low: lower end of its 95 % interval; None where none was computed.
        high: upper end likewise.
        n: how many cases it is over.
        p: two-sided p of a difference, in (0, 1]; None for all that is no difference.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    p: float | None = None

    def to_json(self) -> dict[str, float | int | None]:
        """Plain dict: value, low, high, n, and p where there is one."""
        plain: dict[str, float | int | None] = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        return plain if self.p is None else plain | {"p": self.p}


def measure(statistic: Statistic, n: int, seed: int, resamples: int = RESAMPLES) -> dict[str, Measure]:
    """Value and 95 % percentile interval of each metric of `statistic`, by resampling the cases with replacement; a metric without a
    value on these cases (NaN) is left out.

    Args:
        statistic: weights (r, n), how often each case is drawn in each of r resamples -> metric name -> (r,) values. Each metric is
            defined once: the value itself is that of weights of one.
        n: number of cases, > 0.
        seed: of the resampling.
        resamples: how many; 1,000 is enough for two digits of the ends.
    """
    value = statistic(np.ones((1, n)))
    samples = statistic(_draws(n, seed, resamples))
    found = {}
    for name, of in samples.items():
        if np.isfinite(value[name][0]):
            low, high = _ends(of[np.isfinite(of)])
            found[name] = Measure(float(value[name][0]), low, high, n)
    return found


def paired(ours: Statistic, other: Statistic, n: int, seed: int, resamples: int = RESAMPLES) -> dict[str, Measure]:
    """Our value less the other system's on the same cases, with its 95 % percentile interval and a two-sided p, for each metric that both
    have; what makes a case hard is in both and falls out of the difference.

    Both statistics are computed on the same resamples. p is twice the share of resamples on whose side of zero fewer lie, zero on both
    sides, each share with one more resample counted in: at least 2 / (resamples + 1), and 1 for two systems that score the same.

    Args:
        ours: as `measure`'s.
        other: as `measure`'s, over the same cases in the same order.
        n: number of cases, > 0.
        seed: of the resampling.
        resamples: how many.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 15.
    """
    whole = _difference(ours, other, np.ones((1, n)))
    found = {}
    for name, of in _difference(ours, other, _draws(n, seed, resamples)).items():
        differences = of[np.isfinite(of)]
        if np.isfinite(whole[name][0]) and len(differences):
            low, high = _ends(differences)
            side = 1 + min((differences <= 0).sum(), (differences >= 0).sum())
            found[name] = Measure(float(whole[name][0]), low, high, n, min(1.0, float(2 * side / (len(differences) + 1))))
    return found


def single(value: float, n: int) -> Measure:
    """A number without an interval."""
    return Measure(value, None, None, n)


def _draws(n: int, seed: int, resamples: int) -> Float[np.ndarray, "r n"]:
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)


def _ends(values: Float[np.ndarray, " r"]) -> tuple[float, float]:
    tail = (100 - _LEVEL) / 2
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)


def _difference(ours: Statistic, other: Statistic, weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
    mine, theirs = ours(weights), other(weights)
    return {name: mine[name] - theirs[name] for name in mine if name in theirs}
