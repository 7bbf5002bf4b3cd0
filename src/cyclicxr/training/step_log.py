"""The log of a stage's steps: JSON lines, and TensorBoard beside them where it is installed; knows nothing about what is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import write_atomically, writing


class StepLog:
    """`STAGE.jsonl` in a folder.

    Args:
        folder: is made.
        stage: names the file.
        keep_steps: of an earlier run; later lines are dropped.
    """

    def __init__(self, folder: Path, stage: str, keep_steps: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{stage}.jsonl"
        before = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        with write_atomically(self.path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in before if keep_steps and _step_of(line) <= keep_steps), encoding="utf-8")
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(str(folder / "tensorboard" / stage), purge_step=keep_steps + 1)

    def write(self, kind: str, step: int, numbers: Mapping[str, float]) -> None:
        """One line; numbers that are not finite are written as null."""
        self._line({"kind": kind, "step": step, **{name: (value if math.isfinite(value) else None) for name, value in numbers.items()}})
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(f"{kind}/{name}", value, step)

    def stopped(self, step: int, examples: Sequence[str]) -> None:
        """The step at which training stopped, and all examples of its batch."""
        self._line({"kind": "stopped", "step": step, "examples": list(examples)})

    def _line(self, value: Mapping[str, Any]) -> None:
        with writing(self.path):
            self.file.write(json.dumps(value) + "\n")

    def __enter__(self) -> StepLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):  # a line cut off by a kill
        return 2**62
