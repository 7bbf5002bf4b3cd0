"""Does a report name what is on the film? Findings affirmed in the text against labels of the film, so that a text model blind to the
film is unmasked; knows no model and no label source.

The reader is small and rule-based (spaCy phrases, negspacy's negation): its own ceiling is what it scores on the true reports, and
every table shows that row.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from cyclicxr.metrics.phrases import SPANS, clinical_negations, phrase_reader
from cyclicxr.types import InputError

if TYPE_CHECKING:
    from spacy.language import Language

NORMAL = "normal"
MIN_FILMS = 10  # findings on fewer labelled films are left out: their F1 is noise

# Finding -> phrases in the form of `phrases`, by commas.
_PHRASES = {
    "cardiomegaly": "cardiomegaly, cardiac|heart enlargement, enlarged heart|cardiac, "
    "heart|cardiac|cardiomediastinal ... enlarged|borderline",
    "effusion": "effusion, effusions, pleural fluid, blunting|blunted ... costophrenic, costophrenic ... blunting|blunted",
    "opacity": "opacity, opacities, opacification, density, densities, airspace|space disease, infiltrate|infiltrates, consolidation",
    "airspace disease": "airspace|space disease, infiltrate|infiltrates, consolidation, pneumonia, airspace opacity|opacities",
    "pneumonia": "pneumonia, pneumonitis, bronchopneumonia",
    "atelectasis": "atelectasis, atelectases, atelectatic, volume loss",
    "edema": "edema, vascular|venous|pulmonary congestion, vascular|vasculature ... prominent|engorged|congested, heart failure",
    "pneumothorax": "pneumothorax, pneumothoraces, hydropneumothorax",
    "nodule": "nodule, nodules, nodular, mass, masses, mass-like, cyst",
    "granuloma": "granuloma, granulomas, granulomata, granulomatous, calcified ... nodule|nodules|node|nodes|hilar, calcification ... lung",
    "low lung volumes": "low ... lung volumes, low volumes, hypoinflation, hypoinflated, hypoventilated, "
    "lung volumes ... low, low inspiratory",
    "hyperinflation": "hyperinflation, hyperinflated, hyperexpanded, hyperexpansion, hyperlucent, hyperaerated, "
    "flattening|flattened ... diaphragm|diaphragms|hemidiaphragms, diaphragm|diaphragms|hemidiaphragms ... flattened",
    "emphysema": "emphysema, emphysematous, copd, chronic obstructive, bullous, bulla, bullae",
    "scar": "scar, scars, scarring, fibrosis, fibrotic, pleural|apical thickening",
    "interstitial markings": "interstitial|lung|pulmonary|bronchovascular|reticular markings, interstitial opacities|disease|prominence, "
    "prominent|increased|coarse|coarsened ... markings, interstitial lung, bronchovascular|interstitial ... crowding|thickening",
    "elevated diaphragm": "elevated|elevation|eventration ... diaphragm|hemidiaphragm, diaphragm|hemidiaphragm ... elevated",
    "tortuous aorta": "tortuous|tortuosity|ectatic|unfolded|uncoiled|dilated|prominent ... aorta, "
    "aorta|aortic ... tortuous|tortuosity|ectatic|ectasia|unfolded|dilated|prominent",
    "atherosclerosis": "atherosclerosis, atherosclerotic, aortic|vascular calcification|calcifications, "
    "calcified|calcification ... aorta|aortic, aorta ... calcified",
    "degenerative spine": "degenerative, spondylosis, osteophyte, osteophytes, osteophytic, spurring",
    "scoliosis": "scoliosis, scoliotic, dextroscoliosis, levoscoliosis, kyphoscoliosis, scoliotic curvature",
    "vertebral deformity": "kyphosis, kyphotic, kyphoscoliosis, wedging, "
    "compression|wedge|vertebral deformity|deformities|fracture|fractures",
    "fracture": "fracture, fractures, fractured, rib|clavicle|clavicular deformity|deformities",
    "device": "catheter, catheters, picc, central|venous line, pacemaker, pacer, defibrillator, stimulator, stent, stents, port, leads, "
    "tube, device",
    "surgical hardware": "clips, suture, sutures, sternotomy, sternal wires, cervical|spinal|spine ... hardware|fusion|fixation|rods",
}


@dataclass(frozen=True)
class FindingStatistics:
    """What the clinical scores count of each labelled film.

    Args:
        findings: names of the f findings that are scored.
        counts: (n, 3, f) right, wrong and missed findings of each film, a column a finding.
        abnormal: (n,) 1 where the film shows a finding.
        named: (n,) 1 where the report affirms any finding.
        right: (n,) 1 where it affirms one that the film shows.
    """

    findings: tuple[str, ...]
    counts: Float[np.ndarray, "n 3 f"]
    abnormal: Float[np.ndarray, " n"]
    named: Float[np.ndarray, " n"]
    right: Float[np.ndarray, " n"]

    def scores(self, weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        """Each score of the corpus in which film i occurs `weights[:, i]` times; NaN where it has no case."""
        right, wrong, missed = np.moveaxis(np.tensordot(weights, self.counts, 1), 1, 0)  # (r, f) each
        return {
            "finding macro F1": _f1(right, wrong, missed).mean(1),
            "finding micro F1": _f1(right.sum(1), wrong.sum(1), missed.sum(1)),
            "right finding named on abnormal": _share(weights, self.right, self.abnormal),
            "any finding named on abnormal": _share(weights, self.named, self.abnormal),
            "any finding named on normal": _share(weights, self.named, 1 - self.abnormal),
        }

    def by_finding(self) -> dict[str, tuple[float, int]]:
        """F1 of each finding, and the number of films that show it."""
        right, wrong, missed = self.counts.sum(0)
        films = (right + missed).astype(int).tolist()
        return dict(zip(self.findings, zip(_f1(right, wrong, missed).tolist(), films, strict=True), strict=True))


def findings_named() -> tuple[str, ...]:
    """The findings that the reader knows."""
    return tuple(_PHRASES)


def named_findings(texts: Sequence[str]) -> list[set[str]]:
    """Findings that each report affirms ("no effusion" affirms none)."""
    documents = _reader().pipe(texts)
    return [{span.label_ for span in document.spans[SPANS] if not span._.negex} for document in documents]


def score_findings(named: Sequence[Collection[str]], labels: Sequence[Collection[str]]) -> dict[str, float]:
    """Scores of the findings that reports affirm against those that their films show; in [0, 1].

    "right finding named on abnormal" is the share of abnormal films on which the report names a finding of that film; "any finding
    named" on abnormal and on normal films are equal for a model that does not look.

    Args:
        named: findings of each report, as from `named_findings`.
        labels: findings of each film; `{"normal"}` for a normal one; empty for an unlabelled one, which is left out.

    Raises:
        InputError: see `finding_statistics`.
    """
    statistics = finding_statistics(named, labels)
    return {name: float(value[0]) for name, value in statistics.scores(np.ones((1, len(statistics.abnormal)))).items()}


def finding_statistics(named: Sequence[Collection[str]], labels: Sequence[Collection[str]]) -> FindingStatistics:
    """Count findings film by film, over the findings that the reader knows and that `MIN_FILMS` films show.

    Raises:
        InputError: sides of different length, or no finding on `MIN_FILMS` films.
    """
    if len(named) != len(labels):
        raise InputError(f"clinical scores: {len(named)} reports for {len(labels)} films; give one a film")
    scored = scored_findings(labels)
    if not scored:
        raise InputError(f"clinical scores: no finding is on {MIN_FILMS} labelled films; evaluate a larger split")
    pairs = [(set(said), set(shown)) for said, shown in zip(named, labels, strict=True) if shown]
    said, shown = (np.array([[finding in pair[side] for finding in scored] for pair in pairs]) for side in (0, 1))
    return FindingStatistics(
        findings=tuple(scored),
        counts=np.stack([said & shown, said & ~shown, ~said & shown], axis=1).astype(float),
        abnormal=np.array([bool(shown - {NORMAL}) for _, shown in pairs], dtype=float),
        named=np.array([bool(said) for said, _ in pairs], dtype=float),
        right=np.array([bool(said & shown) for said, shown in pairs], dtype=float),
    )


def scored_findings(labels: Sequence[Collection[str]]) -> list[str]:
    """The findings that the reader knows and that `MIN_FILMS` films show."""
    return [finding for finding in _PHRASES if sum(finding in shown for shown in labels) >= MIN_FILMS]


def area_under_curve(scores: Float[np.ndarray, " n"], positive: np.ndarray, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
    """Area under the ROC curve when case i counts `weights[:, i]` times: the share of (positive, negative) pairs in the right order, a
    tie half a pair; NaN where a side is empty."""
    positive = positive.astype(bool)
    above, below = scores[positive][:, None], scores[~positive][None]
    order = (above > below) + (above == below) / 2  # (p, q)
    heavy, light = weights[:, positive], weights[:, ~positive]
    pairs = heavy.sum(1) * light.sum(1)
    return np.asarray(np.divide(((heavy @ order) * light).sum(1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0))


def _f1(right: np.ndarray, wrong: np.ndarray, missed: np.ndarray) -> np.ndarray:
    total = 2 * right + wrong + missed
    return np.asarray(np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0))


def _share(weights: np.ndarray, which: np.ndarray, among: np.ndarray) -> np.ndarray:
    total = weights @ among
    return np.asarray(np.divide(weights @ (which * among), total, out=np.full(len(weights), np.nan), where=total > 0))


@functools.cache
def _reader() -> Language:
    terms = clinical_negations()
    following = ["is not", "are not", "not seen", "not identified", "resolved", "absent"]
    terms.add_patterns({"preceding_negations": ["clear of"], "following_negations": following})
    terms.add_patterns({"termination": [";", "there is", "there are", "with"]})
    phrases = {finding: listed.split(", ") for finding, listed in _PHRASES.items()}
    return phrase_reader(phrases, {"negex": terms.get_patterns()})
