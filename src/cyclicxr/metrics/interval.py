"""Bootstrap intervals over cases: a metric is a function of how often each case is drawn; knows no metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

RESAMPLES = 1000
_LEVEL = 95.0

Statistic = Callable[[Float[np.ndarray, "r n"]], dict[str, Float[np.ndarray, " r"]]]


@dataclass(frozen=True)
class Measure:
    """One number of a table.

    Args:
        value: the metric over all cases.
        low: lower end of its 95 % interval; None where none was computed.
        high: upper end likewise.
        n: how many cases it is over.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        """Plain dict: value, low, high, n."""
        return asdict(self)


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
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)  # (r, n)
    samples = statistic(drawn)
    tail = (100 - _LEVEL) / 2
    found = {}
    for name, of in samples.items():
        if np.isfinite(value[name][0]):
            low, high = np.percentile(of[np.isfinite(of)], (tail, 100 - tail))
            found[name] = Measure(float(value[name][0]), float(low), float(high), n)
    return found


def single(value: float, n: int) -> Measure:
    """A number without an interval."""
    return Measure(value, None, None, n)
