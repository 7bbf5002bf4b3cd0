"""Outputs of a system that is not ours, from its table of `id, report` or `id, image`, put in the order of a split; knows no metric."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from cyclicxr.checkpoint import sha256_of
from cyclicxr.data.images import network_pixels, read_film
from cyclicxr.data.tables import Row, read_table
from cyclicxr.types import InputError, Progress

_NAMED = 3  # ids that a message names


@dataclass(frozen=True)
class External:
    """What one system wrote or drew for n films; at least one of the two.

    Args:
        name: as the tables call it.
        reports: one a film, "" where the system wrote nothing; None where it writes none.
        films: uint8 (n, size, size), bone bright; None where it draws none.
        sha256: of its table, followed by that of its films' pixels where it draws.
    """

    name: str
    reports: list[str] | None
    films: UInt8[Tensor, "n s s"] | None
    sha256: str


def read_external(
    name: str,
    table: Path,
    asked: Sequence[str],
    split: Collection[str],
    size: int,
    fit: str = "squash",
    progress: Progress = lambda what, done, total: None,
) -> External:
    """Read a system's outputs.

    Args:
        name: how the tables will call it.
        table: CSV, Parquet or JSON lines with the columns `id` and `report`, or `id` and `image` (relative to the table), or all.
        asked: ids of the n films that are evaluated, in order.
        split: ids of the whole split; rows for the others of it are allowed, since a sample of it may be evaluated.
        size: side that drawn films are brought to, pixels.
        fit: how, one of `types.FITS`.
        progress: told how many films are read.

    Raises:
        InputError: a column or an id is missing, an id is there twice or not of the split, or a film cannot be read.
    """
    columns, numbered = read_table(table)
    if "id" not in columns or not {"report", "image"} & set(columns):
        raise InputError(f"{table}: the outputs of '{name}' need the columns id and report, or id and image; it has {', '.join(columns)}")
    rows = _by_id(table, numbered, split)
    missing = [study for study in asked if study not in rows]
    if missing:
        raise InputError(f"{table}: no row for id {_some(missing)}; give a row for every film (an empty report counts as empty)")
    reports = [rows[study][1]["report"] for study in asked] if "report" in columns else None
    films = _films(table, [(study, *rows[study]) for study in asked], size, fit, progress) if "image" in columns else None
    digest = hashlib.sha256(films.numpy().tobytes()).hexdigest() if films is not None else ""
    return External(name, reports, films, sha256_of(table) + digest)


def _by_id(table: Path, numbered: Iterator[tuple[int, Row]], split: Collection[str]) -> dict[str, tuple[int, Row]]:
    rows: dict[str, tuple[int, Row]] = {}
    known = frozenset(split)
    extra = []
    for number, row in numbered:
        study = row["id"]
        if study in rows:
            raise InputError(f"{table}, row {number}: id '{study}' is in row {rows[study][0]} already; keep one")
        rows[study] = (number, row)
        if study not in known:
            extra.append(study)
    if extra:
        number = rows[extra[0]][0]
        raise InputError(f"{table}, row {number}: id {_some(extra)} not of the evaluated split; choose it with --split, or leave it out")
    return rows


def _some(ids: Sequence[str]) -> str:
    rest = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(f"'{study}'" for study in ids[:_NAMED]) + rest


def _films(table: Path, rows: Sequence[tuple[str, int, Row]], size: int, fit: str, progress: Progress) -> UInt8[Tensor, "n s s"]:
    films = torch.empty(len(rows), size, size, dtype=torch.uint8)
    for place, (study, number, row) in enumerate(rows):
        where = f"{table}, row {number}: id '{study}'"
        if not row["image"]:
            raise InputError(f"{where} has no image; give the film that was drawn for it")
        try:
            film = read_film(table.parent / row["image"], fit)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        films[place] = torch.from_numpy(network_pixels(film, size))
        progress("reading drawn films", place + 1, len(rows))
    return films


def unique_names(systems: Mapping[str, object], taken: Collection[str]) -> None:
    """Refuse a system that is called as one of ours is.

    Raises:
        InputError: a name is taken.
    """
    for name in systems:
        if name in taken:
            raise InputError(f"--system {name}=...: the tables have a row of that name already; choose another")
