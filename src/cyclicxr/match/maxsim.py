"""Patch-word similarity in both directions (Eqs. 5-6) without ever holding all b x c x n x k similarities; knows no encoder.

The forward pass goes film by film, keeps each maximum and its index, and forgets the similarities; the backward pass goes through the
kept indices alone: each maximum's gradient reaches the one patch and the one word that made it.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

LENGTH_GROUPS = 4  # reports are sorted by length into so many groups, each padded to its own longest


def maxsim(
    patches: Float[Tensor, "b n d"], words: Float[Tensor, "c k d"], mask: Bool[Tensor, "c k"]
) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """Similarity of every film to every report, both ways.

    Image to text: each patch takes its best word, averaged over the patches. Text to image: each word takes its best patch, averaged
    over the words that the mask keeps. Padding is -inf before the maximum.

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
    order = mask.sum(dim=1).argsort()
    parts = [_of_like_length(patches, words, mask, group) for group in order.chunk(min(LENGTH_GROUPS, len(order)))]
    back = order.argsort()
    return torch.cat([to_text for to_text, _ in parts], dim=1)[:, back], torch.cat([to_image for _, to_image in parts], dim=1)[:, back]


def _of_like_length(patches: Tensor, words: Tensor, mask: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Some of the reports, cut behind the last word of the longest: what is behind is padding for all."""
    longest = int(mask[group].any(dim=0).nonzero().max()) + 1
    found: tuple[Tensor, Tensor] = _MaxSim.apply(patches, words[group, :longest], mask[group, :longest])  # type: ignore[no-untyped-call]
    return found


class _MaxSim(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        (b, n, d), (c, k, _) = patches.shape, words.shape
        flat = words.reshape(c * k, d).t()
        out = torch.promote_types(patches.dtype, torch.float32)
        hidden = ~mask.reshape(c * k)
        best_word = torch.empty(b, n, c, dtype=torch.int32, device=patches.device)
        best_patch = torch.empty(b, c, k, dtype=torch.int32, device=patches.device)
        image_to_text = torch.empty(b, c, dtype=out, device=patches.device)
        text_to_image = torch.empty(b, c, dtype=out, device=patches.device)
        counts = mask.sum(dim=1)
        for i in range(b):
            similarity = (patches[i] @ flat).to(out)  # (n, c k)
            top, arg = similarity.max(dim=0)
            best_patch[i] = arg.view(c, k)
            text_to_image[i] = top.view(c, k).masked_fill(~mask, 0).sum(dim=1) / counts
            top, arg = similarity.masked_fill_(hidden, -torch.inf).view(n, c, k).max(dim=2)
            best_word[i] = arg
            image_to_text[i] = top.mean(dim=0)
        ctx.save_for_backward(patches, words, mask, best_word, best_patch)
        return image_to_text, text_to_image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor, grad_text: Tensor) -> tuple[Tensor, Tensor, None]:
        patches, words, mask, best_word, best_patch = ctx.saved_tensors
        (b, n, d), (c, k, _) = patches.shape, words.shape
        flat = words.reshape(c * k, d)
        grad_patches = torch.empty_like(patches)
        grad_words = torch.zeros(c * k, d, dtype=grad_image.dtype, device=words.device)
        counts = mask.sum(dim=1)
        first = torch.arange(c, device=words.device) * k
        for i in range(b):
            weight = torch.zeros(n, c * k, dtype=grad_image.dtype, device=words.device)  # the gradient of this film's similarities
            weight.scatter_(1, (best_word[i].long() + first), (grad_image[i] / n).expand(n, c))
            by_word = (grad_text[i] / counts)[:, None] * mask  # (c, k)
            weight.scatter_add_(0, best_patch[i].long().view(1, c * k), by_word.view(1, c * k).to(weight.dtype))
            weight = weight.to(words.dtype)
            grad_patches[i] = weight @ flat
            grad_words += (weight.t() @ patches[i]).to(grad_words.dtype)
        return grad_patches, grad_words.view(c, k, d).to(words.dtype), None
