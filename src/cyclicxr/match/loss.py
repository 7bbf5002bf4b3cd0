"""The contrastive losses between patches and words (Eqs. 7-9); knows similarities alone."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def contrastive_loss(similarity: Float[Tensor, "b b"], temperature: Float[Tensor, ""], groups: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean over the rows of -log softmax of each row's own column.

    Row i stands for its pair i; a column whose group equals the row's, other than i itself, is neither positive nor negative and is
    left out (with all groups different this is the paper's loss to the letter).

    Args:
        similarity: s[i, j] of query i to candidate j, in [-1, 1].
        temperature: tau > 0.
        groups: equal numbers mark identical reports.

    Source: Eqs. (7), (8). For s = [[1, 0], [0, 1]], tau = 1: log(1 + e^-1) = 0.3133.
    """
    same = groups[:, None] == groups[None, :]
    same.fill_diagonal_(False)
    logits = (similarity / temperature).masked_fill(same, -torch.inf)
    return (torch.logsumexp(logits, dim=1) - logits.diagonal()).mean()


def adamatch_loss(
    image_to_text: Float[Tensor, "b b"], text_to_image: Float[Tensor, "b b"], temperature: Float[Tensor, ""], groups: Int[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Half the sum of both directions: s^I over its reports, s^T over its films.

    Args:
        image_to_text: s^I[i, j], film i to report j.
        text_to_image: s^T[i, j], report j to film i; the loss of report j runs over the films i, down its column.
        temperature: tau > 0.
        groups: equal numbers mark identical reports.

    Source: Eq. (9).
    """
    return 0.5 * (contrastive_loss(image_to_text, temperature, groups) + contrastive_loss(text_to_image.t(), temperature, groups))
