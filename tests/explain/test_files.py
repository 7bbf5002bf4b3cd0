"""A result on disk: three files, the JSON last, nothing half written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cyclicxr.explain import files, write_index, write_result
from cyclicxr.types import ImageRecord, Result, SentenceRecord, SyntheticRecord

FILM = Image.new("L", (300, 200), 90)
DRAWN = Image.new("L", (256, 256), 60)
RESULT = Result(
    ImageRecord("x/film.png", "0" * 64, 300, 200, "PA"),
    {"name": "m", "revision": "r"},
    "Heart normal.",
    (SentenceRecord("Heart normal.", 0, 13, (), 0.2, True),),
    synthetic=SyntheticRecord("", (1, 2)),
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_cycle_is_three_files_and_the_json_names_the_drawn_film(tmp_path: Path) -> None:
    paths = write_result(tmp_path / "out", "film", RESULT, FILM, DRAWN)
    assert names(tmp_path / "out") == ["film.drawn.png", "film.html", "film.json"]
    stored = json.loads(paths.json.read_text())
    assert stored["synthetic"] == {"path": "film.drawn.png", "tokens": [1, 2]}
    assert paths.drawn is not None
    with Image.open(paths.drawn) as drawn:
        assert drawn.size == (256, 256)


def test_a_drawing_takes_the_name_itself(tmp_path: Path) -> None:
    write_result(tmp_path, "drawn", replace(RESULT, image=None), None, DRAWN)
    assert names(tmp_path) == ["drawn.html", "drawn.json", "drawn.png"]


def test_a_drawn_film_never_takes_the_name_of_the_original(tmp_path: Path) -> None:
    original = tmp_path / "film.png"
    FILM.save(original)
    before = original.read_bytes()
    write_result(tmp_path, "film", RESULT, FILM, DRAWN)
    assert original.read_bytes() == before


def test_a_report_alone_is_two_files(tmp_path: Path) -> None:
    paths = write_result(tmp_path, "film", replace(RESULT, synthetic=None), FILM, None)
    assert names(tmp_path) == ["film.html", "film.json"]
    assert paths.drawn is None


@pytest.mark.parametrize("broken", ["page", "write_json"])
def test_a_failure_leaves_no_result_and_no_scrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(files, broken, fail)
    with pytest.raises(RuntimeError):
        write_result(tmp_path, "film", RESULT, FILM, DRAWN)
    assert not (tmp_path / "film.json").exists()
    assert not [name for name in names(tmp_path) if name.endswith(".part")]


def test_a_number_that_is_not_json_is_refused_before_the_file_is_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, "film", replace(RESULT, timings={"match": float("nan")}), FILM, None)
    assert not (tmp_path / "film.json").exists()


def test_a_film_in_the_page_is_no_larger_than_it_needs_to_be(tmp_path: Path) -> None:
    page = write_result(tmp_path, "film", replace(RESULT, synthetic=None), Image.effect_noise((4000, 2000), 60), None).page
    assert page.stat().st_size < 1.6 * 1280 * 640
    assert files._within(FILM, 150).size == (150, 100)
    assert FILM.size == (300, 200)


def test_a_film_of_16_bits_is_refused_rather_than_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="I;16"):
        write_result(tmp_path, "film", RESULT, Image.new("I;16", (40, 20), 40000), None)


def test_the_index_lists_results_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_result(tmp_path, name, RESULT, FILM, DRAWN)
    files.write_thumbnail(tmp_path, "a", FILM)
    (tmp_path / "other.json").write_text('{"schema": "something else"}')
    (tmp_path / "torn.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    html = write_index(tmp_path).read_text()
    assert html.count("<li>") == 2
    assert html.index("a.html") < html.index("b.html")
    assert html.count("thumbnails/") == 1
    assert "1 not supported by the film" in html
