"""`cyclicxr evaluate`, `score` and `paper`: a model's tables, other systems' tables, and one table or figure of the paper."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cyclicxr
from cyclicxr.cli.console import STUDIES, Arguments, add_command, add_json, add_model, add_out, counter, folder, say
from cyclicxr.types import InputError

TASKS = ("report", "draw", "retrieval", "cycle", "grounding")
ITEMS = ("table1", "table2", "table3", "table4", "table5", "table6", "figure5", "figure6", "figure7", "figure8")


def add_evaluate(commands: Any) -> None:
    """`evaluate`, `score` and `paper`."""
    evaluate = add_command(
        commands, "evaluate", _evaluate, "the paper's tables with their baselines, as metrics.json, Markdown, HTML and LaTeX",
        "cyclicxr evaluate studies.csv --split test --out evaluation --tasks report,draw,retrieval,cycle,grounding",
        "cyclicxr evaluate studies.csv --out evaluation --system R2Gen=r2gen.csv --compare fixed=runs/fixed/model",
    )  # fmt: skip
    _add_what(evaluate, "evaluation")
    evaluate.add_argument("--tasks", type=_tasks, default=TASKS, help=f"of {','.join(TASKS)} (default: all)")
    _add_beside(evaluate)
    add_model(evaluate)
    score = add_command(
        commands, "score", _score, "other systems' reports or films by the same tables and baselines; no model is run",
        "cyclicxr score studies.csv --system R2Gen=r2gen.csv --system GPT-4V=gpt4v.csv --out scores",
    )  # fmt: skip
    _add_what(score, "scores")
    _add_systems(score, required=True)
    _add_metrics(score)
    score.add_argument("--model", metavar="DIR|NAME", help="whose film classifier measures drawn films (default: the package's)")
    paper = add_command(
        commands, "paper", _paper, "one table or figure of the paper, with the paper's own rows beside ours",
        "cyclicxr paper table4 studies.csv --out paper", "cyclicxr paper table5 studies.csv --compare fixed=runs/fixed/model --out paper",
    )  # fmt: skip
    paper.add_argument("item", choices=ITEMS, metavar="ITEM", help=f"one of {', '.join(ITEMS)}")
    _add_what(paper, "paper")
    _add_beside(paper)
    add_model(paper)


def _evaluate(arguments: Arguments) -> int:
    from cyclicxr.evaluate import evaluate

    model = cyclicxr.load(arguments.model)
    with counter() as progress:
        evaluate(model, arguments.studies, tasks=arguments.tasks, **_asked(arguments), **_beside(arguments), progress=progress)
    say(arguments, {"metrics": str(arguments.out / "metrics.json")}, str(arguments.out / "metrics.md"))
    return 0


def _score(arguments: Arguments) -> int:
    from cyclicxr.evaluate import score

    with counter() as progress:
        score(arguments.studies, **_asked(arguments), **_given(arguments), progress=progress)
    say(arguments, {"metrics": str(arguments.out / "metrics.json")}, str(arguments.out / "metrics.md"))
    return 0


def _paper(arguments: Arguments) -> int:
    from cyclicxr.evaluate import reproduce

    model = cyclicxr.load(arguments.model)
    with counter() as progress:
        written = reproduce(arguments.item, model, arguments.studies, **_asked(arguments), **_beside(arguments), progress=progress)
    say(arguments, {"item": arguments.item, "files": ", ".join(map(str, written))}, "\n".join(map(str, written)))
    return 0


def _asked(arguments: Arguments) -> dict[str, Any]:
    """What all three are asked for."""
    from cyclicxr.cycle import find_model

    return {
        "out": folder(arguments.out),
        "split": arguments.split,
        "seed": arguments.seed,
        "cases": arguments.cases,
        "files": find_model(arguments.model),
        "command": shlex.join(["cyclicxr", *arguments.words]),
    }


def _given(arguments: Arguments) -> dict[str, Any]:
    """Other systems, and metrics that need something of the user's."""
    from cyclicxr.evaluate import Extras

    return {
        "systems": _paths(arguments.system, "--system"),
        "extras": Extras(arguments.chexbert, arguments.radgraph, _once(arguments.metric, "--metric")),
        "backbones": _paths(arguments.backbone, "--backbone"),
    }


def _beside(arguments: Arguments) -> dict[str, Any]:
    """What stands beside the model."""
    compare = {name: cyclicxr.load(path).matcher for name, path in _once(arguments.compare, "--compare").items()}
    return {"compare": compare, "boxes": arguments.boxes, **_given(arguments)}


def _paths(pairs: list[tuple[str, str]], option: str) -> dict[str, Path]:
    return {name: Path(path) for name, path in _once(pairs, option).items()}


def _once(pairs: list[tuple[str, str]], option: str) -> dict[str, str]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{option} {twice[0]}=...: given twice; give each a name of its own")
    return dict(pairs)


def _named(example: str) -> Callable[[str], tuple[str, str]]:
    def parsed(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"'{text}' is not {example}")
        return name, value

    return parsed


def _tasks(text: str) -> tuple[str, ...]:
    tasks = tuple(task.strip() for task in text.split(","))
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise argparse.ArgumentTypeError(f"task '{unknown[0]}' is unknown; there are {', '.join(TASKS)}")
    return tasks


def _add_what(command: argparse.ArgumentParser, out: str) -> None:
    command.add_argument("studies", type=Path, metavar="STUDIES", help=STUDIES)
    command.add_argument("--split", default="test", help="which studies are scored (default: test)")
    command.add_argument("--cases", type=int, metavar="N", help="a sample of N of them, by the seed (default: all)")
    add_out(command, out)
    command.add_argument("--seed", type=int, default=0, help="of drawing, baselines, samples and intervals (default: 0)")
    add_json(command)


def _add_beside(command: argparse.ArgumentParser) -> None:
    _add_pairs(command, "--compare", "NAME=MODEL", "fixed=runs/fixed/model", "another model's matcher, in its own retrieval table")
    command.add_argument("--boxes", type=Path, metavar="TABLE", help="boxes in MS-CXR's form to ground on (default: drawn phantoms)")
    _add_systems(command, required=False)
    _add_metrics(command)


def _add_systems(command: argparse.ArgumentParser, *, required: bool) -> None:
    what = "another system's outputs: a table with the columns id and report, or id and image (paths relative to it)"
    _add_pairs(command, "--system", "NAME=TABLE", "R2Gen=r2gen.csv", what, required=required)


def _add_metrics(command: argparse.ArgumentParser) -> None:
    what = "a command that scores pairs of reports (docs/evaluation.md says how)"
    _add_pairs(command, "--metric", "NAME=COMMAND", "GREEN='green/bin/python score.py'", what)
    command.add_argument("--chexbert", type=Path, metavar="DIR", help="CheXbert's weights, for its F1")
    command.add_argument("--radgraph", type=Path, metavar="FILE", help="RadGraph's annotations of all texts, for its F1")
    _add_pairs(command, "--backbone", "NAME=PATH", "Inception=inception.safetensors", "local weights of another network for FID")


def _add_pairs(command: argparse.ArgumentParser, option: str, form: str, example: str, what: str, *, required: bool = False) -> None:
    """An option that may be given several times, a name and a value each time."""
    command.add_argument(
        option, type=_named(f"{form}, such as {example}"), action="append", default=[], required=required, metavar=form, help=what
    )
