"""Sentences that many training reports say, and which of them a film calls for: hints of whole sentences (ours, beside 3.2.1).

Common sentences suit every film: what counts is how much more than films usually do this one calls for a sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.data.reports import sentences
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.types import InputError

FILE = "sentences.json"


@dataclass(frozen=True)
class SentenceBook:
    """The sentences, and how much films usually call for each.

    Args:
        texts: s sentences, the most frequent first.
        mean: (s,) cosine of the training films with each, each film read by an alignment that was not taught with it.
        std: (s,) its deviation.
    """

    texts: tuple[str, ...]
    mean: Float[Tensor, " s"]
    std: Float[Tensor, " s"]

    @classmethod
    def build(cls, similarity: Float[Tensor, "c s"], texts: Sequence[str]) -> SentenceBook:
        """From the similarity of the training films with each sentence."""
        return cls(tuple(texts), similarity.mean(0), similarity.std(0, correction=0).clamp(min=1e-6))

    def match(self, alignment: GlobalAlignment, films: Float[Tensor, "b f"], number: int) -> list[list[str]]:
        """The `number` sentences that each film calls for most, in deviations above the usual.

        Args:
            alignment: of films and texts.
            films: pooled patches, `FilmPatches.pooled`.
            number: >= 1.
        """
        score = (alignment.similarity(films, self.texts) - self.mean) / self.std
        best = score.topk(min(number, len(self.texts)), dim=1).indices
        return [[self.texts[i] for i in row] for row in best.tolist()]

    def save(self, directory: Path) -> None:
        """Write `sentences.json`."""
        usual = zip(self.texts, self.mean.tolist(), self.std.tolist(), strict=True)
        write_json(directory / FILE, [{"text": text, "mean": mean, "std": std} for text, mean, std in usual])

    @classmethod
    def load(cls, directory: Path) -> SentenceBook:
        """What `save` wrote.

        Raises:
            InputError: the file is missing or broken.
        """
        found = read_json(directory / FILE)
        try:
            texts = tuple(str(each["text"]) for each in found)
            mean, std = (torch.tensor([float(each[name]) for each in found]) for name in ("mean", "std"))
        except (TypeError, KeyError, ValueError):
            raise InputError(f"{directory / FILE}: no sentences with their mean and std; train the codebooks again") from None
        if not texts:
            raise InputError(f"{directory / FILE}: holds no sentence; train the codebooks again")
        return cls(texts, mean, std)


def said_by(reports: Sequence[str], least: int) -> list[str]:
    """Sentences of two words or more that so many reports say, the most frequent first: no one's report can be told from them.

    Raises:
        InputError: there is none.
    """
    counted = Counter(text for report in reports for text in {found for found, _, _ in sentences(report) if " " in found})
    texts = [text for text, count in sorted(counted.items(), key=lambda item: (-item[1], item[0])) if count >= least]
    if not texts:
        raise InputError(
            f"language.sentence_hints: no sentence is in {least} of {len(reports)} reports; give more reports, or ask for none"
        )
    return texts
