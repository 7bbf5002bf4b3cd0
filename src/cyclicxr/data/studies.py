"""The studies table (CSV, Parquet, JSON lines or a folder, one row a film): read, held to its rules, and split by patient; knows no pixel.

Columns: `id`, `patient`, `image` (path relative to the table) and `report`, or `findings` and `impression`, are required; `split`, `view`
and `mesh` are read where they are; others pass by. A table that has a `report` alone may hold whole reports in it, headings and all.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cyclicxr.data.reports import MIN_TOKENS, count_tokens, normalise, report_text, without_marks
from cyclicxr.data.sections import split_report
from cyclicxr.data.tables import Row, read_table
from cyclicxr.types import InputError, Study

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SHARES: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}  # [ours] where a table has no split
RULES = {  # kind of problem -> what to do about it; a table that breaks one is refused
    "empty cell": "fill it in or take the row out",
    "repeated id": "give each film its own",
    "patient in two splits": "keep a patient in one",
}
_REQUIRED = ("id", "patient", "image")
_REPORT = "`report`, or `findings` and `impression`"


class Rules:
    """What must hold across the rows of a table; they are shown one after another."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._splits: dict[str, tuple[str, int]] = {}

    def broken(self, number: int, row: Row) -> Iterator[tuple[str, str]]:
        """The rules that this row breaks, given those before it: kind (a key of `RULES`) and what is wrong."""
        empty = [name for name in _REQUIRED if not row.get(name)]
        if empty:
            yield "empty cell", f"`{empty[0]}` is empty"
        name, patient, split = row.get("id", ""), row.get("patient", ""), row.get("split", "")
        first = self._ids.setdefault(name, number)
        if name and first != number:
            yield "repeated id", f"id '{name}' is that of row {first} too"
        known, there = self._splits.setdefault(patient, (split, number))
        if patient and split != known:
            yield "patient in two splits", f"patient '{patient}' is in '{split}', in row {there} in '{known}'"


def read_studies(table: str | Path) -> list[Study]:
    """Read a studies table.

    The report is findings and impression (or `report`), normalised and without marks of de-identification. Reports with fewer than
    3 tokens are left out and their number is logged (4.1: "remove the reports with less than 3 tokens"). Whether a film can be read shows
    when it is read; `check_studies` looks at each.

    Args:
        table: CSV (UTF-8), Parquet, JSON lines, or a folder of films with texts of the same names.

    Returns:
        Studies in the table's order, `image` absolute, `split` "" where there is none.

    Raises:
        InputError: the table cannot be read, lacks a column, has an empty or repeated id, an empty patient or image, a patient in two
            splits, or no report long enough.
    """
    path = Path(table)
    rules, kept, count = Rules(), [], 0
    for number, row in studies_rows(path):
        for kind, wrong in rules.broken(number, row):
            raise InputError(f"{path}, row {number}: {wrong}; {RULES[kind]}")
        study = _study(path, row)
        count += 1
        if count_tokens(study.report) >= MIN_TOKENS:
            kept.append(study)
    if not kept:
        raise InputError(f"{path}: none of its {count} reports has {MIN_TOKENS} words or more; fill in {_REPORT}")
    if len(kept) < count:
        log.warning("%s: %d of %d reports have fewer than %d tokens and are left out", path, count - len(kept), count, MIN_TOKENS)
    return kept


def studies_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a studies table, as they are asked for.

    Raises:
        InputError: the table cannot be read, lacks a column, or has no row.
    """
    columns, rows = read_table(path)
    missing = _missing_columns(columns)
    if missing:
        have = ", ".join(name for name in columns if name)[:200] or "none"
        raise InputError(f"{path}: no column {', '.join(missing)} (there are: {have}); add it to the header")
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path}: has no row; give a line a film")
    yield first
    yield from rows


def film_of(path: Path, row: Row) -> Path:
    """Where the film of a row is: its `image`, relative to the table (or within the folder)."""
    return ((path if path.is_dir() else path.parent) / row["image"]).absolute()


def report_of(row: Row) -> str:
    """The report of a row as the models read it."""
    written = row.get("report", "")
    if not written:
        written = report_text(row.get("findings", ""), row.get("impression", ""))
    elif not {"findings", "impression"} & row.keys():
        parts = split_report(written)
        written = report_text(parts.findings, parts.impression) if parts.found else written
    return without_marks(written)


def split_by_patient(studies: Sequence[Study], seed: int, shares: Mapping[str, float] = SHARES) -> list[Study]:
    """Give every study a split, all studies of a patient the same one.

    Args:
        studies: whatever split they have is replaced.
        seed: the same seed gives the same splits, in whatever order the studies come.
        shares: split -> share of the patients; positive, they add up to 1. Each split gets a patient where there are enough.

    Raises:
        InputError: shares that are not positive or do not add up to 1.
    """
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"shares of the splits {dict(shares)}: give positive shares that add up to 1")
    patients = sorted({study.patient for study in studies}, key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).digest())
    split_of = dict(zip(patients, _assigned(len(patients), shares), strict=True))
    return [Study(**{**study.__dict__, "split": split_of[study.patient]}) for study in studies]


def _missing_columns(header: Iterable[str]) -> list[str]:
    names = set(header)
    missing = [f"`{name}`" for name in _REQUIRED if name not in names]
    return missing if "report" in names or {"findings", "impression"} <= names else [*missing, _REPORT]


def _study(path: Path, row: Row) -> Study:
    return Study(
        id=row["id"],
        patient=row["patient"],
        image=str(film_of(path, row)),
        report=report_of(row),
        split=row.get("split", ""),
        view=normalise(row.get("view", "")) or "unknown",
        mesh=tuple(term.strip() for term in row.get("mesh", "").split(";") if term.strip()),
    )


def _assigned(count: int, shares: Mapping[str, float]) -> list[str]:
    """Split names for `count` patients in order: the largest remainders make up the rest, and no split stays empty if it can be helped."""
    sizes = {name: int(count * share) for name, share in shares.items()}
    for name in sorted(shares, key=lambda name: sizes[name] - count * shares[name])[: count - sum(sizes.values())]:
        sizes[name] += 1
    for name in [name for name, size in sizes.items() if size == 0]:
        largest = max(sizes, key=lambda name: sizes[name])
        if sizes[largest] > 1:
            sizes[largest] -= 1
            sizes[name] += 1
    return [name for name, size in sizes.items() for _ in range(size)]
