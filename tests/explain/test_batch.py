"""Many films: which ones, what they are called, and what a failure does to the others."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cyclicxr.checkpoint import sha256_of
from cyclicxr.explain.batch import Done, Failure, Job, Tally, find_jobs, run_jobs, same_film_and_model, sweep, write_failures
from cyclicxr.types import ImageRecord, InputError, Result, SyntheticRecord

MODEL = {"name": "m", "revision": "r"}
FILM = Image.new("L", (20, 30), 90)


@dataclass(frozen=True)
class Told:
    result: Result
    film: Image.Image | None = field(default_factory=FILM.copy)
    drawn: Image.Image | None = None


def work(path: Path) -> Told:
    if path.name.startswith("bad"):
        raise InputError("file is truncated;\n  copy it again")
    if path.name.startswith("bug"):
        raise KeyError("boom")
    return Told(Result(ImageRecord(str(path), sha256_of(path), 20, 30, "PA"), MODEL, f"Report of {path.stem}."))


def put(path: Path, data: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        FILM.save(path)
    else:
        path.write_bytes(data)
    return path


def names(inputs: list[Any], out: Path) -> list[str]:
    jobs, failures = find_jobs([str(entry) for entry in inputs], out)
    assert failures == []
    return [job.name for job in jobs]


def test_a_folder_is_searched_all_the_way_down_for_films(tmp_path: Path) -> None:
    for name in ("b.png", "a/c.JPG", "a/d.dcm", ".hidden.png", "notes.txt"):
        put(tmp_path / "films" / name, b"x")
    dicom = b"\0" * 128 + b"DICM"
    put(tmp_path / "films/1.2.840.5", dicom)
    put(tmp_path / "films/IM0001", dicom)
    put(tmp_path / "films/DICOMDIR", dicom)
    put(tmp_path / "films/README", b"read me")
    assert names([tmp_path / "films"], tmp_path / "out") == ["1.2.840", "IM0001", "a_c", "a_d", "b"]


def test_globs_tables_and_files_come_in_the_order_given_and_once(tmp_path: Path) -> None:
    for name in ("one.png", "two.png", "three.png"):
        put(tmp_path / name)
    table = put(tmp_path / "studies.csv", b"id,patient,image,report\nS/7,p,three.png,The heart is normal.\n")
    jobs, _ = find_jobs([str(tmp_path / "two.png"), str(table), str(tmp_path / "*.png")], tmp_path / "out")
    assert [job.name for job in jobs] == ["two", "S_7", "one"]
    assert [job.path.name for job in jobs] == ["two.png", "three.png", "one.png"]


def test_two_films_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    inputs = [put(tmp_path / "a/film.png"), put(tmp_path / "b/Film.png"), put(tmp_path / "b/other.png")]
    found = names(inputs, tmp_path)
    assert len({name.casefold() for name in found}) == 3
    assert found[2] == "other"
    assert found == names(inputs, tmp_path)  # the same names again, or --resume would not find them


@pytest.mark.parametrize(("stem", "name"), [("ward 3, bed 1", "ward_3_bed_1"), ("index", "index_"), ("__", "_"), ("ünï", "ünï")])
def test_names_are_file_names(tmp_path: Path, stem: str, name: str) -> None:
    assert names([put(tmp_path / "films" / f"{stem}.png")], tmp_path) == [name]


def test_a_name_that_is_not_in_utf8_is_a_failure_and_the_others_are_done(tmp_path: Path) -> None:
    films = tmp_path / "films"
    put(films / "b.png")
    put(Path(os.fsdecode(os.fsencode(films) + b"/M\xfcller.png")))
    (job,), (failure,) = find_jobs([str(films)], tmp_path / "out")
    assert job.name == "b"
    assert failure.message.endswith("ller.png: the name is not in UTF-8, as results are; rename the file")
    assert not failure.ours


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    assert names([put(tmp_path / "film[1].png")], tmp_path) == ["film_1"]


@pytest.mark.parametrize(
    ("entry", "message"), [("empty", "no film in this folder"), ("no*.png", "no file matches"), ("missing.csv", "missing.csv")]
)
def test_an_input_without_films_is_a_failure_and_the_others_are_done(tmp_path: Path, entry: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    film = put(tmp_path / "film.png")
    jobs, (failure,) = find_jobs([str(tmp_path / entry), str(film)], tmp_path / "out")
    assert [job.path for job in jobs] == [film]
    assert message in failure.message
    assert not failure.ours


def test_what_an_earlier_run_wrote_is_not_taken_for_a_film(tmp_path: Path) -> None:
    for name in ("film.png", "film.drawn.png", "lone.drawn.png", "thumbnails/killed.jpg", "killed.drawn.png"):
        put(tmp_path / name)
    put(tmp_path / "film.json", b"{}")
    assert names([tmp_path], tmp_path) == ["film", "lone.drawn"]


def test_a_failing_film_does_not_stop_the_others(tmp_path: Path) -> None:
    jobs = [Job(put(tmp_path / f"{name}.png"), name) for name in ("bad", "bug", "good")]
    bad, bug, good = run_jobs(jobs, work, tmp_path / "out")
    assert isinstance(bad, Failure)
    assert bad.message == f"{jobs[0].path}: file is truncated; copy it again"
    assert not bad.ours
    assert isinstance(bug, Failure)
    assert "KeyError: 'boom'" in bug.message
    assert bug.ours
    assert isinstance(good, Done)
    assert good.report == "Report of good."
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.html", "good.json", "thumbnails"]


def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    def full(path: Path) -> Told:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        list(run_jobs([Job(put(tmp_path / "a.png"), "a")], full, tmp_path))


def test_a_disk_that_is_full_when_the_result_is_written_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    jobs = [Job(put(tmp_path / f"{name}.png"), name) for name in ("a", "b")]
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="the disk is full"):
        list(run_jobs(jobs, work, tmp_path / "out"))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_film_that_takes_too_long_is_given_up_and_the_others_are_done(tmp_path: Path) -> None:
    def slowly(path: Path) -> Told:
        try:
            while path.name.startswith("slow"):
                time.sleep(0.01)
        except Exception:  # noqa: BLE001 the program's own handlers do not take the end of the time for an error
            return work(path)
        return work(path)

    jobs = [Job(put(tmp_path / f"{name}.png"), name) for name in ("slow", "quick")]
    slow, quick = run_jobs(jobs, slowly, tmp_path / "out", timeout=0.3)
    assert isinstance(slow, Failure)
    assert slow.message == f"{jobs[0].path}: not done after 0.3 s; allow more with --timeout"
    assert slow.ours
    assert isinstance(quick, Done)
    assert not (tmp_path / "out" / "slow.json").exists()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # time may end between the opening of a file and its `with`
def test_a_film_that_is_done_as_its_time_ends_is_done_or_not(tmp_path: Path) -> None:
    film = put(tmp_path / "film.png")

    def just(path: Path) -> Told:
        told = work(path)
        end = time.perf_counter() + 0.004
        while time.perf_counter() < end:
            pass
        return told

    for number in range(60):
        (item,) = run_jobs([Job(film, str(number))], just, tmp_path / "out", timeout=0.003 + number * 0.0001)
        assert isinstance(item, Done) == (tmp_path / "out" / f"{number}.json").exists()


def test_what_killed_processes_left_of_these_films_is_removed(tmp_path: Path) -> None:
    ours = ["a.json", "a.drawn.png", "1.2.840.html", "thumbnails/a.jpg"]
    theirs = ["b.json", "thumbnails/b.jpg", "index.html"]
    for name in ours + theirs:
        path = tmp_path / name
        put(path.with_name(f".{path.name}.0123abcd.part"), b"half")
    put(tmp_path / "a.json", b"{}")
    sweep([Job(Path("x/a.png"), "a"), Job(Path("1.2.840"), "1.2.840")], tmp_path)
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == [".b.json.0123abcd.part", ".index.html.0123abcd.part", "a.json", "thumbnails/.b.jpg.0123abcd.part"]


def test_failures_are_listed_in_one_file_and_those_of_an_earlier_run_are_not(tmp_path: Path) -> None:
    listed = write_failures(tmp_path, [Failure("a.png", "a.png: bad \udce4"), Failure("b", "b: no film")])
    assert listed is not None
    assert listed.read_text().splitlines() == [
        '{"image": "a.png", "error": "a.png: bad \\udce4"}',
        '{"image": "b", "error": "b: no film"}',
    ]
    assert write_failures(tmp_path, []) is None
    assert list(tmp_path.iterdir()) == []


def test_a_tally_counts_films_and_what_was_no_film(tmp_path: Path) -> None:
    jobs = [Job(put(tmp_path / f"{name}.png"), name) for name in ("bad", "one", "two", "three")]
    list(run_jobs(jobs[1:2], work, tmp_path / "out"))
    tally = Tally(len(jobs), [Failure("empty", "empty: no film")])
    for item in run_jobs(jobs[:3], work, tmp_path / "out", lambda path, stored: True):
        tally.add(item)
    assert (tally.written, tally.skipped, len(tally.failures), tally.left) == (1, 1, 2, 1)


def resume(path: Path, stored: Mapping[str, Any]) -> bool:
    return same_film_and_model(path, stored, MODEL, drawn=False)


def again(job: Job, out: Path) -> bool:
    """Whether a resumed run does the film again."""
    (item,) = run_jobs([job], work, out, resume)
    assert isinstance(item, Done)
    assert item.report == "Report of film."
    return not item.skipped


def test_a_resumed_run_leaves_out_what_is_done(tmp_path: Path) -> None:
    job = Job(put(tmp_path / "film.png"), "film")
    assert again(job, tmp_path / "out")
    assert not again(job, tmp_path / "out")


@pytest.mark.parametrize("change", ["film", "torn", "foreign"])
def test_a_resumed_run_does_again_what_does_not_fit(tmp_path: Path, change: str) -> None:
    job = Job(put(tmp_path / "film.png"), "film")
    assert again(job, tmp_path / "out")
    if change == "film":
        Image.new("L", (20, 30), 91).save(job.path)
    else:
        (tmp_path / "out" / "film.json").write_text("{" if change == "torn" else "[1]")
    assert again(job, tmp_path / "out")
    assert not again(job, tmp_path / "out")


def test_a_resumed_run_of_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    job = Job(put(tmp_path / "film.png"), "film")
    assert again(job, tmp_path / "out")
    job.path.unlink()
    (item,) = run_jobs([job], work, tmp_path / "out", resume)
    assert isinstance(item, Failure)


def test_a_report_will_not_do_for_a_cycle_nor_another_models_result(tmp_path: Path) -> None:
    film = put(tmp_path / "film.png")
    stored = work(film).result.to_json()
    assert same_film_and_model(film, stored, MODEL, drawn=False)
    assert not same_film_and_model(film, stored, MODEL, drawn=True)
    assert not same_film_and_model(film, stored, {**MODEL, "revision": "s"}, drawn=False)
    drawn = Result(ImageRecord("", sha256_of(film), 1, 1, ""), MODEL, "", synthetic=SyntheticRecord("", ())).to_json()
    assert same_film_and_model(film, drawn, MODEL, drawn=True)
