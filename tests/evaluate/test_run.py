"""One evaluation from table to files, with a model that reads its films and one that does not; killed half way, and begun again."""

import hashlib
import json

import pytest

from cyclicxr.evaluate import evaluate
from cyclicxr.evaluate.reports import BATCH
from cyclicxr.metrics import ptb
from cyclicxr.types import InputError

TASKS = ("report", "draw", "retrieval", "cycle")  # the toy's patches have no place to ground


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(ptb, "java", lambda: None)


def values(rows, metric):
    return {row: found[metric]["value"] for row, found in rows.items() if metric in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, toys):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ptb, "java", lambda: None)
        table = toys.write_table(folder, {"train": toys.TRAIN + toys.TEST, "test": toys.TEST})
        return table, folder / "out", evaluate(toys.Model(), table, out=folder / "out", tasks=TASKS, compare={"itself": toys.Matcher()})


def test_a_model_that_reads_its_films_beats_the_same_reports_shuffled(whole, toys):
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
    assert metrics["report"]["this model"]["distinct outputs"]["value"] == 2 / toys.TEST


def test_retrieval_is_scored_both_ways_beside_chance_and_beside_another_matcher(whole, toys):
    _, _, metrics = whole
    for direction in ("CXR-to-report", "report-to-CXR"):
        found = metrics["retrieval"][direction]
        assert found["R@1"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": toys.TEST}
        assert found["chance@1"]["value"] == pytest.approx(1 / toys.TEST)
        assert found["pool"]["value"] == toys.TEST
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


def test_the_files_hold_what_was_returned(whole, toys):
    table, out, metrics = whole
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert "films shuffled" in (out / "metrics.md").read_text()
    assert r"\toprule" in (out / "metrics.tex").read_text()
    page = (out / "metrics.html").read_text()
    assert "<table>" in page
    assert page.index("What it cannot do") < page.index("<table>")
    assert "as printed, other protocol" in page
    about = metrics["about"]
    assert about["n"] == toys.TEST
    assert about["studies"] == {"name": "studies.csv", "sha256": hashlib.sha256(table.read_bytes()).hexdigest()}
    assert about["resamples"] == 1000
    assert {"cyclicxr", "torch", "pycocoevalcap", "python"} <= set(about["versions"])
    assert len(list((out / "drawn").glob("*.png"))) == toys.TEST
    assert not list(out.rglob("*.part"))


def test_interrupted_it_goes_on_and_ends_the_same(whole, tmp_path, toys):
    table, _, metrics = whole
    first = toys.Model(lives=1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(first, table, out=tmp_path, tasks=["report", "draw", "cycle"])
    with (tmp_path / "reports.jsonl").open("a") as file:
        file.write('{"id": "test39", "hypoth')  # killed in the middle of a line
    second = toys.Model(lives=4)
    with pytest.raises(KeyboardInterrupt):
        evaluate(second, table, out=tmp_path, tasks=["report", "draw", "cycle"])
    third = toys.Model()
    found = evaluate(third, table, out=tmp_path, tasks=["report", "draw", "cycle"])
    assert {name: table for name, table in found.items() if name != "about"} == {name: metrics[name] for name in found if name != "about"}
    assert first.asked == BATCH
    assert first.asked + second.asked + third.asked == 4 * toys.TEST


def test_the_reports_of_another_model_are_not_taken_for_its_own(whole, toys):
    table, out, _ = whole
    for task in ("report", "draw"):
        with pytest.raises(InputError, match="another model"):
            evaluate(toys.Model(name="other"), table, out=out, tasks=[task])


def test_without_training_split_labels_or_classifier_there_are_fewer_rows(tmp_path, toys):
    table = toys.write_table(tmp_path, {"test": 10}, labelled=False)
    metrics = evaluate(toys.Model(classifier=False), table, out=tmp_path / "out", tasks=TASKS)
    assert list(metrics["report"]) == ["this model", "this model, films shuffled"]
    assert "finding macro F1" not in metrics["report"]["this model"]
    assert list(metrics["draw"]) == ["VQ-GAN reconstruction (floor)"]
    drawn = evaluate(toys.Model(), table, out=tmp_path / "other", tasks=["draw"])["draw"]["drawn from the true report"]
    assert "FID" in drawn and "finding AUC" not in drawn


def test_wrong_tasks_and_splits_are_refused(whole, tmp_path, toys):
    table, _, _ = whole
    with pytest.raises(InputError, match="'sing'"):
        evaluate(toys.Model(), table, out=tmp_path, tasks=["report", "sing"])
    with pytest.raises(InputError, match="val"):
        evaluate(toys.Model(), table, out=tmp_path, split="val")
    with pytest.raises(InputError, match=f"41 cases: split 'test' has {toys.TEST}"):
        evaluate(toys.Model(), table, out=tmp_path, cases=41)
    assert not (tmp_path / "metrics.json").exists()


def test_a_finished_task_is_not_run_again_unless_what_it_saw_changed(whole, tmp_path, toys):
    table, _, _ = whole
    model = toys.Model()
    first = evaluate(model, table, out=tmp_path, tasks=["retrieval"], compare={"itself": toys.Matcher()})
    again = evaluate(model, table, out=tmp_path, tasks=["retrieval"], compare={"itself": toys.Matcher()})
    assert again["about"]["seconds"] == first["about"]["seconds"]
    kept = json.loads((tmp_path / "tasks" / "retrieval.json").read_text())
    kept["tables"]["retrieval"]["CXR-to-report"]["R@1"]["value"] = 0.125  # as if it had been measured so
    (tmp_path / "tasks" / "retrieval.json").write_text(json.dumps(kept))
    assert (
        evaluate(model, table, out=tmp_path, tasks=["retrieval"], compare={"itself": toys.Matcher()})["retrieval"]["CXR-to-report"]["R@1"][
            "value"
        ]
        == 0.125
    )
    other = evaluate(model, table, out=tmp_path, tasks=["retrieval"])
    assert other["retrieval"]["CXR-to-report"]["R@1"]["value"] == 1
    assert "retrieval, itself" not in other


def test_a_sample_is_drawn_by_the_seed_and_kept_apart(whole, tmp_path, toys):
    table, _, _ = whole
    metrics = evaluate(toys.Model(), table, out=tmp_path, tasks=["report"], cases=8)
    assert metrics["about"]["n"] == 8
    ids = [json.loads(line).get("id") for line in (tmp_path / "reports.jsonl").read_text().splitlines()[1:]]
    assert len(set(ids)) == 8
    assert ids != [f"test{i}" for i in range(8)]
    with pytest.raises(InputError, match="another cases"):
        evaluate(toys.Model(), table, out=tmp_path, tasks=["report"])


def test_other_systems_stand_in_the_same_tables(whole, tmp_path, toys):
    table, _, _ = whole
    rows = "".join(f"test{i},The heart is enlarged.\n" if i else "test0,\n" for i in range(toys.TEST))
    (tmp_path / "theirs.csv").write_text(f"id,report\n{rows}")
    metrics = evaluate(toys.Model(), table, out=tmp_path / "out", tasks=["report"], systems={"R2Gen": tmp_path / "theirs.csv"})
    theirs = metrics["report"]["R2Gen"]
    assert theirs["empty outputs"]["value"] == 1
    assert theirs["BLEU-1"]["n"] == toys.TEST  # the empty one is scored, not dropped
    assert metrics["about"]["systems"]["R2Gen"] == hashlib.sha256((tmp_path / "theirs.csv").read_bytes()).hexdigest()
    with pytest.raises(InputError, match="this model"):
        evaluate(toys.Model(), table, out=tmp_path / "other", tasks=["report"], systems={"this model": tmp_path / "theirs.csv"})
