"""What every benchmark's result says of itself: the command that made it, the machine, and a yardstick to compare machines by."""

from __future__ import annotations

import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import torch

from cyclicxr.checkpoint import write_json

RESULTS = Path(__file__).parent / "results"
_SIDE, _PRODUCTS = 1024, 20


def yardstick_seconds() -> float:
    """Seconds that twenty products of 1,024 x 1,024 float32 matrices take now: the machine, and what else runs on it."""
    left, right = torch.rand(2, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    left @ right
    started = time.perf_counter()
    for _ in range(_PRODUCTS):
        left @ right
    return time.perf_counter() - started


def save_result(name: str, numbers: dict[str, Any]) -> Path:
    """Write `results/NAME.json` with the command that was run and the machine it ran on; paths of this machine are left out."""
    script, *arguments = sys.argv
    shown = [argument if argument.startswith("-") or not Path(argument).is_absolute() else Path(argument).name for argument in arguments]
    machine = {"system": platform.system(), "processor": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    path = RESULTS / f"{name}.json"
    write_json(path, {"command": f"python benchmarks/{Path(script).name} {shlex.join(shown)}".strip(), "machine": machine, **numbers})
    return path
