"""How the rule labeler's 14 labels of OpenI's reports agree with NLM's annotations of the same studies; phrases were chosen on these two
splits, the test split was not looked at.

python benchmarks/labeler.py ../shared/data/openi/studies.csv
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import save_result

from cyclicxr.metrics.chexpert import label_reports
from cyclicxr.metrics.labels import CLASSES, POSITIVE, agreement, present

SPLITS = ("train", "val")
UNINDEXED = {"no indexing", "technical quality of image unsatisfactory"}
# Label -> annotations that show it: "heading", or "heading/one|of|these qualifiers". "No Finding" is what has none but devices.
ANNOTATIONS = {
    "Enlarged Cardiomediastinum": ["mediastinum/enlarged|prominent|widened|mass", "cardiac shadow/prominent"],
    "Cardiomegaly": [
        "cardiomegaly",
        "cardiac shadow/enlarged",
        "heart/enlarged",
        "heart ventricles/enlarged|prominent",
        "heart atria/enlarged|prominent",
    ],
    "Lung Opacity": [
        "opacity",
        "airspace disease",
        "infiltrate",
        "consolidation",
        "density/lung|retrocardiac|base|lower lobe|upper lobe|middle lobe|lingula",
        "markings/interstitial|prominent|reticular",
        "lung diseases, interstitial",
        "thickening/interstitial|bronchovascular|bronchi",
    ],
    "Lung Lesion": ["nodule", "mass", "cavitation", "cysts", "opacity/round"],
    "Edema": ["pulmonary edema", "pulmonary congestion", "heart failure"],
    "Consolidation": ["consolidation"],
    "Pneumonia": ["pneumonia", "bronchopneumonia"],
    "Atelectasis": ["pulmonary atelectasis", "volume loss"],
    "Pneumothorax": ["pneumothorax", "hydropneumothorax"],
    "Pleural Effusion": ["pleural effusion", "hydropneumothorax", "hemothorax", "costophrenic angle/blunted"],
    "Pleural Other": ["thickening/pleura|apex", "cicatrix/pleura", "calcinosis/pleura", "pulmonary fibrosis", "fibrosis", "pleura"],
    "Fracture": ["fractures, bone"],
    "Support Devices": ["catheters, indwelling", "tube, inserted", "implanted medical device", "medical device", "stents"],
}


def shows(annotation: Sequence[str], asked: str) -> bool:
    heading, _, qualifiers = asked.partition("/")
    return annotation[0] == heading and (not qualifiers or bool(set(qualifiers.split("|")) & set(annotation[1:])))


def annotated(mesh: str) -> list[bool]:
    """Which of `CLASSES` the annotations show."""
    annotations = [[part.strip() for part in term.lower().split("/")] for term in mesh.split(";")]
    found = [any(shows(annotation, asked) for asked in ANNOTATIONS[label] for annotation in annotations) for label in CLASSES[:-1]]
    return [*found, not any(found[:-1])]


def rounded(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int) else None if math.isnan(value) else round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    asked = parser.parse_args()
    with asked.studies.open(newline="", encoding="utf-8") as table:
        studies = [row for row in csv.DictReader(table) if not {term.lower() for term in row["mesh"].split(";")} <= UNINDEXED]
    splits = {}
    for split in SPLITS:
        rows = [row for row in studies if row["split"] == split]
        labels, shown = label_reports([row["report"] for row in rows]), np.array([annotated(row["mesh"]) for row in rows])
        both, sure = present(labels), labels == POSITIVE
        splits[split] = {
            "reports": len(rows),
            "labels": {
                label: rounded(asdict(agreement(both[:, j], shown[:, j])) | {"kappa, sure": agreement(sure[:, j], shown[:, j]).kappa})
                for j, label in enumerate(CLASSES)
            },
        }
    print(save_result("labeler", {"splits": splits}))


if __name__ == "__main__":
    main()
