"""Report metrics: beside pycocoevalcap run plainly on 400 real reports, with Java and without it; and the time that all of them with their
intervals take for as many pairs as MIMIC-CXR's test split has, without Java.

The 400 pairs are reports of train and val, each against the next longer one. The pairs of the timing are drawn from the training reports
with a seed, reports against reports of other studies; reports repeat there as they do in OpenI (the number of distinct sentences is given).

python benchmarks/report_metrics.py ../shared/data/openi/studies.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
from machine import save_result, yardstick_seconds
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from cyclicxr.data.openi import findings_of
from cyclicxr.metrics import ptb
from cyclicxr.metrics.chexpert import NAME, label_reports, sentences_of
from cyclicxr.metrics.clinical import finding_statistics, named_findings
from cyclicxr.metrics.interval import RESAMPLES, Statistic, measure
from cyclicxr.metrics.labels import label_statistics
from cyclicxr.metrics.report import report_statistics, score_reports

PAIRS, SEED = 5159, 0
COMPARED = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


def plainly(references: dict[str, str], hypotheses: dict[str, str]) -> dict[str, float]:
    tokenizer = PTBTokenizer()
    sides = [{name: [{"caption": text}] for name, text in side.items()} for side in (references, hypotheses)]
    gold, written = (tokenizer.tokenize(side) for side in sides)
    bleu, _ = Bleu(4).compute_score(gold, written, verbose=0)
    found = [*bleu, *(scorer().compute_score(gold, written)[0] for scorer in (Meteor, Rouge, Cider))]
    return dict(zip(COMPARED, map(float, found), strict=True))


def equality(reports: list[str]) -> dict[str, dict[str, float]]:
    """Metric -> what pycocoevalcap, we with Java, and we without it say of 400 pairs."""
    taken = sorted(reports[::3][:401], key=len)
    names = [f"r{i}" for i in range(400)]
    pairs = dict(zip(names, taken[:400], strict=True)), dict(zip(names, taken[1:], strict=True))
    found = {"pycocoevalcap": plainly(*pairs), "with Java": dict(score_reports(*pairs))}
    with patch.object(ptb, "java", lambda: None):
        found["without Java"] = dict(score_reports(*pairs))
    return {metric: {name: round(scores[metric], 6) for name, scores in found.items() if metric in scores} for metric in COMPARED}


class Clock:
    """Seconds of the processor and of the wall, part by part."""

    def __init__(self) -> None:
        self.processor: dict[str, float] = {}
        self.wall: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter(), time.process_time()
        yield
        self.wall[name] = round(time.perf_counter() - started[0], 2)
        self.processor[name] = round(time.process_time() - started[1], 2)


def timing(rows: list[dict[str, str]]) -> dict[str, object]:
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(len(rows), size=(2, PAIRS))
    true, said = ([rows[i]["report"] for i in side] for side in drawn)
    films = [findings_of(rows[i]["mesh"].split(";")) for i in drawn[0]]
    clock = Clock()
    before = yardstick_seconds()
    with patch.object(ptb, "java", lambda: None):
        with clock.part("words: BLEU, METEOR (nltk), ROUGE-L, CIDEr"):
            words = report_statistics(true, said, None)
        with clock.part("14 labels of both sides"):
            labels = label_statistics(NAME, label_reports(true), label_reports(said))
        with clock.part("findings"):
            findings = finding_statistics(named_findings(said), films)
        statistics: list[tuple[int, Statistic]] = [(PAIRS, words.scores), (PAIRS, labels.scores), (len(findings.abnormal), findings.scores)]
        with clock.part(f"intervals of {RESAMPLES} resamples"):
            metrics = sum(len(measure(statistic, n, SEED)) for n, statistic in statistics)
    yardstick = (before + yardstick_seconds()) / 2
    wall, processor = sum(clock.wall.values()), sum(clock.processor.values())
    return {
        "pairs": PAIRS,
        "metrics": metrics,
        "distinct sentences": len({sentence for text in {*true, *said} for sentence in sentences_of(text)}),
        "processor seconds": clock.processor | {"all": round(processor, 1)},
        "wall seconds": clock.wall | {"all": round(wall, 1)},
        "yardstick_seconds": round(yardstick, 3),
        "ratio": round(wall / yardstick, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    asked = parser.parse_args()
    with asked.studies.open(newline="", encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["split"] != "test"]
    if ptb.java() is None:
        parser.error("the comparison needs Java")
    equal = equality([" ".join(row["report"].split()) for row in rows])
    timed = timing([row for row in rows if row["split"] == "train"])
    print(save_result("report_metrics", {"equality": equal, "timing": timed}))


if __name__ == "__main__":
    main()
