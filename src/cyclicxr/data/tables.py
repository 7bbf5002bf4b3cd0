"""Rows of a table in any of its forms (CSV, Parquet, JSON lines, a folder of films and texts), read and written a few at a time; knows no
column's meaning.

A row is a dict of strings, "" where there is nothing. Rows are numbered as a reader finds them: the header of a CSV or Parquet table is row
1, and a row of JSON lines is its line.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from cyclicxr.checkpoint import write_atomically
from cyclicxr.data.images import SUFFIXES as FILMS
from cyclicxr.data.sections import split_report
from cyclicxr.types import InputError

log = logging.getLogger(__name__)

SUFFIXES = (".csv", ".parquet", ".pq", ".jsonl", ".ndjson")
Row = dict[str, str]

_FORMS = "CSV, Parquet, JSON lines, or a folder of films with texts of the same names"
_PARQUET, _LINES = (".parquet", ".pq"), (".jsonl", ".ndjson")
_BATCH = 1024  # rows that are in memory at a time
_LARGEST_TEXT = 2**20  # bytes of one report
_SPLIT_FOLDERS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def read_table(path: Path) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    """Columns of a table, and its rows with their numbers, read as they are asked for.

    Of a folder, a row is a film: `id` its path with `_` for `/`, `split` that of a topmost folder named train, val or test, `patient` the
    folder it lies in, or itself where it lies in none, and `findings`, `impression` and `indication` (or `report`, where the text has no
    such headings) those of the text file of the same name, "" where there is none.

    Args:
        path: CSV (UTF-8), Parquet (`.parquet`, `.pq`), JSON lines (`.jsonl`, `.ndjson`; its columns are those of the first row), or a
            folder.

    Raises:
        InputError: it cannot be read, a row has more or fewer cells than the header, or a column is there twice; also while rows are read.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; give a studies table ({_FORMS})")
    suffix = path.suffix.lower()
    read = _folder if path.is_dir() else _parquet if suffix in _PARQUET else _json_lines if suffix in _LINES else _csv
    with _unreadable(path):
        columns, rows = read(path)
    return columns, _watched(path, rows)


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as they come, atomically; the first row names the columns.

    Args:
        path: `.parquet` or `.pq` writes Parquet (each column of strings), anything else CSV.
        rows: all with the same keys.

    Returns:
        How many rows there were.

    Raises:
        InputError: there is no row.
    """
    source = iter(rows)
    first = next(source, None)
    if first is None:
        raise InputError(f"{path}: no study to write")
    everything = chain([first], source)
    with write_atomically(path) as temporary:
        return (_write_parquet if path.suffix.lower() in _PARQUET else _write_csv)(temporary, list(first), everything)


def _write_csv(path: Path, columns: list[str], rows: Iterator[Mapping[str, Any]]) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _write_parquet(path: Path, columns: list[str], rows: Iterator[Mapping[str, Any]]) -> int:
    count, schema = 0, pa.schema([(name, pa.string()) for name in columns])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write_table(pa.table({name: [str(row[name]) for row in batch] for name in columns}, schema=schema))
            count += len(batch)
    return count


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Say of any error of a reader which table it is about."""
    try:
        yield
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a CSV table in UTF-8; save it as 'CSV UTF-8', or as .parquet") from None
    except (csv.Error, pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as a table ({' '.join(str(error).split())[:200]}); save it again") from None


def _watched(path: Path, rows: Iterator[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
    with _unreadable(path):
        yield from rows


def _csv(path: Path) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    lines = _cells(path)
    header = [name.strip() for name in next(lines, [])]
    twice = {name for name in header if name and header.count(name) > 1}
    if twice:
        raise InputError(f"{path}: the column '{min(twice)}' is there twice; keep one")

    def rows() -> Iterator[tuple[int, Row]]:
        for number, cells in enumerate(lines, start=2):
            if cells and len(cells) != len(header):
                raise InputError(f"{path}, row {number}: {len(cells)} cells for {len(header)} columns; quote cells that hold commas")
            if cells:
                yield number, dict(zip(header, (cell.strip() for cell in cells), strict=True))

    return header, rows()


def _cells(path: Path) -> Iterator[list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.reader(file, strict=True)


def _parquet(path: Path) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    def rows() -> Iterator[tuple[int, Row]]:
        with parquet.ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=_BATCH))
            for number, row in enumerate(chain.from_iterable(batches), start=2):
                yield number, {name: _text(value) for name, value in row.items()}

    return list(parquet.read_schema(path).names), rows()


def _json_lines(path: Path) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    rows = _objects(path)
    first = next(rows, None)
    return (list(first[1]), chain([first], rows)) if first else ([], iter(()))


def _objects(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, row {number}: not JSON ({error}); write one object a line") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}, row {number}: no JSON object; write one object a line")
            yield number, {str(name).strip(): _text(value) for name, value in row.items()}


def _text(value: Any) -> str:
    """A list is joined as `mesh` is written: with semicolons. Half a character, which JSON can hold ("\\ud800"), is a question mark."""
    if isinstance(value, list):
        return ";".join(_text(item) for item in value)
    return "" if value is None else str(value).encode("utf-8", "replace").decode().strip()


def _folder(folder: Path) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    films = [path for path in files if path.suffix.lower() in FILMS]
    if not films:
        raise InputError(f"{folder}: no film in this folder; a film is {', '.join(FILMS)}, with its report in a .txt of the same name")
    alone = len(texts.keys() - {film.with_suffix("") for film in films})
    if alone:
        log.warning("%s: %d texts have no film of the same name and are left out", folder, alone)
    rows = ((number, _film_row(folder, film, texts.get(film.with_suffix("")))) for number, film in enumerate(films, start=1))
    return list(_film_row(folder, films[0], None)), rows


def _film_row(folder: Path, film: Path, text: Path | None) -> Row:
    place = film.relative_to(folder)
    split = _SPLIT_FOLDERS.get(place.parts[0].lower(), "") if len(place.parts) > 1 else ""
    name = "_".join(place.with_suffix("").parts)
    parts = split_report(_report(text)) if text else split_report("")
    return {
        "id": name,
        "patient": "_".join(place.parts[1 if split else 0 : -1]) or name,
        "image": place.as_posix(),
        "findings": parts.findings,
        "impression": parts.impression,
        "indication": parts.indication,
        "report": "" if parts.found else parts.text,
        "split": split,
    }


def _report(path: Path) -> str:
    if path.stat().st_size > _LARGEST_TEXT:
        raise InputError(f"{path}: larger than {_LARGEST_TEXT // 1024} KiB, which no report is; take it out")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text in UTF-8; save it as UTF-8") from None
