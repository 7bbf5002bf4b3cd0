"""The one training loop: order, shares, logs, progress, checkpoints, resume; knows nothing about what is trained.

Every step and every validation begins by seeding torch's global generator from (seed, stage, step), and the batches of an epoch
depend on seed and epoch alone. A run that is killed at any moment and resumed therefore ends with the same weights as one that was not.

With several processes each step joins as many batches as there were processes when the stage began, and each process takes its share. A
stage that is resumed by more or fewer processes keeps its joint batches, and with them its steps and its learning rates; only the shares
are smaller or larger. All processes validate; the first one writes and speaks.
"""

from __future__ import annotations

import logging
import math
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cyclicxr import processes
from cyclicxr.checkpoint import load_state, read_json, save_state, sha256_of, state_numbers, sweep, write_json
from cyclicxr.training.step_log import StepLog
from cyclicxr.types import InputError

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 60.0  # [ours] from one checkpoint to the next, and
CHECKPOINT_TIMES = 10.0  # [ours] so many times as long as the last one took to write
EXPLODED = 1e4  # [ours] a loss beyond it, either way, is no loss of any stage
NAMED = 8  # examples in an error's line; the log has them all


@runtime_checkable
class Trainable(Protocol):
    """What a stage gives the loop."""

    def batches(self, epoch: int) -> list[list[int]]:
        """The epoch's batches of example indices, each what one process takes in a step, from seed and epoch alone."""

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One optimiser step; `progress` in [0, 1) of the whole stage. Returns numbers to log, "loss" among them."""

    def validate(self) -> dict[str, float]:
        """Numbers on the validation split, at the end of an epoch."""

    def state(self) -> dict[str, Any]:
        """Nested dict of tensors and numbers: all that a step changes."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def share(self, examples: list[int], number: int, of: int) -> list[int]:
        """What process `number` of so many takes of a batch; as many for each, so that the mean of their means is the mean."""

    def identity(self) -> dict[str, str]:
        """What a checkpoint must have been kept with, by name; one that differs is foreign."""

    def name(self, example: int) -> str:
        """What an example is called in a message."""


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
        """Note what a finished stage learned, measured on the validation split, and on what."""
        write_json(self.root / "record.json", {**self.records(), stage: {**numbers, "device": processes.device_name()}})

    def forget(self, stage: str) -> None:
        """Let a stage that is finished begin again: its record and its checkpoints go, its part of the model stays until then."""
        for checkpoint in self.root.glob(f"checkpoints/{stage}*.safetensors"):
            checkpoint.unlink()
        write_json(self.root / "record.json", {name: numbers for name, numbers in self.records().items() if name != stage})


@dataclass(frozen=True)
class Start:
    """Where a stage begins or goes on.

    Args:
        step: the last one that is done.
        seconds: spent so far.
        batches: that a step joins: how many processes there were when the stage began.
    """

    step: int
    seconds: float
    batches: int


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
        FloatingPointError: the loss or the gradient is not finite, or the loss exploded; names step, examples and last whole checkpoint.
        InputError: the checkpoint is broken or not of this stage, these settings and these examples; a batch has too few examples for so
            many processes; the disk is full.
    """
    checkpoint = run.checkpoint(stage)
    identity = {"stage": stage, **trainable.identity()}
    begin = _restore(trainable, checkpoint, identity) if resume and checkpoint.exists() else Start(0, 0.0, processes.count())
    if processes.is_first():
        sweep(checkpoint)
    lengths = [len(_joint_batches(stage, trainable, epoch, begin.batches)) for epoch in range(epochs)]
    total = sum(lengths)
    if not total:
        raise InputError(f"{stage}: too few examples for {begin.batches} processes; start fewer, or give more studies")
    start, saved, took = time.monotonic() - begin.seconds, time.monotonic(), 0.0
    with StepLog(run.root / "logs", stage, begin.step) if processes.is_first() else nullcontext() as step_log, _progress() as progress:
        task = progress.add_task(stage, total=total, completed=begin.step, numbers="")
        for step, batch, ended in _remaining(stage, trainable, lengths, begin):
            numbers = _seeded_step(stage, trainable, batch, step, total, seed)
            problem = _problem(numbers)
            if problem:
                raise _stopped(stage, trainable, batch, step, problem, checkpoint, step_log)
            found = _seeded_validation(stage, trainable, step, seed) if ended else {}
            spent = time.monotonic() - start
            if step_log is not None:
                step_log.write("train", step, numbers)
                _show(progress, task, stage, step, total, numbers, spent)
                if ended:
                    step_log.write("val", step, {**found, "seconds": spent})
                    progress.console.print(f"{stage} epoch {ended}/{epochs}: " + _brief({**found, "seconds": spent}))
            if ended or _due(time.monotonic() - saved, took):
                before = time.monotonic()
                _keep(checkpoint, trainable, identity, Start(step, before - start, begin.batches))
                saved = time.monotonic()
                took = saved - before
    processes.wait()  # what the first one wrote is there for all


def seconds_spent(run: RunDirectory, stage: str) -> float:
    """Seconds that the stage's loop took so far, resumed parts included."""
    return float(state_numbers(run.checkpoint(stage))["seconds"])


def in_order(n: int, batch: int) -> list[list[int]]:
    """0..n-1 in batches."""
    return [list(range(i, min(i + batch, n))) for i in range(0, n, batch)]


def shuffled_batches(n: int, batch: int, seed: int, epoch: int) -> list[list[int]]:
    """All of 0..n-1 in an order given by seed and epoch, cut into batches; a last batch of fewer than half is left out."""
    generator = torch.Generator().manual_seed(_mix(seed, "order", epoch))
    order = torch.randperm(n, generator=generator).tolist()
    cut = [order[i : i + batch] for i in range(0, n, batch)]
    return cut[:-1] if len(cut) > 1 and len(cut[-1]) * 2 < batch else cut


def _joint_batches(stage: str, trainable: Trainable, epoch: int, together: int) -> list[list[int]]:
    """The epoch's batches, so many joined into one; what is too little for as many processes as that is left out.

    Raises:
        InputError: there are more processes than when the stage began, and a joint batch is too little for them.
    """
    batches = trainable.batches(epoch)
    joint = [[i for batch in batches[first : first + together] for i in batch] for first in range(0, len(batches), together)]
    kept = [batch for batch in joint if trainable.share(batch, 0, together)]
    least = min(kept, key=len, default=[])
    if least and not trainable.share(least, 0, processes.count()):
        raise InputError(f"{stage}: a batch of {len(least)} examples can't be shared among {processes.count()} processes; start fewer")
    return kept


def _remaining(stage: str, trainable: Trainable, lengths: Sequence[int], begin: Start) -> Iterator[tuple[int, list[int], int]]:
    """Each step that is left: its number, its joint batch, and the epoch, from 1, that ends with it (0 if none does).

    Args:
        stage: for messages.
        trainable: gives the batches.
        lengths: joint batches of each epoch.
        begin: where the stage goes on.
    """
    for epoch, length in enumerate(lengths):
        before = sum(lengths[:epoch])
        if before + length <= begin.step:
            continue
        for place, batch in enumerate(_joint_batches(stage, trainable, epoch, begin.batches), start=1):
            if before + place > begin.step:
                yield before + place, batch, epoch + 1 if place == length else 0


def _seeded_step(stage: str, trainable: Trainable, batch: list[int], step: int, total: int, seed: int) -> dict[str, float]:
    """One step of this process on its share; the numbers are means over the processes."""
    rank, count = processes.rank(), processes.count()
    torch.manual_seed(_mix(seed, f"{stage}, process {rank}" if rank else stage, step))
    numbers = trainable.step(trainable.share(batch, rank, count), (step - 1) / total)
    means = processes.mean(torch.tensor(list(numbers.values()), dtype=torch.float64, device=processes.device()))
    return dict(zip(numbers, means.tolist(), strict=True))


def _seeded_validation(stage: str, trainable: Trainable, step: int, seed: int) -> dict[str, float]:
    torch.manual_seed(_mix(seed, f"{stage}/validate", step))
    return dict(trainable.validate())


def _problem(numbers: Mapping[str, float]) -> str:
    """What is wrong with a step's numbers; "" if nothing is."""
    wrong = [name for name in ("loss", "gradient norm") if not math.isfinite(numbers.get(name, 0.0))]
    if wrong:
        return f"{wrong[0]} is {numbers[wrong[0]]}"
    return f"loss exploded to {numbers['loss']:.4g}" if abs(numbers["loss"]) > EXPLODED else ""


def _stopped(
    stage: str, trainable: Trainable, batch: list[int], step: int, problem: str, checkpoint: Path, step_log: StepLog | None
) -> FloatingPointError:
    names = [trainable.name(i) for i in batch]
    listed = ", ".join(names[:NAMED])
    if step_log is not None:
        step_log.stopped(step, names)
        listed += f" and {len(names) - NAMED} more, all in {step_log.path}" if len(names) > NAMED else ""
    kept = f"last whole state: {checkpoint}" if checkpoint.exists() else "no state was kept yet"
    return FloatingPointError(f"{stage}: {problem} at step {step} (examples {listed}); {kept}; a lower learning rate may help")


def _due(since: float, took: float) -> bool:
    """Whether it is time for a checkpoint: the first process's clock decides for all."""
    due = torch.tensor(since > CHECKPOINT_SECONDS + CHECKPOINT_TIMES * took, dtype=torch.uint8, device=processes.device())
    return bool(processes.take_from_first(due))


def _keep(checkpoint: Path, trainable: Trainable, identity: Mapping[str, str], reached: Start) -> None:
    state = trainable.state()  # on all processes: a model that is split is put together by all
    if processes.is_first():
        about = {"step": reached.step, "seconds": reached.seconds, "batches": reached.batches, "identity": identity}
        save_state(checkpoint, {**about, "trainable": state})


def _restore(trainable: Trainable, checkpoint: Path, identity: Mapping[str, str]) -> Start:
    kept = state_numbers(checkpoint).get("identity", {})
    foreign = [f"{name} {kept.get(name)}, not {value}" for name, value in identity.items() if kept.get(name) != value]
    if foreign:
        which = f"{checkpoint} (SHA-256 {sha256_of(checkpoint)[:16]})"
        raise InputError(f"{which}: kept by another run: {'; '.join(foreign)}; delete it, or train into another --out")
    state = load_state(checkpoint)
    try:
        trainable.restore(state["trainable"])
    except (KeyError, RuntimeError, ValueError) as error:  # torch says so in many lines
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{checkpoint}: kept by a run of another shape ({reason}); delete it, or train into another --out") from None
    log.info("resuming %s after step %d", checkpoint.stem, state["step"])
    return Start(int(state["step"]), float(state["seconds"]), int(state["batches"]))


def _mix(seed: int, name: str, step: int) -> int:
    return zlib.crc32(f"{seed}/{name}/{step}".encode())


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
