"""A CheXpert-style labeler: a report -> 14 labels, each positive, negative, uncertain or blank, by phrases, negation and hedges.

Written anew on spaCy and negspacy after the description of CheXpert's labeler, not a port: its labels agree with that one's in kind, not
case by case, so its F1 carries the name "rules" and is compared with itself only. It reads sentence by sentence and knows no film; what
it does not know is said in its benchmark, where its labels stand against OpenI's annotations.

Source: Irvin et al., CheXpert (AAAI 2019), section "Label extraction".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
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

# Label -> phrases that name it, to be denied or hedged by what stands around them (form: `phrases.phrase_reader`).
_MENTIONS = {
    "Enlarged Cardiomediastinum": "mediastinal|cardiomediastinal widening|enlargement|prominence, "
    "widened|widening|enlarged|enlargement|prominent|prominence ... mediastinum|mediastinal|cardiomediastinum|cardiomediastinal, "
    "mediastinum|cardiomediastinum|cardiomediastinal|mediastinal|paratracheal ... widened|enlarged|wide|prominent, "
    "prominence|widening ... paratracheal, cardiopericardial ... enlarged",
    "Cardiomegaly": "cardiomegaly, cardiac|heart|ventricular|atrial enlargement, enlarged|enlargement ... heart|cardiac, "
    "heart|cardiac ... enlarged|large|big",
    "Lung Opacity": "opacity, opacities, opacification, opacifications, opacified, infiltrate, infiltrates, infiltration, "
    "airspace|space|air-space|alveolar disease, airspace|alveolar process, increased|hazy density|densities, "
    "interstitial markings|pattern|prominence|thickening|disease|changes|lung, reticular|reticulonodular markings|pattern, reticulation, "
    "lung|pulmonary|basilar|bibasilar|base|lobe|retrocardiac|patchy|streaky|hazy|linear|airspace density|densities, "
    "peribronchial|bronchial thickening|cuffing, prominent|increased|coarse|coarsened ... markings, markings ... prominent|increased|coarse",
    "Lung Lesion": "nodule, nodules, nodular density|densities|opacity|opacities, nodular, reticulonodular, mass, masses, mass-like, masslike, lump, cancer, cavitary lesion, "
    "lung|pulmonary lesion|lesions, carcinoma, neoplasm, neoplastic, tumor, tumors, malignancy, metastasis, metastases, metastatic, cavitation",
    "Edema": "edema, heart|cardiac failure, chf, vascular|pulmonary|venous|interstitial congestion, volume|fluid overload, "
    "vascular|vasculature|vascularity ... indistinct|indistinctness|congested|engorged|engorgement|cephalization, cephalization, "
    "vascular|venous engorgement|prominence|redistribution, vasculature|vascularity ... prominent, prominence ... vascularity, kerley",
    "Consolidation": "consolidation, consolidations, consolidated, consolidative",
    "Pneumonia": "pneumonia, pneumonias, bronchopneumonia, pneumonitis, infection, infectious, infectious process",
    "Atelectasis": "atelectasis, atelectases, atelectatic, lobar|lung|lobe collapse, collapse of ... lobe|lung, volume loss, loss of volume",
    "Pneumothorax": "pneumothorax, pneumothoraces, hydropneumothorax",
    "Pleural Effusion": "effusion, effusions, pleural|interlobar fluid, hydropneumothorax, hemothorax, hydrothorax, "
    "blunting|blunted ... costophrenic, costophrenic ... blunting|blunted",
    "Pleural Other": "pleural|apical thickening, pleural|pleuroparenchymal|pleural-parenchymal scarring|scar|plaque|plaques|calcification|"
    "calcifications, thickening ... pleura, calcified pleural, fibrothorax, pulmonary|interstitial|lung fibrosis, fibrosis, fibrotic",
    "Fracture": "fracture, fractures, fractured, broken",
    "Support Devices": "catheter, catheters, picc, port-a-cath, portacath, mediport, chest|infusion port, port, central|venous|subclavian|jugular|"
    "arterial|support line|lines, lines and tubes, line tip, pacemaker, pacemakers, pacer, pacing, icd, aicd, defibrillator, stimulator, stent, stents, tube, tubes, "
    "tracheostomy, endotracheal, nasogastric, device, devices, leads, prosthesis, prosthetic, valve|valvular replacement, markers, "
    "cannula, intra-aortic, swan-ganz, shunt, drain, drains, arthroplasty, hardware, fixation",
}
# Label -> phrases that deny it themselves, or that hedge it.
_NORMAL = {
    "Enlarged Cardiomediastinum": "mediastinum|cardiomediastinum|cardiomediastinal|mediastinal ... normal|unremarkable, "
    "normal ... mediastinum|cardiomediastinum|cardiomediastinal|mediastinal, heart and mediastinum ... normal|unremarkable, "
    "cardio mediastinal ... normal|unremarkable",
    "Cardiomegaly": "heart|cardiac ... normal|unremarkable, normal ... heart|cardiac, heart|cardiac ... not enlarged|large, "
    "cardiac and mediastinal ... normal|unremarkable, heart and mediastinum ... normal|unremarkable",
    "Lung Opacity": "lungs ... clear, clear ... lungs, lung fields ... clear",
}
_BORDERLINE = {"Cardiomegaly": "heart|cardiac|cardiomediastinal ... borderline, borderline ... heart|cardiac|cardiomegaly"}

_HEDGES_BEFORE = """may|might|could|possible|possibly|potential|questionable|question|probable|probably|presumably|likely|suspected|suspicious
for|suspicion|suspect|concerning for|concern for|worrisome for|suggest|suggests|suggesting|suggestive of|indicate|cannot exclude|can not
exclude|cannot be excluded|not exclude|not excluded|cannot rule out|not rule out|versus|vs|vs.|and/or|differential|rule out|r/o|evaluate
for|consider|consistent with either|compatible with either|equivocal|perhaps|if there is|would be difficult to exclude|difficult to exclude|
unless|doubtful|vague"""
_HEDGES_AFTER = """is possible|are possible|possible|not excluded|cannot be excluded|can not be excluded|not be excluded|cannot be ruled out|
not ruled out|is suspected|are suspected|is likely|suspected|versus|vs|vs.|difficult to exclude|difficult to entirely exclude|?|is considered
|in question|not entirely excluded|be considered"""
_DENIALS_BEFORE = """clear of|resolution of|resolved|removal of|clearing of|no longer|absent|rather than|has cleared|negative for|unlikely to represent|interval removal
of|without"""
_DENIALS_AFTER = """is not|are not|not seen|not identified|not present|not visualized|resolved|has resolved|have resolved|has cleared|absent|
within limits of normal|been removed|was removed|no longer|is excluded|has been excluded|removed|is ruled out|not appreciated|not demonstrated|not evident|is negative"""
_PSEUDO = """no change|without change|no significant change|not significantly changed|no interval change|not changed|no significant interval
change|without significant interval change|without interval change|without significant change|cannot exclude|can not exclude|cannot be
excluded|not excluded|not exclude|not be excluded|cannot rule out|not rule out|not ruled out|not be ruled out|not entirely excluded|no increase
in|no interval increase|no new or|not only|not certain|no further|without further|not well seen|not well visualized|not well evaluated|not well
demonstrated|not optimally|no comparison|no prior|no previous|not definitely seen on the lateral|not seen on the lateral|not include"""
_NEW_CLAUSE = """;|there is|there are|there has|with|possible|possibly|may|could|cannot exclude|however|likely|but|otherwise|stable|unchanged|
persistent|small|mild|moderate|minimal|chronic|again|old|consistent with|compatible with|suggests|suggesting|noted|has developed"""
_PAST = "history of|prior history|status post|evaluation for|evaluation of|indication|clinical concern for|assess for|symptoms of"

_RANK = (BLANK, NEGATIVE, UNCERTAIN, POSITIVE)  # the later wins
_SENTENCE = re.compile(r"(?<=[.;!?])\s+(?=\D)|\n+")
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
    phrases = dict(_MENTIONS)
    phrases |= {f"{label}/normal": listed for label, listed in _NORMAL.items()}
    phrases |= {f"{label}/borderline": listed for label, listed in _BORDERLINE.items()}
    denials = clinical_negations()
    denials.remove_patterns({"preceding_negations": ["rule out", "r/o", "ro", "evaluate for", "rules out"]})
    denials.add_patterns(
        {
            "pseudo_negations": _listed(_PSEUDO),
            "preceding_negations": _listed(_DENIALS_BEFORE),
            "following_negations": _listed(_DENIALS_AFTER),
            "termination": _listed(_NEW_CLAUSE),
        }
    )
    hedges = {
        "pseudo_negations": ["no evidence to suggest", "to suggest"],
        "preceding_negations": _listed(_HEDGES_BEFORE),
        "following_negations": _listed(_HEDGES_AFTER),
        "termination": [";", "there is", "there are", "but", "however"],
    }
    past = {"pseudo_negations": [], "preceding_negations": _listed(_PAST), "following_negations": [], "termination": [";", ",", "there is"]}
    return phrase_reader(phrases, {"denied": denials.get_patterns(), "hedged": hedges, "past": past})


def _listed(terms: str) -> list[str]:
    return [" ".join(term.split()) for term in terms.split("|")]
