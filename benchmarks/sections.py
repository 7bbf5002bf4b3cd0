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


def short(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def met(holds: bool) -> str:
    return "yes" if holds else "**no**"
