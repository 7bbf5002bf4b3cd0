"""Classification pre-training: labels from annotations, which findings are learned, AUC by hand, and that it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from cyclicxr.checkpoint import load_state, save_state, write_preset
from cyclicxr.config import Preset
from cyclicxr.data.openi import FINDINGS
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, run_loop
from cyclicxr.training.train_classifier import ClassifierTraining, auc, labels, learnable, train
from cyclicxr.types import InputError, Study


def study(number: int, *mesh: str, split: str = "train", report: str = "Clear lungs today.") -> Study:
    return Study(f"s{number}", f"p{number}", "", report, split, mesh=mesh)


def corpus(studies: list[Study]) -> Corpus:
    return Corpus(studies, torch.zeros(len(studies), 64, 64, dtype=torch.uint8))


def test_labels_by_hand():
    studies = [study(0, "Cardiomegaly/mild"), study(1, "normal"), study(2), study(3, "Pleural Effusion/left", "Cardiomegaly")]
    found = labels(studies, ["cardiomegaly", "effusion", "normal"])
    assert found.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 1, 0]]


def test_findings_on_too_few_films_are_not_learned():
    studies = [study(i, "normal") for i in range(3)] + [study(3, "Cardiomegaly"), study(4, "Cardiomegaly"), study(5, "Pleural Effusion")]
    order = [finding for finding in FINDINGS if finding in {"cardiomegaly", "normal"}]
    assert learnable(corpus(studies), 2) == order
    assert learnable(corpus(studies), 3) == ["normal"]
    with pytest.raises(InputError, match=r"on 4 training films; add annotations or lower classifier\.min_films"):
        learnable(corpus(studies), 4)


def test_auc_by_hand():
    """Five of each: scores 1..10 with truth on 2, 4, 6, 8, 10: of 25 pairs, those above 1, 3, 5, 7, 9: 1 + 2 + 3 + 4 + 5 = 15, so .6."""
    scores = torch.arange(1.0, 11.0).view(10, 1).repeat(1, 3)
    truth = torch.zeros(10, 3)
    truth[1::2, 0] = 1
    truth[5:, 1] = 1
    truth[9:, 2] = 1  # on one film: not measured
    found = auc(scores, truth, ["opacity", "effusion", "nodule"])
    assert found == {"mean": pytest.approx(0.8), "opacity": pytest.approx(0.6), "effusion": pytest.approx(1.0)}


def test_nothing_that_can_be_measured_gives_no_mean():
    assert auc(torch.rand(4, 2), torch.zeros(4, 2), ["opacity", "effusion"]) == {}


def phantoms(n: int, split: str) -> Corpus:
    """Half with a large heart, half normal."""
    drawn = [draw_phantom(i, ["cardiomegaly"] if i % 2 else [], size=64) for i in range(n)]
    studies = [study(i, *phantom.mesh, split=split, report=phantom.report) for i, phantom in enumerate(drawn)]
    return Corpus(studies, torch.stack([torch.from_numpy(phantom.pixels.copy()) for phantom in drawn]))


@pytest.fixture(scope="module")
def preset(toy_preset: Preset) -> Preset:
    return dataclasses.replace(
        toy_preset, classifier=dataclasses.replace(toy_preset.classifier, learning_rate=3e-3, batch=12, warmup=0.1, dropout=0.0)
    )


def test_a_step_learns_from_both_kinds_and_the_average_follows(preset: Preset):
    torch.manual_seed(0)
    training = ClassifierTraining(phantoms(24, "train"), phantoms(12, "val"), preset, ["cardiomegaly"])
    head = training.average.module.classifier.head.weight.detach().clone()
    losses = [training.step(indices, 0.3)["loss"] for epoch in range(12) for indices in training.batches(epoch)]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    averaged, last = training.average.module.classifier.head.weight.detach(), training.model.classifier.head.weight.detach()
    assert not torch.equal(averaged, head) and not torch.equal(averaged, last)


def test_progress_sets_the_rate(preset: Preset):
    training = ClassifierTraining(phantoms(12, "train"), phantoms(12, "val"), preset, ["cardiomegaly"])
    assert training.step([0, 1], 0.05)["rate"] == pytest.approx(1.5e-3)  # half of the warm-up
    assert training.step([0, 1], 0.55)["rate"] == pytest.approx(1.5e-3)  # half of the cosine
    assert training.step([0, 1], 1.0)["rate"] == pytest.approx(0.0)


def test_validation_uses_the_average_and_names_each_finding(preset: Preset):
    torch.manual_seed(0)
    training = ClassifierTraining(phantoms(12, "train"), phantoms(12, "val"), preset, ["cardiomegaly", "normal", "opacity"])
    first = training.validate()
    assert set(first) == {"loss", "AUC mean", "AUC cardiomegaly", "AUC normal"}
    with torch.no_grad():
        training.model.classifier.head.bias.fill_(5.0)
    assert training.validate() == first
    with torch.no_grad():
        training.average.module.classifier.head.bias.fill_(5.0)
    assert training.validate()["loss"] > first["loss"] + 0.5


def test_the_stage_writes_the_averaged_weights_and_records_the_findings(preset: Preset, tmp_path: Path):
    run = RunDirectory(tmp_path)
    write_preset(run.model, preset)
    train_films, val = phantoms(24, "train"), phantoms(12, "val")
    both = Corpus(train_films.studies + val.studies, torch.cat([train_films.pixels, val.pixels]))
    train(both, preset, run, resume=False)
    record = run.records()["classifier"]
    assert set(record["findings"]) == {"cardiomegaly", "normal"} and "AUC cardiomegaly" in record and record["seconds"] > 0
    stored = load_state(run.checkpoint("classifier"))["trainable"]["average"]
    loaded = FilmClassifier.load(run.model).state_dict()
    for name, tensor in loaded.items():
        torch.testing.assert_close(tensor, stored[f"module.classifier.{name}"], atol=2e-3, rtol=2e-3, msg=name)


def test_a_table_without_splits_is_one_clear_line(preset: Preset, tmp_path: Path):
    with pytest.raises(InputError, match="split 'train'"):
        train(phantoms(4, ""), preset, RunDirectory(tmp_path), resume=False)


def test_it_is_a_trainable_whose_state_is_whole(preset: Preset, tmp_path: Path):
    """Everything that a step changes is in the state: restored into a new one, the next step is the same."""
    one, other = (ClassifierTraining(phantoms(12, "train"), phantoms(12, "val"), preset, ["cardiomegaly"]) for _ in range(2))
    run_loop("classifier", one, RunDirectory(tmp_path), epochs=1, seed=0, resume=False)
    save_state(tmp_path / "state", one.state())
    other.restore(load_state(tmp_path / "state"))
    found = []
    for training in (one, other):
        torch.manual_seed(3)
        found.append((training.step([0, 1, 2], 0.5), training.validate()))
    assert found[0] == found[1]


def test_the_words_of_the_reports_are_learned_from_the_same_features(preset: Preset):
    """Findings alone leave the words at the error of the usual report, 1; with them it falls. Nothing of it is in what is kept."""
    heard, deaf = (dataclasses.replace(preset.classifier, words_weight=weight, mixup=0.0) for weight in (1.0, 0.0))
    last = {}
    for config in (heard, deaf):
        torch.manual_seed(0)
        training = ClassifierTraining(
            phantoms(24, "train"), phantoms(12, "val"), dataclasses.replace(preset, classifier=config), ["cardiomegaly"]
        )
        steps = [training.step(indices, 0.3)["words"] for epoch in range(30) for indices in training.batches(epoch)]
        last[config.words_weight] = sum(steps[-4:]) / 4
    assert last[1.0] < 0.9 * last[0.0]
    assert not [name for name in training.average.module.classifier.state_dict() if name.startswith("words")]


def test_mixed_films_have_mixed_answers(preset: Preset, monkeypatch):
    """Half of each and half of another: with one film ill and one well every answer is 1/2, whatever the order."""
    training = ClassifierTraining(phantoms(12, "train"), phantoms(12, "val"), preset, ["cardiomegaly"])
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self: torch.tensor(0.5))
    monkeypatch.setattr(torch, "randperm", lambda n, device=None: torch.tensor([1, 0]))
    seen = []
    monkeypatch.setattr(
        functional, "binary_cross_entropy_with_logits", lambda logits, truth: seen.append(truth) or (logits - truth).square().mean()
    )
    training.step([0, 1], 0.3)
    assert seen[0].tolist() == [[0.5], [0.5]]
