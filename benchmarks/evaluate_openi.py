"""The model's tables on OpenI's test split: every task, with baselines, intervals and what the model cannot do. Only numbers are kept;
texts and films stay in --out.

python benchmarks/evaluate_openi.py ../shared/data/openi/studies.csv --out out/evaluate --compare fixed=runs/fixed/model
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from machine import save_result

import cyclicxr
from cyclicxr.cycle import find_model
from cyclicxr.evaluate import TASKS, evaluate
from cyclicxr.match.adamatch import AdaMatch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--split", default="test")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"))
    parser.add_argument("--compare", action="append", default=[], metavar="NAME=DIR", help="a model directory whose matcher stands beside")
    parser.add_argument("--name", default="evaluate", help="of the result file; another evaluation stands beside under another name")
    asked = parser.parse_args()
    others = dict(pair.split("=", 1) for pair in asked.compare)
    metrics = evaluate(
        cyclicxr.load(asked.model),
        asked.studies,
        out=asked.out,
        split=asked.split,
        tasks=asked.tasks.split(","),
        files=find_model(asked.model),
        compare={name: AdaMatch.load(Path(folder)) for name, folder in others.items()},
        progress=lambda what, done, total: print(
            f"\r{what}: {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True
        ),
    )
    print(save_result(asked.name, {"metrics": metrics}))


if __name__ == "__main__":
    main()
