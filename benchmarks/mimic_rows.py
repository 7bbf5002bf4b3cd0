"""Memory and time of `cyclicxr data mimic` over a made-up download of MIMIC-CXR-JPG's size, and over a tenth of it, in one run.

The download has the official layout with empty films and one made-up report a study; the command is measured in a process of its own.

python benchmarks/mimic_rows.py
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import random
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from machine import save_result, yardstick_seconds

FILMS, STUDIES = 377_110, 227_835  # of MIMIC-CXR-JPG 2.0.0
SHARES = (0.1, 1.0)
SENTENCES = (
    "The lungs are clear.",
    "There is no pleural effusion or pneumothorax.",
    "The cardiomediastinal silhouette is within normal limits.",
    "Patchy opacity at the left base may reflect atelectasis.",
    "A right-sided catheter ends in the superior vena cava.",
    "Moderate cardiomegaly is unchanged from ___.",
)


def make_download(root: Path, films: int, studies: int, seed: int = 0) -> None:
    """The three tables, `files/` with empty films, and the zip of reports."""
    draw = random.Random(seed)
    splits, metadata, labels = [], [], []
    with zipfile.ZipFile(root / "mimic-cxr-reports.zip", "w") as reports:
        for study in range(studies):
            subject, number = 10_000_000 + study * 10_000_000 // studies, 50_000_000 + study
            place = f"files/p{subject // 1_000_000}/p{subject}/s{number}"
            findings, impression = (" ".join(draw.choices(SENTENCES, k=count)) for count in (5, 2))
            head = " FINAL REPORT\n EXAMINATION: CHEST (PA AND LAT)\n \n INDICATION: ___F with cough.\n \n"
            text = f"{head} FINDINGS: \n \n {findings}\n \n IMPRESSION: \n \n {impression}\n"
            reports.writestr(f"{place}.txt", text)
            (root / place).mkdir(parents=True)
            for _ in range(films * (study + 1) // studies - films * study // studies):
                dicom = f"{len(splits):08x}-{draw.getrandbits(128):032x}"
                (root / place / f"{dicom}.jpg").touch()
                splits.append((dicom, number, subject, draw.choices(("train", "validate", "test"), (368_960, 2_991, 5_159))[0]))
                metadata.append((dicom, draw.choice(("PA", "AP", "LATERAL", "")), "", 2544, 3056))
            labels.append((number, draw.choice(("1.0", "")), draw.choice(("1.0", "-1.0", "0.0", ""))))
    tables = {
        "split": ("dicom_id,study_id,subject_id,split", splits),
        "metadata": ("dicom_id,ViewPosition,ViewCodeSequence_CodeMeaning,Rows,Columns", metadata),
        "chexpert": (LABELS, [(*row, *[""] * (LABELS.count(",") - 2)) for row in labels]),
    }
    for name, (header, rows) in tables.items():
        with gzip.open(root / f"mimic-cxr-2.0.0-{name}.csv.gz", "wt", newline="") as file:
            csv.writer(file).writerows([header.split(","), *rows])


LABELS = (
    "study_id,Edema,No Finding,Support Devices,Pneumonia,Atelectasis,Cardiomegaly,Consolidation,Enlarged Cardiomediastinum,Fracture,"
    "Lung Lesion,Lung Opacity,Pleural Effusion,Pleural Other,Pneumothorax"
)


def measured(root: Path) -> dict[str, float]:
    """Seconds and the largest memory of the command; it must succeed."""
    asked = [sys.executable, "-m", "cyclicxr", "data", "mimic", str(root), "--out", str(root / "studies.parquet")]
    started = time.perf_counter()
    _, status, used = os.wait4(os.posix_spawn(sys.executable, asked, os.environ), 0)
    if status:
        raise SystemExit(f"{' '.join(asked[1:])}: ended with status {status}")
    return {"seconds": round(time.perf_counter() - started, 1), "MiB": round(used.ru_maxrss / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=FILMS)
    asked = parser.parse_args()
    rows = []
    for share in SHARES:
        films = round(asked.films * share)
        with tempfile.TemporaryDirectory() as folder:
            make_download(Path(folder), films, films * STUDIES // FILMS)
            rows.append({"films": films, **measured(Path(folder))})
    print(save_result("mimic_rows", {"rows": rows, "yardstick_seconds": yardstick_seconds()}))


if __name__ == "__main__":
    main()
