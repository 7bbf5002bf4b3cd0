"""Which patch speaks for which word of a text (Fig. 8): the paper's m_k, put together from tokens to words. Knows no codebook."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cyclicxr.match.adamatch import TextWords

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True)
class WordEvidence:
    """A word of a text and the patch that matches it best.

    Args:
        text: the word.
        start: its first character in the text.
        end: one past its last.
        score: cosine of word and patch, the mean over the word's tokens, in [-1, 1].
        patch: index of the patch.
    """

    text: str
    start: int
    end: int
    score: float
    patch: int


def word_evidence(patches: Float[Tensor, "n d"], words: TextWords, index: int, text: str) -> list[WordEvidence]:
    """The words of one text on one film, in order; a word beyond the text encoder's context is left out.

    Args:
        patches: unit vectors of one film.
        words: encoded texts.
        index: which of them is `text`.
        text: the text itself.

    Source: Eq. (6): each token takes its best patch; a word takes the patch that is best for its tokens together.
    """
    similarity = patches @ words.features[index].t()  # (n, k)
    spans = words.spans[index]
    found = []
    for match in _WORD.finditer(text):
        tokens = [k for k, (start, end) in enumerate(spans) if start < match.end() and end > match.start()]
        if tokens:
            score, patch = similarity[:, tokens].mean(dim=1).clamp(-1, 1).max(dim=0)  # rounding may leave [-1, 1]
            found.append(WordEvidence(match.group(), match.start(), match.end(), float(score), int(patch)))
    return found


def sentence_support(patches: Float[Tensor, "n d"], words: Float[Tensor, "c k d"], mask: Bool[Tensor, "c k"]) -> Float[Tensor, " c"]:
    """s^T of each text to one film: the mean over its tokens of the best patch's cosine. Source: Eq. (6)."""
    best = torch.einsum("nd,ckd->cnk", patches, words).amax(dim=1)  # (c, k)
    return best.masked_fill(~mask, 0).sum(dim=1) / mask.sum(dim=1)
