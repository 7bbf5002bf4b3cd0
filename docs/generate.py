"""Write the documentation that follows from something else: docs/map.md, docs/cli.md, and the marked blocks of the README and of
docs/evaluation.md.

`python docs/generate.py` writes, `--check` only compares (and exits with 1 where a file is stale). A block of a Markdown file begins with
`<!-- generated: NAME -->` and ends with `<!-- /generated -->`; `BLOCKS` holds the function of each name.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "cyclicxr"
_BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def layers() -> list[list[str]]:
    """The layers of the import contract, highest first, siblings together."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]
    return [[name.strip(" ()") for name in layer.split("|")] for layer in contract["layers"]]


def first_sentence(path: Path) -> str:
    """First sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph)[0] if paragraph else ""


def modules_of(part: str) -> list[Path]:
    """Files of one part of the package, the part's own first."""
    if (PACKAGE / f"{part}.py").exists():
        return [PACKAGE / f"{part}.py"]
    return sorted((PACKAGE / part).rglob("*.py"), key=lambda path: (path.name != "__init__.py", path.as_posix()))


def map_page() -> str:
    """docs/map.md: one line a module, in the order in which they may import one another."""
    lines = [
        "# Map",
        "",
        "One line a module, from its docstring. A part imports only from parts below it; parts of one heading do not import one another.",
        "Written by `make docs`.",
    ]
    for siblings in layers():
        present = [part for part in siblings if modules_of(part)]
        if not present:
            continue
        lines += ["", "## " + ", ".join(present), ""]
        for part in present:
            lines += [f"- `{path.relative_to(PACKAGE)}`: {first_sentence(path)}" for path in modules_of(part)]
    return "\n".join([*lines, "", "## Decisions", "", *decisions(), ""])


def decisions() -> list[str]:
    """One line a decision record."""
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    return [f"- [{page.stem[:4]}](decisions/{page.name}) {_title(page)}" for page in pages]


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ").split(". ", 1)[-1]


def cli_page() -> str:
    """docs/cli.md: what `--help` says of each command."""
    parts = ["# Commands", "", "What `--help` says. Written by `make docs`."]
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        command = waiting.pop(0)
        text = help_of(*command)
        parts += ["", "## " + " ".join(["cyclicxr", *command]), "", "```text", text, "```"]
        waiting[:0] = [(*command, name) for name in commands_of(text)]
    return "\n".join([*parts, ""])


def commands_of(text: str) -> list[str]:
    """Names of the commands below, from the usage line of a help: `{report,draw} ...`."""
    usage = " ".join(text.split("\n\n")[0].split())
    found = re.search(r"\{([\w,-]+)\} \.\.\.", usage)
    return found[1].split(",") if found else []


def help_of(*command: str) -> str:
    """Help of a command, 100 columns wide, without colour."""
    plain = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHON_COLORS": "0"}
    program = "import sys; sys.argv[0] = 'cyclicxr'; from cyclicxr.cli import main; sys.exit(main())"
    found = subprocess.run(
        [sys.executable, "-c", program, *command, "--help"], env={**os.environ, **plain}, capture_output=True, text=True, check=True
    )
    return "\n".join(line.rstrip() for line in found.stdout.strip().splitlines())


def training_block() -> str:
    """What training took, and what each stage learned: from the record of the run that made the shipped model."""
    found = _result("training")
    if not found:
        return "Not measured yet: `python benchmarks/training_record.py RUN`\n"
    lines = ["| stage | trained on | minutes | on the validation split |", "|---|---|---:|---|"]
    seconds = {stage: numbers.get("seconds", found["seconds"].get(stage, 0)) for stage, numbers in found["stages"].items()}
    for stage, wanted in _LEARNED.items():
        numbers = found["stages"].get(stage, {})
        shown = ", ".join(f"{name} {_short(numbers[name])}" for name in wanted if name in numbers)
        minutes = f"{seconds[stage] / 60:.0f}" if seconds.get(stage) else "–"
        lines.append(f"| {stage} | {found['devices'].get(stage, '–')} | {minutes} | {shown} |")
    return "\n".join([*lines, ""])


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


_LEARNED = {
    "classifier": ("AUC mean", "AUC normal", "AUC cardiomegaly", "AUC effusion", "AUC opacity"),
    "match": ("i2t R@10", "i2t chance@10", "t2i R@10", "t2i chance@10"),
    "vqgan": ("L1", "PSNR", "SSIM", "usage", "perplexity"),
    "codebooks": ("keyword_auc / cardiomegaly", "keyword_auc / pleural effusion", "hint_precision", "hint_precision_chance", "keypatches"),
    "llm": (
        "report loss",
        "report loss without keywords",
        "drawing loss",
        "drawing loss without report",
        "BLEU-4",
        "right finding named on abnormal",
        "distinct outputs",
    ),
}


def results_block() -> str:
    """The headline numbers of the test split, each with its baselines."""
    found = _result("evaluate")
    if not found:
        return "Not measured yet: `python benchmarks/evaluate_openi.py STUDIES`\n"
    metrics = dict(found["metrics"])
    joined = metrics.get("retrieval, with the global alignment", {})
    metrics["retrieval"] = joined | {f"{way}, MaxSim alone": numbers for way, numbers in metrics.get("retrieval", {}).items()}
    parts = [_table(metrics[task], wanted) for task, wanted in _HEADLINES.items() if metrics.get(task)]
    return "\n".join(parts)


_HEADLINES = {
    "report": ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L", "right finding named on abnormal", "distinct outputs"),
    "retrieval": ("R@1", "R@5", "R@10", "chance@10", "pool"),
    "draw": ("FID", "finding AUC", "n"),
}


def _table(rows: dict[str, Any], wanted: tuple[str, ...]) -> str:
    shown = [metric for metric in wanted if any(metric in found for found in rows.values())]
    lines = ["| " + " | ".join(["", *shown]) + " |", "|---|" + "---:|" * len(shown)]
    for row, found in rows.items():
        cells = [f"{found[metric]['value']:.3g}" if metric in found else "–" for metric in shown]
        lines.append("| " + " | ".join([row, *cells]) + " |")
    return "\n".join([*lines, ""])


def _result(name: str) -> dict[str, Any]:
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def cannot_block() -> str:
    """What the shipped model cannot do, in sentences that follow from its numbers."""
    said = _result("evaluate").get("metrics", {}).get("about", {}).get("cannot")
    return "".join(f"- {line}\n" for line in said) if said else "Not measured yet: `python benchmarks/evaluate_openi.py STUDIES`\n"


BLOCKS: dict[str, Callable[[], str]] = {"training": training_block, "results": results_block, "cannot": cannot_block}


def filled(text: str) -> str:
    """A Markdown text with its generated blocks written anew."""
    return _BLOCK.sub(lambda found: found[1] + BLOCKS[found["name"]]() + found[3], text)


def pages() -> dict[Path, str]:
    """Every generated file and what it ought to hold."""
    readme = ROOT / "README.md"
    written = [readme, ROOT / "docs" / "evaluation.md"]
    found = {ROOT / "docs" / "map.md": map_page()} | {page: filled(page.read_text(encoding="utf-8")) for page in written}
    if (PACKAGE / "cli").exists():
        found[ROOT / "docs" / "cli.md"] = cli_page()
    return found


def stale() -> list[Path]:
    """Generated files that do not hold what they ought to."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is stale")
    if parser.parse_args().check:
        found = stale()
        for path in found:
            print(f"{path.relative_to(ROOT)} is stale: run `make docs`")
        return 1 if found else 0
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
