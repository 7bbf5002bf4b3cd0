"""What an evaluation asks of a model, and the vectors it computes with it; knows no metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cyclicxr.config import Preset
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.metrics.interval import Measure
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.training.corpus import Corpus, to_float
from cyclicxr.types import InputError, Progress

FILMS = 32  # films through a network at once
_SCORED_FILMS, _SCORED_TEXTS = 8, 32  # of one block of similarities: some 40 MB

Table = dict[str, dict[str, Measure]]  # row (system, direction) -> metric -> number


@runtime_checkable
class Evaluated(Protocol):
    """The parts of `cycle.Model` that are evaluated; films are uint8 (b, s, s), bone bright."""

    info: dict[str, str]
    preset: Preset
    classifier: FilmClassifier | None
    matcher: AdaMatch
    alignment: GlobalAlignment
    vqgan: VQGAN

    def write_reports(self, pixels: UInt8[Tensor, "b s s"]) -> list[str]:
        """A report a film."""

    def draw_films(self, texts: list[str], seed: int) -> UInt8[Tensor, "b s s"]:
        """A film a text."""


@dataclass(frozen=True)
class Case:
    """What one evaluation is over.

    Args:
        corpus: all splits of the studies table; its reports are without marks of removed words.
        raw: study id -> report as it stands in the table.
        split: the one that is evaluated.
        seed: of everything random.
        progress: told what is being done, and how much of it.
        sample: so many studies of the split, drawn by the seed; None takes all.
    """

    corpus: Corpus
    raw: Mapping[str, str]
    split: str
    seed: int
    progress: Progress
    sample: int | None = None

    @cached_property
    def cases(self) -> Corpus:
        """The split that is evaluated, or the sample of it, in the table's order.

        Raises:
            InputError: the split has no study, or fewer than the sample.
        """
        whole = self.corpus.split(self.split)
        if self.sample is None:
            return whole
        if not 0 < self.sample <= len(whole):
            raise InputError(f"{self.sample} cases: split '{self.split}' has {len(whole)}; ask for 1 to {len(whole)}")
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(whole))[: self.sample]).tolist()
        return Corpus([whole.studies[row] for row in rows], whole.pixels[rows])

    @cached_property
    def train(self) -> Corpus | None:
        """The training split, which the baselines know; None where there is none."""
        return self.corpus.split("train") if any(study.split == "train" for study in self.corpus.studies) else None


@torch.inference_mode()
def over_films(
    network: Callable[[Tensor], Tensor], pixels: UInt8[Tensor, "n h w"], told: Callable[[int, int], None] = lambda done, total: None
) -> Float[Tensor, "n ..."]:
    """A network's outputs over many films (b 1 h w) in [0, 1], in float32, a batch at a time; `told` how many are done, and of how many."""
    outputs = []
    for start in range(0, len(pixels), FILMS):
        outputs.append(network(to_float(pixels[start : start + FILMS])).float())
        told(min(start + FILMS, len(pixels)), len(pixels))
    return torch.cat(outputs)


def mean_patch(matcher: AdaMatch) -> Callable[[Tensor], Tensor]:
    """One vector a film from its adaptive patches: their mean, the cheap similarity of two films."""
    return lambda films: matcher.encode_films(films).features.float().mean(1)


@torch.inference_mode()
def similarities(matcher: AdaMatch, pixels: UInt8[Tensor, "n h w"], texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Similarity of every film with every text, the matcher's own: image-to-text (n, c) and text-to-image (n, c), in float32."""
    patches = over_films(lambda films: matcher.encode_films(films).features, pixels)  # (n, p, d)
    to_text, to_film = torch.empty(len(pixels), len(texts)), torch.empty(len(pixels), len(texts))
    for start in range(0, len(texts), _SCORED_TEXTS):
        words = matcher.encode_texts(list(texts[start : start + _SCORED_TEXTS]))
        longest = int(words.mask.any(0).nonzero().max()) + 1  # what is behind is padding for all
        features, mask = words.features[:, :longest].float(), words.mask[:, :longest]
        for film in range(0, len(pixels), _SCORED_FILMS):
            block = slice(film, film + _SCORED_FILMS), slice(start, start + _SCORED_TEXTS)
            found = matcher.similarity(patches[block[0]], features, mask)
            to_text[block], to_film[block] = found[0].cpu(), found[1].cpu()
    return to_text.numpy(), to_film.numpy()
