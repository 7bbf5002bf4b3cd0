"""How well a film supports a sentence, in [0, 1]: its similarity beside the best that the visual codebook offers, calibrated on
validation reports of the right and of other films. Ours, beyond the paper (consistency check).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.codebooks.matcher import Matcher
from cyclicxr.match.evidence import sentence_support
from cyclicxr.types import InputError

FILE = "support.json"


def excess(
    patches: Float[Tensor, "n d"], keypatches: Float[Tensor, "p d"], matcher: Matcher, sentences: Sequence[str]
) -> Float[Tensor, " c"]:
    """Each sentence's support by a film less its support by all keypatches together: how close the film comes to the best known.

    Args:
        patches: unit vectors of the film's patches.
        keypatches: unit vectors of the visual codebook.
        matcher: encodes the sentences, each by itself.
        sentences: at least one.
    """
    words = matcher.encode_texts(list(sentences))
    return sentence_support(patches, words.features, words.mask) - sentence_support(keypatches, words.features, words.mask)


@dataclass(frozen=True)
class Support:
    """Logistic calibration of `excess`.

    Args:
        slope: of the logit.
        intercept: of the logit.
        auc: area under the ROC curve, sentences of the right film against the same sentences on another, on the films it was fitted on.
    """

    slope: float
    intercept: float
    auc: float

    @classmethod
    def fit(cls, own: np.ndarray, other: np.ndarray) -> Support:
        """Fit on the excess of sentences on their own films and on others' films."""
        values = np.concatenate([own, other])[:, None]
        truth = np.concatenate([np.ones(len(own)), np.zeros(len(other))])
        fitted = LogisticRegression(C=1e6, class_weight="balanced").fit(values, truth)
        return cls(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]), float(roc_auc_score(truth, values[:, 0])))

    def probability(self, excess: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
        """Chance that the sentence is this film's and not another's, both equally likely beforehand; in (0, 1)."""
        return torch.sigmoid(self.slope * excess + self.intercept)

    def save(self, directory: Path) -> None:
        """Write `support.json`."""
        write_json(directory / FILE, asdict(self))

    @classmethod
    def load(cls, directory: Path) -> Support:
        """Read what `save` wrote.

        Raises:
            InputError: it is missing or broken.
        """
        values = read_json(directory / FILE)
        if not isinstance(values, dict) or set(values) != {"slope", "intercept", "auc"}:
            raise InputError(f"{directory / FILE}: not a calibration; run the codebooks stage again")
        return cls(**values)


def consistency(original: Float[Tensor, " c"], redrawn: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """Consistency of each sentence after a cycle, in [0, 1]: what the original supports, less what only the redrawn film shows.

    For supports .8 (original) and .9 (redrawn): .8 x (1 - .1) = .72; where the redrawn film shows less, the original's alone counts.
    """
    return original * (1 - (redrawn - original).clamp(min=0))
