"""`data check`: every problem at once, errors told from warnings."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclicxr.data.check import ERRORS, WARNINGS, check_studies
from cyclicxr.data.tables import write_table

GOOD = {"id": "a", "patient": "p", "image": "a.png", "report": "Heart size is normal.", "split": "train"}


def film(path: Path, grey: int) -> None:
    Image.fromarray(np.full((40, 40), grey, dtype=np.uint8)).save(path)


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """A table with each kind of problem that a table can be read with, and some more than once."""
    for grey, name in enumerate("abc"):
        film(tmp_path / f"{name}.png", grey)
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    rows = [
        GOOD,
        GOOD | {"id": "b", "image": "b.png", "split": "test", "report": "Lungs are clear today."},  # row 3: the patient is in train
        GOOD | {"image": "c.png", "report": "An old fracture."},  # row 4: the id is there
        GOOD | {"id": "d", "patient": "q", "image": "none.png", "report": "A small nodule.", "split": "dev"},
        GOOD | {"id": "e", "patient": "r", "image": "torn.png", "report": "XXXX."},
        GOOD | {"id": "f", "patient": "s", "image": "a.png", "report": "LUNGS are clear   today."},  # row 7: film of row 2, words of row 3
        GOOD | {"id": "g", "patient": "t", "image": "b.png", "report": "Another report here."},  # row 8: film of row 3
        GOOD | {"id": "h", "patient": "", "image": "", "report": "No film of this."},
    ]
    write_table(tmp_path / "studies.csv", rows)
    return tmp_path / "studies.csv"


def test_every_problem_is_listed_with_its_row(troubled: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    found = check_studies(troubled, lambda *step: seen.append(step))
    assert [(problem.kind, problem.row, problem.id) for problem in found.problems] == [
        ("empty cell", 9, "h"),
        ("repeated id", 4, "a"),
        ("patient in two splits", 3, "b"),
        ("unknown split", 5, "d"),
        ("missing film", 5, "d"),
        ("unreadable film", 6, "e"),
        ("film in two splits", 8, "g"),
        ("short report", 6, "e"),
        ("repeated film", 7, "f"),
        ("report in two splits", 7, "f"),
    ]
    assert found.rows == 8 and found.errors == 7
    assert seen[-1] == ("films", 7, 7) and len(seen) == 7


def test_as_json_and_as_text(troubled: Path) -> None:
    found = check_studies(troubled)
    value = json.loads(json.dumps(found.to_json()))
    assert (value["rows"], value["errors"], value["warnings"]) == (8, 7, 3)
    assert value["counts"] == Counter(problem["kind"] for problem in value["problems"])
    assert value["problems"][-1] == {
        "kind": "report in two splits",
        "row": 7,
        "id": "f",
        "message": "its report, in 'train', is also that of row 3, in 'test'",
        "severity": "warning",
        "remedy": WARNINGS["report in two splits"],
    }
    text = found.to_text()
    assert f"error: missing film (1): {ERRORS['missing film']}\n    row 5: " in text
    assert text.splitlines()[-1] == f"{troubled}: 8 films, 7 errors, 3 warnings"


def test_many_of_a_kind_are_counted_and_not_all_shown(tmp_path: Path) -> None:
    rows = [GOOD | {"id": str(i), "image": f"{i}.png", "report": f"Report number {i}."} for i in range(25)]
    write_table(tmp_path / "studies.csv", rows)
    found = check_studies(tmp_path / "studies.csv")
    lines = found.to_text().splitlines()
    assert len(found.problems) == 25 and len(lines) == 13
    assert lines[0].startswith("error: missing film (25)") and lines[11] == "    and 15 more; --json lists all"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "no such file"),
        ("short.csv", "id,image\n1,a.png\n", "no column `patient`"),
        ("empty.csv", "id,patient,image,report\n", "has no row"),
        ("bad.jsonl", "{]\n", "row 1: not JSON"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_problem(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    (problem,) = check_studies(tmp_path / name).problems
    assert (problem.kind, problem.row) == ("unusable table", 0) and said in problem.message


def test_what_stands_before_a_broken_row_is_still_checked(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,patient,image,report\n1,p,none.png,Heart is normal.\n2,p,b.png,one, two\n")
    assert [problem.kind for problem in check_studies(tmp_path / "s.csv").problems] == ["unusable table", "missing film"]


def test_a_good_table_and_warnings_alone_are_no_error(tmp_path: Path) -> None:
    film(tmp_path / "a.png", 1)
    write_table(tmp_path / "studies.csv", [GOOD])
    found = check_studies(tmp_path / "studies.csv")
    assert found.problems == () and found.to_text() == f"{tmp_path / 'studies.csv'}: 1 films, no problem found"
    film(tmp_path / "b.png", 2)
    write_table(tmp_path / "studies.csv", [GOOD, GOOD | {"id": "b", "image": "b.png", "report": "Normal."}])
    assert [problem.kind for problem in check_studies(tmp_path / "studies.csv").problems] == ["short report"]
    assert check_studies(tmp_path / "studies.csv").errors == 0


@pytest.mark.slow
def test_openi_has_no_error(openi: Path) -> None:
    found = check_studies(openi / "studies.csv")
    assert found.errors == 0 and found.rows == 3365
    assert {problem.kind for problem in found.problems} == {"report in two splits"}
