"""The studies table (CSV or Parquet, one row a film): read, checked and split by patient; knows no pixel.

Columns: `id`, `patient`, `image` (path relative to the table) and `report`, or `findings` and `impression`, are required; `split`, `view`
and `mesh` are read where they are; others pass by. Rows are numbered as a spreadsheet shows them: the header is row 1.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from cyclicxr.checkpoint import write_atomically
from cyclicxr.data.reports import MIN_TOKENS, count_tokens, normalise, report_text, without_marks
from cyclicxr.types import InputError, Study

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SHARES: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}  # [ours] where a table has no split
_REQUIRED = ("id", "patient", "image")
_REPORT = "`report`, or `findings` and `impression`"

Row = dict[str, str]


def read_studies(table: str | Path) -> list[Study]:
    """Read a studies table.

    The report is findings and impression (or `report`), normalised and without marks of de-identification. Reports with fewer than
    3 tokens are left out and their number is logged (4.1: "remove the reports with less than 3 tokens"). Whether a film can be read shows
    when it is read; `check_studies` looks for missing ones.

    Args:
        table: CSV (UTF-8) or Parquet.

    Returns:
        Studies in the table's order, `image` absolute, `split` "" where there is none.

    Raises:
        InputError: the table cannot be read, lacks a column, has an empty or repeated id, an empty patient or image, a patient in two
            splits, or no report long enough.
    """
    path = Path(table)
    rows = _rows(path)
    for problem in _fatal(path, rows):
        raise InputError(problem)
    studies = [_study(path, row) for row in rows]
    kept = [study for study in studies if count_tokens(study.report) >= MIN_TOKENS]
    if not kept:
        raise InputError(f"{path}: none of its {len(rows)} reports has {MIN_TOKENS} words or more; fill in {_REPORT}")
    if len(kept) < len(studies):
        log.warning(
            "%s: %d of %d reports have fewer than %d tokens and are left out", path, len(studies) - len(kept), len(studies), MIN_TOKENS
        )
    return kept


def check_studies(table: str | Path) -> list[str]:
    """Every problem of a studies table, a line each with its row and remedy; empty for a good table. Opens no film.

    Beside what `read_studies` refuses: missing films, reports too short to be kept, splits that are not train, val or test.
    """
    path = Path(table)
    try:
        rows = _rows(path)
    except InputError as error:
        return [str(error)]
    found = list(_fatal(path, rows))
    if not rows or set(_missing_columns(rows[0])):
        return found
    for number, row in enumerate(rows, start=2):
        found += [f"{path}, row {number} (id '{row['id']}'): {problem}" for problem in _row_problems(path, row)]
    return found


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


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as a CSV table, atomically; the first row names the columns.

    Raises:
        InputError: there is no row.
    """
    listed = list(rows)
    if not listed:
        raise InputError(f"{path}: no study to write")
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; give a studies table (CSV or Parquet)")
    try:
        return _parquet_rows(path) if path.suffix.lower() in {".parquet", ".pq"} else _csv_rows(path)
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a CSV table in UTF-8; save it as 'CSV UTF-8', or as .parquet") from None
    except (csv.Error, pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as a table ({' '.join(str(error).split())[:200]}); save it again") from None


def _csv_rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        header = [name.strip() for name in next(reader, [])]
        twice = {name for name in header if name and header.count(name) > 1}
        if twice:
            raise InputError(f"{path}: the column '{min(twice)}' is there twice; keep one")
        rows = []
        for number, cells in enumerate((cells for cells in reader if cells), start=2):
            if len(cells) != len(header):
                raise InputError(f"{path}, row {number}: {len(cells)} cells for {len(header)} columns; quote cells that hold commas")
            rows.append(dict(zip(header, (cell.strip() for cell in cells), strict=True)))
    return _required(path, header, rows)


def _parquet_rows(path: Path) -> list[Row]:
    found = parquet.read_table(path)
    rows = [{name: "" if value is None else str(value).strip() for name, value in row.items()} for row in found.to_pylist()]
    return _required(path, found.column_names, rows)


def _required(path: Path, header: Sequence[str], rows: list[Row]) -> list[Row]:
    missing = _missing_columns(header)
    if missing:
        have = ", ".join(name for name in header if name)[:200] or "none"
        raise InputError(f"{path}: no column {', '.join(missing)} (there are: {have}); add it to the header")
    if not rows:
        raise InputError(f"{path}: has no row; give a line a film")
    return rows


def _missing_columns(header: Iterable[str]) -> list[str]:
    names = set(header)
    missing = [f"`{name}`" for name in _REQUIRED if name not in names]
    return missing if "report" in names or {"findings", "impression"} <= names else [*missing, _REPORT]


def _fatal(path: Path, rows: Sequence[Row]) -> Iterable[str]:
    ids: dict[str, int] = {}
    splits: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}, row {number}"
        empty = [name for name in _REQUIRED if not row[name]]
        if empty:
            yield f"{where}: `{empty[0]}` is empty; fill it in or take the row out"
        first = ids.setdefault(row["id"], number)
        if row["id"] and first != number:
            yield f"{where}: id '{row['id']}' is that of row {first} too; give each film its own"
        split, there = splits.setdefault(row["patient"], (row.get("split", ""), number))
        if row["patient"] and row.get("split", "") != split:
            yield f"{where}: patient '{row['patient']}' is in '{row['split']}', in row {there} in '{split}'; keep a patient in one"


def _row_problems(path: Path, row: Row) -> Iterable[str]:
    if row["image"] and not (path.parent / row["image"]).is_file():
        yield f"no such film: {row['image']}; correct the path, it is relative to the table"
    words = count_tokens(_report(row))
    if words < MIN_TOKENS:
        yield f"the report has {words or 'no'} words; it is left out when the table is read (at least {MIN_TOKENS})"
    if row.get("split", "") not in ("", *SPLITS):
        yield f"split '{row['split']}' is not one of {', '.join(SPLITS)}; rename it"


def _report(row: Row) -> str:
    written = row["report"] if row.get("report") else report_text(row.get("findings", ""), row.get("impression", ""))
    return without_marks(written)


def _study(path: Path, row: Row) -> Study:
    return Study(
        id=row["id"],
        patient=row["patient"],
        image=str((path.parent / row["image"]).absolute()),
        report=_report(row),
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
