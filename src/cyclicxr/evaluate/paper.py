"""The rows that the paper prints in its Tables 1 to 6: to be seen beside ours, never to be compared with them; knows no model.

Source: `paper.json`, copied from the paper's tables; other data, other tokenizers and other pools than ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import read_json
from cyclicxr.evaluate.tables import Cell, Line

PRINTED = "as printed, other protocol"
TABLE_OF = {"report": "table1", "draw": "table3"}  # tables of an evaluation whose columns are the paper's
_NOTHING = Cell("–")


@cache
def printed() -> dict[str, Any]:
    """Everything that is copied: item -> caption, groups of columns, metrics of each, rows of as many numbers."""
    return dict(read_json(Path(__file__).with_name("paper.json")))


def caption(item: str) -> str:
    """The paper's caption of a table or figure."""
    found = printed()
    return str(found["figures"][item] if item in found["figures"] else found["tables"][item]["caption"])


def printed_lines(item: str, columns: Sequence[str]) -> tuple[Line, ...]:
    """A table's rows, one for each of its groups of columns (data sets), in the columns that are asked for."""
    return tuple(_by_group(item, list(columns)))


def printed_across(item: str) -> tuple[tuple[str, ...], tuple[Line, ...]]:
    """A table's columns, "group metric", and its rows as they stand."""
    table = printed()["tables"][item]
    columns = tuple(f"{group} {metric}" for group in table["groups"] for metric in table["metrics"])
    lines = tuple(Line(f"{name}, {PRINTED}", tuple(Cell(value) for value in values), True) for name, values in table["rows"].items())
    return columns, lines


def _by_group(item: str, columns: list[str]) -> Iterator[Line]:
    table = printed()["tables"][item]
    width = len(table["metrics"])
    for place, group in enumerate(table["groups"]):
        for name, values in table["rows"].items():
            found = dict(zip(table["metrics"], values[place * width : (place + 1) * width], strict=True))
            yield Line(f"{name}, {group}, {PRINTED}", tuple(Cell(found[c]) if c in found else _NOTHING for c in columns), True)
