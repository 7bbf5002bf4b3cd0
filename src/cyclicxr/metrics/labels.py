"""The 14 labels of CheXpert, and how far the labels of written reports agree with those of the true ones; knows no labeler.

F1 counts "uncertain" as positive and "negative" as blank, which is the field's usual choice; F1-5 is over CheXpert's five competition
labels. Macro averages hold a label that neither side has at 0, as the field's tools do, so they are lower on small splits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int8

from cyclicxr.types import InputError

CLASSES = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)  # in CheXbert's order
FIVE = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
BLANK, POSITIVE, NEGATIVE, UNCERTAIN = range(4)  # as CheXbert numbers them
STATES = ("blank", "positive", "negative", "uncertain")


@dataclass(frozen=True)
class LabelStatistics:
    """What F1 counts of each pair of reports.

    Args:
        labeler: who labelled both; F1 of two labelers are not comparable.
        counts: (n, 3, 14) right, wrong and missed labels of each pair.
    """

    labeler: str
    counts: Float[np.ndarray, "n 3 14"]

    def scores(self, weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        """Micro and macro F1 over 14 and over 5 labels, in [0, 1], of the corpus in which pair i occurs `weights[:, i]` times."""
        right, wrong, missed = np.moveaxis(np.tensordot(weights, self.counts, 1), 1, 0)  # (r, 14) each
        found = {}
        for count, columns in ((14, list(range(14))), (5, [CLASSES.index(name) for name in FIVE])):
            sides = [side[:, columns] for side in (right, wrong, missed)]
            found[f"micro F1-{count} ({self.labeler})"] = f1(*(side.sum(1) for side in sides))
            found[f"macro F1-{count} ({self.labeler})"] = f1(*sides).mean(1)
        return found

    def by_class(self) -> dict[str, tuple[float, int]]:
        """F1 of each label, and how many references have it."""
        right, wrong, missed = self.counts.sum(0)
        having = (right + missed).astype(int).tolist()
        return dict(zip(CLASSES, zip(f1(right, wrong, missed).tolist(), having, strict=True), strict=True))


@dataclass(frozen=True)
class Agreement:
    """How a label of one source agrees with another's, over n reports; precision, recall and F1 in [0, 1], NaN where undefined.

    Args:
        precision: of those that are asked, how many the other source has too.
        recall: of those that the other source has, how many are found.
        f1: of both.
        kappa: Cohen's, in [-1, 1]; 0 is chance.
        cases: how many the other source has.
    """

    precision: float
    recall: float
    f1: float
    kappa: float
    cases: int


def label_statistics(labeler: str, references: Int8[np.ndarray, "n 14"], hypotheses: Int8[np.ndarray, "m 14"]) -> LabelStatistics:
    """Count labels pair by pair.

    Args:
        labeler: its name, which the scores carry.
        references: labels of the true reports, numbered as `STATES`.
        hypotheses: labels of the written ones, in the same order.

    Raises:
        InputError: sides of different length, or nothing to score.
    """
    if len(references) != len(hypotheses) or not len(references):
        raise InputError(f"label scores: {len(hypotheses)} written reports for {len(references)} true ones; give one each")
    shown, said = present(references), present(hypotheses)
    return LabelStatistics(labeler, np.stack([said & shown, said & ~shown, ~said & shown], axis=1).astype(float))


def present(labels: Int8[np.ndarray, "n 14"]) -> np.ndarray:
    """Whether a label counts as there: positive or uncertain."""
    return np.asarray((labels == POSITIVE) | (labels == UNCERTAIN))


def agreement(said: np.ndarray, shown: np.ndarray) -> Agreement:
    """Agreement of one label, said of each report, with another source's; both boolean (n,)."""
    right, wrong, missed = int((said & shown).sum()), int((said & ~shown).sum()), int((~said & shown).sum())
    n = len(said)
    by_chance = (said.sum() * shown.sum() + (n - said.sum()) * (n - shown.sum())) / n**2
    observed = 1 - (wrong + missed) / n
    return Agreement(
        precision=right / (right + wrong) if right + wrong else float("nan"),
        recall=right / (right + missed) if right + missed else float("nan"),
        f1=2 * right / (2 * right + wrong + missed) if right + wrong + missed else float("nan"),
        kappa=float((observed - by_chance) / (1 - by_chance)) if by_chance < 1 else float("nan"),
        cases=right + missed,
    )


def f1(right: np.ndarray, wrong: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """2 right / (2 right + wrong + missed), element by element; 0 where there is nothing."""
    total = 2 * right + wrong + missed
    return np.asarray(np.divide(2 * right, total, out=np.zeros(np.shape(right)), where=total > 0))
