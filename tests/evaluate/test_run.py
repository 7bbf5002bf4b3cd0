"""One evaluation from table to files, with a model that reads its films and one that does not; killed half way, and begun again."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cyclicxr.config import OPENI_SMALL, override
from cyclicxr.evaluate import evaluate
from cyclicxr.evaluate.reports import BATCH
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.metrics import ptb
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.types import InputError

SIZE, TRAIN, TEST = 64, 12, 40
KINDS = {  # MeSH, brightness, report
    "Cardiomegaly/mild": (200, "The heart is enlarged. Lungs are clear"),
    "normal": (60, "The heart is normal in size. The lungs are clear. No effusion"),
}


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(ptb, "java", lambda: None)


def write_table(folder: Path, splits: dict[str, int], labelled: bool = True) -> Path:
    rows, rng = [], np.random.default_rng(0)
    for split, count in splits.items():
        for i in range(count):
            mesh, (brightness, report) = list(KINDS.items())[i % 2]
            name = f"{split}{i}"
            film = np.full((SIZE, SIZE), brightness) + rng.integers(-20, 20, size=(SIZE, SIZE))
            film[i % 8 * 8 : i % 8 * 8 + 8, i // 8 * 8 : i // 8 * 8 + 8] = 255
            Image.fromarray(film.astype(np.uint8)).save(folder / f"{name}.png")
            report = f"{report}. Film of {name}."
            rows.append([name, name, f"{name}.png", report, split, mesh if labelled else ""])
    with (folder / "studies.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "patient", "image", "report", "split", "mesh"], *rows])
    return folder / "studies.csv"


class Matcher(AdaMatch):
    """Knows which film a report is of: both get the same random vector, from the brightest place of the film and the number in the text."""

    def __init__(self):
        nn.Module.__init__(self)
        self.vectors = nn.functional.normalize(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)), dim=1)

    def encode_films(self, pixels):
        places = nn.functional.avg_pool2d(pixels, 8).flatten(1).argmax(1)
        return SimpleNamespace(features=self.vectors[places][:, None].expand(-1, 3, -1))

    def encode_texts(self, texts):
        numbers = torch.tensor([int("".join(letter for letter in text if letter.isdigit())) for text in texts])
        mask = torch.tensor([[False, True, True, False]]).expand(len(texts), -1)
        return SimpleNamespace(features=self.vectors[numbers % 8 * 8 + numbers // 8][:, None].expand(-1, 4, -1), mask=mask)


class Coder(nn.Module):
    """Rounds the pixels."""

    def encode(self, pixels):
        return pixels

    def decode(self, ids):
        return (ids * 32).round() / 32


class Model:
    """Writes by the brightness of the film and draws by the words of the report; dies after a number of batches."""

    def __init__(self, name="toy", lives=10**6, classifier=True):
        torch.manual_seed(0)
        self.info = {"name": name, "revision": "0"}
        self.preset = override(OPENI_SMALL, {"encoder.size": SIZE})
        self.classifier = (
            FilmClassifier(self.preset.encoder, ["normal", "cardiomegaly"]).eval().requires_grad_(False) if classifier else None
        )
        self.matcher, self.vqgan, self.lives, self.asked = Matcher(), Coder(), lives, 0

    def write_reports(self, pixels):
        self.live(len(pixels))
        return [next(report for level, report in KINDS.values() if abs(film.float().mean() - level) < 50) for film in pixels]

    def draw_films(self, texts, seed):
        self.live(len(texts))
        noise = torch.randint(-20, 20, (len(texts), SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
        return (torch.tensor([200 if "enlarged" in text else 60 for text in texts])[:, None, None] + noise).byte()

    def live(self, asked):
        if not self.lives:
            raise KeyboardInterrupt
        self.lives -= 1
        self.asked += asked


def values(rows, metric):
    return {row: found[metric]["value"] for row, found in rows.items() if metric in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ptb, "java", lambda: None)
        table = write_table(folder, {"train": TRAIN + TEST, "test": TEST})
        return table, folder / "out", evaluate(Model(), table, out=folder / "out", compare={"itself": Matcher()})


def test_a_model_that_reads_its_films_beats_the_same_reports_shuffled(whole):
    _, _, metrics = whole
    named = values(metrics["report"], "right finding named on abnormal")
    assert named["this model"] == 1
    assert named["this model, films shuffled"] < 0.8
    assert named["the true report (ceiling of the finding reader)"] == 1
    bleu = values(metrics["report"], "BLEU-4")
    assert bleu["this model"] > bleu["this model, films shuffled"]
    assert bleu["this model"] > bleu["always-normal (best constant of train)"]
    assert len(bleu) == 6
    assert metrics["report by finding"]["cardiomegaly (20 films)"]["this model"]["value"] == 1
    assert metrics["report, without marks"]["this model"]["BLEU-4"]["value"] == pytest.approx(bleu["this model"])  # there are no marks here
    assert metrics["report"]["this model"]["distinct outputs"]["value"] == 2 / TEST


def test_retrieval_is_scored_both_ways_beside_chance_and_beside_another_matcher(whole):
    _, _, metrics = whole
    for direction in ("CXR-to-report", "report-to-CXR"):
        found = metrics["retrieval"][direction]
        assert found["R@1"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": TEST}
        assert found["chance@1"]["value"] == pytest.approx(1 / TEST)
        assert found["pool"]["value"] == TEST
    assert metrics["retrieval, itself"] == metrics["retrieval"]


def test_drawn_films_stand_between_their_floors(whole):
    _, _, metrics = whole
    fid = values(metrics["draw"], "FID")
    assert 0 <= fid["VQ-GAN reconstruction (floor)"] < fid["drawn from the true report"]
    assert "other real films (floor)" in fid
    assert 0 < metrics["draw"]["VQ-GAN reconstruction (floor)"]["L1"]["value"] < 1 / 64
    seen = values(metrics["draw"], "finding AUC")
    assert {seen["drawn from the true report"], seen["the real film"]} <= {0.0, 1.0}  # an untrained head tells them apart, either way round
    assert 0.2 < seen["drawn from another film's report"] < 0.8


def test_the_files_hold_what_was_returned(whole):
    _, out, metrics = whole
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert "films shuffled" in (out / "metrics.md").read_text()
    assert "<table>" in (out / "metrics.html").read_text()
    assert metrics["about"]["n"] == TEST
    assert len(list((out / "drawn").glob("*.png"))) == TEST
    assert not list(out.rglob("*.part"))


def test_interrupted_it_goes_on_and_ends_the_same(whole, tmp_path):
    table, _, metrics = whole
    first = Model(lives=1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(first, table, out=tmp_path, tasks=["report", "draw"])
    with (tmp_path / "reports.jsonl").open("a") as file:
        file.write('{"id": "test39", "hypoth')  # killed in the middle of a line
    second = Model(lives=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(second, table, out=tmp_path, tasks=["report", "draw"])
    third = Model()
    found = evaluate(third, table, out=tmp_path, tasks=["report", "draw"])
    assert [found[task] for task in ("report", "draw")] == [metrics[task] for task in ("report", "draw")]
    assert first.asked == BATCH
    assert first.asked + second.asked + third.asked == 2 * TEST


def test_the_reports_of_another_model_are_not_taken_for_its_own(whole):
    table, out, _ = whole
    for task in ("report", "draw"):
        with pytest.raises(InputError, match="another model"):
            evaluate(Model(name="other"), table, out=out, tasks=[task])


def test_without_training_split_labels_or_classifier_there_are_fewer_rows(tmp_path):
    table = write_table(tmp_path, {"test": 10}, labelled=False)
    metrics = evaluate(Model(classifier=False), table, out=tmp_path / "out")
    assert list(metrics["report"]) == ["this model", "this model, films shuffled"]
    assert "finding macro F1" not in metrics["report"]["this model"]
    assert list(metrics["draw"]) == ["VQ-GAN reconstruction (floor)"]
    assert list(evaluate(Model(), table, out=tmp_path / "other", tasks=["draw"])["draw"]["drawn from the true report"]) == ["FID"]


def test_wrong_tasks_and_splits_are_refused(whole, tmp_path):
    table, _, _ = whole
    with pytest.raises(InputError, match="'sing'"):
        evaluate(Model(), table, out=tmp_path, tasks=["report", "sing"])
    with pytest.raises(InputError, match="val"):
        evaluate(Model(), table, out=tmp_path, split="val")
    assert not (tmp_path / "metrics.json").exists()
