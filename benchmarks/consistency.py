"""Is consistency a detector of false sentences? AUC by kind of change, and what the flag of a page catches; with both ways round the cycle.

python benchmarks/consistency.py ../shared/data/openi/studies.csv --out out/evaluate
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from machine import save_result

import cyclicxr
from cyclicxr.checkpoint import read_json
from cyclicxr.cycle import FLAGGED
from cyclicxr.evaluate import evaluate


def flagged(kept: dict[str, list[Any]]) -> dict[str, dict[str, float | int]]:
    """Kind -> share of its false sentences below the limit, and of its true ones."""
    score, true, kind = np.array(kept["score"]), np.array(kept["true"]), np.array(kept["kind"])
    low = score < FLAGGED
    return {
        name: {
            "false sentences flagged": float(low[(kind == name) & ~true].mean()),
            "true sentences flagged": float(low[(kind == name) & true].mean()),
            "sentences": int((kind == name).sum()),
        }
        for name in dict.fromkeys(kept["kind"])
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--split", default="test")
    parser.add_argument("--cases", type=int, default=None, help="so many studies of the split, by the seed")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"), help="of an evaluation, whose reports and films are used")
    asked = parser.parse_args()
    metrics = evaluate(
        cyclicxr.load(asked.model),
        asked.studies,
        out=asked.out,
        split=asked.split,
        cases=asked.cases,
        tasks=["cycle"],
        progress=lambda what, done, total: print(
            f"\r{what}: {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True
        ),
    )
    about = {name: metrics["about"][name] for name in ("model", "split", "n", "seed")}
    tables = {name: rows for name, rows in metrics.items() if name.startswith(("cycle", "consistency"))}
    print(
        save_result(
            "consistency", {**about, "limit": FLAGGED, "tables": tables, "flagged": flagged(read_json(asked.out / "consistency.json"))}
        )
    )


if __name__ == "__main__":
    main()
