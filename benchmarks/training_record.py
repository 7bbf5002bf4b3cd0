"""What each stage of a training run learned, on the validation split, and how long it took: copied from the run's own record.

python benchmarks/training_record.py runs/openi-small
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from machine import save_result

from cyclicxr.training.loop import RunDirectory
from cyclicxr.types import InputError


def flat(numbers: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested numbers -> one level, names joined by a slash; lists and texts are left out."""
    found: dict[str, Any] = {}
    for name, value in numbers.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name} / ")
        elif isinstance(value, (int, float)):
            found[prefix + name] = value
    return found


def seconds_of(log: Path) -> float:
    """Seconds that a stage took up to its last validation, resumed parts included."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return float(max((line.get("seconds", 0) for line in lines if line["kind"] == "val"), default=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", default="training", help="of the result file; another run's record stands beside under another name")
    asked = parser.parse_args()
    records = RunDirectory(asked.run).records()
    if not records:
        raise InputError(f"{asked.run}: no record.json; is this a training run?")
    seconds = {log.stem: round(seconds_of(log)) for log in sorted((asked.run / "logs").glob("*.jsonl"))}
    stages = {stage: flat(numbers) for stage, numbers in records.items()}
    devices = {stage: numbers["device"] for stage, numbers in records.items()}
    print(save_result(asked.name, {"stages": stages, "devices": devices, "seconds": seconds}))


if __name__ == "__main__":
    main()
