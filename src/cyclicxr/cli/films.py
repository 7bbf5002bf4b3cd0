"""`cyclicxr report` and `cycle`: any number of films, with nobody watching."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cyclicxr
from cyclicxr.cli.console import (
    Arguments,
    add_command,
    add_force,
    add_json,
    add_model,
    add_out,
    add_seed,
    complain,
    counter,
    duration,
    folder,
    say,
)

if TYPE_CHECKING:
    from cyclicxr.cycle import Model, Outcome
    from cyclicxr.explain.batch import Done, DoneAlready, Failure, Job, Tally, Work

ENGINES = ("local", "ray")
PATIENCE = 600.0  # [ours] seconds of one film: hundreds of times what the model in the package takes


def add_report(commands: Any) -> None:
    """`cyclicxr report`: film -> report."""
    _add_films(add_command(
        commands, "report", _report, "film -> report with its evidence, one JSON and one page an image",
        "cyclicxr report film.png --out reports", "cyclicxr report films/ 'more/*.dcm' studies.csv --out reports --resume",
        "cyclicxr report archive/ --out reports --resume --engine ray",
    ))  # fmt: skip


def add_cycle(commands: Any) -> None:
    """`cyclicxr cycle`: film -> report -> film."""
    cycle = add_command(
        commands, "cycle", _cycle, "film -> report -> film, with the consistency of each sentence", "cyclicxr cycle film.dcm --out cycle"
    )
    _add_films(cycle)
    add_seed(cycle)


def _add_films(command: argparse.ArgumentParser) -> None:
    command.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, TIFF or DICOM files, folders, globs, studies tables")
    add_out(command, "out", "folder for one JSON and one page an image")
    command.add_argument("--resume", action="store_true", help="leave out images that this model has done in DIR already")
    command.add_argument(
        "--engine", choices=ENGINES, default="local", help="local: one after another; ray: as many at once as Ray has CPUs (default: local)"
    )
    command.add_argument("--timeout", type=_seconds, default=PATIENCE, metavar="SECONDS", help="of one image, at most (default: 600)")
    add_force(command)
    add_json(command)
    add_model(command)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is no time; give seconds, such as 60")
    return seconds


def _report(arguments: Arguments) -> int:
    return _run(arguments, lambda model, path: model.outcome_report(path, force=arguments.force), drawn=False)


def _cycle(arguments: Arguments) -> int:
    return _run(arguments, lambda model, path: model.outcome_cycle(path, seed=arguments.seed, force=arguments.force), drawn=True)


def _run(arguments: Arguments, ask: Callable[[Model, Path], Outcome], *, drawn: bool) -> int:
    from cyclicxr.explain.batch import Tally, find_jobs, same_film_and_model, sweep

    def open_model() -> tuple[Work, DoneAlready | None]:
        model = cyclicxr.load(arguments.model)
        done_already = (lambda path, stored: same_film_and_model(path, stored, model.info, drawn=drawn)) if arguments.resume else None
        return (lambda path: ask(model, path)), done_already

    started, out = time.monotonic(), folder(arguments.out)
    jobs, failures = find_jobs(arguments.images, out)
    tally, several = Tally(len(jobs), failures), len(jobs) + len(failures) > 1
    sweep(jobs, out)
    try:
        with counter() as progress:
            results = sys.stdout  # on a terminal the bar's, which writes above itself
            # what others say meanwhile is no result, such as Ray's threads until it has shut down
            with redirect_stdout(sys.stderr), closing(_items(arguments, jobs, open_model, out)) as items:
                for failure in failures:
                    _tell(failure, arguments, results)
                for item in items:
                    tally.add(item)
                    _tell(item, arguments, results)
                    progress("films", tally.over, len(jobs))
    finally:
        sweep(jobs, out)
        if several and not isinstance(sys.exception(), BrokenPipeError):
            _sum_up(tally, out, time.monotonic() - started)
    return 1 if any(failure.ours for failure in failures) else 2 if failures else 0


def _items(
    arguments: Arguments, jobs: Sequence[Job], open_model: Callable[[], tuple[Work, DoneAlready | None]], out: Path
) -> Generator[Done | Failure, None, None]:
    from cyclicxr.explain.batch import run_jobs
    from cyclicxr.explain.ray_engine import run_on_ray

    if jobs and arguments.engine == "ray":
        yield from run_on_ray(jobs, open_model, out, arguments.timeout)
    elif jobs:
        work, done_already = open_model()
        yield from run_jobs(jobs, work, out, done_already, arguments.timeout)


def _tell(item: Done | Failure, arguments: Arguments, results: Any) -> None:
    from cyclicxr.explain.batch import Failure

    if isinstance(item, Failure):
        if arguments.json:
            print(json.dumps({"image": item.path, "error": item.message}), file=results, flush=True)
        complain(item.message)
        return
    facts = {"image": str(item.job.path), "result": str(item.paths.json), "page": str(item.paths.page), "report": item.report}
    say(arguments, facts, f"{item.paths.page}{' (done before)' if item.skipped else ''}", results)


def _sum_up(tally: Tally, out: Path, seconds: float) -> None:
    """The list of failures, one line on standard error, and the index, which reads all results of the folder and takes longest."""
    from cyclicxr.explain import write_index
    from cyclicxr.explain.batch import write_failures

    listed = write_failures(out, tally.failures)
    parts = [f"{len(tally.failures)} failed, {tally.written} written to {out}"]
    parts += [f"{tally.skipped} done before"] if tally.skipped else []
    parts += [f"{tally.left} not done"] if tally.left else []
    names = f"; {listed} names what failed" if listed else ""
    print(f"cyclicxr: {', '.join(parts)}, in {duration(seconds)}{names}", file=sys.stderr, flush=True)
    if tally.written + tally.skipped > 1:
        write_index(out)
