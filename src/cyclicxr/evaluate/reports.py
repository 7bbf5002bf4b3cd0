"""The report task: a report for every film of the split, scored beside what needs no film; resumes where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from cyclicxr.checkpoint import write_atomically, write_json
from cyclicxr.data.reports import report_text
from cyclicxr.data.tables import read_table
from cyclicxr.evaluate.baselines import best_constant, derangement, nearest
from cyclicxr.evaluate.report_tables import NO_EXTRAS, Extras, check_lengths, report_cases, report_tables
from cyclicxr.evaluate.system import Case, Evaluated, Table, mean_patch, over_films
from cyclicxr.evaluate.verdicts import CONSTANT, OURS, SHUFFLED
from cyclicxr.types import InputError

BATCH = 32  # films written for at once, and lines of the file of hypotheses at once
RANDOM = "report of a random training film"


def score_written_reports(
    model: Evaluated, case: Case, out: Path, others: Mapping[str, Sequence[str]] = {}, extras: Extras = NO_EXTRAS
) -> dict[str, Table]:
    """The tables of `report_tables.report_tables` for the model, the same reports given to other films, the baselines and other systems.

    Args:
        model: writes the reports.
        case: what is evaluated.
        out: `reports.jsonl` there gets a line a film as it is written; a second call goes on behind its last line. `report_cases.json`
            gets what each of our reports scores by itself.
        others: name -> reports of a system that is not ours, one a film.
        extras: metrics that need something of the user's.

    Raises:
        InputError: `out` holds the reports of another model or split, another system has not one report a film, or an extra fails.
    """
    check_lengths(others, len(case.cases))
    systems = {OURS: write_all(model, case, out / "reports.jsonl")}
    systems[SHUFFLED] = [systems[OURS][i] for i in derangement(len(case.cases), case.seed)]
    systems |= baseline_reports(model, case)
    taken = sorted(set(systems) & set(others))
    if taken:
        raise InputError(f"another system is called '{taken[0]}', as one of ours; give it another name")
    systems |= {name: list(written) for name, written in others.items()}
    write_json(out / "report_cases.json", report_cases(systems[OURS], case))
    return report_tables(systems, case, extras)


def raw_reports(table: Path) -> dict[str, str]:
    """Study id -> report as it stands in the table, marks of removed words and all; the field scores against these."""
    rows = read_table(table)[1]
    return {row["id"]: row.get("report") or report_text(row.get("findings", ""), row.get("impression", "")) for _, row in rows}


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
    reports, written = [case.raw[study.id] for study in train.studies], blind_reports(case)
    anyone = written.pop(RANDOM)
    spaces: dict[str, Callable[[Tensor], Tensor]] = {"classifier": model.classifier.features} if model.classifier else {}
    for name, network in (spaces | {"AdaMatch": mean_patch(model.matcher)}).items():
        told = partial(case.progress, f"features of training films ({name})")
        known = over_films(network, train.pixels, told)
        rows = nearest(known, over_films(network, films)).tolist()
        written[f"report of the nearest training film ({name})"] = [reports[row] for row in rows]
    return written | {RANDOM: anyone}


def blind_reports(case: Case) -> dict[str, list[str]]:
    """System -> a report a film, for systems that see no film; none where there is no training split."""
    train, n = case.train, len(case.cases)
    if train is None:
        return {}
    reports = [case.raw[study.id] for study in train.studies]
    constant = best_constant([*reports, *train.reports], reports, case.seed)
    drawn = np.random.default_rng(case.seed).integers(len(reports), size=n)
    return {CONSTANT: [constant] * n, RANDOM: [reports[row] for row in drawn]}


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
