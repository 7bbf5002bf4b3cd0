"""BENCHMARKS.md is written from results alone, and a stale page is noticed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MACHINE = {"system": "Linux", "processor": "x86_64", "threads": 2, "torch": "2"}


@pytest.fixture(scope="module")
def write():
    spec = importlib.util.spec_from_file_location("benchmarks_write", BENCHMARKS / "write.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def number(value):
    return {"value": value, "low": None, "high": None, "n": 9}


@pytest.fixture
def results(tmp_path, write):
    report = {
        write.OURS: {
            "BLEU-4": number(0.12),
            "ROUGE-L": number(0.29),
            "distinct outputs": number(0.5),
            "right finding named on abnormal": number(0.3),
        },
        write.SHUFFLED: {"right finding named on abnormal": number(0.1)},
        write.CONSTANT: {"BLEU-4": number(0.11), "ROUGE-L": number(0.30)},
    }
    retrieval = {
        "CXR-to-report": {"R@10": number(0.12), "chance@10": number(0.03)},
        "report-to-CXR": {"R@10": number(0.06), "chance@10": number(0.03)},
    }
    about = {"model": {"name": "toy"}, "split": "test", "n": 9, "seconds": {"report": 61.2}, "protocol": ["raw references"]}
    metrics = {"about": about, "report": report, "retrieval": retrieval}
    learned = {"stages": {"match": {"R@10": 0.08}}, "seconds": {"match": 120}}
    stored = {
        "evaluate": {"command": "python benchmarks/evaluate_openi.py T", "machine": MACHINE, "metrics": metrics},
        "training": {"command": "python benchmarks/training_record.py R", "machine": MACHINE, **learned},
        "report_speed": {
            "command": "python benchmarks/report_speed.py", "machine": MACHINE, "load_seconds": 1.0, "yardstick_seconds": 0.5,
            "seconds": {"report": {"median": 1.5, "slowest": 2.0, "times": 5}}, "ratio": {"report": 3.0},
        },
    }  # fmt: skip
    for name, result in stored.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    return tmp_path


def test_the_page_says_what_was_reached_and_what_was_not(write, results):
    page = write.page(results)
    assert "| reports: BLEU-4 above the best constant | 0.120 against 0.110 | yes |" in page
    assert "| reports: ROUGE-L above the best constant | 0.290 against 0.300 | **no** |" in page
    assert "| CXR-to-report, MaxSim alone: R@10 at least 4 x chance | 4.0 x | yes |" in page
    assert "| report-to-CXR, MaxSim alone: R@10 at least 4 x chance | 2.0 x | **no** |" in page
    assert "| report on one film, warm: 5 s at most | 1.50 s | yes |" in page
    for result in results.glob("*.json"):
        assert json.loads(result.read_text())["command"] in page


def test_without_results_the_page_says_so(write, tmp_path):
    assert write.page(tmp_path).count("Not measured yet") == len(write.SECTIONS) - 1  # all but the targets


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
