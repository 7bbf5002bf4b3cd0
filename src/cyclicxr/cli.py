"""The command line: what each command is asked with, and the call it makes; knows no method. Heavy imports wait until a command runs.

Exit codes: 0 done, 1 our own error, 2 the caller's mistake (bad arguments, bad input), 130 interrupted, 141 nobody reads our output.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cyclicxr
from cyclicxr.config import PRESETS, override, preset
from cyclicxr.types import NOTICE, InputError

if TYPE_CHECKING:
    from cyclicxr.cycle import Model, Outcome
    from cyclicxr.data.tally import Tally
    from cyclicxr.explain.batch import Failure, Job

STAGES = ("classifier", "match", "vqgan", "codebooks", "llm")
TASKS = ("report", "draw", "retrieval")
_TABLE = "studies table: CSV, Parquet, JSON lines, or a folder of films with texts of the same names"
SAMPLE = Path(cyclicxr.__file__).parent / "assets" / "sample.png"

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes the process's.

    Returns:
        The exit code.
    """
    try:
        arguments = _parser().parse_args(argv)
        logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING, format="cyclicxr: %(levelname)s: %(message)s")
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except InputError as error:
        _complain(str(error))
        return 2
    except KeyboardInterrupt:
        print("cyclicxr: interrupted; where a command has --resume, it goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush into a closed pipe
        return 141
    return code


# ---- commands


def _demo(arguments: Arguments) -> int:
    from cyclicxr.explain import write_result

    image = arguments.image or SAMPLE
    outcome = cyclicxr.load(arguments.model).outcome_cycle(image, seed=arguments.seed, force=arguments.force)
    paths = write_result(_folder(arguments.out), Path(image).stem, outcome.result, outcome.film, outcome.drawn)
    print(f"{outcome.result.report}\n\nThe page: {paths.page.resolve()}\n{NOTICE}")
    return 0


def _report(arguments: Arguments) -> int:
    return _batch(arguments, lambda model, path: model.outcome_report(path, force=arguments.force), drawn=False)


def _cycle(arguments: Arguments) -> int:
    return _batch(arguments, lambda model, path: model.outcome_cycle(path, seed=arguments.seed, force=arguments.force), drawn=True)


def _draw(arguments: Arguments) -> int:
    from cyclicxr.explain import write_result

    if arguments.out.suffix.lower() != ".png":
        raise InputError(f"--out {arguments.out}: a drawn film is a PNG; give a name that ends in .png")
    outcome = cyclicxr.load(arguments.model).outcome_draw(_text(arguments.text), seed=arguments.seed)
    paths = write_result(_folder(arguments.out.parent), arguments.out.stem, outcome.result, None, outcome.drawn)
    _say(arguments, {"drawn": str(paths.drawn), "result": str(paths.json), "page": str(paths.page)}, f"{paths.drawn}\n{paths.page}")
    return 0


def _explain(arguments: Arguments) -> int:
    from cyclicxr.explain import write_result

    outcome = cyclicxr.load(arguments.model).outcome_explain(arguments.image, _text(arguments.text), force=arguments.force)
    paths = write_result(_folder(arguments.out), arguments.image.stem, outcome.result, outcome.film, outcome.drawn)
    _say(arguments, {"image": str(arguments.image), "result": str(paths.json), "page": str(paths.page)}, str(paths.page))
    return 0


def _train(arguments: Arguments) -> int:
    from cyclicxr.training.pipeline import train

    logging.getLogger("cyclicxr").setLevel(logging.DEBUG if arguments.verbose else logging.INFO)
    chosen = override(preset(arguments.preset), dict(arguments.set))
    train(arguments.studies, chosen, _folder(arguments.out), arguments.stage, arguments.resume)
    return 0


def _evaluate(arguments: Arguments) -> int:
    from cyclicxr.evaluate import evaluate

    model = cyclicxr.load(arguments.model)
    compare = {name: cyclicxr.load(path).matcher for name, path in arguments.compare}
    with _counter() as progress:
        evaluate(
            model, arguments.studies, out=_folder(arguments.out), split=arguments.split, tasks=arguments.tasks, seed=arguments.seed,
            compare=compare, progress=progress,
        )  # fmt: skip
    _say(arguments, {"metrics": str(arguments.out / "metrics.json")}, str(arguments.out / "metrics.md"))
    return 0


def _data_check(arguments: Arguments) -> int:
    from cyclicxr.data.check import check_studies

    with _counter() as progress:
        found = check_studies(arguments.studies, progress)
    print(json.dumps(found.to_json(), ensure_ascii=False) if arguments.json else found.to_text(), flush=True)
    return 2 if found.errors else 0


def _data_openi(arguments: Arguments) -> int:
    from cyclicxr.data.openi import build_openi

    return _tell(arguments, build_openi(arguments.reports, arguments.films, arguments.out))


def _data_mimic(arguments: Arguments) -> int:
    from cyclicxr.data.mimic import build_mimic

    with _counter() as progress:
        tally = build_mimic(arguments.root, arguments.out, arguments.reports, progress)
    return _tell(arguments, tally)


def _data_deidentify(arguments: Arguments) -> int:
    from cyclicxr.data.deidentify import deidentify

    refused = 0
    for film in deidentify(arguments.images, _folder(arguments.out)):
        if film.written is None:
            refused += 1
            _complain(film.refused)
            continue
        boxes = ", ".join("x {:.0f}-{:.0f} y {:.0f}-{:.0f}".format(*(box[i] for i in (0, 2, 1, 3))) for box in film.regions)
        facts = {"image": str(film.source), "written": str(film.written), "text_regions": film.regions}
        line = f"{film.source} -> {film.written}: {f'text may be burnt in at {boxes}; look at it' if boxes else 'no burnt-in text found'}"
        print(json.dumps(facts) if arguments.json else line, flush=True)
    return 2 if refused else 0


def _tell(arguments: Arguments, tally: Tally) -> int:
    """What became of a data set's rows."""
    facts = {"table": str(arguments.out), **tally.to_json()}
    print(json.dumps(facts) if arguments.json else f"{tally.to_text()}\n{arguments.out}: {tally.kept.total():,} films", flush=True)
    return 0


# ---- many films


def _batch(arguments: Arguments, work: Callable[[Model, Path], Outcome], *, drawn: bool) -> int:
    from cyclicxr.explain import write_index
    from cyclicxr.explain.batch import Done, find_jobs, run_jobs, same_film_and_model

    out = _folder(arguments.out)
    jobs, failures = find_jobs(arguments.images, out)
    written = 0
    try:
        if jobs:
            model = cyclicxr.load(arguments.model)
            resume = (lambda path, stored: same_film_and_model(path, stored, model.info, drawn=drawn)) if arguments.resume else None
            for item in run_jobs(_counted(jobs), lambda path: work(model, path), out, resume):
                if isinstance(item, Done):
                    written += 1
                    line = {
                        "image": str(item.job.path),
                        "result": str(item.paths.json),
                        "page": str(item.paths.page),
                        "report": item.report,
                    }
                    _say(arguments, line, f"{item.paths.page}{' (done before)' if item.skipped else ''}")
                else:
                    failures.append(item)
    finally:
        _list(failures, written, arguments)
        if written > 1:
            write_index(out)
    return 1 if any(failure.ours for failure in failures) else 2 if failures else 0


def _counted(jobs: Sequence[Job]) -> Iterator[Job]:
    """The jobs, with a bar on a terminal."""
    with _counter() as progress:
        for number, job in enumerate(jobs):
            progress(job.path.name, number, len(jobs))
            yield job


def _list(failures: Sequence[Failure], written: int, arguments: Arguments) -> None:
    for failure in failures:
        if arguments.json:
            print(json.dumps({"image": failure.path, "error": failure.message}), flush=True)
        _complain(failure.message)
    if failures and len(failures) + written > 1:
        print(f"cyclicxr: {len(failures)} failed, {written} written to {arguments.out}", file=sys.stderr)


@contextmanager
def _counter() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error: what, how many, of how many. None where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


# ---- words in, words out


def _text(argument: str) -> str:
    """`-` is standard input."""
    text = sys.stdin.read() if argument == "-" else argument
    if not any(character.isalpha() for character in text):
        raise InputError("the text has no words; write what the film shows, such as 'Small left pleural effusion.'")
    return text


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be made a folder ({error.strerror}); choose another") from None
    return path


def _say(arguments: Arguments, facts: dict[str, str], text: str) -> None:
    print(json.dumps(facts, ensure_ascii=False) if arguments.json else text, flush=True)


def _complain(message: str) -> None:
    print(f"cyclicxr: error: {message}", file=sys.stderr, flush=True)


# ---- arguments


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE, such as match.epochs=2")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _named_model(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=MODEL, such as fixed=runs/fixed/model")
    return name, path


def _tasks(text: str) -> tuple[str, ...]:
    tasks = tuple(task.strip() for task in text.split(","))
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise argparse.ArgumentTypeError(f"task '{unknown[0]}' is unknown; there are {', '.join(TASKS)}")
    return tasks


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cyclicxr", description="Chest X-ray to report and back, with the evidence shown.", epilog=NOTICE, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"cyclicxr {cyclicxr.__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    _add_demo(commands)
    _add_report(commands)
    _add_draw(commands)
    _add_cycle(commands)
    _add_explain(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_data(commands)
    return parser


def _command(commands: Any, name: str, run: Callable[[Arguments], int], summary: str, *examples: str) -> argparse.ArgumentParser:
    shown = "\n".join(f"  {example}" for example in examples)
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"{'examples' if len(examples) > 1 else 'example'}:\n{shown}\n\n{NOTICE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run)
    command.add_argument("-v", "--verbose", action="store_true", help="say more, and show where our own errors come from")
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", metavar="DIR|NAME", help="a model directory or a model's name (default: the model in the package)")


def _add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=int, default=0, help="of drawing: the same seed draws the same film (default: 0)")


def _add_force(command: argparse.ArgumentParser) -> None:
    command.add_argument("--force", action="store_true", help="go on with what does not look like an upright frontal chest film")


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object a line on standard output, for machines")


def _add_out(command: argparse.ArgumentParser, default: str, what: str = "folder for the results") -> None:
    command.add_argument("--out", type=Path, default=Path(default), metavar="DIR", help=f"{what} (default: {default})")


def _add_films(command: argparse.ArgumentParser) -> None:
    command.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, TIFF or DICOM files, folders, globs, studies tables")
    _add_out(command, "out", "folder for one JSON and one page an image")
    command.add_argument("--resume", action="store_true", help="leave out images that this model has done in DIR already")
    _add_force(command)
    _add_json(command)
    _add_model(command)


def _add_demo(commands: Any) -> None:
    demo = _command(
        commands, "demo", _demo, "the whole cycle on a film in the package, or on yours; prints where the page is",
        "cyclicxr demo", "cyclicxr demo my_film.png --out out/mine",
    )  # fmt: skip
    demo.add_argument("image", nargs="?", type=Path, metavar="IMAGE", help="your own film (default: one that the model drew)")
    _add_out(demo, "out/demo")
    _add_force(demo)
    _add_seed(demo)
    _add_model(demo)


def _add_report(commands: Any) -> None:
    _add_films(_command(
        commands, "report", _report, "film -> report with its evidence, one JSON and one page an image",
        "cyclicxr report film.png --out reports", "cyclicxr report films/ 'more/*.dcm' studies.csv --out reports --resume",
    ))  # fmt: skip


def _add_draw(commands: Any) -> None:
    draw = _command(
        commands, "draw", _draw, "report -> drawn film, with its page beside it",
        'cyclicxr draw "Small left pleural effusion." --out drawn.png',
    )  # fmt: skip
    draw.add_argument("text", metavar="TEXT", help="what the film shows; - reads it from standard input")
    draw.add_argument("--out", type=Path, default=Path("drawn.png"), metavar="PNG", help="the drawn film (default: drawn.png)")
    _add_seed(draw)
    _add_json(draw)
    _add_model(draw)


def _add_cycle(commands: Any) -> None:
    cycle = _command(
        commands, "cycle", _cycle, "film -> report -> film, with the consistency of each sentence", "cyclicxr cycle film.dcm --out cycle"
    )
    _add_films(cycle)
    _add_seed(cycle)


def _add_explain(commands: Any) -> None:
    explain = _command(
        commands, "explain", _explain, "any text on a film: its words and their adaptive patches (Fig. 8)",
        'cyclicxr explain film.png --text "The heart is enlarged." --out why',
    )  # fmt: skip
    explain.add_argument("image", type=Path, metavar="IMAGE", help="PNG, JPEG, TIFF or DICOM file")
    explain.add_argument("--text", required=True, help="the text to explain; - reads it from standard input")
    _add_out(explain, "out")
    _add_force(explain)
    _add_json(explain)
    _add_model(explain)


def _add_train(commands: Any) -> None:
    train = _command(
        commands, "train", _train, "studies table -> model: all stages in order, or one",
        "cyclicxr train studies.csv --preset openi-small --out runs/small --resume",
        "cyclicxr train studies.csv --out runs/try --stage match --set match.epochs=2 --set seed=1",
    )  # fmt: skip
    train.add_argument("studies", type=Path, metavar="STUDIES", help=f"{_TABLE}; `cyclicxr data check` looks it over")
    train.add_argument("--preset", choices=sorted(PRESETS), default="openi-small", help="sizes and schedules (default: openi-small)")
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder; the model grows in RUN/model")
    train.add_argument("--stage", choices=STAGES, help="this stage alone (default: all, in this order)")
    train.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    train.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="change one number of the preset")


def _add_evaluate(commands: Any) -> None:
    evaluate = _command(
        commands, "evaluate", _evaluate, "the paper's tables with their baselines, as metrics.json, Markdown and HTML",
        "cyclicxr evaluate studies.csv --split test --out evaluation --tasks report,draw,retrieval",
    )  # fmt: skip
    evaluate.add_argument("studies", type=Path, metavar="STUDIES", help=_TABLE)
    evaluate.add_argument("--split", default="test", help="which studies are scored (default: test)")
    evaluate.add_argument("--tasks", type=_tasks, default=TASKS, help=f"of {','.join(TASKS)} (default: all)")
    evaluate.add_argument(
        "--compare",
        type=_named_model,
        action="append",
        default=[],
        metavar="NAME=MODEL",
        help="another model's matcher, in its own retrieval table",
    )
    _add_out(evaluate, "evaluation")
    evaluate.add_argument("--seed", type=int, default=0, help="of drawing, baselines and intervals (default: 0)")
    _add_json(evaluate)
    _add_model(evaluate)


def _add_data(commands: Any) -> None:
    parser = commands.add_parser(
        "data",
        help="make a studies table, check one, or de-identify films",
        description="Make a studies table, check one, or de-identify films.",
        epilog=NOTICE,
    )
    tables = parser.add_subparsers(title="commands", required=True)
    bare = _command(
        tables, "deidentify", _data_deidentify, "films -> 16-bit PNG without any header; burnt-in text is reported, not blanked",
        "cyclicxr data deidentify films/*.dcm --out bare",
    )  # fmt: skip
    bare.add_argument("images", nargs="+", type=Path, metavar="FILE", help="PNG, JPEG, TIFF or DICOM films")
    bare.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for 0001.png, 0001.json, ... in the order given")
    _add_json(bare)
    check = _command(
        tables, "check", _data_check, "list every problem of a studies table, errors and warnings; exit code 2 where there is an error",
        "cyclicxr data check studies.csv", "cyclicxr data check films_and_texts/ --json",
    )  # fmt: skip
    check.add_argument("studies", type=Path, metavar="STUDIES", help=_TABLE)
    _add_json(check)
    openi = _command(
        tables, "openi", _data_openi, "OpenI as NLM or Kaggle gives it -> studies table",
        "cyclicxr data openi NLMCXR_reports.tgz NLMCXR_png --out studies.csv",
        "cyclicxr data openi indiana_reports.csv images/images_normalized --out studies.csv",
    )  # fmt: skip
    openi.add_argument("reports", type=Path, metavar="REPORTS", help="folder or .tgz of NLM's XML reports, or Kaggle's indiana_reports.csv")
    openi.add_argument("films", type=Path, metavar="FILMS", help="folder of the PNG films")
    mimic = _command(
        tables, "mimic", _data_mimic, "MIMIC-CXR-JPG or MIMIC-CXR as PhysioNet gives it -> studies table",
        "cyclicxr data mimic mimic-cxr-jpg/2.0.0 --reports mimic-cxr-reports.zip --out studies.parquet",
    )  # fmt: skip
    mimic.add_argument("root", type=Path, metavar="ROOT", help="the folder with mimic-cxr-2.0.0-split.csv.gz and files/")
    mimic.add_argument("--reports", type=Path, metavar="ZIP|DIR", help="mimic-cxr-reports.zip, or its folder (default: in ROOT)")
    for made in (openi, mimic):
        made.add_argument("--out", type=Path, required=True, metavar="TABLE", help="the studies table to write, .csv or .parquet")
        _add_json(made)
