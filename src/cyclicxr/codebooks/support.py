"""How well a film supports a sentence, in [0, 1]: its similarity beside the best that the visual codebook offers, how likely the film makes
the findings that the sentence affirms and denies, and the side that it claims; calibrated on true and false sentences of validation
reports. Ours, beyond the paper (consistency check).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.codebooks.matcher import Matcher, Patches
from cyclicxr.codebooks.sides import SideReader, claimed
from cyclicxr.codebooks.textual import TextualCodebook
from cyclicxr.match.evidence import sentence_support
from cyclicxr.types import Entity, InputError

FILE = "support.json"
LEAST = 1e-4  # [ours] a probability is held to be no smaller


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


def odds(chances: Mapping[str, float], findings: Collection[Entity]) -> float:
    """Log-odds that a film gives what a sentence says: the mean over its findings, of a denied one with the other sign.

    Args:
        chances: finding -> the probability that the film's report affirms it, in [0, 1].
        findings: of the sentence; others than those of `chances` count nothing.

    Returns:
        0 where nothing is known. Chances .8 of an effusion and .5 of an edema: "effusion, no edema" has (log 4 - log 1) / 2 = .69.
    """
    known = [(chances[finding.text], finding.negated) for finding in findings if finding.text in chances]
    return sum(-_logit(p) if denied else _logit(p) for p, denied in known) / max(1, len(known))


@dataclass(frozen=True)
class Shown:
    """What is read off one film.

    Args:
        patches: (n, d) unit vectors.
        chances: as `odds` takes them.
        left: the probability that what its report places on one side alone is on the patient's left, in [0, 1].
    """

    patches: Float[Tensor, "n d"]
    chances: Mapping[str, float]
    left: float

    @classmethod
    def of(cls, films: Patches, matcher: Matcher, textual: TextualCodebook, sides: SideReader) -> list[Shown]:
        """Of films whose patches are at hand."""
        read = zip(films.features, textual.chances(matcher, films), sides.left(films.asymmetry).tolist(), strict=True)
        return [cls(*film) for film in read]


def evidence(
    shown: Shown,
    keypatches: Float[Tensor, "p d"],
    matcher: Matcher,
    sentences: Sequence[str],
    findings_in: Callable[[str], Collection[Entity]],
) -> Float[Tensor, "c 3"]:
    """What a film has to say of each sentence: the sentence's `excess`, the `odds` of its findings, and those of the side that it claims.

    Args:
        shown: by the film.
        keypatches: unit vectors of the visual codebook.
        matcher: encodes the sentences, each by itself.
        sentences: at least one.
        findings_in: the findings of a sentence.
    """
    found = excess(shown.patches, keypatches, matcher, sentences)
    said = [(sentence, findings_in(sentence)) for sentence in sentences]
    likely = [odds(shown.chances, findings) for _, findings in said]
    sided = [_logit(shown.left) * claimed(sentence, findings) for sentence, findings in said]
    return torch.stack([found, found.new_tensor(likely), found.new_tensor(sided)], dim=1)


def evidence_on(
    films: Sequence[Shown],
    rows: Sequence[int],
    sentences: Sequence[str],
    keypatches: Float[Tensor, "p d"],
    matcher: Matcher,
    findings_in: Callable[[str], Collection[Entity]],
) -> Float[Tensor, "c 3"]:
    """`evidence` for sentences of which each is asked of a film of its own, the one that its row counts."""
    return torch.cat([evidence(films[row], keypatches, matcher, [text], findings_in) for row, text in zip(rows, sentences, strict=True)])


@dataclass(frozen=True)
class Support:
    """Logistic calibration of `evidence`.

    Args:
        excess: slope of the logit with it.
        odds: likewise.
        side: likewise.
        intercept: of the logit.
        auc: area under the ROC curve, true sentences against false ones, on the films it was fitted on.
    """

    excess: float
    odds: float
    side: float
    intercept: float
    auc: float

    @classmethod
    def fit(cls, true: Float[np.ndarray, "n 3"], false: Float[np.ndarray, "m 3"]) -> Support:
        """Fit on the evidence for true sentences and for false ones."""
        values = np.concatenate([true, false])
        truth = np.concatenate([np.ones(len(true)), np.zeros(len(false))])
        fitted = LogisticRegression(C=1e6, class_weight="balanced").fit(values, truth)
        numbers = *fitted.coef_[0], fitted.intercept_[0], roc_auc_score(truth, fitted.decision_function(values))
        return cls(*map(float, numbers))

    def probability(self, evidence: Float[Tensor, "c 3"]) -> Float[Tensor, " c"]:
        """Chance that a sentence is true of the film and not made false by rule, both equally likely beforehand; in (0, 1)."""
        return torch.sigmoid(evidence @ evidence.new_tensor([self.excess, self.odds, self.side]) + self.intercept)

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
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
            raise InputError(f"{directory / FILE}: not a calibration; run the codebooks stage again")
        return cls(**values)


def consistency(original: Float[Tensor, " c"], redrawn: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """Consistency of each sentence after a cycle, in [0, 1]: what the original supports, less what only the redrawn film shows.

    For supports .8 (original) and .9 (redrawn): .8 x (1 - .1) = .72; where the redrawn film shows less, the original's alone counts.
    """
    return original * (1 - (redrawn - original).clamp(min=0))


def _logit(p: float) -> float:
    return math.log(max(p, LEAST) / max(1 - p, LEAST))
