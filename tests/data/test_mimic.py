"""MIMIC-CXR in a miniature of its official layout: official splits, views by rule, every film that is left out counted by its reason."""

from __future__ import annotations

import csv
import gzip
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cyclicxr.data import mimic
from cyclicxr.data.check import check_studies
from cyclicxr.data.mimic import PAPER, build_mimic, labels_of
from cyclicxr.data.openi import findings_of
from cyclicxr.data.studies import read_studies
from cyclicxr.data.tables import read_table
from cyclicxr.types import InputError

REPORT = "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n \n{}"
GOOD = REPORT.format(" INDICATION:  ___F with cough.\n \n FINDINGS: \n \n The lungs are clear.\n \n IMPRESSION: \n \n No acute process.\n")
PARAGRAPH = REPORT.format(" COMPARISON:  None.\n \n The heart is large.\n")
# dicom, study, subject, split, ViewPosition, ViewCodeSequence_CodeMeaning
FILMS = [
    ("d1", "50000001", "10000032", "train", "PA", "postero-anterior"),
    ("d2", "50000001", "10000032", "train", "LATERAL", "lateral"),  # left out by its view
    ("d3", "50000002", "10000032", "train", "", "antero-posterior"),  # AP by its code
    ("d4", "50000003", "11000001", "validate", "AP", "antero-posterior"),
    ("d5", "50000004", "12000001", "test", "AP", "antero-posterior"),  # its report is a last paragraph
    ("d6", "50000004", "12000001", "test", "PA", ""),  # a second film of the same report
    ("d7", "50000005", "12000001", "test", "", ""),  # no view
    ("d8", "50000006", "13000001", "train", "PA", ""),  # no report
    ("d9", "50000007", "13000001", "train", "PA", ""),  # no section
    ("e1", "50000008", "13000001", "train", "PA", ""),  # two tokens
    ("e2", "50000009", "13000001", "train", "PA", ""),  # no film
    ("e3", "50000010", "14000001", "spare", "PA", ""),  # no known split
]
TEXTS = {"50000004": PARAGRAPH, "50000007": REPORT.format(" NDICATION:  Cough.\n"), "50000008": "IMPRESSION: Normal ___.", "50000006": None}


def write_csv(path: Path, header: str, rows: Iterable[Iterable[Any]]) -> None:
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", newline="", encoding="utf-8") as file:  # type: ignore[operator]
        csv.writer(file).writerows([header.split(","), *rows])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "mimic-cxr-jpg" / "2.0.0"
    for dicom, study, subject, *_ in FILMS:
        folder = root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}"
        folder.mkdir(parents=True, exist_ok=True)
        if dicom != "e2":
            Image.new("L", (40, 48), len(dicom) + ord(dicom[1])).save(folder / f"{dicom}.jpg")
        text = TEXTS.get(study, GOOD)
        if text is not None:
            folder.with_suffix(".txt").write_text(text, encoding="utf-8")
    write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", "dicom_id,study_id,subject_id,split", [film[:4] for film in reversed(FILMS)])
    header = "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime"
    header += ",ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
    rows = [(d, p, s, "CHEST (PA AND LAT)", view, 48, 40, 21800506, 213014.531, "", code, "Erect") for d, s, p, _, view, code in FILMS]
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", header, rows)
    labels = [("10000032", "50000001", "1.0", "", "1.0", "-1.0"), ("10000032", "50000002", "", "1.0", "", "0.0")]
    write_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz", ",".join(("subject_id,study_id", *LABELS)), [(*row, *[""] * 10) for row in labels])
    return root


LABELS = (
    *("Edema", "No Finding", "Support Devices", "Pneumonia", "Atelectasis", "Cardiomegaly", "Consolidation", "Enlarged Cardiomediastinum"),
    *("Fracture", "Lung Lesion", "Lung Opacity", "Pleural Effusion", "Pleural Other", "Pneumothorax"),
)


def test_the_download_becomes_a_table_and_every_film_is_accounted_for(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "out" / "studies.parquet"
    steps: list[tuple[str, int, int]] = []
    tally = build_mimic(root, table, progress=lambda *step: steps.append(step))
    assert tally.kept == {"train": 2, "val": 1, "test": 2}
    assert {reason: dict(counts) for reason, counts in tally.excluded.items()} == {
        "view other than PA and AP": {"train": 1},
        "view not stated": {"test": 1},
        "no report": {"train": 1},
        "report without findings and impression": {"train": 1},
        "report of fewer than 3 tokens": {"train": 1},
        "no film": {"train": 1},
        "split 'spare' is unknown": {"spare": 1},
    }
    assert tally.considered.total() == len(FILMS) and tally.paper == PAPER and sum(PAPER.values()) == 377_110
    assert tally.notes == {"last paragraph for the impression": 2}
    assert steps == [("films", 12, 12)]
    assert check_studies(table).errors == 0
    rows = [row for _, row in read_table(table)[1]]
    assert [(row["id"], row["split"], row["view"]) for row in rows] == [
        ("d1", "train", "PA"),
        ("d3", "train", "AP"),
        ("d4", "val", "AP"),
        ("d5", "test", "AP"),
        ("d6", "test", "PA"),
    ]
    assert rows[0] == {
        "id": "d1",
        "patient": "p10000032",
        "study": "s50000001",
        "split": "train",
        "image": "../mimic-cxr-jpg/2.0.0/files/p10/p10000032/s50000001/d1.jpg",
        "view": "PA",
        "findings": "The lungs are clear.",
        "impression": "No acute process.",
        "report": "The lungs are clear. No acute process.",
        "indication": "___F with cough.",
        "mesh": "Pulmonary Edema;Medical Device",
        "width": "40",
        "height": "48",
    }
    assert read_studies(table)[1].mesh == ("normal",) and read_studies(table)[3].report == "The heart is large."
    assert [path.name for path in table.parent.iterdir()] == ["studies.parquet"]


@pytest.mark.parametrize("where", ["zip", "zip in root", "deeper zip", "folder", "folder in root"])
def test_the_reports_may_be_anywhere_they_are_distributed(root: Path, tmp_path: Path, where: str) -> None:
    build_mimic(root, tmp_path / "a.csv")
    folder = (root if "root" in where else tmp_path) / "mimic-cxr-reports"
    for text in list(root.rglob("*.txt")):
        target = folder / text.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        text.rename(target)
    archive = folder.with_suffix(".zip")
    if "zip" in where:
        with zipfile.ZipFile(archive, "w") as packed:
            for text in folder.rglob("*.txt"):
                packed.write(text, text.relative_to(folder.parent if where == "deeper zip" else folder))
        shutil.rmtree(folder)
    given = None if "root" in where else archive if "zip" in where else folder
    build_mimic(root, tmp_path / "b.csv", given)
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_dicom_films_and_unpacked_tables_will_do(root: Path, tmp_path: Path) -> None:
    for film in list(root.rglob("*.jpg")):
        film.rename(film.with_suffix(".dcm"))
    for packed in list(root.glob("*.csv.gz")):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    (root / "mimic-cxr-2.0.0-chexpert.csv").unlink()
    assert build_mimic(root, tmp_path / "s.csv").kept.total() == 5
    rows = [row for _, row in read_table(tmp_path / "s.csv")[1]]
    assert all(row["image"].endswith(".dcm") and row["mesh"] == "" for row in rows)


def test_a_run_that_is_broken_off_goes_on_where_it_was(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimic, "_PART", 2)
    whole = build_mimic(root, tmp_path / "whole.csv")
    asked: list[str] = []

    def counted(find: Callable[[str], str | None], limit: int) -> Callable[..., Callable[[str], str | None]]:
        def read(name: str) -> str | None:
            asked.append(name)
            if len(asked) > limit:
                raise InputError("the disk is gone")
            return find(name)

        return lambda *_: read

    find = mimic._reports(root, None)
    monkeypatch.setattr(mimic, "_reports", counted(find, 5))
    with pytest.raises(InputError, match="the disk is gone"):
        build_mimic(root, tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()
    asked.clear()
    monkeypatch.setattr(mimic, "_reports", counted(find, 100))
    tally = build_mimic(root, tmp_path / "s.csv")
    assert 0 < len(asked) < 10  # the first parts were not read again
    assert tally.to_json() == whole.to_json()
    assert (tmp_path / "s.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert not list(tmp_path.glob(".*"))


def test_parts_of_another_download_are_not_taken(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimic, "write_table", lambda path, rows: 1 / 0 if path.name == "s.csv" else None)
    with pytest.raises(ZeroDivisionError):
        build_mimic(root, tmp_path / "s.csv")
    monkeypatch.undo()
    write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", "dicom_id,study_id,subject_id,split", [FILMS[0][:4]])
    assert build_mimic(root, tmp_path / "s.csv").considered.total() == 1


def test_bad_downloads_are_refused_by_name(root: Path, tmp_path: Path) -> None:
    split = root / "mimic-cxr-2.0.0-split.csv.gz"
    whole = split.read_bytes()
    for content, said in [
        (whole[:40], "split.csv.gz: cannot be read"),
        (gzip.compress(b"a,b\n1,2\n"), "split.csv.gz: cannot be read"),
        (gzip.compress(b"dicom_id,study_id,subject_id,split\nd,s,p,train\nd,s,p,train\n"), "`dicom_id` is not different in each row"),
    ]:
        split.write_bytes(content)
        with pytest.raises(InputError, match=said):
            build_mimic(root, tmp_path / "s.csv")
    split.unlink()
    with pytest.raises(InputError, match=r"no mimic-cxr-2\.0\.0-split\.csv\.gz"):
        build_mimic(root, tmp_path / "s.csv")
    split.write_bytes(whole)
    (tmp_path / "torn.zip").write_bytes(b"PK torn")
    with pytest.raises(InputError, match=r"torn\.zip: not mimic-cxr-reports\.zip"):
        build_mimic(root, tmp_path / "s.csv", tmp_path / "torn.zip")
    with pytest.raises(InputError, match="none: no such file or folder"):
        build_mimic(root, tmp_path / "s.csv", tmp_path / "none")
    for text in root.rglob("*.txt"):
        text.unlink()
    with pytest.raises(InputError, match=r"none of its 12 films is left: .*no report.*; is the whole download there\?"):
        build_mimic(root, tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("labels", "mesh", "findings"),
    [
        ({"Cardiomegaly": "1.0", "Edema": "-1.0", "Fracture": "0.0"}, "Cardiomegaly", {"cardiomegaly"}),
        ({"No Finding": "1.0"}, "normal", {"normal"}),
        ({"No Finding": "1.0", "Support Devices": "1.0"}, "Medical Device", {"device"}),
        ({"Lung Opacity": "1.0", "Atelectasis": "1.0"}, "Pulmonary Atelectasis;Opacity", {"atelectasis", "opacity"}),
        ({"Pleural Other": "1.0"}, "Pleural Other", set()),
        ({}, "", set()),
    ],
)
def test_labels_are_findings_of_the_trainer(labels: dict[str, str], mesh: str, findings: set[str]) -> None:
    assert labels_of(labels) == mesh
    assert findings_of(mesh.split(";")) == findings


@pytest.mark.slow
def test_two_thousand_films_pass_through_a_few_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 reports of 2 kB, and each part of them that is made of it, are some 16 MB; 128 films are in memory at a time."""
    root, report = tmp_path, GOOD.replace("clear.", "clear. " + "There is no effusion on this film. " * 50)
    with zipfile.ZipFile(root / mimic.ARCHIVE, "w") as packed:
        for i in range(2_000):
            packed.writestr(f"files/p10/p{10_000_000 + i}/s{50_000_000 + i}.txt", report)
    films = [(f"d{i}", 50_000_000 + i, 10_000_000 + i, "train") for i in range(2_000)]
    write_csv(root / "mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split", films)
    header = "dicom_id,ViewPosition,ViewCodeSequence_CodeMeaning,Rows,Columns"
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv", header, ((film[0], "PA", "", 1, 1) for film in films))
    for _, study, subject, _ in films[-20:]:
        folder = root / "files" / "p10" / f"p{subject}" / f"s{study}"
        folder.mkdir(parents=True)
        (folder / f"d{study - 50_000_000}.jpg").touch()
    monkeypatch.setattr(mimic, "_PART", 128)
    with pytest.raises(InputError, match="none of its 0 films"):  # for what pyarrow imports when it joins
        mimic.build_mimic(_empty(root / "empty"), root / "none.csv", root / mimic.ARCHIVE)
    tracemalloc.start()
    tally = build_mimic(root, root / "s.parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tally.kept == {"train": 20} and tally.excluded["no film"] == {"train": 1_980}
    assert peak < 5e6


def _empty(root: Path) -> Path:
    root.mkdir()
    write_csv(root / "mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split", [])
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv", "dicom_id,ViewPosition,ViewCodeSequence_CodeMeaning,Rows,Columns", [])
    return root
