"""References as they stand in the table, from CSV and from Parquet."""

import csv
import json

import pyarrow as pa
from pyarrow import parquet

from cyclicxr.data.studies import read_studies
from cyclicxr.evaluate.reports import raw_reports

ROWS = [
    {"id": "007", "patient": "a", "image": "a.png", "report": 'The XXXX are clear, "again".\nNo effusion seen here.'},
    {"id": "8", "patient": "b", "image": "b.png", "report": "Heart size is normal XXXX."},
]


def test_marks_stay_in_and_ids_stay_text(tmp_path):
    with (tmp_path / "s.csv").open("w", newline="") as file:
        file.write("id, patient , image,report \n")
        csv.writer(file).writerows(row.values() for row in ROWS)
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "s.parquet")
    for name in ("s.csv", "s.parquet"):
        found = raw_reports(tmp_path / name)
        assert found == {row["id"]: row["report"] for row in ROWS}
        assert {study.id for study in read_studies(tmp_path / name)} == set(found)


def test_json_lines_and_folders_have_raw_reports_too(tmp_path):
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert raw_reports(tmp_path / "s.jsonl") == {row["id"]: row["report"] for row in ROWS}
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.png").write_bytes(b"")
    (tmp_path / "films" / "a.txt").write_text("The XXXX are clear.")
    assert raw_reports(tmp_path / "films") == {"a": "The XXXX are clear."}


def test_sections_are_joined(tmp_path):
    (tmp_path / "s.csv").write_text("id,patient,image,findings,impression\n1,1,1.png,Heart XXXX normal,No disease.\n")
    assert raw_reports(tmp_path / "s.csv") == {"1": "Heart XXXX normal. No disease."}


def test_every_openi_study_has_its_raw_report(openi):
    raw = raw_reports(openi / "studies.csv")
    studies = read_studies(openi / "studies.csv")
    assert all(raw[study.id].strip() for study in studies)
    assert sum("XXXX" in raw[study.id] for study in studies) > 0.4 * len(studies)
