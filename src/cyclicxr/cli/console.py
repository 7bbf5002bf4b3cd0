"""What all commands share: their arguments' look, and how they speak to a person and to a machine; knows no command."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclicxr.types import NOTICE, InputError

Arguments = argparse.Namespace
STUDIES = "studies table: CSV, Parquet, JSON lines, or a folder of films with texts of the same names"
LOG_EVERY = 60.0  # seconds between two lines of progress


@contextmanager
def counter() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error: what, how many, of how many. Where that is no terminal, a line each minute."""
    if not sys.stderr.isatty():
        yield _Minutes()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=None, rate="")
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total, rate=f"{done / max(time.monotonic() - started, 1e-9):.2g}/s"
        )


class _Minutes:
    """Progress for a log: how many, how fast in the last minute, and how long it takes at that rate."""

    def __init__(self) -> None:
        self.then, self.before = time.monotonic(), 0

    def __call__(self, what: str, done: int, total: int) -> None:
        seconds = time.monotonic() - self.then
        if seconds < LOG_EVERY:
            return
        rate = (done - self.before) / seconds
        left = f"about {duration((total - done) / rate)} left" if rate > 0 else "waiting"
        print(f"cyclicxr: {what}: {done} of {total}, {rate:.2g}/s, {left}", file=sys.stderr, flush=True)
        self.then, self.before = time.monotonic(), done


def duration(seconds: float) -> str:
    """Seconds as people say them: "7 s", "3 min 20 s", "5 h 12 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def text_of(argument: str) -> str:
    """The text of an argument; `-` is standard input.

    Raises:
        InputError: it has no words, or is not UTF-8.
    """
    try:
        text = sys.stdin.read() if argument == "-" else argument
        text.encode()  # an argument's bytes that are no UTF-8 are halves of characters by now
    except UnicodeError:
        raise InputError("the text is not in UTF-8; save it as UTF-8") from None
    if not any(character.isalpha() for character in text):
        raise InputError("the text has no words; write what the film shows, such as 'Small left pleural effusion.'")
    return text


def folder(path: Path) -> Path:
    """Make the folder of `--out`.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {path}: cannot be made a folder ({error.strerror}); choose another") from None
    return path


def say(arguments: Arguments, facts: dict[str, str], text: str, results: Any = None) -> None:
    """A result on standard output, or where else results go: facts with --json, else text."""
    print(json.dumps(facts, ensure_ascii=False) if arguments.json else text, file=results, flush=True)


def complain(message: str) -> None:
    """What is wrong, on standard error."""
    print(f"cyclicxr: error: {message}", file=sys.stderr, flush=True)


def add_command(commands: Any, name: str, run: Callable[[Arguments], int], summary: str, *examples: str) -> argparse.ArgumentParser:
    """A command with its summary, examples and the notice, which calls `run`."""
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


def add_json(command: argparse.ArgumentParser) -> None:
    """One JSON object a line, for machines."""
    command.add_argument("--json", action="store_true", help="one JSON object a line on standard output, for machines")


def add_model(command: argparse.ArgumentParser) -> None:
    """Which model."""
    command.add_argument("--model", metavar="DIR|NAME", help="a model directory or a model's name (default: the model in the package)")


def add_out(command: argparse.ArgumentParser, default: str, what: str = "folder for the results") -> None:
    """Where to write."""
    command.add_argument("--out", type=Path, default=Path(default), metavar="DIR", help=f"{what} (default: {default})")


def add_seed(command: argparse.ArgumentParser) -> None:
    """The seed of drawing."""
    command.add_argument("--seed", type=int, default=0, help="of drawing: the same seed draws the same film (default: 0)")


def add_force(command: argparse.ArgumentParser) -> None:
    """Past the gate."""
    command.add_argument("--force", action="store_true", help="go on with what does not look like an upright frontal chest film")
