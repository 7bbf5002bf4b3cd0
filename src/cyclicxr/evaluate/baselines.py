"""Reports written without reading the film, or by copying another's: what a report generator has to beat; knows no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cyclicxr.metrics.ptb import tokenize
from cyclicxr.metrics.report import bleu_of, rouge_l

_SAMPLE = 300  # references that ROUGE-L of a constant is averaged over
_SHORTLIST = 1000  # texts of the highest BLEU-4 whose ROUGE-L is looked at


def best_constant(candidates: Sequence[str], references: Sequence[str], seed: int) -> str:
    """The text that scores best when it is written for every film: the highest BLEU-4 + ROUGE-L.

    BLEU-4 is exact over all references: the n-grams that a constant shares with them are looked up in their sums. ROUGE-L is the mean
    over a sample of them.
    """
    texts = sorted({" ".join(text.split()) for text in candidates})
    words = tokenize([*texts, *references])
    written, gold = words[: len(texts)], words[len(texts) :]
    drawn = np.random.default_rng(seed).permutation(len(gold))[:_SAMPLE]
    sample = Counter(tuple(gold[i]) for i in drawn)  # normal reports repeat
    bleu = _constant_bleu(written, gold)
    shortlist = np.argsort(-bleu, kind="stable")[:_SHORTLIST]
    rouge = [sum(rouge_l(reference, written[i]) * times for reference, times in sample.items()) / len(drawn) for i in shortlist]
    return texts[int(shortlist[np.argmax(bleu[shortlist] + rouge)])]


def nearest(known: Float[Tensor, "m d"], asked: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
    """For each asked vector the known one of the highest cosine, after centring on the known ones' mean."""
    centre = known.mean(0)
    known, asked = (torch.nn.functional.normalize(vectors - centre, dim=1) for vectors in (known, asked))
    return (asked @ known.T).argmax(1)


def derangement(n: int, seed: int) -> Int[np.ndarray, " n"]:
    """A permutation that leaves nothing in its place (for n > 1): whose report each film gets when films are shuffled."""
    order = np.random.default_rng(seed).permutation(n)
    shuffled = np.empty(n, dtype=int)
    shuffled[order] = np.roll(order, 1)
    return shuffled


def _constant_bleu(written: list[list[str]], gold: list[list[str]]) -> Float[np.ndarray, " c"]:
    """BLEU-4 of each text against all references: of an n-gram that it holds t times, a reference with s of them clips to min(s, t)."""
    holders: Counter[tuple[tuple[str, ...], int]] = Counter()  # (n-gram, s) -> references that hold it s times at least
    for tokens in gold:
        holders.update(_occurrences(tokens))
    length = sum(len(tokens) for tokens in gold)
    rows = []
    for tokens in written:
        guessed = [max(0, len(tokens) - order) * len(gold) for order in range(4)]
        right = [0] * 4
        for occurrence in _occurrences(tokens):
            right[len(occurrence[0]) - 1] += holders[occurrence]
        rows.append([*guessed, *right, len(tokens) * len(gold), length])
    return np.asarray(bleu_of(np.array(rows, dtype=float))[:, 3])


def _occurrences(tokens: list[str]) -> list[tuple[tuple[str, ...], int]]:
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for order in range(1, 5):
        for start in range(len(tokens) - order + 1):
            gram = tuple(tokens[start : start + order])
            seen[gram] += 1
            found.append((gram, seen[gram]))
    return found
