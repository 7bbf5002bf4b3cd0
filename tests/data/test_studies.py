"""The studies table: what is read, what is refused, and how patients are split."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from cyclicxr.data.studies import read_studies, split_by_patient
from cyclicxr.data.tables import write_table
from cyclicxr.types import InputError, Study

GOOD = {
    "id": "a",
    "patient": "p",
    "image": "a.png",
    "report": "Heart size is normal.",
    "split": "train",
    "view": "PA",
    "mesh": "Aorta/tortuous; normal",
}


def table(folder: Path, *rows: dict[str, str]) -> Path:
    (folder / "a.png").touch()
    write_table(folder / "studies.csv", rows or [GOOD])
    return folder / "studies.csv"


def test_a_row_becomes_a_study_with_an_absolute_film(tmp_path: Path) -> None:
    (study,) = read_studies(table(tmp_path))
    assert study == Study("a", "p", str(tmp_path / "a.png"), "Heart size is normal.", "train", "PA", ("Aorta/tortuous", "normal"))


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    expected = read_studies(table(tmp_path))
    parquet.write_table(pa.Table.from_pylist([GOOD | {"width": 256, "note": None}]), tmp_path / "studies.parquet")
    assert read_studies(tmp_path / "studies.parquet") == expected


def test_findings_and_impression_stand_for_a_report(tmp_path: Path) -> None:
    row = {"id": "a", "patient": "p", "image": "a.png", "findings": "Heart size is XXXX normal", "impression": "Normal chest."}
    (study,) = read_studies(table(tmp_path, row))
    assert study.report == "Heart size is normal. Normal chest."
    assert (study.split, study.view, study.mesh) == ("", "unknown", ())


def test_reports_of_fewer_than_three_tokens_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        GOOD,
        GOOD | {"id": "b", "report": "Normal chest."},
        GOOD | {"id": "c", "report": ""},
        GOOD | {"id": "d", "report": "Clear lungs today."},
    ]
    with caplog.at_level(logging.WARNING):
        assert [study.id for study in read_studies(table(tmp_path, *rows))] == ["a", "d"]
    assert "2 of 4 reports have fewer than 3 tokens" in caplog.text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{k: v for k, v in GOOD.items() if k != "patient"}], "no column `patient`"),
        ([{k: v for k, v in GOOD.items() if k != "report"}], "no column `report`, or `findings` and `impression`"),
        ([GOOD, GOOD | {"patient": "q"}], "row 3: id 'a' is that of row 2 too"),
        ([GOOD, GOOD | {"id": "b", "split": "test"}], "row 3: patient 'p' is in 'test', in row 2 in 'train'"),
        ([GOOD, GOOD | {"id": " "}], "row 3: `id` is empty"),
        ([GOOD, GOOD | {"id": "b", "image": ""}], "row 3: `image` is empty"),
        ([GOOD | {"report": "XXXX."}], "none of its 1 reports has 3 words"),
    ],
)
def test_an_unusable_table_is_refused_with_its_row(tmp_path: Path, rows: list[dict[str, str]], said: str) -> None:
    path = table(tmp_path, *rows)
    with pytest.raises(InputError, match=r"studies\.csv") as refused:
        read_studies(path)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "no column `id`, `patient`, `image`"),
        ("header.csv", b"id,patient,image,report\n", "has no row"),
        ("latin.csv", "id,patient,image,report\na,p,a.png,Röntgen".encode("latin-1"), "not a CSV table in UTF-8"),
        ("quote.csv", b'id,patient,image,report\na,p,a.png,"never closed', "cannot be read as a table"),
        ("cells.csv", b"id,patient,image,report\na,p,a.png,one, two\n", "row 2: 5 cells for 4 columns"),
        ("twice.csv", b"id,id,patient,image,report\n", "the column 'id' is there twice"),
        ("semicolon.csv", b"id;patient;image;report\n", "there are: id;patient;image;report"),
        ("torn.parquet", b"PAR1 and no more", "cannot be read as a table"),
    ],
)
def test_an_unreadable_table_is_refused_by_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name) as refused:
        read_studies(tmp_path / name)
    assert said in str(refused.value)


def test_a_missing_table_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_studies(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no film in this folder"):
        read_studies(tmp_path)


def test_a_report_alone_may_hold_its_headings(tmp_path: Path) -> None:
    whole = "EXAM: Chest. HISTORY: Cough. FINDINGS: Lungs are clear. IMPRESSION: Normal chest."
    (study,) = read_studies(table(tmp_path, GOOD | {"report": whole}))
    assert study.report == "Lungs are clear. Normal chest."
    (study,) = read_studies(table(tmp_path, GOOD | {"report": whole, "findings": "", "impression": ""}))
    assert study.report == whole  # someone has taken it apart already


def test_a_byte_order_mark_and_blank_lines_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "studies.csv").write_text("\ufeffid,patient,image,report\n\na,p,a.png,Heart size is normal.\n\n", encoding="utf-8")
    assert [study.id for study in read_studies(tmp_path / "studies.csv")] == ["a"]


@given(st.lists(st.integers(0, 30), min_size=3, max_size=80), st.integers(0, 5))
def test_a_patient_is_in_one_split_whatever_the_order(patients: list[int], seed: int) -> None:
    studies = [Study(str(i), str(patient), "", "") for i, patient in enumerate(patients)]
    split = split_by_patient(studies, seed)
    of_patient = {study.patient: study.split for study in split}
    assert all(of_patient[study.patient] == study.split for study in split)
    assert {study.id: study.split for study in split_by_patient(studies[::-1], seed)} == {study.id: study.split for study in split}
    assert len(set(of_patient.values())) == min(3, len(of_patient))


def test_shares_are_kept_and_the_seed_matters() -> None:
    studies = [Study(str(i), str(i), "", "") for i in range(200)]
    assert Counter(study.split for study in split_by_patient(studies, 0)) == {"train": 160, "val": 20, "test": 20}
    assert split_by_patient(studies, 0) != split_by_patient(studies, 1)
    with pytest.raises(InputError, match="add up to 1"):
        split_by_patient(studies, 0, {"train": 0.8, "test": 0.1})


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = table(tmp_path)
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        write_table(path, [GOOD, {"other": "x"}])
    with path.open(encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["a"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "studies.csv"]


def test_openi_is_a_good_table(openi: Path) -> None:
    studies = read_studies(openi / "studies.csv")
    assert Counter(study.split for study in studies) == {"train": 2765, "val": 200, "test": 400}
