"""What the sections of BENCHMARKS.md are made of; knows no result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def load(name: str, results: Path) -> dict[str, Any] | None:
    path = results / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def section(title: str, name: str, command: str) -> Callable[[Callable[[dict[str, Any]], Iterator[str]]], Callable[[Path], Iterator[str]]]:
    """A section of what stands in results/NAME.json; where nothing does, it says which command measures it."""

    def of(write: Callable[[dict[str, Any]], Iterator[str]]) -> Callable[[Path], Iterator[str]]:
        def written(results: Path) -> Iterator[str]:
            yield f"## {title}\n"
            found = load(name, results)
            yield from [f"Not measured yet: {command}\n"] if found is None else write(found)

        return written

    return of


def made_by(result: dict[str, Any]) -> str:
    machine = result["machine"]
    where = f"{machine['threads']} threads, {machine['system']} {machine['processor']}, torch {machine['torch']}"
    return f"`{result['command']}` ({where})\n"


def plain_table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def compared_table(first: str, rows: dict[str, Any], ours: str, less: dict[str, Any]) -> str:
    """Rows by themselves, and behind them `ours` less each other; the first column is named `first`."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    labelled = rows | {f"{ours} less {name}": row for name, row in less.items()}
    return plain_table([first, *names], [[label, *(_number(row.get(name)) for name in names)] for label, row in labelled.items()])


def _number(of: dict[str, Any] | None) -> str:
    """With its interval and p, where it has them; empty for none."""
    if of is None:
        return ""
    interval = "" if of["low"] is None else f" ({of['low']:.3f} to {of['high']:.3f})"
    return f"{of['value']:.3f}{interval}" + (f", p {of['p']:.3f}" if "p" in of else "")


def short(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def met(holds: bool) -> str:
    return "yes" if holds else "**no**"
