"""Tables of written reports: systems beside each other and against ours, empty reports, and metrics of the user's."""

import json
import shlex
import sys

import numpy as np
import pytest
import torch

from cyclicxr.evaluate.report_tables import CEILING, Extras, Remembered, report_cases, report_tables
from cyclicxr.evaluate.system import Case
from cyclicxr.metrics import ptb
from cyclicxr.training.corpus import Corpus
from cyclicxr.types import InputError, Study

SICK, WELL = "The heart is enlarged. Small left effusion.", "The heart is normal in size. The lungs are clear. No effusion."


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(ptb, "java", lambda: None)


@pytest.fixture
def case():
    """Forty studies, the half of them sick; nobody looks at the films."""
    kinds = [(SICK, ("Cardiomegaly/mild", "Pleural Effusion/left")), (WELL, ("normal",))]
    studies = [Study(f"s{i}", f"s{i}", "", kinds[i % 2][0], split="test", mesh=kinds[i % 2][1]) for i in range(40)]
    corpus = Corpus(studies, torch.zeros((40, 1, 1), dtype=torch.uint8))
    return Case(corpus, {study.id: study.report for study in studies}, "test", 0, lambda what, done, total: None)


@pytest.fixture
def systems(case):
    true = case.cases.reports
    return {"this model": true, "always-normal": [WELL] * 40, "silent": [""] * 40}


def test_a_model_that_is_right_beats_the_others_in_every_table(case, systems):
    tables = report_tables(systems, case)
    report = tables["report"]
    assert report["this model"]["micro F1-14 (rules)"].value == report["this model"]["macro F1-5 (rules)"].value * 5 / 2 == 1
    # always-normal: "No Finding" is right on 20 of 40, and two findings are missed on the others
    assert report["always-normal"]["micro F1-14 (rules)"].value == pytest.approx(2 * 20 / (2 * 20 + 20 + 40))
    assert report["silent"]["micro F1-14 (rules)"].value == 0
    assert report["silent"]["empty outputs"].value == 40
    assert report["silent"]["BLEU-1"].value == pytest.approx(0, abs=1e-6)
    assert report[CEILING]["finding macro F1"].value == report["this model"]["finding macro F1"].value == 1
    assert tables["report by label"]["Cardiomegaly (20 reports)"]["always-normal"].value == 0
    assert tables["report by finding"]["cardiomegaly (20 films)"]["this model"].value == 1


def test_ours_is_compared_with_each_other_on_the_same_films(case, systems):
    tables = report_tables(systems, case)
    assert list(tables["report, paired"]) == ["this model against always-normal", "this model against silent"]
    for metric, found in tables["report, paired"]["this model against always-normal"].items():
        ours, other = (tables["report"][name][metric] for name in ("this model", "always-normal"))
        assert found.value == pytest.approx(ours.value - other.value)
        assert found.n == ours.n
        assert found.low <= found.value <= found.high
    assert tables["report, paired"]["this model against silent"]["BLEU-1"].p < 0.01
    assert "finding macro F1" in tables["report, paired"]["this model against silent"]


def test_reports_that_contradict_or_repeat_themselves_are_counted_for_every_system(case, systems):
    """A quarter deny what they affirm, and each of those says one thing twice: "heart is normal" beside "enlarged", "no effusion" twice."""
    torn = "The heart is enlarged. The heart is normal in size. No pleural effusion. No effusion is seen."
    table = report_tables(systems | {"torn": [torn] * 10 + [WELL] * 30}, case)["report"]
    for name, incoherent, again in (("torn", 0.25, 0.25), ("this model", 0, 0), ("silent", 0, 0), (CEILING, 0, 0)):
        assert table[name]["contradicts itself"].value == incoherent
        assert table[name]["sentences said again"].value == again


def test_resamples_are_computed_once():
    asked = []
    remembered = Remembered(lambda weights: asked.append(1) or {"sum": weights.sum(1)})
    for weights in (np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3))):
        assert (remembered(weights)["sum"] == weights.sum(1)).all()
    assert len(asked) == 2


def test_metrics_of_the_users_stand_in_the_table(case, systems, tmp_path):
    annotation = {"1": {"tokens": "effusion", "label": "OBS-DP", "relations": []}}
    (tmp_path / "graph.json").write_text(
        json.dumps({str(i): {"text": text, "entities": annotation} for i, text in enumerate((SICK, WELL))})
    )
    script = "import json, sys\nfor line in sys.stdin: print(json.dumps({'id': json.loads(line)['id'], 'score': 0.5}))"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"
    found = report_tables(systems, case, Extras(radgraph=tmp_path / "graph.json", commands={"half": command}))
    for name, graph in (("this model", 1), ("always-normal", 1), ("silent", 0)):
        assert found["report"][name]["half"].value == 0.5
        assert found["report"][name]["RadGraph F1 (entities)"].value == graph
    assert found["report, paired"]["this model against silent"]["half"].p == 1


def test_each_case_says_what_is_right_wrong_and_missed(case):
    right, wrong = report_cases([SICK, SICK, *case.cases.reports[2:]], case)[:2]
    assert (right["id"], right["ROUGE-L"]) == ("s0", 1)
    assert right["labels right"] == ["Cardiomegaly", "Pleural Effusion"]
    assert (right["labels missed"], right["labels wrong"], right["findings missed"]) == ([], [], [])
    assert right["findings right"] == ["cardiomegaly", "effusion"]
    assert (wrong["labels missed"], wrong["labels wrong"]) == (["No Finding"], ["Cardiomegaly", "Pleural Effusion"])
    assert wrong["findings wrong"] == ["cardiomegaly", "effusion"]
    assert wrong["ROUGE-L"] < 1
    assert json.dumps(right)


def test_systems_of_another_length_and_true_reports_without_words_are_refused(case, systems):
    with pytest.raises(InputError, match=r"'other'.*: 39 for 40 films"):
        report_tables(systems | {"other": [WELL] * 39}, case)
    case.raw["s4"] = " . "
    with pytest.raises(InputError, match="reference 5 of 40 has no words"):
        report_tables(systems, case)
