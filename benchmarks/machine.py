"""What every benchmark's result says of itself: the command that made it, the machine, and a yardstick to compare machines by."""

from __future__ import annotations

import ctypes
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from cyclicxr.checkpoint import write_json

RESULTS = Path(__file__).parent / "results"
_SIDE, _PRODUCTS = 1024, 20
WARM = 1  # rounds that are not counted


def yardstick_seconds() -> float:
    """Seconds that twenty products of 1,024 x 1,024 float32 matrices take now: the machine, and what else runs on it."""
    left, right = torch.rand(2, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    left @ right
    return seconds(lambda: [left @ right for _ in range(_PRODUCTS)])


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of a piece of work."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rounds(works: Mapping[str, Callable[[], object]], times: int) -> list[dict[str, float]]:
    """Wall seconds of pieces of work that are compared, one after another in each round, after a round that warms them."""
    return [{name: seconds(work) for name, work in works.items()} for _ in range(WARM + times)][WARM:]


def matmul_speed() -> float:
    """Billions of multiplications and additions a second that a product of two large square matrices reaches here, the best of five."""
    left, right = torch.rand(2, 2 * _SIDE, 2 * _SIDE, generator=torch.Generator().manual_seed(0))
    return 2 * (2 * _SIDE) ** 3 / min(seconds(lambda: left @ right) for _ in range(5)) / 1e9


def beyond(work: Callable[[], object]) -> float:
    """MB of this process's peak during a piece of work beyond what it held before; to be asked once, in a process of its own."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before is not held
    before = _memory("VmRSS")
    work()
    return _memory("VmHWM") - before


def _memory(kind: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith(kind))
    return int(line.split()[1]) / 1024


def save_result(name: str, numbers: dict[str, Any]) -> Path:
    """Write `results/NAME.json` with the command that was run and the machine it ran on; paths of this machine are left out."""
    script, *arguments = sys.argv
    shown = [argument if argument.startswith("-") or not Path(argument).is_absolute() else Path(argument).name for argument in arguments]
    machine = {"system": platform.system(), "processor": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    path = RESULTS / f"{name}.json"
    write_json(path, {"command": f"python benchmarks/{Path(script).name} {shlex.join(shown)}".strip(), "machine": machine, **numbers})
    return path
