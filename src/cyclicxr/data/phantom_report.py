"""Words for a drawn chest: a report in a radiologist's phrasings, with its negations, and NLM-style annotations; knows no pixel."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from cyclicxr.data.reports import report_text, sentences

# Finding -> phrasings; `{degree}` is filled in.
_PRESENT: dict[str, tuple[str, ...]] = {
    "cardiomegaly": (
        "There is {degree} cardiomegaly.",
        "The heart is {degree}ly enlarged.",
        "The cardiac silhouette is {degree}ly enlarged.",
        "{degree} enlargement of the heart.",
    ),
    "left effusion": (
        "There is a {degree} left pleural effusion.",
        "{degree} left-sided pleural effusion with blunting of the left costophrenic angle.",
        "{degree} effusion on the left.",
    ),
    "right effusion": (
        "There is a {degree} right pleural effusion.",
        "{degree} right-sided pleural effusion with blunting of the right costophrenic angle.",
        "{degree} effusion on the right.",
    ),
    "nodule": (
        "There is a {degree} nodule in the {place}.",
        "A {degree} rounded nodule projects over the {place}.",
        "{degree} nodule, {place}.",
    ),
    "pneumothorax": ("There is a {degree} {place} apical pneumothorax.", "{degree} {place} pneumothorax with a visible pleural line."),
    "pacemaker": (
        "A left-sided pacemaker is in place.",
        "Left chest pacemaker with its lead over the right ventricle.",
        "There is a cardiac pacemaker on the left.",
    ),
    "catheter": ("A right central venous catheter ends in the superior vena cava.", "Right-sided central line with its tip in the SVC."),
}
_OPACITY = (
    "There is a {degree} opacity in the {place}.",
    "{degree} airspace opacity in the {place}.",
    "{degree} opacity in the {place}, which may represent pneumonia.",
)
_ABSENT: dict[str, tuple[str, ...]] = {
    "heart": (
        "The heart is normal in size.",
        "Heart size is within normal limits.",
        "The cardiomediastinal silhouette is normal.",
        "No cardiomegaly.",
    ),
    "lungs": (
        "The lungs are clear.",
        "No focal airspace opacity.",
        "Lungs are clear without focal consolidation.",
        "There is no focal opacity.",
    ),
    "pleura": ("No pleural effusion or pneumothorax.", "There is no effusion or pneumothorax.", "No effusion is seen. No pneumothorax."),
    "effusion": ("No pleural effusion.", "There is no pleural effusion.", "No effusion is seen."),
    "pneumothorax": ("No pneumothorax.", "There is no pneumothorax.", "No visible pneumothorax."),
    "bones": ("No acute bony abnormality.", "The bony structures are intact.", "Visualized bones are unremarkable."),
}
_NORMAL = (
    "No acute cardiopulmonary abnormality.",
    "No acute disease.",
    "Normal chest without acute findings.",
    "No active disease is seen.",
)
_SHORT = {
    "cardiomegaly": "{degree} cardiomegaly",
    "left effusion": "{degree} left pleural effusion",
    "right effusion": "{degree} right pleural effusion",
    "nodule": "{degree} nodule in the {place}",
    "pneumothorax": "{degree} {place} pneumothorax",
    "pacemaker": "left pacemaker",
    "catheter": "right central venous catheter",
}
_MESH = {
    "cardiomegaly": "Cardiomegaly/{degree}",
    "left effusion": "Pleural Effusion/left/{degree}",
    "right effusion": "Pleural Effusion/right/{degree}",
    "nodule": "Nodule/lung/{place}/{degree}",
    "pneumothorax": "Pneumothorax/{place}/{degree}",
    "pacemaker": "Implanted Medical Device/left",
    "catheter": "Catheters, Indwelling/right",
}
# Which sentence of a phantom's report says a finding; a sentence that denies something never does.
_SAYS = {
    "cardiomegaly": r"cardiomegaly|enlarged|enlargement",
    "left effusion": r"left.*effusion|effusion.*left",
    "right effusion": r"right.*effusion|effusion.*right",
    "right upper opacity": r"opacity in the right upper",
    "right lower opacity": r"opacity in the right lower",
    "left upper opacity": r"opacity in the left upper",
    "left lower opacity": r"opacity in the left lower",
    "nodule": r"nodule",
    "pneumothorax": r"pneumothorax",
    "pacemaker": r"pacemaker",
    "catheter": r"catheter|central line",
}
# What each organ's sentences tell, in the order of a report.
_ORGANS: dict[str, tuple[str, ...]] = {
    "heart": ("cardiomegaly",),
    "lungs": ("right upper opacity", "right lower opacity", "left upper opacity", "left lower opacity", "nodule"),
    "effusion": ("right effusion", "left effusion"),
    "pneumothorax": ("pneumothorax",),
    "devices": ("pacemaker", "catheter"),
}


def write_report(sights: Mapping[str, tuple[str, str]], rng: np.random.Generator) -> str:
    """Findings organ by organ, what is absent said of each, then the impression.

    Args:
        sights: finding -> (degree, place), each "" where it has none.
        rng: picks the phrasings.
    """
    said = []
    for organ, findings in _ORGANS.items():
        present = [_phrase(_PRESENT.get(finding, _OPACITY), sights[finding], rng) for finding in findings if finding in sights]
        said += present or ([_pick(_ABSENT[organ], rng)] if organ in _ABSENT else [])
    pleura = [_ABSENT[organ] for organ in ("effusion", "pneumothorax")]
    if not any(finding in sights for organ in ("effusion", "pneumothorax") for finding in _ORGANS[organ]):
        said = [*(sentence for sentence in said if not any(sentence in phrases for phrases in pleura)), _pick(_ABSENT["pleura"], rng)]
    if rng.random() < 0.5:
        said.append(_pick(_ABSENT["bones"], rng))
    return report_text(" ".join(said), _impression(sights, rng))


def annotate(sights: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """NLM-style annotations, `("normal",)` for a normal chest."""
    return tuple(_filled(_MESH.get(name, "Opacity/lung/{place}/{degree}"), sight, mesh=True) for name, sight in sights.items()) or (
        "normal",
    )


def sentence_of(report: str, finding: str) -> str:
    """The first sentence of a phantom's report that says the finding.

    Raises:
        ValueError: none does.
    """
    for text, _, _ in sentences(report):
        if re.search(_SAYS[finding], text, re.IGNORECASE) and not re.match(r"(there is )?no\b", text, re.IGNORECASE):
            return text
    raise ValueError(f"phantom: no sentence says '{finding}' in: {report}")


def _impression(sights: Mapping[str, tuple[str, str]], rng: np.random.Generator) -> str:
    if not sights:
        return _pick(_NORMAL, rng)
    short = [_filled(_SHORT.get(name, "{degree} opacity in the {place}"), sight) for name, sight in sights.items()]
    if len(short) == 1:
        return f"{_capital(short[0])}."
    return " ".join(f"{number}. {_capital(text)}." for number, text in enumerate(short, start=1))


def _phrase(phrasings: tuple[str, ...], sight: tuple[str, str], rng: np.random.Generator) -> str:
    return _capital(_filled(_pick(phrasings, rng), sight))


def _pick(phrasings: tuple[str, ...], rng: np.random.Generator) -> str:
    return phrasings[int(rng.integers(len(phrasings)))]


def _filled(text: str, sight: tuple[str, str], mesh: bool = False) -> str:
    degree, place = sight
    if mesh:  # "right upper lobe" is "upper lobe/right"
        side, _, zone = place.partition(" ")
        place = f"{zone}/{side}" if zone else side
    return text.format(degree=degree, place=place)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
