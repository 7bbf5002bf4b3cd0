"""Patch-word similarity in both directions (Eqs. 5-6) without ever holding all b x c x n x k similarities; knows no encoder.

The forward pass goes tile by tile, a few films against a few reports of like length; of each tile it keeps the maxima and where they
were. The backward pass goes through those places alone: each maximum's gradient reaches the one patch and the one word that made it.
Of the b x c x n x k similarities only b x c x (n + k) have a gradient, and none of these is stored either (decision 34).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from cyclicxr.patches.sums import scattered_sums, weighted_sums

TILE = {"cpu": 2**18}  # similarities held at once: 1 MB of float32, which stays in the caches
LARGE_TILE = 2**26  # on other devices, where few large products are faster than many small ones
LANES = 8  # reports of a tile come in multiples of it: the float32 of one vector register
CHUNK = 2**18  # maxima that the backward pass goes through at once


def maxsim(
    patches: Float[Tensor, "b n d"], words: Float[Tensor, "c k d"], mask: Bool[Tensor, "c k"]
) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """Similarity of every film to every report, both ways.

    Image to text: each patch takes its best word, averaged over the patches. Text to image: each word takes its best patch, averaged
    over the words that the mask keeps. Padding is -inf before the maximum. Of equal similarities the first counts.

    Args:
        patches: unit vectors of b films.
        words: unit vectors of c reports.
        mask: True for real words; every report has at least one.

    Returns:
        image-to-text and text-to-image similarities, each in [-1, 1], float32 or wider.

    Raises:
        ValueError: a report without words.

    Source: Eqs. (5), (6). For patches (1, 0), (0, 1) and one word (0.6, 0.8): image to text (0.6 + 0.8) / 2 = 0.7, text to image 0.8.
    """
    if not bool(mask.any(dim=1).all()):
        raise ValueError("maxsim: a report without words")
    found: tuple[Tensor, Tensor] = _MaxSim.apply(patches, words, mask)  # type: ignore[no-untyped-call]
    return found


@dataclass(frozen=True)
class _Edges:
    """The b x c x (n + k) pairs of a patch and a word that have a gradient; reports in the order of their lengths.

    Args:
        order: number of each report.
        kept: its real words.
        best_word: of each patch in each report.
        best_patch: of each word in each film.
        of_patch: gradient of the similarity of a patch and its best word.
        of_word: gradient of the similarity of a word and its best patch.
    """

    order: Int[Tensor, c]
    kept: Bool[Tensor, "c k"]
    best_word: Int[Tensor, "b n c"]
    best_patch: Int[Tensor, "b c k"]
    of_patch: Float[Tensor, "b c"]
    of_word: Float[Tensor, "b c"]


class _MaxSim(torch.autograd.Function):
    """Between the two passes, reports stand in the order of their lengths."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        (b, n, _), (c, k, _) = patches.shape, words.shape
        lengths = (mask * torch.arange(1, k + 1, device=mask.device)).amax(dim=1)  # padding behind the last word is left away
        order = lengths.argsort(descending=True, stable=True)
        wide = torch.promote_types(patches.dtype, torch.float32)
        to_text, to_image = (patches.new_empty(b, c, dtype=wide) for _ in range(2))
        is_learned = any(ctx.needs_input_grad)
        best_word, best_patch = (patches.new_zeros(shape if is_learned else 0, dtype=torch.int32) for shape in ((b, n, c), (b, c, k)))
        for span, longest in _groups(lengths[order].tolist(), _tile(patches) // n):
            group = order[span]
            kept = mask[group, :longest].t()  # (l, r)
            top_word, word, top_patch, patch = _maxima(patches, words[group, :longest], kept)
            to_text[:, group] = top_word.mean(dim=1, dtype=wide)
            to_image[:, group] = top_patch.masked_fill(~kept, 0).sum(dim=1, dtype=wide) / kept.sum(dim=0)
            if is_learned:
                best_word[:, :, span], best_patch[:, span, :longest] = word, patch.transpose(1, 2)
        if is_learned:
            ctx.save_for_backward(patches, words, mask, order, best_word, best_patch)
        return to_text, to_image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_text: Tensor, grad_image: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        patches, words, mask, order, best_word, best_patch = ctx.saved_tensors
        of_patch, of_word = grad_text[:, order] / patches.shape[1], (grad_image / mask.sum(dim=1))[:, order]
        edges = _Edges(order, mask[order], best_word, best_patch, of_patch, of_word)
        grad_patches = _patch_gradients(words.to(of_word.dtype), edges).to(patches.dtype) if ctx.needs_input_grad[0] else None
        grad_words = _word_gradients(patches.to(of_word.dtype), edges).to(words.dtype) if ctx.needs_input_grad[1] else None
        return grad_patches, grad_words, None


def _tile(patches: Tensor) -> int:
    return TILE.get(patches.device.type, LARGE_TILE)


def _groups(lengths: list[int], words: int) -> Iterator[tuple[slice, int]]:
    """Reports of falling length, so many at a time that they have some `words` in all, padded to the longest of each group."""
    start = 0
    while start < len(lengths):
        stop = start + max(LANES, words // lengths[start] // LANES * LANES)
        yield slice(start, stop), lengths[start]
        start = stop


def _maxima(
    patches: Float[Tensor, "b n d"], words: Float[Tensor, "r l d"], kept: Bool[Tensor, "l r"]
) -> tuple[Float[Tensor, "b n r"], Int[Tensor, "b n r"], Float[Tensor, "b l r"], Int[Tensor, "b l r"]]:
    """Best word of each patch and best patch of each word, each with its index, of every film and a group of reports."""
    b, n, d = patches.shape
    flat = words.transpose(0, 1).reshape(-1, d).t()  # (d, l r)
    bias = torch.zeros(kept.shape, dtype=patches.dtype, device=kept.device).masked_fill_(~kept, -torch.inf)
    tiles = []
    step = max(1, _tile(patches) // (n * kept.numel()))
    for start in range(0, b, step):
        similarity = (patches[start : start + step].reshape(-1, d) @ flat).view(-1, n, *kept.shape).add_(bias)  # (f, n, l, r)
        tiles.append((*maximum(similarity, 2), *maximum(similarity, 1)))
    top_word, word, top_patch, patch = (torch.cat(parts) for parts in zip(*tiles, strict=True))
    return top_word, word, top_patch, patch


def maximum(tile: Float[Tensor, "f n l r"], dim: int) -> tuple[Tensor, Tensor]:
    """Maximum along dimension 1 or 2, and the index of the first that reaches it.

    On a CPU by max pooling over channels that lie side by side, which compares whole vectors; `torch.max` compares one number at a time.
    """
    if tile.device.type != "cpu":
        top, index = tile.max(dim=dim)
        return top, index
    f, n, length, r = tile.shape
    window, across = (n, length) if dim == 1 else (length, 1)
    rows = tile.view(-1, window, across, r).permute(0, 3, 1, 2)  # (.., r, window, across), the r side by side
    top, index = functional.max_pool2d(rows, (window, 1), return_indices=True)  # (.., r, 1, across)
    shape = (f, length, r) if dim == 1 else (f, n, r)
    return top.permute(0, 2, 3, 1).reshape(shape), (index // across).permute(0, 2, 3, 1).reshape(shape)


def _patch_gradients(words: Float[Tensor, "c k d"], edges: _Edges) -> Float[Tensor, "b n d"]:
    """Of each patch: the best words that it took and the words that took it, each times the gradient of that maximum."""
    (b, n, c), (_, k, d) = edges.best_word.shape, words.shape
    found = torch.empty(b, n, d, dtype=words.dtype, device=words.device)
    report, place = edges.kept.nonzero(as_tuple=True)  # (q,) of every real word
    word = edges.order.int() * k  # (c,) the first word of each report
    for films in _chunks(b, c * (n + k)):
        f = films.stop - films.start
        took = weighted_sums(words, edges.best_word[films] + word, edges.of_patch[films, None].expand(f, n, c))
        first = torch.arange(0, f * n, n, dtype=torch.int32, device=words.device)[:, None]
        taker = (word[report] + place.int()).expand(f, -1)  # (f, q)
        taken = scattered_sums(words, taker, edges.of_word[films][:, report], edges.best_patch[films, report, place] + first, f * n)
        found[films] = (took + taken).view(f, n, d)
    return found


def _word_gradients(patches: Float[Tensor, "b n d"], edges: _Edges) -> Float[Tensor, "c k d"]:
    """Of each word: the best patches that it took and the patches that took it, each times the gradient of that maximum."""
    (b, c, k), (_, n, d) = edges.best_patch.shape, patches.shape
    found = torch.empty(c, k, d, dtype=patches.dtype, device=patches.device)
    patch = torch.arange(0, b * n, n, dtype=torch.int32, device=patches.device)  # (b,) the first patch of each film
    taker = torch.arange(b * n, dtype=torch.int32, device=patches.device).view(b, n, 1)
    for reports in _chunks(c, b * (n + k)):
        r = reports.stop - reports.start
        first = torch.arange(0, r * k, k, dtype=torch.int32, device=patches.device)
        weight = edges.of_patch[:, None, reports].expand(b, n, r)
        sums = scattered_sums(patches, taker.expand(b, n, r), weight, edges.best_word[:, :, reports] + first, r * k).view(r, k, d)
        report, place = edges.kept[reports].nonzero(as_tuple=True)  # (q,) of the real words
        best = edges.best_patch[:, reports][:, report, place] + patch[:, None]  # (b, q)
        sums[report, place] += weighted_sums(patches, best.t(), edges.of_word[:, reports][:, report].t())
        found[edges.order[reports]] = sums
    return found


def _chunks(count: int, each: int) -> Iterator[slice]:
    """0 to `count` in steps of as many as have some CHUNK maxima, `each` of them in one."""
    step = max(1, CHUNK // each)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
