"""Numbers -> grids of cells, and grids -> Markdown and HTML; knows nothing of how a number came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

Numbers = Mapping[str, Mapping[str, Mapping[str, Any]]]  # row -> metric -> {"value", "low", "high", "n"}

_COUNTS = ("pool", "empty outputs", "median rank")
_NOTHING = "–"


class Cell(NamedTuple):
    """A number as it is shown, and its interval ("" where there is none)."""

    value: str
    interval: str = ""


@dataclass(frozen=True)
class Line:
    """One row of a grid; `printed` where it is copied from a paper, and nothing here can vouch for it."""

    label: str
    cells: tuple[Cell, ...]
    printed: bool = False


@dataclass(frozen=True)
class Grid:
    """A table ready to be written in any form: a title, columns, rows of as many cells, and what is said below it."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def grid_of(title: str, rows: Numbers, notes: tuple[str, ...] = ()) -> Grid:
    """The numbers of one table, a row a system (or direction), a column a metric that some row has."""
    metrics = columns(rows)
    lines = tuple(Line(row, tuple(cell_of(found.get(metric), metric) for metric in metrics)) for row, found in rows.items())
    return Grid(title, tuple(metrics), lines, notes)


def cell_of(number: Mapping[str, Any] | None, metric: str, times: float = 1.0) -> Cell:
    """One number; of a difference with its p.

    Args:
        number: "value", "low", "high", "n" and perhaps "p"; None where there is none.
        metric: which says how many digits are shown.
        times: what it is multiplied by, 100 for per cent.
    """
    if number is None:
        return Cell(_NOTHING)
    value, low, high = (None if number[name] is None else _number(times * number[name], metric) for name in ("value", "low", "high"))
    p = "" if number.get("p") is None else f" p {_p(number['p'])}"
    return Cell(value or _NOTHING, "" if low is None else f"[{low}, {high}]{p}")


def markdown_table(rows: Numbers, corner: str = "") -> str:
    """One table as Markdown; `0.123 [0.101, 0.145]` is a value with its 95 % interval."""
    return markdown_grid(grid_of("", rows), corner)


def markdown_grid(grid: Grid, corner: str = "") -> str:
    """A grid's rows as Markdown, without its title and notes."""
    lines = [[corner, *grid.columns], ["---", *["---:"] * len(grid.columns)]]
    lines += [[line.label, *(" ".join(part for part in cell if part) for cell in line.cells)] for line in grid.lines]
    return "\n".join("| " + " | ".join(part.replace("|", "\\|") for part in line) + " |" for line in lines) + "\n"


def html_grid(grid: Grid) -> str:
    """A grid's rows as an HTML table; rows that are printed elsewhere have the class `printed`."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in ("", *grid.columns))
    lines = []
    for line in grid.lines:
        kind = ' class="printed"' if line.printed else ""
        lines.append(f'<tr{kind}><th scope="row">{escape(line.label)}</th>{"".join(map(_html_cell, line.cells))}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def markdown_page(metrics: Mapping[str, Any]) -> str:
    """The whole of `metrics.json` as Markdown; what the model cannot do stands at the top."""
    parts, said = [f"# {title(metrics)}\n"], metrics["about"].get("cannot")
    parts += ["## What it cannot do\n", *(f"- {line}" for line in said), "", "## How it was measured\n"] if said else []
    parts += [*(f"- {line}" for line in metrics["about"]["protocol"]), ""]
    for task, rows in tables(metrics):
        parts += [f"## {task}\n", markdown_table(rows)]
    return "\n".join(parts)


def tables(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Numbers]]:
    """The tables of `metrics.json` that hold numbers, in order."""
    for task, rows in metrics.items():
        if task != "about" and rows:
            yield task, rows


def title(metrics: Mapping[str, Any]) -> str:
    """What was evaluated on what."""
    about = metrics["about"]
    model = " ".join(str(part) for part in about["model"].values())
    return f"{model} on {about['n']} films of '{about['split']}'"


def columns(rows: Numbers) -> list[str]:
    """Every metric that some row has, in order of first occurrence."""
    return list(dict.fromkeys(metric for found in rows.values() for metric in found))


def _html_cell(cell: Cell) -> str:
    interval = f" <span>{escape(cell.interval)}</span>" if cell.interval else ""
    return f"<td>{escape(cell.value)}{interval}</td>"


def _number(value: float, metric: str) -> str:
    if metric in _COUNTS:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 or "/ chance" in metric else f"{value:.3f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
