"""Many films by Ray, in real processes: the same results as one process, whatever dies on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cyclicxr import cli
from cyclicxr.data.phantom import write_phantom_studies
from cyclicxr.explain.batch import Failure, Job

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # as many threads in each process, or sums may differ in the last digit
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'cyclicxr[ray]'")

PRETEND = """
import json, os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from cyclicxr.explain.batch import Done, find_jobs
from cyclicxr.explain.ray_engine import run_on_ray
from cyclicxr.types import InputError, Result

folder, out = Path(sys.argv[1]), Path(sys.argv[2])

@dataclass
class Told:
    result: Result
    film: Any = None
    drawn: Any = None

def open_model():
    if folder.name == "no_model":
        raise InputError("model 'x': no such model")
    return work, None

def work(path):
    with (folder / f"{path.stem}.begun").open("a") as begun:
        begun.write("x")
    if path.stem == "deadly" or (path.stem == "unlucky" and (folder / "unlucky.begun").stat().st_size == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.stem == "bad":
        raise InputError(f"{path}: truncated")
    while path.stem == "slow":
        time.sleep(0.01)
    return Told(Result(None, {"name": "m", "revision": "r"}, f"Report of {path.stem}."))

if __name__ == "__main__":
    jobs, _ = find_jobs([str(folder)], out)
    try:
        for item in run_on_ray(jobs, open_model, out, 20.0):
            print(json.dumps([item.job.name, item.report] if isinstance(item, Done) else [Path(item.path).stem, item.message, item.ours]))
    except InputError as error:
        print(json.dumps(["stopped", str(error)]))
"""


def pretend(folder: Path, *names: str) -> dict[str, list[Any]]:
    """What came out of each film of a folder, of a pretended model in Ray's processes."""
    folder.mkdir()
    for name in names:
        Image.new("L", (20, 30), 90).save(folder / f"{name}.png")
    program = folder.parent / "pretend.py"
    program.write_text(PRETEND)
    found = subprocess.run(
        [sys.executable, str(program), str(folder), str(folder.parent / "out")], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in found.stdout.splitlines() if line.startswith('["')]
    assert len({name for name, *_ in lines}) == len(lines)
    return {name: rest for name, *rest in lines}


def without_timings(path: Path) -> str:
    stored: dict[str, Any] = json.loads(path.read_text())
    return json.dumps({**stored, "timings": None})


def test_without_ray_it_is_one_line_and_exit_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (20, 30), 90).save(tmp_path / "film.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["report", str(tmp_path / "film.png"), "--out", str(tmp_path / "out"), "--engine", "ray"]) == 2
    assert capsys.readouterr().err == "cyclicxr: error: --engine ray: Ray is not installed; pip install 'cyclicxr[ray]'\n"


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)  # nine processes begin one after another
def test_a_killed_process_loses_nothing_and_a_film_that_kills_is_given_up(tmp_path: Path) -> None:
    names = ["bad", "deadly", "slow", "unlucky", *(f"film{i}" for i in range(6))]
    found = pretend(tmp_path / "films", *names)
    fine = [name for name in names if name not in ("bad", "deadly", "slow")]
    assert {name: found[name] for name in fine} == {name: [f"Report of {name}."] for name in fine}
    assert found["bad"] == [f"{tmp_path}/films/bad.png: truncated", False]
    assert found["slow"] == [f"{tmp_path}/films/slow.png: not done after 20 s; allow more with --timeout", True]
    assert "died 3 times" in found["deadly"][0] and found["deadly"][1] is True
    assert (tmp_path / "films" / "unlucky.begun").read_text() == "xx"
    assert (tmp_path / "films" / "deadly.begun").read_text() == "xxx"
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.json")) == sorted(fine)


def test_what_ray_says_while_it_stops_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    studies = write_phantom_studies(tmp_path / "studies", count=2, seed=1, size=64)

    def one_film_and_a_word(jobs: list[Job], *_: object) -> Iterator[Failure]:
        try:
            yield Failure(str(jobs[0].path), "stop here")
        finally:
            print("(raylet) the actor is dead")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cyclicxr.explain.ray_engine.run_on_ray", one_film_and_a_word)
    monkeypatch.setattr("cyclicxr.cli.films._tell", interrupted)
    assert cli.main(["report", str(studies), "--out", str(tmp_path / "out"), "--engine", "ray"]) == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert "(raylet) the actor is dead" in said.err


@needs_ray
@pytest.mark.slow
def test_a_model_that_cannot_be_opened_stops_the_run(tmp_path: Path) -> None:
    assert pretend(tmp_path / "no_model", "a", "b") == {"stopped": ["model 'x': no such model"]}


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_results_are_those_of_one_process_and_a_stopped_run_goes_on(toy_run: Path, tmp_path: Path) -> None:
    studies = write_phantom_studies(tmp_path / "studies", count=16, seed=1, size=64)

    def words(engine: str) -> list[str]:
        films = ["report", str(studies), "--out", str(tmp_path / engine), "--engine", engine, "--model", str(toy_run / "model")]
        return [*films, "--force", "--resume"]

    command = [sys.executable, "-m", "cyclicxr", *words("ray")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as stopped:
        assert stopped.stdout is not None
        first = [stopped.stdout.readline()]
        stopped.send_signal(signal.SIGTERM)
        rest, said = stopped.communicate(timeout=100)
    assert stopped.returncode == 143, said
    assert f"cyclicxr: 0 failed, {len(first) + len(rest.splitlines())} written to " in said
    assert " not done, in " in said and "interrupted" in said
    assert list((tmp_path / "ray").rglob(".*")) == []

    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "ray").glob("*.json")}
    assert 1 <= len(times) < 16
    went_on = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert went_on.returncode == 0, went_on.stderr
    assert went_on.stdout.count("(done before)") == len(times)
    assert len(went_on.stdout.splitlines()) == 16  # results alone, whatever Ray says
    assert {name: (tmp_path / "ray" / name).stat().st_mtime_ns for name in times} == times

    assert cli.main(words("local")) == 0
    results = sorted((tmp_path / "local").glob("*.json"))
    assert len(results) == 16
    for path in results:
        assert without_timings(tmp_path / "ray" / path.name) == without_timings(path)
