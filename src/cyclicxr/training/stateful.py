"""What the stages that the loop trains have in common: their state, whose examples they learn from, and each process's share of a batch."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from cyclicxr import processes
from cyclicxr.config import Preset
from cyclicxr.training.corpus import Corpus


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

    def share(self, examples: list[int], number: int, of: int) -> list[int]:
        """The part of a batch that one process takes."""
        return processes.share(examples, number, of)

    def identity(self) -> dict[str, str]:
        """What a checkpoint must have been kept with, by name; one that differs is foreign."""
        return {}

    def name(self, example: int) -> str:
        """What an example is called in a message."""
        return str(example)


class OnStudies(Stateful):
    """A trainable whose examples are studies.

    Attributes:
        train: to learn from; example i is study i.
        preset: all numbers of the run.
    """

    train: Corpus
    preset: Preset

    def films(self, examples: list[int]) -> Float[Tensor, "b 1 h w"]:
        """Their films in [0, 1], on the device."""
        return self.train.films(examples).to(processes.device())

    def identity(self) -> dict[str, str]:
        """Hashes of all settings, and of the studies' names and reports."""
        return identity(self.preset, [[study.id, study.report] for study in self.train.studies])

    def name(self, example: int) -> str:
        """The study's id."""
        return self.train.studies[example].id


def identity(preset: Preset, examples: Any) -> dict[str, str]:
    """Hashes (16 hexadecimal digits) of the settings and of the examples, which go into JSON."""
    return {"settings": _digest(preset.to_json()), "examples": _digest(examples)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
