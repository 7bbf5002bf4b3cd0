"""The command line: what each command is asked with, and the call it makes; knows no method. Heavy imports wait until a command runs.

Exit codes: 0 done, 1 our own error, 2 the caller's mistake (bad arguments, bad input), 130 interrupted,
141 nobody reads our output, 143 told to end (SIGTERM).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cyclicxr
from cyclicxr.cli.console import (
    STUDIES,
    Arguments,
    add_command,
    add_force,
    add_json,
    add_model,
    add_out,
    add_seed,
    complain,
    folder,
    say,
    text_of,
)
from cyclicxr.cli.data import add_data
from cyclicxr.cli.evaluate import add_evaluate
from cyclicxr.cli.films import add_cycle, add_report
from cyclicxr.config import PRESETS, override, preset
from cyclicxr.types import NOTICE, InputError

STAGES = ("classifier", "match", "vqgan", "codebooks", "llm")
# Drawn, so it is no patient's, with seed 0: "The lungs are hyperexpanded consistent with emphysema. Heart size normal. Degenerative
# changes of the spine."
SAMPLE = Path(cyclicxr.__file__).parent / "assets" / "sample.png"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes the process's.

    Returns:
        The exit code.
    """
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        arguments = _parser().parse_args(words, argparse.Namespace(words=words))
        logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING, format="cyclicxr: %(levelname)s: %(message)s")
        with _ending_well():
            code: int = arguments.run(arguments)
            sys.stdout.flush()
    except InputError as error:
        complain(str(error))
        return 2
    except FloatingPointError as error:  # training that came to no number
        complain(str(error))
        return 1
    except KeyboardInterrupt as stop:
        print("cyclicxr: interrupted; where a command has --resume, it goes on from here", file=sys.stderr)
        return stop.code if isinstance(stop, _Ended) else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush into a closed pipe
        return 141
    return code


class _Ended(KeyboardInterrupt):
    """A signal that ends processes, taken as Ctrl-C is: what is half written is removed on the way out."""

    def __init__(self, number: int) -> None:
        self.code = 128 + number


@contextmanager
def _ending_well() -> Iterator[None]:
    """SIGTERM (of `kill`, systemd, Slurm) and SIGHUP (a terminal that closes) as `_Ended`, unless somebody has taken them already."""

    def end(number: int, frame: object) -> None:
        raise _Ended(number)

    taken = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        taken = []
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


# ---- commands


def _demo(arguments: Arguments) -> int:
    from cyclicxr.explain import write_result

    image = arguments.image or SAMPLE
    outcome = cyclicxr.load(arguments.model).outcome_cycle(image, seed=arguments.seed, force=arguments.force)
    paths = write_result(folder(arguments.out), Path(image).stem, outcome.result, outcome.film, outcome.drawn)
    print(f"{outcome.result.report}\n\nThe page: {paths.page.resolve()}\n{NOTICE}")
    return 0


def _draw(arguments: Arguments) -> int:
    from cyclicxr.explain import write_result

    if arguments.out.suffix.lower() != ".png":
        raise InputError(f"--out {arguments.out}: a drawn film is a PNG; give a name that ends in .png")
    outcome = cyclicxr.load(arguments.model).outcome_draw(text_of(arguments.text), seed=arguments.seed)
    paths = write_result(folder(arguments.out.parent), arguments.out.stem, outcome.result, None, outcome.drawn)
    say(arguments, {"drawn": str(paths.drawn), "result": str(paths.json), "page": str(paths.page)}, f"{paths.drawn}\n{paths.page}")
    return 0


def _explain(arguments: Arguments) -> int:
    from cyclicxr.explain import write_result

    outcome = cyclicxr.load(arguments.model).outcome_explain(arguments.image, text_of(arguments.text), force=arguments.force)
    paths = write_result(folder(arguments.out), arguments.image.stem, outcome.result, outcome.film, outcome.drawn)
    say(arguments, {"image": str(arguments.image), "result": str(paths.json), "page": str(paths.page)}, str(paths.page))
    return 0


def _train(arguments: Arguments) -> int:
    from cyclicxr.training.pipeline import train

    logging.getLogger("cyclicxr").setLevel(logging.DEBUG if arguments.verbose else logging.INFO)
    chosen = override(preset(arguments.preset), dict(arguments.set))
    train(arguments.studies, chosen, folder(arguments.out), arguments.stage, arguments.resume)
    return 0


# ---- arguments


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE, such as match.epochs=2")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cyclicxr", description="Chest X-ray to report and back, with the evidence shown.", epilog=NOTICE, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"cyclicxr {cyclicxr.__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    _add_demo(commands)
    add_report(commands)
    _add_draw(commands)
    add_cycle(commands)
    _add_explain(commands)
    _add_train(commands)
    add_evaluate(commands)
    add_data(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = add_command(
        commands, "demo", _demo, "the whole cycle on a film in the package, or on yours; prints where the page is",
        "cyclicxr demo", "cyclicxr demo my_film.png --out out/mine",
    )  # fmt: skip
    demo.add_argument("image", nargs="?", type=Path, metavar="IMAGE", help="your own film (default: one that the model drew)")
    add_out(demo, "out/demo")
    add_force(demo)
    add_seed(demo)
    add_model(demo)


def _add_draw(commands: Any) -> None:
    draw = add_command(
        commands, "draw", _draw, "report -> drawn film, with its page beside it",
        'cyclicxr draw "Small left pleural effusion." --out drawn.png',
    )  # fmt: skip
    draw.add_argument("text", metavar="TEXT", help="what the film shows; - reads it from standard input")
    draw.add_argument("--out", type=Path, default=Path("drawn.png"), metavar="PNG", help="the drawn film (default: drawn.png)")
    add_seed(draw)
    add_json(draw)
    add_model(draw)


def _add_explain(commands: Any) -> None:
    explain = add_command(
        commands, "explain", _explain, "any text on a film: its words and their adaptive patches (Fig. 8)",
        'cyclicxr explain film.png --text "The heart is enlarged." --out why',
    )  # fmt: skip
    explain.add_argument("image", type=Path, metavar="IMAGE", help="PNG, JPEG, TIFF or DICOM file")
    explain.add_argument("--text", required=True, help="the text to explain; - reads it from standard input")
    add_out(explain, "out")
    add_force(explain)
    add_json(explain)
    add_model(explain)


def _add_train(commands: Any) -> None:
    train = add_command(
        commands, "train", _train, "studies table -> model: all stages in order, or one",
        "cyclicxr train studies.csv --preset openi-small --out runs/small --resume",
        "cyclicxr train studies.csv --out runs/try --stage match --set match.epochs=2 --set seed=1",
    )  # fmt: skip
    train.add_argument("studies", type=Path, metavar="STUDIES", help=f"{STUDIES}; `cyclicxr data check` looks it over")
    train.add_argument("--preset", choices=sorted(PRESETS), default="openi-small", help="sizes and schedules (default: openi-small)")
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder; the model grows in RUN/model")
    train.add_argument("--stage", choices=STAGES, help="this stage alone (default: all, in this order)")
    train.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    train.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="change one number of the preset")
