"""A CheXpert-style labeler: a report -> 14 labels, each positive, negative, uncertain or blank, by phrases, negation and hedges.

Written anew on spaCy and negspacy after the description of CheXpert's labeler, not a port: its labels agree with that one's in kind, not
case by case, so its F1 carries the name "rules" and is compared with itself only. It reads sentence by sentence and knows no film; what
it does not know is said in its benchmark, where its labels stand against OpenI's annotations.

Source: Irvin et al., CheXpert (AAAI 2019), section "Label extraction".
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int8

from cyclicxr.metrics.labels import BLANK, CLASSES, NEGATIVE, POSITIVE, UNCERTAIN
from cyclicxr.metrics.phrases import SPANS, clinical_negations, phrase_reader

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

NAME = "rules"
NO_FINDING, DEVICES = CLASSES.index("No Finding"), CLASSES.index("Support Devices")

_RANK = (BLANK, NEGATIVE, UNCERTAIN, POSITIVE)  # the later wins
_SENTENCE = re.compile(r"(?<=[.;!?])\s+(?=\D|\d+[.)](?:\s|$))|\n+")
_ITEM = re.compile(r"^\s*\d+[.)]\s*")


def label_reports(texts: Sequence[str]) -> Int8[np.ndarray, "n 14"]:
    """The 14 labels of each report, numbered as `labels.STATES`, in the order of `labels.CLASSES`.

    A label is what the report's sentences say of it: positive over uncertain over negative over blank. "No Finding" is positive where no
    other label is positive or uncertain, support devices aside, and blank otherwise; an empty report has no label at all.
    """
    split = [sentences_of(text) for text in texts]
    distinct = list(dict.fromkeys(sentence for sentences in split for sentence in sentences))
    found = dict(zip(distinct, map(_labels_of, _reader().pipe(distinct)), strict=True))
    labels = np.full((len(texts), len(CLASSES)), BLANK, dtype=np.int8)
    for row, sentences in zip(labels, split, strict=True):
        for state in _RANK[1:]:
            row[[label for sentence in sentences for label, said in found[sentence].items() if said == state]] = state
        others = np.delete(row, [NO_FINDING, DEVICES])
        if sentences and not np.isin(others, (POSITIVE, UNCERTAIN)).any():
            row[NO_FINDING] = POSITIVE
    return labels


def sentences_of(text: str) -> list[str]:
    """Sentences in lower case, without the numbers of items: reports repeat them, so each is read once."""
    pieces = (_ITEM.sub("", piece).strip() for piece in _SENTENCE.split(text.lower()))
    return [" ".join(piece.split()) for piece in pieces if any(letter.isalpha() for letter in piece)]


def _labels_of(sentence: Doc) -> dict[int, int]:
    found: dict[int, int] = {}
    borderline: set[int] = set()
    for span in sentence.spans[SPANS]:
        name, _, kind = span.label_.partition("/")
        label = CLASSES.index(name)
        if kind or not span._.past:
            said = _state(kind, denied=span._.denied, hedged=span._.hedged)
            found[label] = max(found.get(label, BLANK), said, key=_RANK.index)
        if kind == "borderline":
            borderline.add(label)
    return found | dict.fromkeys(borderline, UNCERTAIN)  # "borderline enlarged"


def _state(kind: str, *, denied: bool, hedged: bool) -> int:
    if kind == "normal" or (denied and kind == ""):
        return NEGATIVE
    return UNCERTAIN if hedged or kind == "borderline" else POSITIVE


@functools.cache
def _reader() -> Language:
    """Spans labelled "LABEL", "LABEL/normal" (the phrase denies it) and "LABEL/borderline", with `denied`, `hedged` and `past`."""
    found: dict[str, dict[str, list[str]]] = json.loads(files("cyclicxr.metrics").joinpath("chexpert.json").read_text(encoding="utf-8"))
    phrases = dict(found["mentions"])
    phrases |= {f"{label}/{kind}": listed for kind in ("normal", "borderline") for label, listed in found[kind].items()}
    denials = clinical_negations()
    denials.remove_patterns({"preceding_negations": ["rule out", "r/o", "ro", "evaluate for", "rules out"]})  # hedges
    denials.add_patterns(found["denied"])
    return phrase_reader(phrases, {"denied": denials.get_patterns(), "hedged": found["hedged"], "past": found["past"]})
