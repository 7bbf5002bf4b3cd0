"""The one training loop: order, logs, progress, checkpoints, resume; knows nothing about what is trained.

Every step and every validation begins by seeding torch's global generator from (seed, stage, step), and the batches of an epoch
depend on seed and epoch alone. A run that is killed at any moment and resumed therefore ends with the same weights as one that was not.
"""

from __future__ import annotations

import json
import logging
import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cyclicxr.checkpoint import load_state, read_json, save_state, write_atomically, write_json
from cyclicxr.types import InputError

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 60.0


@runtime_checkable
class Trainable(Protocol):
    """What a stage gives the loop."""

    def batches(self, epoch: int) -> list[list[int]]:
        """The epoch's batches of example indices, from seed and epoch alone."""

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One optimiser step; `progress` in [0, 1) of the whole stage. Returns numbers to log, "loss" among them."""

    def validate(self) -> dict[str, float]:
        """Numbers on the validation split, at the end of an epoch."""

    def state(self) -> dict[str, Any]:
        """Nested dict of tensors and numbers: all that a step changes."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""


class Stateful:
    """A trainable whose state is that of its parts, such as model and optimiser; all else follows from seed and progress."""

    parts: ClassVar[tuple[str, ...]] = ("model", "optimizer")  # attributes that have a `state_dict`

    def state(self) -> dict[str, Any]:
        """The state of each part."""
        return {name: getattr(self, name).state_dict() for name in self.parts}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        for name in self.parts:
            getattr(self, name).load_state_dict(state[name])


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk: `model/` grows stage by stage, `checkpoints/` and `logs/` beside it, `record.json` says what each stage learned."""

    root: Path

    @property
    def model(self) -> Path:
        """The model directory that the run fills."""
        return self.root / "model"

    def checkpoint(self, stage: str) -> Path:
        """The stage's checkpoint: its last whole state."""
        return self.root / "checkpoints" / f"{stage}.safetensors"

    def records(self) -> dict[str, Any]:
        """What each finished stage recorded."""
        path = self.root / "record.json"
        return dict(read_json(path)) if path.exists() else {}

    def record(self, stage: str, numbers: Mapping[str, Any]) -> None:
        """Note what a finished stage learned, measured on the validation split."""
        write_json(self.root / "record.json", {**self.records(), stage: dict(numbers)})


class StepLog:
    """JSON lines in `logs/STAGE.jsonl`, and TensorBoard beside them where it is installed."""

    def __init__(self, run: RunDirectory, stage: str, keep_steps: int) -> None:
        folder = run.root / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{stage}.jsonl"
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= keep_steps] if path.exists() else []
        with write_atomically(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept if keep_steps), encoding="utf-8")
        self.file = path.open("a", encoding="utf-8", buffering=1)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(str(folder / "tensorboard" / stage), purge_step=keep_steps + 1)

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """One line; numbers that are not finite are written as null."""
        finite = {name: (value if math.isfinite(value) else None) for name, value in numbers.items()}
        self.file.write(json.dumps({"kind": kind, "step": step, **finite}) + "\n")
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def __enter__(self) -> StepLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()


def run_loop(stage: str, trainable: Trainable, run: RunDirectory, *, epochs: int, seed: int, resume: bool) -> None:
    """Train to the end, or go on from the last whole checkpoint.

    Args:
        stage: names the checkpoint and the log.
        trainable: what is trained.
        run: where checkpoints and logs go.
        epochs: passes over `trainable.batches`, >= 1.
        seed: of the whole run.
        resume: go on from the stage's checkpoint where there is one.

    Raises:
        FloatingPointError: the loss is not finite; names the step, the examples and the last whole checkpoint.
        InputError: the checkpoint does not fit what is trained.
    """
    checkpoint = run.checkpoint(stage)
    done, spent = _restore(trainable, checkpoint) if resume and checkpoint.exists() else (0, 0.0)
    steps = [len(trainable.batches(epoch)) for epoch in range(epochs)]
    total, step, start = sum(steps), 0, time.monotonic() - spent
    saved = time.monotonic()
    with StepLog(run, stage, done) as step_log, _progress() as progress:
        task = progress.add_task(stage, total=total, completed=done, numbers="")
        for epoch in range(epochs):
            if step + steps[epoch] <= done:
                step += steps[epoch]
                continue
            for indices in trainable.batches(epoch):
                step += 1
                if step <= done:
                    continue
                numbers = _seeded_step(stage, trainable, indices, step, total, seed, checkpoint)
                step_log.write("train", step, numbers)
                _show(progress, task, stage, step, total, numbers, time.monotonic() - start)
                is_last = step == sum(steps[: epoch + 1])
                if is_last:
                    torch.manual_seed(_mix(seed, f"{stage}/validate", step))
                    found = {**trainable.validate(), "seconds": time.monotonic() - start}
                    step_log.write("val", step, found)
                    progress.console.print(f"{stage} epoch {epoch + 1}/{epochs}: " + _brief(found))
                if is_last or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    save_state(checkpoint, {"step": step, "seconds": time.monotonic() - start, "trainable": trainable.state()})
                    saved = time.monotonic()


def seconds_spent(run: RunDirectory, stage: str) -> float:
    """Seconds that the stage's loop took so far, resumed parts included."""
    return float(load_state(run.checkpoint(stage))["seconds"])


def shuffled_batches(n: int, batch: int, seed: int, epoch: int) -> list[list[int]]:
    """All of 0..n-1 in an order given by seed and epoch, cut into batches; a last batch of fewer than half is left out."""
    generator = torch.Generator().manual_seed(_mix(seed, "order", epoch))
    order = torch.randperm(n, generator=generator).tolist()
    cut = [order[i : i + batch] for i in range(0, n, batch)]
    return cut[:-1] if len(cut) > 1 and len(cut[-1]) * 2 < batch else cut


def _seeded_step(
    stage: str, trainable: Trainable, indices: list[int], step: int, total: int, seed: int, checkpoint: Path
) -> dict[str, float]:
    torch.manual_seed(_mix(seed, stage, step))
    numbers = trainable.step(indices, (step - 1) / total)
    if not math.isfinite(numbers["loss"]):
        kept = f"last whole state: {checkpoint}" if checkpoint.exists() else "no state was kept yet"
        raise FloatingPointError(f"{stage}: loss is {numbers['loss']} at step {step} (examples {indices[:8]}…); {kept}")
    return numbers


def _restore(trainable: Trainable, checkpoint: Path) -> tuple[int, float]:
    state = load_state(checkpoint)
    try:
        trainable.restore(state["trainable"])
    except (KeyError, RuntimeError, ValueError) as error:  # torch says so in many lines
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{checkpoint}: kept by a run of another shape ({reason}); delete it, or train into another --out") from None
    log.info("resuming %s after step %d", checkpoint.stem, state["step"])
    return int(state["step"]), float(state["seconds"])


def _mix(seed: int, name: str, step: int) -> int:
    return zlib.crc32(f"{seed}/{name}/{step}".encode())


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):  # a line cut off by a kill
        return 2**62


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _show(progress: Progress, task: TaskID, stage: str, step: int, total: int, numbers: Mapping[str, float], elapsed: float) -> None:
    progress.update(task, completed=step, numbers=f"loss {numbers['loss']:.4f}")
    if progress.disable and (step % max(1, total // 50) == 0):
        left = elapsed / step * (total - step)
        line = f"{stage} {step}/{total}  {step / elapsed:.2f} steps/s  {left / 60:.1f} min left  {_brief(numbers)}"
        progress.console.print(line, highlight=False, soft_wrap=True)


def _brief(numbers: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
