"""What sentences of a report state of CheXpert's findings, and which of them can't stand together: one denies what the other affirms, or
says no more than the other has said; knows no film and no model.

A finding that is denied takes its narrower kinds with it ("the lungs are clear" leaves no atelectasis), after the hierarchy of Irvin et
al. (CheXpert, AAAI 2019, Fig. 1); "no acute abnormality" takes what is acute.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from cyclicxr.metrics.chexpert import label_reports
from cyclicxr.metrics.labels import BLANK, CLASSES, NEGATIVE, present

NARROWER = {  # finding -> those that are gone where it is denied
    "Enlarged Cardiomediastinum": ("Cardiomegaly",),
    "Lung Opacity": ("Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis"),
    "Consolidation": ("Pneumonia",),
}
ACUTE = ("Edema", "Consolidation", "Pneumonia", "Pneumothorax", "Pleural Effusion")  # gone where nothing is acute
_BONES = r"(?!.*\b(?:bony|osseous|bones?|skeletal|fractures?|ribs?)\b)"  # "no acute bony abnormality" says nothing of the rest
_NOTHING_ACUTE = re.compile(
    rf"\b(?:no|without|negative for)\b{_BONES}.*\b(?:acute|active)\b.*\b(?:disease|abnormalit(?:y|ies)|process(?:es)?|findings?)\b"
    r"|\b(?:normal|negative|unremarkable) (?:chest|exam)\b"
)


def contradicting(sentences: Sequence[str]) -> Bool[np.ndarray, "n n"]:
    """Which of n sentences affirm what another denies; on the diagonal those that do so by themselves."""
    affirmed, denied, _ = _stated(sentences)
    clash = affirmed @ denied.T
    return np.asarray((clash + clash.T) > 0)


def repeating(sentences: Sequence[str]) -> Bool[np.ndarray, "n n"]:
    """Of which two of n sentences one states nothing that the other does not state; one that states nothing at all repeats no other."""
    *_, stated = _stated(sentences)
    count = stated.sum(1)
    within = (stated @ stated.T >= count[:, None]) & (count[:, None] > 0)
    np.fill_diagonal(within, False)
    return np.asarray(within | within.T)


def coherence(sentences: Sequence[str]) -> tuple[bool, int]:
    """Whether a report of these sentences contradicts itself, and how many of them say again what one before them said, or more than it."""
    return bool(contradicting(sentences).any()), int(np.triu(repeating(sentences)).any(0).sum())


def _stated(sentences: Sequence[str]) -> tuple[Float[np.ndarray, "n f"], Float[np.ndarray, "n f"], Float[np.ndarray, "n s"]]:
    """What each sentence affirms, what it denies with all that is narrower, and what it says in so many words, as 0 and 1."""
    f = len(CLASSES)
    each = np.array([_statements(sentence) for sentence in sentences], dtype=np.float32).reshape(len(sentences), 2 * f + 1)
    affirmed, denied = each[:, :f], each[:, f:-1].copy()
    for columns, gone in [*((each[:, f + CLASSES.index(name)], kinds) for name, kinds in NARROWER.items()), (each[:, -1], ACUTE)]:
        for kind in gone:
            denied[:, CLASSES.index(kind)] += columns
    return affirmed, denied, each


@functools.lru_cache(maxsize=20_000)
def _statements(sentence: str) -> tuple[bool, ...]:
    """Of each label whether it is affirmed, of each whether it is denied, and whether nothing is said to be acute."""
    labels = label_reports([sentence])
    labels[:, CLASSES.index("No Finding")] = BLANK
    affirmed, denied = present(labels)[0], (labels == NEGATIVE)[0]
    return (*affirmed.tolist(), *denied.tolist(), _NOTHING_ACUTE.search(sentence.lower()) is not None)
