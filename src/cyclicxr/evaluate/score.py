"""Other systems' reports and films by the tables of an evaluation, without a model that writes or draws; knows no metric."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cyclicxr.checkpoint import read_preset, write_json
from cyclicxr.data.studies import read_studies, split_by_patient
from cyclicxr.data.tables import read_table
from cyclicxr.evaluate.about import about_inputs
from cyclicxr.evaluate.baselines import derangement
from cyclicxr.evaluate.drawing import copied_films
from cyclicxr.evaluate.drawn_findings import finder_of
from cyclicxr.evaluate.drawn_tables import CLASSIFIER, REAL, Judged
from cyclicxr.evaluate.external import External, unique_names
from cyclicxr.evaluate.film_set import library_of, measure_films
from cyclicxr.evaluate.page import write_pages
from cyclicxr.evaluate.report_tables import report_tables
from cyclicxr.evaluate.reports import blind_reports, raw_reports
from cyclicxr.evaluate.run import PROTOCOL, Request, open_case, plain, read_systems
from cyclicxr.evaluate.system import Case, Table
from cyclicxr.evaluate.verdicts import CONSTANT, OTHER_FILMS
from cyclicxr.metrics.backbones import backbone
from cyclicxr.metrics.ptb import tokenizer_name
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.corpus import SPLIT_SEED, Corpus
from cyclicxr.types import NOTICE, InputError

_SHUFFLED = "{}, films shuffled"


def score(studies: Path, *, out: Path, systems: Mapping[str, Path], files: Path, **asked: Any) -> dict[str, Any]:
    """The tables "report" and "draw" of other systems, with the baselines that need no model; written to `out` and returned.

    The first system is the one that the others are compared with. Films are decoded only where a system draws.

    Args:
        studies: studies table.
        out: `metrics.json`, `.md`, `.html` and `.tex` are written there.
        systems: name -> table of its outputs (`external.read_external`).
        files: model directory whose film classifier measures drawn films; nothing else of it is read.
        asked: anything else of `Request`, but its tasks.

    Raises:
        InputError: no system, a wrong table, a split without studies, or wrong outputs.
    """
    if not systems:
        raise InputError("no system to score; give one as --system NAME=TABLE")
    unique_names(systems, {CONSTANT, OTHER_FILMS, REAL})
    request = Request(studies, out, tasks=(), systems=systems, files=files, **asked)
    encoder = read_preset(files).encoder
    draws = any("image" in read_table(table)[0] for table in systems.values())
    case = open_case(encoder.size, encoder.fit, request) if draws else _texts(request)
    others = read_systems(systems, case, encoder.size, encoder.fit)
    tables: dict[str, Table] = {}
    seconds, protocol = {}, [NOTICE, "Brackets hold 95 % bootstrap intervals over films."]
    for task, run in (("report", _reports), ("draw", _films)):
        started = time.perf_counter()
        found = run(others, case, request)
        if found:
            tables |= found
            protocol.append(PROTOCOL[task].format(tokenizer=tokenizer_name()))
            seconds[task] = round(time.perf_counter() - started, 1)
    about: dict[str, Any] = {"model": {"systems": ", ".join(systems)}, "split": request.split, "seed": request.seed, "cases": request.cases}
    about |= {"n": len(case.cases), **about_inputs(studies, None, request.seed, request.command)}
    about |= {"systems": {other.name: other.sha256 for other in others}, "protocol": protocol, "seconds": seconds, "cannot": [], "can": []}
    metrics = {"about": about} | {name: plain(table) for name, table in tables.items()}
    write_json(out / "metrics.json", metrics)
    write_pages(metrics, out, None, case)
    return metrics


def _texts(request: Request) -> Case:
    """A case without films."""
    rows = read_studies(request.studies)
    rows = rows if any(study.split for study in rows) else split_by_patient(rows, SPLIT_SEED)
    corpus = Corpus(rows, torch.zeros(len(rows), 1, 1, dtype=torch.uint8))
    case = Case(corpus, raw_reports(request.studies), request.split, request.seed, request.progress, request.cases)
    len(case.cases)  # a split without studies is said now
    return case


def _reports(others: list[External], case: Case, request: Request) -> dict[str, Table]:
    written = {other.name: other.reports for other in others if other.reports is not None}
    if not written:
        return {}
    first = next(iter(written))
    shuffled = {_SHUFFLED.format(first): [written[first][i] for i in derangement(len(case.cases), case.seed)]}
    return report_tables(written | shuffled | blind_reports(case), case, request.extras)


def _films(others: list[External], case: Case, request: Request) -> dict[str, Table]:
    drawn = {other.name: other.films for other in others if other.films is not None}
    if not drawn:
        return {}
    assert request.files is not None
    classifier = FilmClassifier.load(request.files)
    networks = {CLASSIFIER: classifier.features} | {name: backbone(name, path) for name, path in request.backbones.items()}
    library = None if case.train is None else library_of(case.train, classifier.features, lambda done, total: None)
    sets = {name: measure_films(films, networks, library, case.seed) for name, films in drawn.items()}
    sets |= {name: measure_films(films(), networks, library, case.seed) for name, films in copied_films(case).items()}
    sets[REAL] = measure_films(case.cases.pixels, networks, library, case.seed)
    judged = Judged(case, sets, finder_of(classifier, case.cases.studies), library, ours=next(iter(drawn)))
    return {
        "draw": judged.drawn(),
        "draw by finding": judged.by_finding(),
        "draw, nearest training film": judged.copies(),
        "draw, paired": judged.against(),
    }
