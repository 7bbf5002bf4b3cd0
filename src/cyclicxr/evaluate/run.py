"""One evaluation from studies table to `metrics.json`, `metrics.md`, `metrics.html` and `metrics.tex`; knows no metric."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.evaluate.about import about_inputs, code_digest, matcher_digest, path_digest
from cyclicxr.evaluate.cycling import score_cycles
from cyclicxr.evaluate.drawing import score_drawn_films
from cyclicxr.evaluate.external import External, read_external, unique_names
from cyclicxr.evaluate.grounding import score_grounding
from cyclicxr.evaluate.matching import retrieval_tables
from cyclicxr.evaluate.page import write_pages
from cyclicxr.evaluate.report_tables import Extras
from cyclicxr.evaluate.reports import raw_reports, score_written_reports
from cyclicxr.evaluate.system import Case, Evaluated, Table
from cyclicxr.evaluate.verdicts import CONSTANT, DRAWN, DRAWN_SHUFFLED, OTHER_FILMS, OURS, SHUFFLED, shortcomings, strengths
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.metrics.backbones import backbone
from cyclicxr.metrics.ptb import tokenizer_name
from cyclicxr.training.corpus import load_corpus
from cyclicxr.types import NOTICE, InputError, Progress

log = logging.getLogger(__name__)

TASKS = ("report", "draw", "retrieval", "cycle", "grounding")
MARKER = "evaluation.json"  # whose evaluation a folder holds
_TAKEN = frozenset({OURS, SHUFFLED, CONSTANT, DRAWN, DRAWN_SHUFFLED, OTHER_FILMS})  # names of rows

PROTOCOL = {
    "report": (
        "Reports: findings and impression, one reference a film, as it is given (OpenI's XXXX stay in, as the field does; 'without "
        "marks' is the same with them removed from both sides); tokens: {tokenizer}; BLEU, ROUGE-L, CIDEr and METEOR as pycocoevalcap "
        "defines them. 'Films shuffled' are the same reports given to other films: what a model that does not look would score. Finding "
        "scores: findings that the text affirms against the labels of the film. F1-14 and F1-5: CheXpert's labels of the text, by our own "
        "rules, against those of the true report; uncertain counts as positive, as in the field."
    ),
    "draw": (
        "Drawing: one film for each true report, as many drawn as real, all as 8-bit pixels of the network's size, nothing cut off. FID "
        "and KID (without pairs of one study) on the pooled features of our own film classifier, or of the network that the column "
        "names: comparable within this table alone; FID is biased upwards for few films, its interval is 1.96 deviations over 200 "
        "resamples. NIQE: published parameters, of photographs, so that the real films' row is the aim; it sees texture and no anatomy. "
        "MS-SSIM: mean of 200 random pairs, lower is more diverse. Finding AUC and likeness (centred cosine): that classifier reading "
        "the film for what its study shows and beside the real one; it is no independent reader, for its features were the VQ-GAN's "
        "perceptual loss. Nearest training film: shares nearer than 1 % and 5 % of real films are; blur alone brings films nearer, as "
        "the reconstructions show."
    ),
    "retrieval": (
        "Retrieval: the whole split is the pool; identical reports are one text and all their films its positives; ties count against the "
        "positive; chance is exact; intervals resample queries in a pool that stays. Exact pair: only a film's own report is right, an "
        "identical one of another film stands before it. Batches of 112 (a GPU's batch in the paper, which names no pool) and pools of "
        "1,000 (where the split has as many films): mean over 20 shuffles, seeds 0 to 19, its interval over films, and the standard "
        "deviation between shuffles. Same findings: any report is right whose film shows exactly the same ones. Paired: differences of "
        "R@K on the same queries, p two-sided. 'With the global alignment' adds the similarity of film and report as wholes (decision 33). "
        "'Patches put back on the grid' are the same weights at test time, no matcher trained so."
    ),
    "cycle": (
        "Cycle: a film is drawn from the report that was written for a film, and a report is written for the film that was drawn from a "
        "report; both are compared with their originals, beside pairs that are shuffled. Consistency: true sentences against the same made "
        "false by rule (a finding swapped, negated, invented, or on the other side); AUC is the chance that the true one scores higher."
    ),
    "grounding": (
        "Grounding: the map of a phrase is each patch's best cosine with one of its words, spread over the patch's box; beside places that "
        "are chosen without the film. Phantoms are drawn chests, not films: what is found there says little of real ones."
    ),
}


def _silent(what: str, done: int, total: int) -> None:
    """Nobody listens to the progress."""


@dataclass(frozen=True)
class Request:
    """What is asked of one evaluation.

    Args:
        studies: studies table; the baselines know its training split.
        out: folder of everything that is written.
        split: of the table.
        tasks: of `TASKS`.
        seed: of everything random: drawings, baselines, shuffling, resampling, the sample.
        cases: so many studies of the split, sampled by the seed; None takes all.
        compare: name -> another matcher, scored beside, such as one with fixed patches.
        systems: name -> table of another system's outputs (`external.read_external`).
        extras: report metrics that need something of the user's.
        backbones: name -> weights of another network for FID (`metrics.backbones`).
        boxes: a table of boxes for grounding, in MS-CXR's form; None grounds on phantoms.
        files: the model's directory, whose files are hashed into `metrics.json`.
        cache: folder of the decoded films; None is `out`/cache.
        command: that was given, for `metrics.json`.
        progress: told what is done, how much of it, and of how much.
    """

    studies: Path
    out: Path
    split: str = "test"
    tasks: Sequence[str] = TASKS
    seed: int = 0
    cases: int | None = None
    compare: Mapping[str, AdaMatch] = field(default_factory=dict)
    systems: Mapping[str, Path] = field(default_factory=dict)
    extras: Extras = field(default_factory=Extras)
    backbones: Mapping[str, Path] = field(default_factory=dict)
    boxes: Path | None = None
    files: Path | None = None
    cache: Path | None = None
    command: str = ""
    progress: Progress = _silent


def evaluate(model: Evaluated, studies: Path, *, out: Path, **asked: Any) -> dict[str, Any]:
    """The paper's tables for a model on a split, with their baselines; written to `out` and returned.

    Interrupted, it goes on where it was: reports, films and the tables of finished tasks are kept in `out` as they come. `out` then holds
    patients' films and reports: it belongs where the studies table belongs, never in a repository.

    Args:
        model: what is evaluated.
        studies: studies table.
        out: `metrics.json` (table -> system or direction -> metric -> value, low, high, n), `.md`, `.html` and `.tex` are written there.
        asked: anything else of `Request`.

    Raises:
        InputError: an unknown task, a wrong table, a split without studies, wrong outputs of another system, or an `out` that holds another
            evaluation.

    Source: Tables 1, 3, 4 and 5; protocol and baselines are ours.
    """
    request = Request(studies, out, **asked)
    if not request.tasks:
        raise InputError(f"no task is asked for; there are {', '.join(TASKS)}")
    metrics, case = measured(model, request)
    write_json(out / "metrics.json", metrics)
    write_pages(metrics, out, model, case)
    return metrics


def measured(model: Evaluated, request: Request) -> tuple[dict[str, Any], Case]:
    """The numbers of the tasks that are asked for, "about" first, and what they are of; tasks finished before are not run again.

    Raises:
        InputError: as `evaluate`.
    """
    unknown = sorted(set(request.tasks) - set(TASKS))
    if unknown:
        raise InputError(f"task '{', '.join(unknown)}' is unknown; there are {', '.join(TASKS)}")
    case = open_case(model.preset.encoder.size, model.preset.encoder.fit, request)
    header: dict[str, Any] = {"model": dict(model.info), "split": request.split, "seed": request.seed, "cases": request.cases}
    _claim(request.out / MARKER, header)
    unique_names(request.systems, _TAKEN)
    others = read_systems(request.systems, case, model.preset.encoder.size, model.preset.encoder.fit)
    about = header | _about(request, case, others)
    metrics: dict[str, Any] = {"about": about}
    key = {name: about[name] for name in (*header, "studies", "compared", "systems", "given", "commands")} | {"code": code_digest()}
    for task in _ordered(request.tasks):
        found = _once(request.out / "tasks" / f"{task}.json", key, lambda task=task: _run(task, model, case, request, others))  # type: ignore[misc]
        metrics |= found["tables"]
        about["seconds"][task] = found["seconds"]
    about |= {"cannot": list(shortcomings(metrics)), "can": list(strengths(metrics))}
    return metrics, case


def _about(request: Request, case: Case, others: Sequence[External]) -> dict[str, Any]:
    """How many films, with what, and by which protocol."""
    given = {**request.backbones, "chexbert": request.extras.chexbert, "radgraph": request.extras.radgraph, "boxes": request.boxes}
    protocol = [PROTOCOL[task].format(tokenizer=tokenizer_name()) for task in _ordered(request.tasks)]
    return {
        "n": len(case.cases),
        **about_inputs(request.studies, request.files, request.seed, request.command),
        "compared": {name: matcher_digest(other) for name, other in request.compare.items()},
        "systems": {other.name: other.sha256 for other in others},
        "given": {name: path_digest(path) for name, path in given.items() if path},
        "commands": dict(request.extras.commands),
        "protocol": [NOTICE, "Brackets hold 95 % bootstrap intervals over films.", *protocol],
        "seconds": {},
    }


def _ordered(tasks: Sequence[str]) -> list[str]:
    return [task for task in TASKS if task in tasks]


def open_case(size: int, fit: str, request: Request) -> Case:
    """The split, or the sample of it, with its films at the network's size.

    Raises:
        InputError: a wrong table, or a split without studies.
    """
    corpus = load_corpus(request.studies, size, request.cache or request.out / "cache", fit, request.progress)
    case = Case(corpus, raw_reports(request.studies), request.split, request.seed, request.progress, request.cases)
    len(case.cases)  # a split without studies is said now, before anything is written
    return case


def read_systems(systems: Mapping[str, Path], case: Case, size: int, fit: str) -> list[External]:
    """The outputs of other systems for the films of a case.

    Raises:
        InputError: as `external.read_external`.
    """
    asked, split = ([study.id for study in corpus.studies] for corpus in (case.cases, case.corpus.split(case.split)))
    return [read_external(name, table, asked, split, size, fit, case.progress) for name, table in systems.items()]


def plain(table: Table) -> dict[str, dict[str, Any]]:
    """A table as JSON; rows without numbers are left out."""
    return {row: {metric: number.to_json() for metric, number in found.items()} for row, found in table.items() if found}


def _claim(marker: Path, header: Mapping[str, Any]) -> None:
    """Say whose evaluation the folder holds."""
    if not marker.exists():
        write_json(marker, header)
        return
    found = read_json(marker)
    for name, value in header.items():
        if found.get(name) != value:
            held = found.get(name)
            raise InputError(f"{marker.parent}: holds the evaluation of another {name} ({held}, not {value}); choose another --out")


def _once(path: Path, key: Mapping[str, Any], run: Callable[[], dict[str, Table]]) -> dict[str, Any]:
    """A task's tables, from its file where that is of the same inputs and code."""
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    if found.get("key") != key:
        started = time.perf_counter()
        tables = {name: plain(table) for name, table in run().items()}
        found = {"key": dict(key), "seconds": round(time.perf_counter() - started, 1), "tables": tables}
        log.info("%s: %.0f s", path.stem, found["seconds"])
        write_json(path, found)
    return found


def _run(task: str, model: Evaluated, case: Case, request: Request, others: Sequence[External]) -> dict[str, Table]:
    out = request.out
    if task == "report":
        reports = {other.name: other.reports for other in others if other.reports is not None}
        return score_written_reports(model, case, out, reports, request.extras)
    if task == "draw":
        films = {other.name: other.films for other in others if other.films is not None}
        return score_drawn_films(model, case, out, films, {name: backbone(name, path) for name, path in request.backbones.items()})
    if task == "retrieval":
        return retrieval_tables({OURS: model.matcher, **request.compare}, case, out, model.alignment)
    if task == "cycle":
        return score_cycles(model, case, out)
    return score_grounding(model, case, request.boxes, out)
