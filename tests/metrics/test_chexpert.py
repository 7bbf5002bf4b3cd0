"""The rule labeler on sentences of radiology, label by label, denied, hedged and told of the past, and on whole reports."""

import csv

import numpy as np
import pytest

from cyclicxr.data.openi import findings_of
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.metrics.chexpert import label_reports, sentences_of
from cyclicxr.metrics.labels import CLASSES, STATES, agreement, present

SHORT = {
    "mediastinum": "Enlarged Cardiomediastinum",
    "heart": "Cardiomegaly",
    "opacity": "Lung Opacity",
    "lesion": "Lung Lesion",
    "edema": "Edema",
    "consolidation": "Consolidation",
    "pneumonia": "Pneumonia",
    "atelectasis": "Atelectasis",
    "pneumothorax": "Pneumothorax",
    "effusion": "Pleural Effusion",
    "pleura": "Pleural Other",
    "fracture": "Fracture",
    "device": "Support Devices",
}
MARKS = {"+": "positive", "-": "negative", "?": "uncertain"}
SENTENCES = {
    # each label affirmed, denied and hedged
    "The mediastinum is widened.": "+mediastinum",
    "Mediastinal contours are within normal limits.": "-mediastinum",
    "Possible mediastinal widening.": "?mediastinum",
    "Moderate cardiomegaly.": "+heart",
    "The heart is not enlarged.": "-heart",
    "Heart size is normal.": "-heart",
    "The heart is at the upper limits of normal in size.": "-heart",
    "The cardiomediastinal silhouette is in the upper range of normal.": "-mediastinum",
    "The heart is borderline, at the upper limits of normal.": "?heart",
    "Heart size is borderline enlarged.": "?heart",
    "Hazy opacity in the left lung base.": "+opacity",
    "The lungs are clear.": "-opacity",
    "Questionable infiltrate in the right middle lobe.": "?opacity",
    "A 1 cm nodule projects over the right upper lobe.": "+lesion",
    "No nodules or masses.": "-lesion",
    "Findings are suspicious for malignancy.": "?lesion",
    "Pulmonary vascular congestion.": "+edema",
    "No overt pulmonary edema.": "-edema",
    "This may represent heart failure.": "?edema",
    "Dense consolidation of the lingula.": "+consolidation",
    "The lungs are free of consolidation.": "-consolidation",
    "Early consolidation cannot be excluded.": "?consolidation",
    "Right lower lobe pneumonia.": "+pneumonia",
    "Pneumonia has resolved.": "-pneumonia",
    "Cannot exclude pneumonia.": "?pneumonia",
    "Bibasilar atelectasis.": "+atelectasis",
    "No atelectasis.": "-atelectasis",
    "Probable atelectasis at the left base.": "?atelectasis",
    "Small left apical pneumothorax.": "+pneumothorax",
    "A pneumothorax is not seen.": "-pneumothorax",
    "A tiny pneumothorax is possible.": "?pneumothorax",
    "Blunting of the left costophrenic angle.": "+effusion",
    "Negative for effusion.": "-effusion",
    "There may be a small effusion.": "?effusion",
    "Biapical pleural thickening.": "+pleura",
    "No pleural thickening.": "-pleura",
    "Suspected pulmonary fibrosis.": "?pleura",
    "Old healed rib fractures.": "+fracture",
    "No acute fracture.": "-fracture",
    "Questionable fracture of the clavicle.": "?fracture",
    "A right PICC ends in the superior vena cava.": "+device",
    "The PICC has been removed.": "-device",
    "Possible catheter fragment.": "?device",
    # lists, clauses, change and history
    "No focal consolidation, effusion or pneumothorax.": "-consolidation -effusion -pneumothorax",
    "No pneumothorax, small left effusion is present.": "-pneumothorax +effusion",
    "No edema; there is a right pneumothorax.": "-edema +pneumothorax",
    "Bibasilar atelectasis without effusion.": "+atelectasis -effusion",
    "No definite effusion, but cardiomegaly is present.": "-effusion +heart",
    "Stable cardiomegaly.": "+heart",
    "Unchanged moderate right effusion.": "+effusion",
    "No significant interval change in bilateral effusions.": "+effusion",
    "The previously seen nodule is no longer seen.": "-lesion",
    "Interval resolution of the pneumothorax.": "-pneumothorax",
    "History of pneumonia.": "",
    "Patchy opacity may represent pneumonia or atelectasis.": "+opacity ?pneumonia ?atelectasis",
    "No opacity to suggest a pneumonia.": "-opacity -pneumonia",
    "Atelectasis versus infiltrate.": "?atelectasis ?opacity",
    "No acute cardiopulmonary abnormality.": "",
}


def said(row):
    return {CLASSES[j]: STATES[state] for j, state in enumerate(row) if state}


@pytest.mark.parametrize(("text", "expected"), SENTENCES.items())
def test_what_a_sentence_says(text, expected):
    found = said(label_reports([text])[0])
    none = found.pop("No Finding", None)
    assert found == {SHORT[word[1:]]: MARKS[word[0]] for word in expected.split()}
    findings = {name for name, state in found.items() if state in ("positive", "uncertain")} - {"Support Devices"}
    assert none == (None if findings else "positive")


def test_over_sentences_positive_wins_over_uncertain_over_negative():
    rows = label_reports(
        [
            "Possible effusion. No effusion.",
            "No effusion.\nSmall left effusion. Effusion is possible.",
            "1. Effusion.  2. No effusion.",
            " ",
        ]
    )
    assert [said(row).get("Pleural Effusion") for row in rows] == ["uncertain", "positive", "positive", None]
    assert said(rows[3]) == {}  # nothing is said: not even that there is no finding


def test_a_repeated_sentence_is_one_and_items_lose_their_number():
    assert sentences_of("1. No edema.\n2. NO  EDEMA. 3.") == ["no edema.", "no edema."]
    assert (label_reports(["No edema."] * 3) == label_reports(["2) no edema."])).all()


def test_drawn_reports_are_read_as_they_are_meant():
    labels = {"cardiomegaly": "Cardiomegaly", "left effusion": "Pleural Effusion", "pneumothorax": "Pneumothorax", "nodule": "Lung Lesion"}
    for finding, label in labels.items():
        rows = label_reports([draw_phantom(seed, [finding], size=32).report for seed in range(8)])
        assert [said(row)[label] for row in rows] == ["positive"] * 8, finding
    normal = label_reports([draw_phantom(seed, [], size=32).report for seed in range(8)])
    assert [said(row).get("No Finding") for row in normal] == ["positive"] * 8


def test_real_reports_are_labelled_as_their_films_are_annotated(openi):
    with (openi / "studies.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["split"] == "val"]
    findings = [findings_of(row["mesh"].split(";")) for row in rows]
    named = present(label_reports([row["report"] for row in rows]))
    for label, finding in (("Cardiomegaly", "cardiomegaly"), ("Pleural Effusion", "effusion"), ("Atelectasis", "atelectasis")):
        shown = np.array([finding in film for film in findings])
        assert agreement(named[:, CLASSES.index(label)], shown).kappa > 0.75
