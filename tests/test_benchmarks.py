"""BENCHMARKS.md is written from results alone, and a stale page is noticed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cyclicxr.checkpoint import read_preset
from cyclicxr.config import OPENI_SMALL, override
from cyclicxr.data.reports import without_marks
from cyclicxr.evaluate.system import similarities
from cyclicxr.evaluate.verdicts import CONSTANT, DRAWN, OURS, RECONSTRUCTED, SHUFFLED
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.metrics.retrieval import score_retrieval
from cyclicxr.processes import device_name
from cyclicxr.training import train_classifier, train_match
from cyclicxr.training.corpus import load_corpus
from cyclicxr.types import InputError
from cyclicxr.words.encoder import build_tokenizer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MACHINE = {"system": "Linux", "processor": "x86_64", "threads": 2, "torch": "2"}


def script(name):
    """A script of benchmarks/, which imports its neighbours by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where dataclasses look for it
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def write():
    return script("write")


def number(value):
    return {"value": value, "low": None, "high": None, "n": 9}


@pytest.fixture
def results(tmp_path):
    report = {
        OURS: {
            "BLEU-4": number(0.12),
            "ROUGE-L": number(0.37),
            "METEOR": number(0.18),
            "finding macro F1": number(0.31),
            "distinct outputs": number(0.25),
            "right finding named on abnormal": number(0.3),
        },
        SHUFFLED: {"right finding named on abnormal": number(0.1)},
        CONSTANT: {"BLEU-4": number(0.11), "ROUGE-L": number(0.38)},
        "report of the nearest training film (by one)": {"finding macro F1": number(0.1)},
        "report of the nearest training film (by another)": {"finding macro F1": number(0.2)},
    }
    retrieval = {
        "CXR-to-report": {"R@10": number(0.12), "chance@10": number(0.03)},
        "report-to-CXR": {"R@10": number(0.06), "chance@10": number(0.03)},
    }
    about = {"model": {"name": "toy"}, "split": "test", "n": 9, "seconds": {"report": 61.2}, "protocol": ["raw references"]}
    draw = {DRAWN: {"FID": number(0.9)}, RECONSTRUCTED: {"FID": number(0.3)}}
    joined = {"report-to-CXR": {"R@10": number(0.16), "chance@10": number(0.03)}}
    metrics = {"about": about, "report": report, "retrieval": retrieval, "retrieval, with the global alignment": joined, "draw": draw}
    learned = {"stages": {"match": {"R@10": 0.08}}, "seconds": {"match": 120}}
    stored = {
        "evaluate": {"command": "python benchmarks/evaluate_openi.py T", "machine": MACHINE, "metrics": metrics},
        "training": {"command": "python benchmarks/training_record.py R", "machine": MACHINE, **learned},
        "report_speed": {
            "command": "python benchmarks/report_speed.py", "machine": MACHINE, "load_seconds": 1.0, "yardstick_seconds": 0.5,
            "seconds": {"report": {"median": 1.5, "slowest": 2.0, "times": 5}}, "ratio": {"report": 3.0},
            "prompt": {"once": 1.0, "a copy each": 9.0, "times as fast": 9.0, "texts": 64, "prompt tokens": 280},
        },
    }  # fmt: skip
    for name, result in stored.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    return tmp_path


def test_the_page_says_what_was_reached_and_what_was_not(write, results):
    page = write.page(results)
    assert "| reports: BLEU-4 above the best constant | 0.120 against 0.110 | yes |" in page
    assert "| reports: ROUGE-L above the best constant | 0.370 against 0.380 | **no** |" in page
    assert "| reports: BLEU-4 at least the paper's on OpenI, 0.1446 | 0.120 | **no** |" in page
    assert "| reports: ROUGE-L at least the paper's on OpenI, 0.3656 | 0.370 | yes |" in page
    assert "| reports: METEOR at least 0.19 | 0.180 | **no** |" in page
    assert "| reports: finding macro F1 at least 1.5 x that of the nearest training film's report | 1.55 x | yes |" in page
    assert "| reports: at least 30 % distinct | 25% | **no** |" in page
    assert "| report-to-CXR, with the global alignment: R@10 at least 15 % | 16.0% | yes |" in page
    assert "| drawn films: FID at most 2 x that of the VQ-GAN's reconstructions | 3.0 x | **no** |" in page
    assert "| CXR-to-report, MaxSim alone: R@10 at least 4 x chance | 4.0 x | yes |" in page
    assert "| report-to-CXR, MaxSim alone: R@10 at least 4 x chance | 2.0 x | **no** |" in page
    assert "| report on one film, warm: 5 s at most | 1.50 s | yes |" in page
    for result in results.glob("*.json"):
        assert json.loads(result.read_text())["command"] in page


def test_without_results_the_page_says_so(write, tmp_path):
    assert (
        write.page(tmp_path).count("Not measured yet") == len(write.SECTIONS) - 2
    )  # all but the targets, and grounding_trained, which is silent


def test_the_committed_page_is_up_to_date():
    found = subprocess.run([sys.executable, str(BENCHMARKS / "write.py"), "--check"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_a_stale_page_is_noticed(write, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(write, "PAGE", tmp_path / "BENCHMARKS.md")
    monkeypatch.setattr(sys, "argv", ["write.py", "--check"])
    assert write.main() == 1
    monkeypatch.setattr(sys, "argv", ["write.py"])
    assert write.main() == 0
    monkeypatch.setattr(sys, "argv", ["write.py", "--check"])
    assert write.main() == 0
    assert "stale" in capsys.readouterr().err


def peer(seeds, r10, **more):
    """A row of peers.json: R@K of both ways in the whole split."""
    row = {"label": "a row", "settings": {}, "seeds": seeds}
    if not seeds:
        return row
    way = {"R@1": r10 / 10, "R@5": r10 / 2, "R@10": r10, "chance@1": 0.0025, "chance@5": 0.0125, "chance@10": 0.025}
    both = {name: {metric: {"mean": value, "sd": 0.01} for metric, value in way.items()} for name in ("CXR-to-report", "report-to-CXR")}
    return row | {"films": 400, "texts": 359, "devices": ["CPU"], "scores": {"whole split": both}, **more}


@pytest.fixture
def peers_result():
    less = {way: {"R@10": {"value": 0.04, "low": -0.01, "high": 0.09, "n": 400}} for way in ("CXR-to-report", "report-to-CXR")}
    rows = {
        "adamatch": peer([0, 1], 0.16) | {"label": "AdaMatch"},
        "filip": peer([0], 0.12, **{"AdaMatch less this": less}),
        "stage2": peer([], 0),
    }
    tables = {"4": ["adamatch", "filip"], "6": ["stage2", "adamatch"]}
    swept = {
        "row": "adamatch",
        "changed": {"match.width": 64},
        "device": "CPU",
        "scores": {"CXR-to-report": {"R@10": 0.111}, "report-to-CXR": {"R@10": 0.222}},
    }
    numbers = {"preset": "openi-small", "matcher's epochs": 6}
    machine = {"command": "python benchmarks/peers.py T", "machine": MACHINE}
    return machine | {"numbers": numbers, "tables": tables, "rows": rows, "sweep": [swept]}


def test_a_row_of_the_peers_that_was_not_run_is_said_to_be_so(write, tmp_path, peers_result):
    (tmp_path / "peers.json").write_text(json.dumps(peers_result))
    page = write.page(tmp_path)
    assert "Trained on CPU: AdaMatch; a row." in page
    assert "| AdaMatch | 2 | 1.6 ± 1.0 | 8.0 ± 1.0 | 16.0 ± 1.0 | 1.6 ± 1.0 |" in page
    assert "| a row | not run yet | – | – | – | – | – | – |" in page
    assert "| chance |  | 0.2 | 1.2 | 2.5 |" in page
    assert "| a row | 4.0 [-1.0, 9.0] | 4.0 [-1.0, 9.0] |" in page
    assert "| AdaMatch | match.width 64 | CPU | 11.1 | 22.2 |" in page
    assert "| report-to-CXR: R@10 of AdaMatch above every peer's | 16.0% against 12.0% | yes |" in page


def test_adamatch_is_not_said_to_be_ahead_while_a_peer_is_missing(write, tmp_path, peers_result):
    peers_result["tables"]["4"].append("stage2")
    (tmp_path / "peers.json").write_text(json.dumps(peers_result))
    assert "above every peer" not in write.page(tmp_path)


@pytest.fixture
def peers(monkeypatch, tmp_path):
    module = script("peers")
    monkeypatch.setattr(sys.modules["machine"], "RESULTS", tmp_path)
    return module


def test_a_row_of_the_peers_is_trained_once_from_a_classifier_of_its_own_encoder(peers, monkeypatch, tmp_path, phantoms, toy_preset):
    bench = peers.Bench(load_corpus(phantoms, 64, tmp_path / "cache"), toy_preset, tmp_path / "runs")
    found = json.loads(peers.measure(bench, ["5"], [3], sweep=False).read_text())
    assert {name: row["seeds"] for name, row in found["rows"].items() if row["seeds"]} == {"adamatch": [3], "filip": [3]}
    for row, classifier in (("adamatch", "classifier-seed3"), ("filip", "classifier-adaptive=False-seed3")):
        trained, pretrained = (tmp_path / "runs" / run / "model" for run in (f"{row}-seed3", classifier))
        assert (trained / "classifier.safetensors").read_bytes() == (pretrained / "classifier.safetensors").read_bytes()
        assert read_preset(trained).encoder == read_preset(pretrained).encoder
    assert found["rows"]["filip"]["devices"] == [device_name()]
    assert found["rows"]["filip"]["scores"]["whole split"]["report-to-CXR"]["R@10"] == {"mean": 1.0, "sd": None}  # a few films, all found
    monkeypatch.setattr(train_match, "train", None)
    monkeypatch.setattr(train_classifier, "train", None)
    assert json.loads(peers.measure(bench, ["5"], [3], sweep=False).read_text()) == found
    other = peers.Bench(bench.corpus, override(toy_preset, {"match.epochs": 2}), bench.out)
    with pytest.raises(InputError, match=r"adamatch-seed3: a run with other settings is there; choose another --out"):
        peers.measure(other, ["5"], [3], sweep=False)


def test_the_sweep_is_on_validation_films_and_changes_one_number(peers, monkeypatch, tmp_path, phantoms, toy_preset):
    """By the command itself, at toy size."""
    out = tmp_path / "runs"
    monkeypatch.setattr(peers, "SWEEP", [("pooled", {}), ("pooled", {"match.temperature": 0.02})])
    monkeypatch.setattr(peers, "OPENI_SMALL", toy_preset)
    monkeypatch.setattr(sys, "argv", ["peers.py", str(phantoms), "--sweep", "--epochs", "2", "--out", str(out)])
    peers.main()
    found = json.loads((tmp_path / "peers.json").read_text())
    assert found["numbers"]["matcher's epochs"] == 2 and found["command"].endswith("--sweep --epochs 2 --out runs")
    assert [(point["row"], point["changed"]) for point in found["sweep"]] == peers.SWEEP
    assert not any(row["seeds"] for row in found["rows"].values())
    runs = {path.name for path in out.iterdir()} - {"cache"}
    assert runs == {"classifier-adaptive=False-seed0", "pooled-seed0", "pooled-temperature=0.02-seed0"}
    assert not list(out.glob("*/score-test.json"))


def test_the_recall_of_a_row_is_by_the_protocol_of_the_evaluation(peers, phantoms, toy_preset, tmp_path):
    films = load_corpus(phantoms, 64, tmp_path / "cache").split("train")
    texts = [without_marks(report) for report in films.reports]
    tokenizer = build_tokenizer(toy_preset.words, texts)
    matcher = AdaMatch.build(toy_preset.encoder, toy_preset.words, toy_preset.match, tokenizer).eval()
    both = similarities(matcher, films.pixels, texts)
    found = peers.scores(matcher, films)["scores"]["whole split"]
    for side, way in zip(both, ("CXR-to-report", "report-to-CXR"), strict=True):
        expected = score_retrieval(side, texts)[way]
        assert {name: expected[name] for name in found[way]} == pytest.approx(found[way])


def test_every_row_has_settings_that_exist_and_a_run_of_its_own(peers):
    names = [peers.run_name(name, {**peers.ROWS[name].settings, **changed}, 0) for name, changed in peers.SWEEP]
    assert len(set(names)) == len(names)
    for name, changed in [*peers.SWEEP, *((name, {}) for name in peers.ROWS)]:
        usual = override(OPENI_SMALL, {**peers.PRETRAINING, **peers.START})
        as_it_is = (name, changed) in [("adamatch", {}), ("adamatch", {"match.width": usual.match.width})]  # the latter is run once more
        assert (override(usual, {**peers.ROWS[name].settings, **changed}) == usual) == as_it_is
    assert {name for table in peers.TABLES.values() for name in table} == set(peers.ROWS)


def test_what_a_step_takes_is_counted_by_hand():
    """A product of 64 x 32 and 32 x 16: 2 . 64 . 32 . 16 operations; each tensor moved once; both factors and the product alive."""
    scaling = script("scaling")
    with scaling.FakeTensorMode(), scaling.Counted() as counted:
        product = torch.zeros(64, 32) @ torch.zeros(32, 16)
    size = 4 * (64 * 32 + 32 * 16 + 64 * 16)
    assert product.shape == (64, 16)
    assert (counted.flops, counted.peak) == (2 * 64 * 32 * 16, size)
    assert counted.bytes == size + 4 * (64 * 32 + 32 * 16)  # the zeros were written, then read
    assert counted.alive == 4 * 64 * 16


def test_a_large_language_model_is_split_and_others_are_copied():
    scaling = script("scaling")
    machine = scaling.MACHINES[0]
    found = {"batch": 2, "frozen": 0, "activations": 1.0, "seconds": {machine.name: 1.0}, "layer": 10**8, "outside layers": 10**8}
    large = scaling.row("language model", found | {"weights": 2**30}, machine, 1600, 1)
    assert (large["way"], large["batch"]) == ("FSDP2", 16)
    assert large["GiB"] == pytest.approx(16 / 8 + 8 * 3e8 / 2**30 + 1.0 + machine.context)
    assert large["GiB if copied"] == pytest.approx(16 + 4 + 8 + machine.context)  # LAMB's two copies are more than the activations
    assert large["hours"] == pytest.approx(100 * large["step s"] / 3600)
    small = scaling.row("VQ-GAN", found | {"weights": 2**28, "layer": 0}, machine, 1600, 1)
    assert small["way"] == "DDP" and small["GiB"] == small["GiB if copied"] == pytest.approx(4 + 1 + 2 + machine.context)


@pytest.fixture
def costs():
    """Results of the three scripts that say what the matcher's parts cost."""
    full = {"seconds": {"ours": 1.2, "einsum, max": 4.8}, "times as fast": 4.0, "largest difference": 3e-8}
    maxsim = {
        "pairs": 112, "n": 196, "k": 90, "d": 256, "times": 7, "lengths": {"90 words each": full},
        "MB": {"ours": 50.0, "einsum, max": 1500.0}, "times less memory": 30.0, "GFLOP/s": 200.0,
        "bound, seconds": 0.6, "share of the bound": 0.5,
    }  # fmt: skip
    both = {"adaptive": 110.0, "fixed": 100.0}
    preset = {"batch": 32, "ms a film": both, "MB": both, "time ratio": 1.1, "memory ratio": 1.04}
    parts = {"optimiser": {"seconds": 0.5, "share": 0.25, "GFLOP": 20.0}}
    step = {"batch": 64, "tokens": 31.2, "seconds": 2.0, "times": 7, "GFLOP/s": 200.0, "parts": parts}
    found = {"maxsim": maxsim, "encoder_cost": {"times": 9, "presets": {"paper": preset}}, "match_step": step}
    return {name: {"command": f"python benchmarks/{name}.py", "machine": MACHINE, **of} for name, of in found.items()}


def test_what_similarities_patches_and_a_step_cost_is_told_with_the_goals(write, tmp_path, costs):
    for name, of in costs.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(of))
    page = write.page(tmp_path)
    assert "| patch-word similarity: at least 3 x the speed of the plain einsum | 4.0 x | yes |" in page
    assert "| patch-word similarity: at least 40 x less memory | 30 x | **no** |" in page
    assert "| adaptive patches, paper: at most 1.05 x the time of fixed ones | 1.10 x | **no** |" in page
    assert "| adaptive patches, paper: at most 1.05 x the memory of fixed ones | 1.04 x | yes |" in page
    assert "| s, 90 words each | 1.20 | 4.80 |" in page and "| MB beyond the inputs | 50 | 1,500 |" in page
    assert "| paper | 32 | 110 | 100 | 110 | 100 | 1.100 | 1.040 |" in page
    assert "| optimiser | 0.500 | 25% | 20.0 | 0.100 |" in page


def test_the_plain_ways_of_the_benchmark_find_the_same():
    maxsim = script("maxsim")
    inputs = maxsim.draw(3, is_full=False)
    ours, *others = (maxsim.step(way, *inputs) for way in maxsim.WAYS.values())
    for other in others:
        for found, expected in zip(other, ours, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_both_encoders_of_the_benchmark_differ_in_their_patches_alone():
    cost = script("encoder_cost")
    adaptive, fixed = (cost.build(OPENI_SMALL.encoder, patches).state_dict() for patches in cost.PATCHES)
    assert {name for name in adaptive if name not in fixed} == {
        f"stages.{stage}.patches.{part}.{what}" for stage in (1, 2, 3) for part in ("look", "heads", "embed") for what in ("weight", "bias")
    }


def test_the_parts_of_a_step_learn_what_a_step_of_the_training_learns(toy_preset):
    bench = script("match_step")
    still = override(toy_preset, {"encoder.dropout": 0.0, "words.dropout": 0.0})
    weights = []
    for in_parts in (False, True):
        torch.manual_seed(0)
        corpus = bench.phantoms("train", 4, still.encoder.size)
        training = bench.MatchTraining(corpus, corpus, still, bench.FilmClassifier(still.encoder, ["normal"], 0.0))
        torch.manual_seed(1)
        if in_parts:
            step = bench.Step(training, [0, 1, 2, 3])
            for part in step.parts().values():
                part()
        else:
            training.step([0, 1, 2, 3], still.match.warmup)
        weights.append(training.model.state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, msg=name)


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    module = script("gpu")
    monkeypatch.setattr(sys.modules["machine"], "RESULTS", tmp_path)
    (tmp_path / "scaling.json").write_bytes((BENCHMARKS / "results" / "scaling.json").read_bytes())
    return module


def run_small(gpu, monkeypatch, results, *pieces):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small", "--pieces", *pieces])
    gpu.main()
    return json.loads((results / "gpu_small.json").read_text())


@pytest.mark.slow
def test_each_piece_of_the_gpus_benchmark_runs_at_toy_size_and_is_told(gpu, write, monkeypatch, tmp_path):
    pieces = [piece for piece in gpu.PIECES if piece != "matcher, compiled"]  # compiling for a CPU takes minutes
    found = run_small(gpu, monkeypatch, tmp_path, *pieces)
    assert [piece for piece in found if piece in gpu.PIECES] == pieces
    errors = found["maxsim"]["errors"]
    assert max(errors["float32"].values()) < 1e-5 < errors["bfloat16 vectors"]["similarities, largest"]
    (tmp_path / "gpu.json").write_text(json.dumps(found))
    page = write.page(tmp_path)
    for title in ("Similarities", "Adaptive patches", "A training step of the matcher", "Writing tokens"):
        assert f"### {title}\n" in page
    assert page.count("| predicted |") == 2
    again = run_small(gpu, monkeypatch, tmp_path, "speeds")
    assert again["matcher"] == found["matcher"] and again["speeds"] != found["speeds"]  # what is not asked for again is kept


def test_what_a_gpu_has_no_room_for_is_said_to_be_out_of_memory(write, tmp_path):
    row = {"pairs": 896, "seconds": {"ours": 0.5}, "GiB": {"ours": 3.25}, "TFLOP": 7.0}
    speeds = {"TFLOP/s": {"float32": 50.0}, "GB/s": 3000.0}
    maxsim = {"n": 196, "k": 90, "d": 256, "errors": {"pairs": 112}, "rows": [row]}
    found = {"command": "python benchmarks/gpu.py", "machine": MACHINE, "gpu": {"name": "H"}, "speeds": speeds, "maxsim": maxsim}
    (tmp_path / "gpu.json").write_text(json.dumps(found))
    page = write.page(tmp_path)
    assert "| 896 | ours | 500.0 | 3.25 | 28% |" in page  # 7 TFLOP in half a second of 50 TFLOP/s
    assert "| 896 | einsum, max | out of memory | – | – |" in page


def test_what_one_h100_is_predicted_to_take_is_the_scaling_benchmarks_without_others(gpu):
    scaling = script("scaling")
    counted = json.loads((BENCHMARKS / "results" / "scaling.json").read_text())["parts"]["matcher"]
    products = 2 * 112 * 256 * 112 * scaling.REPORT * 256 / (67e12 * 0.5)  # seconds of the similarities, in float32
    update = 26 * 4 * counted["weights"] / (3350e9 * 0.75)
    assert gpu.predicted("matcher")["seconds"] == pytest.approx(counted["seconds"]["64 x H100"] + products + update, rel=1e-3)
