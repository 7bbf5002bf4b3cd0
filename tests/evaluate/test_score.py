"""Other systems' outputs by the same tables without a model: the same numbers as beside one, with the baselines that need none."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from cyclicxr.checkpoint import write_preset
from cyclicxr.evaluate import evaluate, score
from cyclicxr.metrics import ptb
from cyclicxr.types import InputError


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(ptb, "java", lambda: None)


@pytest.fixture
def given(tmp_path, toys):
    """Studies, a model directory with nothing but its classifier, and the outputs of two systems."""
    table = toys.write_table(tmp_path, {"train": toys.TRAIN, "test": 10})
    model = toys.Model()
    write_preset(tmp_path / "model", model.preset)
    model.classifier.save(tmp_path / "model")
    reports = {row["id"]: row["report"] for row in csv.DictReader(io.StringIO(table.read_text())) if row["split"] == "test"}
    for name, texts in (("good", reports), ("bad", dict.fromkeys(reports, "Broken rib."))):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["id", "report"], *texts.items()])
    return table, tmp_path / "model", tmp_path


def test_reports_are_scored_without_a_film_or_a_model(given):
    table, files, folder = given
    for film in folder.glob("*.png"):
        film.unlink()
    systems = {"good": folder / "good.csv", "bad": folder / "bad.csv"}
    metrics = score(table, out=folder / "out", systems=systems, files=files)
    rows = metrics["report"]
    assert {"good", "bad", "good, films shuffled", "always-normal (best constant of train)", "report of a random training film"} <= set(
        rows
    )
    assert rows["good"]["BLEU-4"]["value"] == pytest.approx(1, abs=1e-6)
    assert rows["bad"]["BLEU-4"]["value"] < 1e-6
    assert metrics["report, paired"]["good against bad"]["BLEU-4"]["p"] < 0.01
    assert "draw" not in metrics
    assert json.loads((folder / "out" / "metrics.json").read_text()) == metrics
    assert {path.name for path in (folder / "out").iterdir()} == {"metrics.json", "metrics.md", "metrics.html", "metrics.tex"}


def test_the_numbers_are_those_beside_a_model(given, toys):
    table, files, folder = given
    systems = {"bad": folder / "bad.csv"}
    alone = score(table, out=folder / "alone", systems=systems, files=files)
    beside = evaluate(toys.Model(), table, out=folder / "beside", tasks=["report"], systems=systems)
    for row in ("bad", "always-normal (best constant of train)", "report of a random training film"):
        assert alone["report"][row] == beside["report"][row]


def test_films_are_measured_by_the_classifier_of_a_model(given, toys):
    table, files, folder = given
    rng = np.random.default_rng(0)
    rows = [["id", "image"]]
    for i in range(10):
        Image.fromarray(rng.integers(0, 255, (toys.SIZE, toys.SIZE), dtype=np.uint8)).save(folder / f"drawn{i}.png")
        rows.append([f"test{i}", f"drawn{i}.png"])
    with (folder / "noise.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    torch.manual_seed(0)
    metrics = score(table, out=folder / "out", systems={"noise": folder / "noise.csv"}, files=files)
    assert metrics["draw"]["noise"]["FID"]["value"] > metrics["draw"]["other real films (floor)"]["FID"]["value"]
    assert "noise against other real films (floor)" in metrics["draw, paired"]
    assert "report" not in metrics


def test_bad_input_is_said_before_anything_is_written(given):
    table, files, folder = given
    with pytest.raises(InputError, match="no system"):
        score(table, out=folder / "out", systems={}, files=files)
    with pytest.raises(InputError, match="val"):
        score(table, out=folder / "out", systems={"bad": folder / "bad.csv"}, files=files, split="val")
    (folder / "bad.csv").write_text("id,report\ntest0,x\n")
    with pytest.raises(InputError, match="no row for id 'test1'"):
        score(table, out=folder / "out", systems={"bad": folder / "bad.csv"}, files=files)
    assert not (folder / "out").exists()
