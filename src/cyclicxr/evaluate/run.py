"""One evaluation from studies table to `metrics.json`, `metrics.md` and `metrics.html`; knows no metric."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import write_atomically, write_json
from cyclicxr.evaluate.drawing import score_drawn_films
from cyclicxr.evaluate.matching import score_matching
from cyclicxr.evaluate.reports import raw_reports, score_written_reports
from cyclicxr.evaluate.system import Case, Evaluated, Table
from cyclicxr.evaluate.tables import html_page, markdown_page
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.metrics.ptb import tokenizer_name
from cyclicxr.training.corpus import load_corpus
from cyclicxr.types import NOTICE, InputError, Progress

log = logging.getLogger(__name__)

TASKS = ("report", "draw", "retrieval")

_PROTOCOL = {
    "report": (
        "Reports: findings and impression, one reference a film, as it is given (OpenI's XXXX stay in, as the field does; 'without "
        "marks' is the same with them removed from both sides); tokens: {tokenizer}; BLEU, ROUGE-L, CIDEr and METEOR as pycocoevalcap "
        "defines them. 'Films shuffled' are the same reports given to other films: what a model that does not look would score. Finding "
        "scores: findings that the text affirms against the labels of the film."
    ),
    "draw": (
        "Drawing: one film for each true report. FID on the pooled features of our own film classifier (8-bit films, float64, as many "
        "drawn as real): comparable within this table alone. Finding AUC: that classifier reading the film for what its study shows."
    ),
    "retrieval": (
        "Retrieval: the whole split is the pool; identical reports are one text and all their films its positives; ties count against the "
        "positive; chance is exact; intervals resample queries in a pool that stays."
    ),
}


def evaluate(
    model: Evaluated,
    studies: Path,
    *,
    out: Path,
    split: str = "test",
    tasks: Sequence[str] = TASKS,
    seed: int = 0,
    compare: Mapping[str, AdaMatch] | None = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """The paper's tables for a model on a split, with their baselines; written to `out` and returned.

    Interrupted, it goes on where it was: reports and films are kept in `out` as they come. `out` then holds patients' films and reports:
    it belongs where the studies table belongs, never in a repository.

    Args:
        model: what is evaluated.
        studies: studies table; the baselines know its training split.
        out: `metrics.json` (task -> system or direction -> metric -> value, low, high, n), `metrics.md`, `metrics.html`.
        split: of the table.
        tasks: of `TASKS`.
        seed: of everything random: drawings, baselines, shuffling, resampling.
        compare: name -> another matcher, scored beside in its own retrieval table, such as one with fixed patches.
        progress: told what is done, how much of it, and of how much.

    Raises:
        InputError: an unknown task, a wrong table, a split without studies, or an `out` that holds another evaluation.

    Source: Tables 1, 3, 4 and 5; protocol and baselines are ours.
    """
    unknown = sorted(set(tasks) - set(TASKS))
    if unknown or not tasks:
        raise InputError(f"task '{', '.join(unknown)}' is unknown; there are {', '.join(TASKS)}")
    encoder = model.preset.encoder
    corpus = load_corpus(studies, encoder.size, out / "cache", encoder.fit, progress)
    case = Case(corpus, raw_reports(studies), split, seed, progress)
    protocol = [NOTICE, "Brackets hold 95 % bootstrap intervals over films."]
    protocol += [_PROTOCOL[task].format(tokenizer=tokenizer_name()) for task in TASKS if task in tasks]
    about: dict[str, Any] = {"model": dict(model.info), "split": split, "n": len(case.cases), "seed": seed}
    about |= {"protocol": protocol, "seconds": {}}
    metrics: dict[str, Any] = {"about": about}
    for task in [task for task in TASKS if task in tasks]:
        started = time.perf_counter()
        metrics |= {name: _plain(table) for name, table in _run(task, model, case, out, compare or {}).items()}
        about["seconds"][task] = round(time.perf_counter() - started, 1)
        log.info("%s: %.0f s", task, about["seconds"][task])
    write_json(out / "metrics.json", metrics)
    for name, page in (("metrics.md", markdown_page(metrics)), ("metrics.html", html_page(metrics))):
        with write_atomically(out / name) as temporary:
            temporary.write_text(page, encoding="utf-8")
    return metrics


def _run(task: str, model: Evaluated, case: Case, out: Path, compare: Mapping[str, AdaMatch]) -> dict[str, Table]:
    if task == "report":
        return score_written_reports(model, case, out)
    if task == "draw":
        return score_drawn_films(model, case, out)
    others = {f"retrieval, {name}": score_matching(other, case) for name, other in compare.items()}
    return {"retrieval": score_matching(model.matcher, case)} | others


def _plain(table: Table) -> dict[str, dict[str, Any]]:
    return {row: {metric: number.to_json() for metric, number in found.items()} for row, found in table.items() if found}
