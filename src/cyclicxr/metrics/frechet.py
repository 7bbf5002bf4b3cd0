"""How far two sets of films lie apart: Fréchet distance (FID) and kernel distance (KID) of their features; knows no network.

Both depend on the features, FID on n as well: every table names the network, compares equal n only, and prints floors (other real films;
the VQ-GAN's reconstructions). FID is biased upwards for few films, most of all for fewer films than features, so it says nothing without
its floors; KID has no such bias. Decision 0031.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cyclicxr.metrics.interval import Measure, Statistic
from cyclicxr.types import InputError

RESAMPLES = 200  # of FID: each takes a singular value decomposition
_WIDEST = 512  # of the smaller of films and features; above it a resample takes seconds, and FID comes without an interval
_BLOCK = 512  # rows of a kernel at once
_SPREAD = 1.96


def frechet_distance(real: Float[Tensor, "n d"], drawn: Float[Tensor, "m e"]) -> float:
    """Fréchet distance of two sets of features (FID, where they are a network's), >= 0, in float64.

    |difference of means|² + tr(A + B - 2 (A B)^½), where the last trace is the sum of the singular values of X Yᵀ for covariances XᵀX and
    YᵀY: no root of a singular matrix is taken, so it is as exact for n < d as for n > d. For n <= d its bias is what dominates: use n > d.

    Raises:
        InputError: the sets differ in size or width, or hold fewer than two films, or a number that is not finite.

    Source: Heusel et al. 2017, Eq. 6.
    """
    _check("FID", real, drawn)
    return _distance(real.double(), drawn.double(), torch.ones(len(real), dtype=torch.float64))


def frechet_measure(real: Float[Tensor, "n d"], drawn: Float[Tensor, "m e"], seed: int) -> Measure:
    """FID and 1.96 standard deviations to both sides of it, over `RESAMPLES` resamples of film pairs.

    Percentiles would lie above the value itself: a resample holds fewer distinct films, and FID's bias grows as they get fewer. Where
    both films and features are more than 512 there is no interval.

    Raises:
        InputError: see `frechet_distance`.
    """
    value, n = frechet_distance(real, drawn), len(real)
    if min(real.shape) > _WIDEST:
        return Measure(value, None, None, n)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    found = [_distance(real.double(), drawn.double(), torch.from_numpy(row).double()) for row in times]
    spread = _SPREAD * float(np.std(found, ddof=1))
    return Measure(value, max(0.0, value - spread), value + spread, n)


def kernel_distance(real: Float[Tensor, "n d"], drawn: Float[Tensor, "m e"]) -> Statistic:
    """KID with its cubic kernel (x·y / d + 1)³ as a statistic of how often each pair of films is drawn; around 0 where the sets are alike.

    The pairs i, i are left out, of both sets and between them: film i was drawn for study i, and in a resample it meets itself. So it is
    unbiased for any n, 0 for identical sets, and differs from the form that keeps them between the sets by O(1/n).

    Raises:
        InputError: see `frechet_distance`.

    Source: Binkowski et al. 2018, section 4; the estimator is that of Gretton et al. 2012, Eq. 4.
    """
    _check("KID", real, drawn)
    known, asked = real.double().numpy(), drawn.double().numpy()

    def of(weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        total = np.zeros(len(weights))
        for rows, pairs in _kernel_blocks(known, asked):
            total += ((weights[:, rows] @ pairs) * weights).sum(1)
        count = weights.sum(1) ** 2 - (weights**2).sum(1)
        return {"KID": np.divide(total, count, out=np.full(len(weights), np.nan), where=count > 0)}

    return of


def _kernel_blocks(known: Float[np.ndarray, "n d"], asked: Float[np.ndarray, "n d"]) -> Iterator[tuple[slice, Float[np.ndarray, "b n"]]]:
    """k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j), 0 for i = j, some rows at a time."""
    width = known.shape[1]
    for start in range(0, len(known), _BLOCK):
        rows = slice(start, start + _BLOCK)
        sides = ((known, known, 1), (asked, asked, 1), (known, asked, -1), (asked, known, -1))
        pairs = sum(sign * (left[rows] @ right.T / width + 1) ** 3 for left, right, sign in sides)
        block = np.asarray(pairs)
        block[np.arange(len(block)), np.arange(start, start + len(block))] = 0
        yield rows, block


def _check(name: str, real: Float[Tensor, "n d"], drawn: Float[Tensor, "m e"]) -> None:
    if real.shape != drawn.shape or len(real) < 2:
        raise InputError(f"{name}: {tuple(real.shape)} real against {tuple(drawn.shape)} drawn features; give as many of both, 2 at least")
    if not (real.isfinite().all() and drawn.isfinite().all()):
        raise InputError(f"{name}: a feature is not a finite number; check the films it came from")


def _distance(real: Float[Tensor, "n d"], drawn: Float[Tensor, "n d"], weights: Float[Tensor, " n"]) -> float:
    """FID of sets in which film i occurs `weights[i]` times."""
    held = weights > 0
    times = weights[held, None]
    total = float(times.sum())
    means, roots = [], []
    for features in (real[held], drawn[held]):
        mean = (times * features).sum(0) / total
        root = (features - mean) * (times / (total - 1)).sqrt()  # (n, d), its square is the covariance
        means.append(mean)
        roots.append(torch.linalg.qr(root, mode="r").R if len(root) > root.shape[1] else root)
    traces = sum(float(root.square().sum()) for root in roots)
    shared = float(torch.linalg.svdvals(roots[0] @ roots[1].T).sum())
    return max(0.0, float((means[0] - means[1]).square().sum()) + traces - 2 * shared)
