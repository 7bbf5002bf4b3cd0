"""How well a film supports a sentence, in [0, 1]: its similarity beside the best that the visual codebook offers, and how likely the film
makes the findings that the sentence affirms and denies; calibrated on true and false sentences of validation reports. Ours, beyond the
paper (consistency check).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.codebooks.matcher import Matcher
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
    each = [(1 - p if denied else p) for p, denied in known]
    return sum(math.log(max(p, LEAST) / max(1 - p, LEAST)) for p in each) / max(1, len(each))


def evidence(
    patches: Float[Tensor, "n d"],
    chances: Mapping[str, float],
    keypatches: Float[Tensor, "p d"],
    matcher: Matcher,
    sentences: Sequence[str],
    findings_in: Callable[[str], Collection[Entity]],
) -> Float[Tensor, "c 2"]:
    """What a film has to say of each sentence: the sentence's `excess`, and the `odds` of its findings.

    Args:
        patches: unit vectors of the film's patches.
        chances: of the film, as `odds` takes them.
        keypatches: unit vectors of the visual codebook.
        matcher: encodes the sentences, each by itself.
        sentences: at least one.
        findings_in: the findings of a sentence.
    """
    found = excess(patches, keypatches, matcher, sentences)
    likely = [odds(chances, findings_in(sentence)) for sentence in sentences]
    return torch.stack([found, found.new_tensor(likely)], dim=1)


def evidence_on(
    batches: Iterable[Float[Tensor, "b 1 height width"]],
    films: Sequence[int],
    sentences: Sequence[str],
    matcher: Matcher,
    textual: TextualCodebook,
    keypatches: Float[Tensor, "p d"],
    findings_in: Callable[[str], Collection[Entity]],
) -> Float[Tensor, "c 2"]:
    """`evidence` for sentences of which each is asked of a film of its own.

    Args:
        batches: all films, in [0, 1], some at a time.
        films: number of the film of each sentence.
        sentences: at least one.
        matcher: frozen.
        textual: reads the findings off the films.
        keypatches: as of `evidence`.
        findings_in: likewise.
    """
    patches = [matcher.encode_films(pixels) for pixels in batches]
    features = torch.cat([some.features for some in patches])
    chances = [film for some in patches for film in textual.chances(matcher, some)]
    asked = zip(films, sentences, strict=True)
    return torch.cat([evidence(features[film], chances[film], keypatches, matcher, [text], findings_in) for film, text in asked])


@dataclass(frozen=True)
class Support:
    """Logistic calibration of `evidence`.

    Args:
        excess: slope of the logit with it.
        odds: likewise.
        intercept: of the logit.
        auc: area under the ROC curve, true sentences against false ones, on the films it was fitted on.
    """

    excess: float
    odds: float
    intercept: float
    auc: float

    @classmethod
    def fit(cls, true: Float[np.ndarray, "n 2"], false: Float[np.ndarray, "m 2"]) -> Support:
        """Fit on the evidence for true sentences and for false ones."""
        values = np.concatenate([true, false])
        truth = np.concatenate([np.ones(len(true)), np.zeros(len(false))])
        fitted = LogisticRegression(C=1e6, class_weight="balanced").fit(values, truth)
        excess, odds = map(float, fitted.coef_[0])
        return cls(excess, odds, float(fitted.intercept_[0]), float(roc_auc_score(truth, fitted.decision_function(values))))

    def probability(self, evidence: Float[Tensor, "c 2"]) -> Float[Tensor, " c"]:
        """Chance that a sentence is true of the film and not made false by rule, both equally likely beforehand; in (0, 1), however steep a
        curve was fitted on few sentences.
        """
        chance = torch.sigmoid(evidence @ evidence.new_tensor([self.excess, self.odds]) + self.intercept)
        return chance.clamp(LEAST, 1 - LEAST)

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
