"""The report task: a report for every film of the split, scored beside what needs no film; resumes where it was interrupted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from pyarrow import parquet
from torch import Tensor

from cyclicxr.checkpoint import write_atomically
from cyclicxr.data.openi import findings_of
from cyclicxr.data.reports import report_text, without_marks
from cyclicxr.evaluate.baselines import best_constant, derangement, nearest
from cyclicxr.evaluate.system import Case, Evaluated, Table, mean_patch, over_films
from cyclicxr.metrics.clinical import finding_statistics, named_findings, scored_findings
from cyclicxr.metrics.interval import Measure, measure, single
from cyclicxr.metrics.ptb import Meteor, open_meteor
from cyclicxr.metrics.report import output_counts, report_statistics
from cyclicxr.types import InputError

BATCH = 32  # films written for at once, and lines of the file of hypotheses at once
OURS, CEILING = "this model", "the true report (ceiling of the finding reader)"


def score_written_reports(model: Evaluated, case: Case, out: Path) -> dict[str, Table]:
    """Tables "report" (references as they stand) and "report, without marks": system -> metric -> number, over the films of the split;
    and "report by finding": finding -> system -> F1.

    Systems: the model, the same reports given to other films, and the baselines.

    Args:
        model: writes the reports.
        case: what is evaluated.
        out: `reports.jsonl` there gets a line a film as it is written; a second call goes on behind its last line.

    Raises:
        InputError: `out` holds the reports of another model or split.
    """
    studies = case.cases.studies
    references = [case.raw[study.id] for study in studies]
    systems = {OURS: write_all(model, case, out / "reports.jsonl")}
    systems["this model, films shuffled"] = [systems[OURS][i] for i in derangement(len(studies), case.seed)]
    systems |= baseline_reports(model, case)
    labels = [findings_of(study.mesh) for study in studies]
    with open_meteor() as meteor:
        table = {name: _scores(references, written, case.seed, meteor) for name, written in systems.items()}
        unmarked = {name: [without_marks(text) for text in written] for name, written in systems.items()}
        clean = {name: _scores(case.cases.reports, written, case.seed, meteor) for name, written in unmarked.items()}
    by_finding: Table = {}
    if scored_findings(labels):
        table[CEILING] = {}
        for name, written in (systems | {CEILING: references}).items():
            statistics = finding_statistics(named_findings(written), labels)
            table[name] |= measure(statistics.scores, len(statistics.abnormal), case.seed)
            for finding, (score, films) in statistics.by_finding().items():
                by_finding.setdefault(f"{finding} ({films} films)", {})[name] = single(score, films)
    return {"report": table, "report, without marks": clean, "report by finding": by_finding}


def raw_reports(table: Path) -> dict[str, str]:
    """Study id -> report as it stands in the table, marks of removed words and all; the field scores against these."""
    if table.suffix.lower() in {".parquet", ".pq"}:
        rows = parquet.read_table(table).to_pylist()
    else:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    rows = [{name.strip(): value for name, value in row.items() if name} for row in rows]
    return {
        str(row["id"]).strip(): row.get("report") or report_text(row.get("findings") or "", row.get("impression") or "") for row in rows
    }


def write_all(model: Evaluated, case: Case, path: Path) -> list[str]:
    """The model's report for each film of the split, in order; those in the file already are not written again.

    Raises:
        InputError: the file is of another model or split.
    """
    studies, pixels = case.cases.studies, case.cases.pixels
    done = _resume(path, {"model": model.info, "split": case.split})
    missing = [i for i, study in enumerate(studies) if study.id not in done]
    for start in range(0, len(missing), BATCH):
        rows = missing[start : start + BATCH]
        texts = model.write_reports(pixels[rows])
        lines = [
            {"id": studies[i].id, "hypothesis": text, "reference": case.raw[studies[i].id]} for i, text in zip(rows, texts, strict=True)
        ]
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        done |= {str(line["id"]): str(line["hypothesis"]) for line in lines}
        case.progress("writing reports", len(studies) - len(missing) + start + len(rows), len(studies))
    return [done[study.id] for study in studies]


def baseline_reports(model: Evaluated, case: Case) -> dict[str, list[str]]:
    """System -> a report a film, for systems that only know the training split; none where there is no training split."""
    train, films = case.train, case.cases.pixels
    if train is None:
        return {}
    reports = [case.raw[study.id] for study in train.studies]
    constant = best_constant([*reports, *train.reports], reports, case.seed)
    written = {"always-normal (best constant of train)": [constant] * len(films)}
    spaces: dict[str, Callable[[Tensor], Tensor]] = {"classifier": model.classifier.features} if model.classifier else {}
    for name, network in (spaces | {"AdaMatch": mean_patch(model.matcher)}).items():
        told = partial(case.progress, f"features of training films ({name})")
        known = over_films(network, train.pixels, told)
        rows = nearest(known, over_films(network, films)).tolist()
        written[f"report of the nearest training film ({name})"] = [reports[row] for row in rows]
    drawn = np.random.default_rng(case.seed).integers(len(reports), size=len(films))
    return written | {"report of a random training film": [reports[row] for row in drawn]}


def _scores(references: Sequence[str], written: Sequence[str], seed: int, meteor: Meteor | None) -> dict[str, Measure]:
    statistics = report_statistics(references, written, meteor)
    counts = {name: single(value, len(written)) for name, value in output_counts(written).items()}
    return measure(statistics.scores, len(written), seed) | counts


def _resume(path: Path, header: dict[str, object]) -> dict[str, str]:
    """Reports already in the file, by id; a line cut short by a kill is dropped, a missing file begun with its header."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    if whole and json.loads(whole[0]) != header:
        raise InputError(f"{path}: holds reports of another model or split; choose another --out, or remove the file")
    if not whole or len(whole) != len(lines):
        whole = whole or [json.dumps(header, ensure_ascii=False) + "\n"]
        with write_atomically(path) as temporary:
            temporary.write_text("".join(whole), encoding="utf-8")
    return {found["id"]: found["hypothesis"] for found in map(json.loads, whole[1:])}
