"""OpenI (Indiana University): NLM's MeSH annotations -> findings, and the official download -> studies table; knows no pixel.

Source: Demner-Fushman et al., JAMIA 2016. An annotation is a heading with qualifiers: `Opacity/lung/base/left/patchy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

NORMAL = "normal"


class _Term(NamedTuple):
    """An annotation shows a finding if it has this heading and, where any are named, one of these qualifiers; all in lower case."""

    heading: str
    qualifiers: frozenset[str] = frozenset()


def _terms(*described: str) -> tuple[_Term, ...]:
    """ "heading/this|that": the heading with either qualifier."""
    pairs = (text.partition("/") for text in described)
    return tuple(_Term(heading, frozenset(qualifiers.split("|")) if qualifiers else frozenset()) for heading, _, qualifiers in pairs)


# [ours] Which annotations show which finding. Findings overlap (a consolidation is an opacity too).
_FINDINGS: dict[str, tuple[_Term, ...]] = {
    NORMAL: _terms("normal"),
    "cardiomegaly": _terms("cardiomegaly", "cardiac shadow/enlarged", "heart/enlarged", "heart ventricles/enlarged|prominent"),
    "effusion": _terms("pleural effusion", "costophrenic angle/blunted|obscured", "hydropneumothorax", "hemothorax"),
    "opacity": _terms(
        "opacity",
        "airspace disease",
        "infiltrate",
        "consolidation",
        "density/lung|retrocardiac|hilum|base|lower lobe|upper lobe|middle lobe",
    ),
    "airspace disease": _terms("airspace disease", "infiltrate", "consolidation", "pneumonia"),
    "pneumonia": _terms("pneumonia", "bronchopneumonia"),
    "atelectasis": _terms("pulmonary atelectasis", "volume loss"),
    "edema": _terms("pulmonary edema", "pulmonary congestion", "heart failure"),
    "pneumothorax": _terms("pneumothorax", "hydropneumothorax"),
    "nodule": _terms("nodule", "mass", "cysts"),
    "granuloma": _terms(
        "calcified granuloma", "granuloma", "granulomatous disease", "calcinosis/lung|lymph nodes|hilum|mediastinum|paratracheal"
    ),
    "low lung volumes": _terms("lung/hypoinflation"),
    "hyperinflation": _terms("lung/hyperdistention", "lung, hyperlucent", "diaphragm/flattened"),
    "emphysema": _terms("emphysema", "pulmonary emphysema", "bullous emphysema", "pulmonary disease, chronic obstructive"),
    "scar": _terms("cicatrix", "pulmonary fibrosis", "fibrosis", "thickening/pleura|apex"),
    "interstitial markings": _terms("markings", "lung diseases, interstitial", "opacity/interstitial"),
    "elevated diaphragm": _terms("diaphragm/elevated", "diaphragmatic eventration"),
    "tortuous aorta": _terms("aorta/tortuous|enlarged|prominent", "aorta, thoracic/tortuous|enlarged|prominent", "aortic aneurysm"),
    "atherosclerosis": _terms("atherosclerosis", "calcinosis/aorta|aorta, thoracic|blood vessels"),
    "degenerative spine": _terms(
        "thoracic vertebrae/degenerative",
        "spine/degenerative",
        "lumbar vertebrae/degenerative",
        "cervical vertebrae/degenerative",
        "osteophyte",
        "spondylosis",
        "hyperostosis, diffuse idiopathic skeletal",
    ),
    "scoliosis": _terms("scoliosis"),
    "vertebral deformity": _terms("kyphosis", "deformity/thoracic vertebrae|lumbar vertebrae|spine"),
    "fracture": _terms("fractures, bone", "deformity/ribs|clavicle"),
    "device": _terms("catheters, indwelling", "tube, inserted", "implanted medical device", "medical device", "stents"),
    "surgical hardware": _terms("surgical instruments", "spinal fusion", "sutures"),
}
FINDINGS: tuple[str, ...] = tuple(_FINDINGS)


def findings_of(mesh: Sequence[str]) -> set[str]:
    """The findings that a film's annotations show.

    Args:
        mesh: annotations as NLM writes them, one a heading; in any case.

    Returns:
        Some of `FINDINGS`, `{"normal"}` alone for a normal film; empty where nothing is annotated or nothing that is in the list (such a
        film is not labelled normal).
    """
    annotations = [[part.strip() for part in term.lower().split("/")] for term in mesh]
    return {finding for finding, terms in _FINDINGS.items() if any(_shows(parts, term) for parts in annotations for term in terms)}


def _shows(annotation: Sequence[str], term: _Term) -> bool:
    return annotation[0] == term.heading and (not term.qualifiers or not term.qualifiers.isdisjoint(annotation[1:]))
