"""Rows of one table measured alone, and one of them less each other on the same films; knows no model."""

from __future__ import annotations

from collections.abc import Mapping

from cyclicxr.metrics.interval import Measure, Statistic, measure, paired

Table = dict[str, dict[str, Measure]]
Numbers = dict[str, dict[str, dict[str, float | int | None]]]


def compared(rows: Mapping[str, Statistic], ours: str, n: int, seed: int) -> tuple[Table, Table]:
    """Each row by itself, and `ours` less each other; intervals over n films."""
    alone = {name: measure(row, n, seed) for name, row in rows.items()}
    return alone, {name: paired(rows[ours], row, n, seed) for name, row in rows.items() if name != ours}


def joined(*tables: Mapping[str, Mapping[str, Measure]]) -> Numbers:
    """Tables of the same rows side by side, as JSON."""
    return {name: {key: number.to_json() for table in tables for key, number in table.get(name, {}).items()} for name in tables[0]}
