"""Weighted sums of vectors, their products, and the adding of vectors to others, fast on every device; knows neither patches nor words.

All are PyTorch's `embedding_bag`, which reads whole vectors at the speed of memory. None has a gradient of its own here: callers
write theirs with these.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def weighted_sums(vectors: Float[Tensor, "*v d"], rows: Int[Tensor, "*o e"], weights: Float[Tensor, "*o e"]) -> Float[Tensor, "p d"]:
    """Weighted sums of e vectors each, one for each of the p places before the last axis of `rows`.

    Args:
        vectors: numbered over all axes but the last.
        rows: numbers of vectors, int32 or int64.
        weights: float32 or wider, as the vectors.
    """
    table, e = vectors.flatten(0, -2), rows.shape[-1]
    return functional.embedding_bag(rows.reshape(-1, e), table, mode="sum", per_sample_weights=weights.reshape(-1, e))


def products(vectors: Float[Tensor, "*v d"], rows: Int[Tensor, "*o e"], others: Float[Tensor, "p d"]) -> Float[Tensor, "*o e"]:
    """Inner product of each of the e vectors of a place with the place's other vector: what `weighted_sums` asks of its weights backwards.

    Args:
        vectors: numbered over all axes but the last.
        rows: numbers of vectors, int32 or int64.
        others: one for each of the p places before the last axis of `rows`.
    """
    with torch.enable_grad():
        weights = torch.zeros(rows.shape, dtype=vectors.dtype, device=vectors.device, requires_grad=True)
        found: Tensor = torch.autograd.grad(weighted_sums(vectors.detach(), rows, weights), weights, others)[0]
    return found


def scattered_sums(
    vectors: Float[Tensor, "*v d"], rows: Int[Tensor, "*e"], weights: Float[Tensor, "*e"], targets: Int[Tensor, "*e"], count: int
) -> Float[Tensor, "{count} d"]:
    """Sums of weight times vector over all that have the same target: by sorting, which is faster than adding in place, and repeatable.

    Args:
        vectors: numbered over all axes but the last.
        rows: numbers of vectors.
        weights: one for each of them.
        targets: which sum each belongs to, from 0 to `count` - 1.
        count: sums; one that is no target is 0.
    """
    target, order = targets.flatten().sort(stable=True)
    starts = torch.searchsorted(target, torch.arange(count, dtype=target.dtype, device=target.device)).to(rows.dtype)
    row, weight = rows.flatten()[order], weights.flatten()[order]
    return functional.embedding_bag(row, vectors.flatten(0, -2), starts, mode="sum", per_sample_weights=weight)
