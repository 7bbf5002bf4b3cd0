"""What the language model is told of a film beside its tokens: keywords (3.2.1), and what `language` asks for besides (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from cyclicxr.codebooks.matcher import Matcher, Patches
from cyclicxr.codebooks.sentences import SentenceBook
from cyclicxr.codebooks.textual import MatchedKeyword, TextualCodebook
from cyclicxr.config import LanguageConfig
from cyclicxr.match.global_alignment import GlobalAlignment

SIDE, ZONE = 0.4, 0.38  # [ours] the film's outer parts: up to here it is a side or the upper zone, mirrored the other side or the base


@dataclass(frozen=True)
class FilmHints:
    """Keywords and sentences of films as texts.

    Args:
        cfg: `keyword_details`, `sentence_hints`.
        textual: finds keywords.
        alignment: of films and texts.
        sentences: with `sentence_hints` alone.
    """

    cfg: LanguageConfig
    textual: TextualCodebook
    alignment: GlobalAlignment
    sentences: SentenceBook | None = None

    @classmethod
    def load(cls, directory: Path, cfg: LanguageConfig) -> FilmHints:
        """Of a model directory.

        Raises:
            InputError: a part is missing or broken: of `sentences.json` where sentences are asked for.
        """
        textual, alignment = TextualCodebook.load(directory / "textual_codebook.json"), GlobalAlignment.load(directory)
        return cls(cfg, textual, alignment, SentenceBook.load(directory) if cfg.sentence_hints else None)

    def by(self, textual: TextualCodebook, alignment: GlobalAlignment) -> FilmHints:
        """The same by another codebook and alignment."""
        return replace(self, textual=textual, alignment=alignment)

    def of(self, matcher: Matcher, patches: Patches) -> list[list[str]]:
        """Hints of films, the most telling first."""
        return self.told(patches, self.textual.match_patches(matcher, patches))

    def told(self, patches: Patches, keywords: Sequence[Sequence[MatchedKeyword]]) -> list[list[str]]:
        """Hints of films whose keywords are at hand; sentences stand behind the keywords."""
        hints = [[self._said(word, boxes) for word in found] for found, boxes in zip(keywords, patches.boxes, strict=True)]
        if self.sentences is None:
            return hints
        matched = self.sentences.match(self.alignment, patches.pooled, self.cfg.sentence_hints)
        return [found + more for found, more in zip(hints, matched, strict=True)]

    def _said(self, keyword: MatchedKeyword, boxes: Float[Tensor, "n 4"]) -> str:
        if not self.cfg.keyword_details:
            return keyword.text
        return f"{keyword.text} {round(10 * keyword.probability)} of 10 {place(boxes[keyword.patch].tolist())}"


def place(box: Sequence[float]) -> str:
    """Where on the film a box (x0, y0, x1, y1) in [0, 1] is, as reports say it: the patient's right is the film's left.

    >>> place((0.7, 0.7, 0.9, 0.9)), place((0.1, 0.0, 0.2, 0.2)), place((0.4, 0.4, 0.6, 0.6))
    ('left base', 'right upper', 'mid')
    """
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    side = "right" if x < SIDE else "left" if x > 1 - SIDE else ""
    zone = "upper" if y < ZONE else "base" if y > 1 - ZONE else "mid"
    return f"{side} {zone}".strip()
