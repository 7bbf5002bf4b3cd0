"""How alike films and reports are: MaxSim, and what the paper's peers have in its place (Table 4); knows no encoder and no loss.

Each takes patches, words and mask, and gives image-to-text and text-to-image similarities, so that one training serves them all. The peers
are in the style of ConVIRT and GLoRIA, on our encoders; what differs from the published ones stands in docs/decisions/0037. FILIP needs no
function of its own: it is MaxSim over fixed patches (`encoder.adaptive = False`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from cyclicxr.match.maxsim import maxsim

ATTENTION_SHARPNESS = 4.0  # [GLoRIA] times the share of a patch that a word takes, before the softmax over the patches
WORD_SHARPNESS = 5.0  # [GLoRIA] times the cosine of a word, before words are summed: the larger, the more the best words count

Both = tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]
Similarity = Callable[[Float[Tensor, "b n d"], Float[Tensor, "c k d"], Bool[Tensor, "c k"]], Both]


def mean_word(words: Float[Tensor, "c k d"], mask: Bool[Tensor, "c k"]) -> Float[Tensor, "c d"]:
    """The mean over each report's real words; every report has at least one. Words (3, 0), (1, 0) and padding (9, 9): (2, 0)."""
    weights = mask.unsqueeze(-1).to(words.dtype)
    return (words * weights).sum(dim=1) / weights.sum(dim=1)


def pooled(patches: Float[Tensor, "b n d"], words: Float[Tensor, "c k d"], mask: Bool[Tensor, "c k"]) -> Both:
    """Cosine of the mean patch and the mean word: one vector a film and one a report, the same both ways.

    Args:
        patches: of b films, of any length.
        words: of c reports, of any length.
        mask: True for real words; every report has at least one.

    Returns:
        The same (b, c) similarities in [-1, 1] twice: image to text, text to image.

    Source: CLIP, and Zhang et al. 2022 (ConVIRT). For patches (2, 0), (0, 2) and words (3, 0), (1, 0): cos((1, 1), (2, 0)) = 0.7071.
    """
    similarity = functional.normalize(patches.mean(dim=1), dim=-1) @ functional.normalize(mean_word(words, mask), dim=-1).t()
    return similarity, similarity


def attention(patches: Float[Tensor, "b n d"], words: Float[Tensor, "c k d"], mask: Bool[Tensor, "c k"]) -> Both:
    """Each word against the patches that it attends to, and film against report as wholes: the mean of both, the same both ways.

    A patch first shares itself among the words of a report (softmax over the words), then a word among the patches (softmax over the
    patches, `ATTENTION_SHARPNESS`); the word's cosine with its mixture of patches is taken, and the words of a report are joined by a soft
    maximum (log of the mean of exponentials, `WORD_SHARPNESS`), which stays in [-1, 1] whatever the report's length. The other half is
    `pooled`. Films are gone through one by one, forwards and backwards: no more than n c k weights are held at a time.

    Args:
        patches: of b films, of any length.
        words: of c reports, of any length.
        mask: True for real words; every report has at least one.

    Returns:
        The same (b, c) similarities in [-1, 1] twice: image to text, text to image.

    Source: Huang et al. 2021 (GLoRIA), section 3.3, with the two softmaxes of its published code.
    """
    report, real = mask.nonzero(as_tuple=True)[0], words[mask]  # (q,) and (q, d) of every real word
    films = [checkpoint(_attended, film, real, report, len(words), use_reentrant=False, preserve_rng_state=False) for film in patches]
    similarity = (torch.stack(films) + pooled(patches, words, mask)[0]) / 2
    return similarity, similarity


def _attended(film: Float[Tensor, "n d"], words: Float[Tensor, "q d"], report: Int[Tensor, " q"], reports: int) -> Float[Tensor, " c"]:
    """One film against each report by its words.

    Args:
        film: patches.
        words: all real words, report by report.
        report: of each word.
        reports: how many there are.
    """
    match = words @ film.t()  # (q, n)
    top = torch.segment_reduce(match.detach(), "max", lengths=report.bincount(minlength=reports))  # (c, n)
    strength = (match - top[report]).exp()
    shares = strength / _sums(strength, report, reports)[report]  # of each patch among the words of a report
    mixed = (ATTENTION_SHARPNESS * shares).softmax(dim=1) @ film  # (q, d)
    cosine = functional.cosine_similarity(words, mixed, dim=-1)
    mean = _sums((WORD_SHARPNESS * cosine).exp(), report, reports) / report.bincount(minlength=reports)
    return mean.log() / WORD_SHARPNESS


def _sums(values: Float[Tensor, "q ..."], report: Int[Tensor, " q"], reports: int) -> Float[Tensor, "c ..."]:
    """Over the words of each report."""
    return values.new_zeros(reports, *values.shape[1:]).index_add(0, report, values)


SIMILARITY: dict[str, Similarity] = {"maxsim": maxsim, "pooled": pooled, "attention": attention}  # by `match.similarity`
