"""Warm seconds of `report`, `draw` and `cycle` on one film, beside a yardstick measured in the same run.

python benchmarks/report_speed.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import save_result, yardstick_seconds
from PIL import Image

import cyclicxr
from cyclicxr.data.phantom import draw_phantom


def seconds_of(call: Callable[[], object], times: int) -> dict[str, float]:
    call()  # warm
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return {"median": round(statistics.median(taken), 3), "slowest": round(max(taken), 3), "times": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    started = time.perf_counter()
    model = cyclicxr.load(asked.model)
    loading = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.png"
        Image.fromarray(draw_phantom(0, ["cardiomegaly"]).pixels).save(film)
        calls = {
            "report": lambda: model.report(film),
            "draw": lambda: model.draw("Small left pleural effusion."),
            "cycle": lambda: model.cycle(film),
        }
        before = yardstick_seconds()
        seconds = {name: seconds_of(call, asked.times) for name, call in calls.items()}
        yardstick = min(before, yardstick_seconds())
    ratios = {name: round(taken["median"] / yardstick, 2) for name, taken in seconds.items()}
    print(
        save_result(
            "report_speed", {"load_seconds": round(loading, 2), "seconds": seconds, "yardstick_seconds": yardstick, "ratio": ratios}
        )
    )


if __name__ == "__main__":
    main()
