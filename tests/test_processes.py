"""Two processes give what one gives: the contrastive batch, codes, LAMB, checkpoints that go on with more or fewer processes."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cyclicxr import processes
from cyclicxr.checkpoint import load_state, load_tensors, state_numbers
from cyclicxr.language.llm import LanguageModel
from cyclicxr.training.loop import RunDirectory, run_loop
from cyclicxr.types import InputError

WORKER = Path(__file__).with_name("two_processes.py")


def load_worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_processes", WORKER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


worker = load_worker()


def torchrun(*words: str, count: int = 2) -> subprocess.CompletedProcess[str]:
    """Run by so many processes, which find one another at a free port."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    found = [*launch, "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *words]
    return subprocess.run(found, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind; two stages were begun there by one process and killed."""
    folder = tmp_path_factory.mktemp("processes")
    for stage, make in (("match", worker.matcher), ("llm", worker.writer)):
        worker.go(stage, make, 8, folder / "begun by one", dies_at=worker.DIES_AT)
    done = torchrun(str(WORKER), str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Tensor]:
    return load_tensors(folder / "found.safetensors")


def part(found: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{what} "): tensor for name, tensor in found.items() if name.startswith(f"{what} ")}


def assert_near(one: dict[str, Tensor], other: dict[str, Tensor], within: float = 1e-5) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=within, rtol=within, msg=lambda text, name=name: f"{name}: {text}")


def weights(folder: Path, stage: str) -> dict[str, Tensor]:
    model: dict[str, Tensor] = load_state(RunDirectory(folder).checkpoint(stage))["trainable"]["model"]
    return model


@pytest.mark.slow
def test_two_times_four_pairs_are_one_batch_of_eight(found: dict[str, Tensor]):
    """The loss of 8 x 8 pairs and the gradient of every weight, the temperature's too."""
    alone = worker.contrast()
    assert_near(part(found, "contrast"), alone)
    assert {"log_temperature", "project.weight", "text.project.weight"} < alone.keys()
    assert alone["image.stages.1.patches.heads.weight"].abs().max() > 1e-5


@pytest.mark.slow
def test_the_gradient_is_that_of_all_pairs_and_not_of_ones_own(found: dict[str, Tensor]):
    """Two separate batches of four give something else: what is tested above can fail."""
    training = worker.matcher(4)
    features = training.encoded(training.films([0, 2, 4, 6]), training.model.tokens([training.reports[i] for i in (0, 2, 4, 6)]))
    separate = training.loss(features[0], features[3], features[4], training.groups[[0, 2, 4, 6]])
    assert abs(float(separate.detach()) - float(found["contrast loss"])) > 0.1


@pytest.mark.slow
def test_codes_follow_the_vectors_of_all_processes(found: dict[str, Tensor]):
    assert_near(part(found, "follow"), worker.follow())


@pytest.mark.slow
def test_lamb_measures_whole_tensors_of_which_each_process_holds_a_part(found: dict[str, Tensor]):
    assert_near(part(found, "lamb"), worker.lamb(split=False))


@pytest.mark.slow
def test_each_process_validates_the_whole_split(found: dict[str, Tensor]):
    expected = worker.matcher(4).validate()
    assert {name: float(value) for name, value in part(found, "validate").items()} == pytest.approx(expected)


@pytest.mark.slow
def test_two_processes_and_one_with_the_same_joint_batch_end_with_the_same_weights(folder: Path, tmp_path: Path):
    worker.go("match", worker.matcher, 8, tmp_path)
    assert_near(weights(folder / "whole of two", "match"), weights(tmp_path, "match"), 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["match", "llm"])
def test_begun_by_two_and_killed_it_goes_on_with_one(stage: str, folder: Path):
    """One process takes both shares of each joint batch: as many steps, the same weights."""
    begun = folder / "begun by two"
    before = state_numbers(RunDirectory(begun).checkpoint(stage))
    assert (before["step"], before["batches"]) == (worker.DIES_AT - 1, 2)
    worker.go(stage, {"match": worker.matcher, "llm": worker.writer}[stage], 4, begun, resume=True)
    after = state_numbers(RunDirectory(begun).checkpoint(stage))
    whole = state_numbers(RunDirectory(folder / "whole of two").checkpoint(stage))
    assert (after["step"], after["batches"]) == (whole["step"], 2)
    assert_near(weights(begun, stage), weights(folder / "whole of two", stage), 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["match", "llm"])
def test_begun_by_one_and_killed_it_goes_on_with_two(stage: str, folder: Path, tmp_path: Path):
    """Each process takes half of every batch."""
    worker.go(stage, {"match": worker.matcher, "llm": worker.writer}[stage], 8, tmp_path)
    after, whole = (state_numbers(RunDirectory(of).checkpoint(stage)) for of in (folder / "begun by one", tmp_path))
    assert (after["step"], after["batches"]) == (whole["step"], 1)
    assert_near(weights(folder / "begun by one", stage), weights(tmp_path, stage), 2e-5)


@pytest.mark.slow
def test_a_model_that_is_split_is_saved_whole(folder: Path, found: dict[str, Tensor]):
    """Each process held a part of every tensor; what was saved is the last state of the checkpoint."""
    assert part(found, "split")["parts"].all()
    shipped = {f"model.{name}": tensor for name, tensor in LanguageModel.load(folder / "model").model.state_dict().items()}
    assert_near(shipped, weights(folder / "saved by two", "llm"), 1e-6)


def test_a_batch_that_is_too_small_for_more_processes_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    worker.go("match", worker.matcher, 2, tmp_path, dies_at=2)
    training = worker.matcher(2)
    monkeypatch.setattr(processes, "count", lambda: 3)
    monkeypatch.setattr(processes, "wait", lambda: None)
    with pytest.raises(InputError, match="match: a batch of 2 examples can't be shared among 3 processes; start fewer"):
        run_loop("match", training, RunDirectory(tmp_path), epochs=1, seed=0, resume=True)


@given(st.integers(0, 30), st.integers(1, 8))
def test_shares_are_equally_long_and_hold_each_example_once(n: int, of: int):
    shares = [processes.share(list(range(n)), number, of) for number in range(of)]
    assert {len(share) for share in shares} == {n // of}
    assert sorted(i for share in shares for i in share) == list(range(n - n % of))


def test_alone_nothing_is_sent(caplog: pytest.LogCaptureFixture):
    x = torch.randn(2, 3, requires_grad=True)
    assert (processes.count(), processes.rank(), processes.is_first()) == (1, 0, True)
    assert processes.gather(x) is x and processes.total(x) is x and processes.largest(x) is x and processes.whole(x) is x
    assert processes.take_from_first(x) is x and torch.equal(processes.mean(x), x)
    run = nn.Linear(3, 1)
    assert processes.parallel(run, run.forward) == run.forward
    with processes.joined(), processes.first_goes_first(), caplog.at_level(logging.INFO, "cyclicxr"):
        processes.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_trains_every_stage_with_two_processes(phantoms: Path, tmp_path: Path, toy_run: Path):
    """All five stages, one log and one record each; one process then finds nothing left to do."""
    numbers = [f"--set={name}={list(value) if isinstance(value, tuple) else value}" for name, value in toy_numbers().items()]
    words = ["-m", "cyclicxr", "train", str(phantoms), "--preset", "openi-small", "--out", str(tmp_path / "run"), *numbers]
    done = torchrun(*words)
    assert done.returncode == 0, done.stderr[-3000:]
    run = RunDirectory(tmp_path / "run")
    assert run.records().keys() == RunDirectory(toy_run).records().keys()
    assert parts_of(run.model) == parts_of(toy_run / "model")
    for stage in ("classifier", "match", "vqgan", "vqgan_decoder", "llm"):
        assert state_numbers(run.checkpoint(stage))["batches"] == 2
    again = subprocess.run([sys.executable, *words, "--resume"], capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stderr.count("is finished") == 5


def parts_of(model: Path) -> set[str]:
    return {path.relative_to(model).as_posix() for path in model.rglob("*") if path.parent.name != "thumbnails"}


def toy_numbers() -> dict[str, object]:
    spec = importlib.util.spec_from_file_location("numbers", Path(__file__).with_name("conftest.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, object] = module.TOY_NUMBERS
    return found
