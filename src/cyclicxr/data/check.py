"""A studies table looked over: every problem at once, errors told from warnings; opens each film, and knows nothing of what it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cyclicxr.data.images import read_film
from cyclicxr.data.reports import MIN_TOKENS, count_tokens
from cyclicxr.data.studies import RULES, SPLITS, Rules, film_of, report_of, studies_rows
from cyclicxr.data.tables import Row
from cyclicxr.types import InputError, Progress

# Kind of problem -> what to do about it. An error makes the table, or a row of it, unusable or a score untrue; a warning wants looking at.
ERRORS = {
    "unusable table": "nothing can be read before this is mended",
    **RULES,
    "unknown split": f"name it {', '.join(SPLITS)}, or leave it empty in every row",
    "missing film": "correct the path; it is relative to the table",
    "unreadable film": "give the film again, or take the row out",
    "film in two splits": "keep a film, and all films of its patient, in one",
}
WARNINGS = {
    "short report": f"it is left out when the table is read (at least {MIN_TOKENS} words and numbers)",
    "repeated film": "if it is one film, keep one row of it",
    "report in two splits": "a model may have learned it by heart; keep it in one, or say so beside the score",
}
_SHOWN = 10  # rows of a kind that the text lists
_WORKERS = 4  # films read at a time; decoders work outside the interpreter's lock
_WINDOW = 256  # films handed out at a time


@dataclass(frozen=True)
class Problem:
    """One problem: its kind (a key of `ERRORS` or `WARNINGS`), its row (0: the whole table), the row's id, and what is wrong."""

    kind: str
    row: int
    id: str
    message: str

    @property
    def is_error(self) -> bool:
        """Whether it is no mere warning."""
        return self.kind in ERRORS


@dataclass(frozen=True)
class Checkup:
    """What was found in a table of so many rows; problems in the order of `ERRORS`, then `WARNINGS`, then rows."""

    table: str
    rows: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> int:
        """How many of the problems are errors."""
        return sum(problem.is_error for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Plain dict of JSON types: `table`, `rows`, `errors`, `warnings`, `counts` by kind, and every problem with its remedy."""
        remedies = ERRORS | WARNINGS
        return {
            "table": self.table,
            "rows": self.rows,
            "errors": self.errors,
            "warnings": len(self.problems) - self.errors,
            "counts": {kind: len(found) for kind, found in self._by_kind()},
            "problems": [
                asdict(problem) | {"severity": "error" if problem.is_error else "warning", "remedy": remedies[problem.kind]}
                for problem in self.problems
            ],
        }

    def to_text(self) -> str:
        """A paragraph a kind, with its first rows, and the sum."""
        lines = []
        for kind, found in self._by_kind():
            severity, remedy = ("error", ERRORS[kind]) if kind in ERRORS else ("warning", WARNINGS[kind])
            lines.append(f"{severity}: {kind} ({len(found):,}): {remedy}")
            lines += [f"    {f'row {problem.row}: ' if problem.row else ''}{problem.message}" for problem in found[:_SHOWN]]
            lines += [f"    and {len(found) - _SHOWN:,} more; --json lists all"] if len(found) > _SHOWN else []
        warnings = len(self.problems) - self.errors
        said = f"{self.errors:,} errors, {warnings:,} warnings" if self.problems else "no problem found"
        return "\n".join([*lines, f"{self.table}: {self.rows:,} films, {said}"])

    def _by_kind(self) -> list[tuple[str, list[Problem]]]:
        sorted_out: dict[str, list[Problem]] = {}
        for problem in self.problems:
            sorted_out.setdefault(problem.kind, []).append(problem)
        return list(sorted_out.items())


class _Place(NamedTuple):
    """A row as the films need it."""

    row: int
    id: str
    split: str
    film: Path


def check_studies(table: str | Path, progress: Progress = lambda what, done, total: None) -> Checkup:
    """Every problem of a studies table. Each film is decoded; of each row some 300 bytes are kept, whatever its film and report are.

    Args:
        table: as `read_studies` takes it.
        progress: called with "films", how many are done, of how many.

    Returns:
        The problems; a table that cannot be read at all is one problem, of row 0.
    """
    path = Path(table)
    found: list[Problem] = []
    places: list[_Place] = []
    rules, texts = Rules(), _Texts()
    count = 0
    try:
        for number, row in studies_rows(path):
            count += 1
            found += [Problem(kind, number, row.get("id", ""), wrong) for kind, wrong in _of_row(number, row, rules, texts)]
            if row.get("image"):
                places.append(_Place(number, row.get("id", ""), row.get("split", ""), film_of(path, row)))
    except InputError as error:
        found.append(Problem("unusable table", 0, "", str(error)))
    found += _of_films(places, progress)
    order = {kind: place for place, kind in enumerate((*ERRORS, *WARNINGS))}
    return Checkup(str(table), count, tuple(sorted(found, key=lambda problem: (order[problem.kind], problem.row))))


def _of_row(number: int, row: Row, rules: Rules, texts: _Texts) -> Iterator[tuple[str, str]]:
    yield from rules.broken(number, row)
    split = row.get("split", "")
    if split not in ("", *SPLITS):
        yield "unknown split", f"split '{split}'"
    report = report_of(row)
    words = count_tokens(report)
    if words < MIN_TOKENS:
        yield "short report", f"the report has {words or 'no'} words"
        return
    there = texts.elsewhere(report, number, split)
    if there:
        yield "report in two splits", f"its report, in '{split}', is also that of row {there[0]}, in '{there[1]}'"


class _Texts:
    """Which reports were seen, and in which split first; their digests alone are kept."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[int, str]] = {}

    def elsewhere(self, report: str, number: int, split: str) -> tuple[int, str] | None:
        """Row and split where the same words stood first, if in another split."""
        digest = hashlib.blake2b(report.lower().encode("utf-8", "surrogatepass"), digest_size=16).digest()
        first = self._seen.setdefault(digest, (number, split))
        return first if first[1] != split else None


def _of_films(places: Sequence[_Place], progress: Progress) -> Iterator[Problem]:
    seen: dict[bytes, _Place] = {}
    with ThreadPoolExecutor(_WORKERS) as pool:
        for start in range(0, len(places), _WINDOW):
            window = places[start : start + _WINDOW]
            for done, (place, looked) in enumerate(zip(window, pool.map(_look, [place.film for place in window]), strict=True), start + 1):
                if isinstance(looked, bytes):
                    yield from _repeated(place, seen.setdefault(looked, place))
                else:
                    yield Problem(looked[0], place.row, place.id, looked[1])
                progress("films", done, len(places))


def _look(film: Path) -> bytes | tuple[str, str]:
    """The digest of a film's file, or what is wrong with it."""
    if not film.is_file():
        return "missing film", str(film)
    try:
        return bytes.fromhex(read_film(film).sha256)
    except InputError as error:
        return "unreadable film", str(error)


def _repeated(place: _Place, first: _Place) -> Iterator[Problem]:
    if first.row == place.row:
        return
    if first.split != place.split:
        message = f"its film, in '{place.split}', is that of row {first.row}, in '{first.split}', to the byte"
        yield Problem("film in two splits", place.row, place.id, message)
    else:
        yield Problem("repeated film", place.row, place.id, f"its film is that of row {first.row}, to the byte")
