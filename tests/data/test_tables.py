"""Tables in all their forms: read row by row, written whole or not at all."""

from __future__ import annotations

import csv
import json
import logging
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from cyclicxr.checkpoint import sha256_of
from cyclicxr.data.studies import read_studies
from cyclicxr.data.tables import read_table, write_table
from cyclicxr.types import InputError

ROWS = [
    {"id": "1", "patient": "p", "image": "a.png", "report": 'The "heart", is\nnormal.', "mesh": "a;b"},
    {"id": "2", "patient": "q", "image": "b.png", "report": "Lungs – clear.", "mesh": ""},
]


def rows_of(path: Path) -> list[dict[str, str]]:
    return [row for _, row in read_table(path)[1]]


@pytest.mark.parametrize("name", ["s.csv", "s.parquet", "s.pq", "s.CSV"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    assert write_table(tmp_path / name, iter(ROWS)) == 2
    columns, rows = read_table(tmp_path / name)
    assert columns == list(ROWS[0]) and list(rows) == [(2, ROWS[0]), (3, ROWS[1])]


CELLS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00\r"), max_size=8).map(str.strip)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(["s.csv", "s.parquet"]))
def test_any_cells_survive(tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], name: str) -> None:
    path = tmp_path_factory.mktemp("t") / name
    rows = [{"a": a, "b": b} for a, b in cells]
    write_table(path, rows)
    assert rows_of(path) == rows


def test_json_lines(tmp_path: Path) -> None:
    lines = [json.dumps(ROWS[0] | {"mesh": ["a", "b"], "note": None, "width": 3}), "", json.dumps({"id": 2, "patient": "q"})]
    (tmp_path / "s.jsonl").write_text("\n".join(lines))
    columns, rows = read_table(tmp_path / "s.jsonl")
    assert columns == [*ROWS[0], "note", "width"]
    assert list(rows) == [(1, ROWS[0] | {"note": "", "width": "3"}), (3, {"id": "2", "patient": "q"})]
    with pytest.raises(InputError, match="row 3: `image` is empty"):
        read_studies(tmp_path / "s.jsonl")


def test_half_a_character_of_json_is_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"id": "a\\ud800", "mesh": ["\\udcff", "\\ud83e\\udec1"]}')
    assert rows_of(tmp_path / "s.jsonl") == [{"id": "a?", "mesh": "?;🫁"}]


@pytest.mark.parametrize("line", ["{", "[1]", "3", "[" * 100_000, '{"a": "\udcff"'])
def test_lines_that_are_no_object_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "s.jsonl").write_bytes(b'{"id": 1}\n' + line.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"s\.jsonl, row 2: (not JSON|no JSON object)"):
        rows_of(tmp_path / "s.jsonl")


def put(folder: Path, name: str, text: str | None = None) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(folder / name)
    if text is not None:
        (folder / name).with_suffix(".txt").write_text(text, encoding="utf-8")


def test_a_folder_of_films_and_texts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "one.png", "INDICATION: Cough.\nFINDINGS: Lungs are clear.\nIMPRESSION: Normal chest.")
    put(tmp_path, "two.jpg", "Just a report.")
    put(tmp_path, "three.png")
    put(tmp_path, "train/p1/x.png", "The heart is large.")
    put(tmp_path, "Test/p2/x.png", "The heart is small.")
    put(tmp_path, "p3/x.png", "\ufeffNo effusion is seen.")
    (tmp_path / "left.txt").write_text("No film of this.")
    (tmp_path / ".hidden.png").write_text("")
    with caplog.at_level(logging.WARNING):
        studies = {study.id: study for study in read_studies(tmp_path)}
    assert {study.id: (study.patient, study.split, study.report) for study in studies.values()} == {
        "one": ("one", "", "Lungs are clear. Normal chest."),
        "two": ("two", "", "Just a report."),
        "train_p1_x": ("p1", "train", "The heart is large."),
        "Test_p2_x": ("p2", "test", "The heart is small."),
        "p3_x": ("p3", "", "No effusion is seen."),
    }
    assert studies["p3_x"].image == str(tmp_path / "p3" / "x.png")
    assert "1 texts have no film" in caplog.text and "1 of 6 reports have fewer than 3 tokens" in caplog.text


def test_texts_that_are_no_reports_are_named(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "a.txt").write_bytes(b"R\xf6ntgen")
    with pytest.raises(InputError, match=r"a\.txt: not a text in UTF-8"):
        read_studies(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(InputError, match=r"a\.txt: larger than 1024 KiB"):
        read_studies(tmp_path)


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    for name, error in (("s.csv", ValueError), ("s.parquet", KeyError)):
        write_table(tmp_path / name, ROWS)
        with pytest.raises(error):
            write_table(tmp_path / name, [ROWS[0], {"other": "x"}])
        assert rows_of(tmp_path / name) == ROWS
    with pytest.raises(InputError, match="no study to write"):
        write_table(tmp_path / "none.csv", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv", "s.parquet"]


def test_blank_lines_keep_a_spreadsheet_s_numbers(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("a\n1\n\n2\n")
    assert list(read_table(tmp_path / "s.csv")[1]) == [(2, {"a": "1"}), (4, {"a": "2"})]


@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_a_long_table_is_never_in_memory_as_a_whole(tmp_path: Path, name: str) -> None:
    """30,000 rows of 1 kB, 30 MB of text: some 3 MB at a time."""
    write_table(tmp_path / name, ({"a": f"{i:09} " * 100} for i in range(30_000)))
    tracemalloc.start()
    assert sum(1 for _ in read_table(tmp_path / name)[1]) == 30_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_other_types_of_parquet_are_read_as_text(tmp_path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist([{"a": 1, "b": None, "c": ["x", "y"], "d": 2.5}]), tmp_path / "s.parquet")
    assert rows_of(tmp_path / "s.parquet") == [{"a": "1", "b": "", "c": "x;y", "d": "2.5"}]


def test_the_csv_is_what_others_read(tmp_path: Path) -> None:
    write_table(tmp_path / "s.csv", ROWS)
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == ROWS


def test_a_folder_has_a_hash_as_a_table_has(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "Heart is normal.")
    before = sha256_of(tmp_path)
    assert sha256_of(tmp_path) == before
    (tmp_path / "a.txt").write_text("Heart is large, and more.")
    assert sha256_of(tmp_path) != before
