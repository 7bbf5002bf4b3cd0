"""The loop: a run that is killed anywhere and resumed is the run that was not."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from torch import nn

from cyclicxr import checkpoint, processes
from cyclicxr.training import loop
from cyclicxr.training.loop import RunDirectory, Trainable, in_order, run_loop, seconds_spent, shuffled_batches
from cyclicxr.training.optim import Lamb
from cyclicxr.training.stateful import Stateful
from cyclicxr.training.step_log import StepLog
from cyclicxr.types import InputError

EPOCHS, BATCHES = 3, 4


class Toy(Stateful):
    """A little network with dropout, batch norm and noise: all that may differ after a resume does."""

    settings = "abc"

    def __init__(self, dies_at: int = 0, nan_at: int = 0, wrong: Mapping[str, float] | None = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 4, 3))
        self.model.to(memory_format=torch.channels_last)
        self.optimizer = Lamb(self.model.parameters(), lr=0.01, weight_decay=0.1)
        self.steps: list[tuple[list[int], float]] = []
        self.dies_at, self.nan_at, self.wrong = dies_at, nan_at, wrong or {"loss": math.nan}

    def batches(self, epoch: int) -> list[list[int]]:
        return shuffled_batches(2 * BATCHES, 2, seed=1, epoch=epoch)

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        self.steps.append((indices, progress))
        if len(self.steps) == self.dies_at:
            raise KeyboardInterrupt
        self.model.train()
        films = torch.tensor(indices, dtype=torch.float32).view(-1, 1, 1, 1) + torch.randn(len(indices), 2, 7, 7)
        loss = self.model(films).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": float(loss.detach()), "gradient norm": 1.0, **(self.wrong if len(self.steps) == self.nan_at else {})}

    def name(self, example: int) -> str:
        return f"study {example}"

    def identity(self) -> dict[str, str]:
        return {"settings": self.settings}

    def validate(self) -> dict[str, float]:
        return {"score": float(torch.rand(())), "none": math.nan}


def run(toy: Toy, folder: Path, *, resume: bool = False, epochs: int = EPOCHS) -> RunDirectory:
    directory = RunDirectory(folder)
    run_loop("toy", toy, directory, epochs=epochs, seed=7, resume=resume)
    return directory


def log_of(directory: RunDirectory) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (directory.root / "logs" / "toy.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def same(one: Toy, other: Toy) -> bool:
    states = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, RunDirectory]:
    toy = Toy()
    return toy, run(toy, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("every_step", [True, False], ids=["checkpoint each step", "checkpoint each epoch"])
@pytest.mark.parametrize("step", range(1, EPOCHS * BATCHES + 1))
def test_killed_at_any_step_and_resumed_it_is_the_same(
    step: int, every_step: bool, whole: tuple[Toy, RunDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0 if every_step else 1e9)
    with pytest.raises(KeyboardInterrupt):
        run(Toy(dies_at=step), tmp_path)
    torch.rand(3)  # whatever happened in between
    resumed = Toy()
    directory = run(resumed, tmp_path, resume=True)
    assert same(resumed, whole[0])
    assert log_of(directory) == log_of(whole[1])
    redone = len(resumed.steps) - (EPOCHS * BATCHES - (step - 1))
    assert redone == (0 if every_step else (step - 1) % BATCHES)


def test_every_example_once_an_epoch_and_progress_over_the_whole_stage(whole: tuple[Toy, RunDirectory]):
    steps = whole[0].steps
    assert [progress for _, progress in steps] == [i / 12 for i in range(12)]
    for epoch in range(EPOCHS):
        seen = [i for indices, _ in steps[epoch * BATCHES : (epoch + 1) * BATCHES] for i in indices]
        assert sorted(seen) == list(range(2 * BATCHES))


def test_the_log_has_each_step_and_each_epochs_validation_and_stays_json(whole: tuple[Toy, RunDirectory]):
    lines = log_of(whole[1])
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 13))
    assert [line["step"] for line in lines if line["kind"] == "val"] == [4, 8, 12]
    assert all(line["none"] is None for line in lines if line["kind"] == "val")


def test_a_finished_stage_that_is_resumed_does_nothing(whole: tuple[Toy, RunDirectory], tmp_path: Path):
    directory = run(Toy(), tmp_path)
    again = Toy()
    run(again, tmp_path, resume=True)
    assert again.steps == [] and same(again, whole[0])
    assert log_of(directory) == log_of(whole[1])


def test_without_resume_it_begins_again(tmp_path: Path):
    run(Toy(), tmp_path, epochs=1)
    toy = Toy()
    directory = run(toy, tmp_path, epochs=1)
    assert len(toy.steps) == BATCHES
    assert len([line for line in log_of(directory) if line["kind"] == "train"]) == BATCHES


def test_a_log_line_cut_off_by_a_kill_is_dropped(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        run(Toy(dies_at=7), tmp_path)
    with (tmp_path / "logs" / "toy.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    directory = run(Toy(), tmp_path, resume=True)
    assert [line["step"] for line in log_of(directory) if line["kind"] == "train"] == list(range(1, 13))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": math.nan}, "loss is nan"),
        ({"loss": -math.inf}, "loss is -inf"),
        ({"gradient norm": math.inf}, "gradient norm is inf"),
        ({"loss": 20_000.0}, "loss exploded to 2e+04"),
    ],
)
def test_a_loss_that_is_not_finite_stops_and_names_step_examples_and_checkpoint(tmp_path: Path, wrong: dict[str, float], said: str):
    toy = Toy(nan_at=6, wrong=wrong)
    examples = toy.batches(1)[1]
    with pytest.raises(FloatingPointError) as caught:
        run(toy, tmp_path)
    message = str(caught.value)
    assert f"toy: {said} at step 6" in message and ", ".join(f"study {i}" for i in examples) in message and "\n" not in message
    assert str(tmp_path / "checkpoints" / "toy.safetensors") in message
    lines = log_of(RunDirectory(tmp_path))
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5]
    assert lines[-1] == {"kind": "stopped", "step": 6, "examples": [f"study {i}" for i in examples]}
    resumed = Toy()
    run(resumed, tmp_path, resume=True)
    assert len(resumed.steps) == 12 - 4  # from the whole epoch before


def test_of_many_examples_the_message_names_some_and_the_log_all(tmp_path: Path):
    toy = Toy(nan_at=1)
    toy.batches = lambda epoch: [list(range(20))]  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match=r"study 0, .*study 7 and 12 more, all in .*toy\.jsonl\)"):
        run(toy, tmp_path)
    assert log_of(RunDirectory(tmp_path))[-1]["examples"] == [f"study {i}" for i in range(20)]


def test_a_batch_of_a_single_pair_is_a_step(tmp_path: Path):
    toy = Toy()
    toy.batches = lambda epoch: [[0], [1, 2]]  # type: ignore[method-assign]
    run(toy, tmp_path, epochs=1)
    assert [indices for indices, _ in toy.steps] == [[0], [1, 2]]


@pytest.mark.parametrize("full", ["disk", "quota", "safetensors"])
def test_a_full_disk_is_one_clear_line_and_the_last_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str):
    """It fills while the second checkpoint is written; once there is room the run goes on from the first."""
    error = {
        "disk": OSError(errno.ENOSPC, "No space left on device"),
        "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
        "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    }[full]
    written = 0

    def save_file(tensors: Any, path: Path, metadata: Any) -> None:
        nonlocal written
        written += 1
        whole_save_file(tensors, path, metadata)
        if written == 2:
            Path(path).write_bytes(Path(path).read_bytes()[:100])
            raise error

    whole_save_file = checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", save_file)
    with pytest.raises(InputError, match=r"toy\.safetensors: can't be written, the disk is full; .*go on with --resume") as caught:
        run(Toy(), tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["toy.safetensors"]
    resumed = Toy()
    run(resumed, tmp_path, resume=True)
    assert len(resumed.steps) == 12 - 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_is_one_clear_line(tmp_path: Path):
    with StepLog(tmp_path, "toy", 0) as step_log:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, step_log.file.fileno())
        with pytest.raises(InputError, match=r"toy\.jsonl: can't be written, the disk is full"):
            step_log.write("train", 1, {"loss": 1.0})
        os.dup2(os.open(os.devnull, os.O_WRONLY), step_log.file.fileno())


def test_what_a_kill_left_half_written_is_swept_away(tmp_path: Path):
    run(Toy(), tmp_path, epochs=1)
    left = tmp_path / "checkpoints" / ".toy.safetensors.0123abcd.part"
    left.write_bytes(b"half")
    run(Toy(), tmp_path, resume=True)
    assert not left.exists()


@pytest.mark.parametrize(
    ("stage", "settings", "said"),
    [
        ("toy", "xyz", "settings abc, not xyz"),
        ("game", "abc", "stage toy, not game"),
        ("game", "xyz", "stage toy, not game; settings abc, not xyz"),
    ],
)
def test_a_foreign_checkpoint_is_refused_by_name_and_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, settings: str, said: str
):
    directory = run(Toy(), tmp_path, epochs=1)
    theirs = directory.checkpoint("toy").read_bytes()
    directory.checkpoint(stage).write_bytes(theirs)
    monkeypatch.setattr(Toy, "settings", settings)
    hashed = hashlib.sha256(theirs).hexdigest()[:16]
    with pytest.raises(InputError) as caught:
        run_loop(stage, Toy(), directory, epochs=1, seed=7, resume=True)
    start = f"{directory.checkpoint(stage)} (SHA-256 {hashed}): kept by another run: {said}; delete it"
    assert str(caught.value).startswith(start) and "\n" not in str(caught.value)


def test_a_checkpoint_that_changed_is_refused_by_name_and_hash(tmp_path: Path):
    directory = run(Toy(), tmp_path, epochs=1)
    path = directory.checkpoint("toy")
    stored = bytearray(path.read_bytes())
    stored[-3] ^= 1  # one bit of a number
    path.write_bytes(bytes(stored))
    with pytest.raises(InputError, match=r"toy\.safetensors: changed since it was written \(SHA-256 [0-9a-f]{16}, not [0-9a-f]{16}\)"):
        run(Toy(), tmp_path, resume=True)


def test_checkpoints_are_not_written_more_often_than_they_take_time():
    assert loop._due(61.0, 0.0) and not loop._due(59.0, 0.0)
    assert loop._due(161.0, 10.0) and not loop._due(159.0, 10.0)


def test_a_broken_checkpoint_is_one_clear_line(tmp_path: Path):
    directory = run(Toy(), tmp_path, epochs=1)
    path = directory.checkpoint("toy")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"toy\.safetensors"):
        run(Toy(), tmp_path, resume=True)


def test_before_the_first_checkpoint_the_message_names_none(tmp_path: Path):
    with pytest.raises(FloatingPointError, match="no state was kept yet"):
        run(Toy(nan_at=1), tmp_path)


def test_a_checkpoint_of_another_shape_is_one_clear_line(tmp_path: Path):
    run(Toy(), tmp_path, epochs=1)
    wider = Toy()
    wider.model = nn.Conv2d(2, 9, 3)
    with pytest.raises(InputError, match=r"toy\.safetensors: kept by a run of another shape .*another --out") as caught:
        run(wider, tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def test_another_seed_or_stage_draws_other_numbers(whole: tuple[Toy, RunDirectory], tmp_path: Path):
    other, named = Toy(), Toy()
    run_loop("toy", other, RunDirectory(tmp_path / "a"), epochs=EPOCHS, seed=8, resume=False)
    run_loop("game", named, RunDirectory(tmp_path / "b"), epochs=EPOCHS, seed=7, resume=False)
    assert not same(other, whole[0]) and not same(named, whole[0])


def test_seconds_add_up_over_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(KeyboardInterrupt):
        run(Toy(dies_at=9), tmp_path)
    before = seconds_spent(RunDirectory(tmp_path), "toy")
    directory = run(Toy(), tmp_path, resume=True)
    assert seconds_spent(directory, "toy") > before > 0


def test_records_are_kept_stage_by_stage(tmp_path: Path):
    directory = RunDirectory(tmp_path)
    assert directory.records() == {}
    directory.record("classifier", {"AUC": 0.5})
    directory.record("match", {"R@1": 0.1})
    directory.record("classifier", {"AUC": 0.75})
    on = {"device": processes.device_name()}
    assert directory.records() == {"classifier": {"AUC": 0.75, **on}, "match": {"R@1": 0.1, **on}}


def test_in_order_covers_all():
    assert in_order(5, 2) == [[0, 1], [2, 3], [4]]
    assert in_order(0, 2) == []


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 9), st.integers(0, 9))
def test_batches_hold_each_example_at_most_once_and_follow_from_seed_and_epoch(n: int, batch: int, seed: int, epoch: int):
    torch.manual_seed(n)
    found = shuffled_batches(n, batch, seed, epoch)
    assert found == shuffled_batches(n, batch, seed, epoch)
    flat = [i for indices in found for i in indices]
    left = n % batch
    dropped = left if left * 2 < batch and n > batch else 0  # a last batch of fewer than half
    assert len(flat) == len(set(flat)) == n - dropped and set(flat) <= set(range(n))
    assert all(len(indices) == batch for indices in found[:-1])


def test_epochs_and_seeds_have_their_own_order():
    orders = {str(shuffled_batches(50, 10, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_the_stages_are_what_the_loop_asks_for():
    assert isinstance(Toy(), Trainable)
