"""On which side of the patient is what a report places on one side alone? Logistic regression from what the film's halves differ in.

Neither the similarity nor the keywords tell left from right: both take a film as a whole, and were never told that "left" is a place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from cyclicxr.checkpoint import load_tensors, save_tensors
from cyclicxr.data.reports import sentences, side_of, without_marks
from cyclicxr.types import Entity, InputError

WEIGHTS = "side_reader.safetensors"
INVERSE_PENALTY = 1e-3  # [ours] scikit-learn's C, on standardised differences
SIGN = {"left": 1, "right": -1, "": 0}


def claimed(sentence: str, findings: Collection[Entity]) -> int:
    """1 where a sentence affirms a finding and names the patient's left side alone, -1 the right one, 0 otherwise.

    Args:
        sentence: of a report.
        findings: that it names, denied ones too.
    """
    return SIGN[side_of(sentence)] if any(not finding.negated for finding in findings) else 0


def claims(reports: Sequence[str], findings_in: Callable[[str], Collection[Entity]]) -> list[int]:
    """Of each report the side that its sentences claim; 0 where they claim none, or one this and one that."""
    found = [{claimed(text, findings_in(text)) for text, _, _ in sentences(without_marks(report))} - {0} for report in reports]
    return [sides.pop() if len(sides) == 1 else 0 for sides in found]


@dataclass(frozen=True)
class SideReader:
    """A logistic regression on f differences, each standardised.

    Args:
        centre: (f,) their means.
        scale: (f,) their deviations.
        weights: (f,).
        intercept: (1,) log-odds of left on a film that differs as films usually do.
    """

    centre: Float[Tensor, " f"]
    scale: Float[Tensor, " f"]
    weights: Float[Tensor, " f"]
    intercept: Float[Tensor, " 1"]

    @classmethod
    def learn(cls, asymmetry: Float[Tensor, "n f"], sides: Sequence[int]) -> SideReader:
        """From training films; one that says nothing of any film where no report claims a left side, or none a right one.

        Args:
            asymmetry: of each film, `FilmPatches.asymmetry`.
            sides: `claims` of their reports; films of 0 say only how films usually differ.
        """
        scaler, side = StandardScaler().fit(asymmetry.numpy()), np.array(sides)
        weights, intercept = np.zeros(asymmetry.shape[1]), np.zeros(1)
        if {-1, 1} <= set(sides):
            sure = side != 0
            fitted = LogisticRegression(C=INVERSE_PENALTY).fit(scaler.transform(asymmetry.numpy()[sure]), side[sure] > 0)
            weights, intercept = fitted.coef_[0], fitted.intercept_
        return cls(*(torch.from_numpy(np.asarray(part)).float() for part in (scaler.mean_, scaler.scale_, weights, intercept)))

    def left(self, asymmetry: Float[Tensor, "b f"]) -> Float[Tensor, " b"]:
        """The probability that what a film's report places on one side alone is on the patient's left, in [0, 1]."""
        return torch.sigmoid((asymmetry.float() - self.centre) / self.scale @ self.weights + self.intercept)

    def save(self, directory: Path) -> None:
        """Write `side_reader.safetensors`."""
        save_tensors(directory / WEIGHTS, vars(self))

    @classmethod
    def load(cls, directory: Path) -> SideReader:
        """What `save` wrote.

        Raises:
            InputError: the file is missing or broken.
        """
        parts = load_tensors(directory / WEIGHTS)
        if set(parts) != {each.name for each in fields(cls)}:
            raise InputError(f"{directory / WEIGHTS}: no reader of sides; restore the file or train the codebooks again")
        return cls(**parts)
