"""Many films, one after another: which files, under which names, which are done already, and what failed; knows no model."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from cyclicxr.checkpoint import sha256_of
from cyclicxr.data.dicom import is_dicom
from cyclicxr.data.images import SUFFIXES
from cyclicxr.data.studies import read_studies
from cyclicxr.data.tables import SUFFIXES as TABLES
from cyclicxr.explain.files import DRAWN, THUMBNAILS, ResultPaths, write_result, write_thumbnail
from cyclicxr.types import InputError, Result

log = logging.getLogger(__name__)

_GLOB = re.compile(r"[*?\[]")
_RESERVED = {"index", ""}  # index.html is the page of the whole folder
_HEAD = 132  # bytes that tell a DICOM file without a suffix


class Outcome(Protocol):
    """What a model gives for one film: the result and its pictures."""

    @property
    def result(self) -> Result: ...
    @property
    def film(self) -> Image.Image | None: ...
    @property
    def drawn(self) -> Image.Image | None: ...


@dataclass(frozen=True)
class Job:
    """One film to do; `name` is that of its files in the output folder."""

    path: Path
    name: str


@dataclass(frozen=True)
class Done:
    """One film done, or found done (`skipped`)."""

    job: Job
    paths: ResultPaths
    report: str
    skipped: bool = False


@dataclass(frozen=True)
class Failure:
    """One input that failed, with one line that says why; `ours` where it is our error and not the caller's."""

    path: str
    message: str
    ours: bool = False


def find_jobs(inputs: Sequence[str], out_dir: Path) -> tuple[list[Job], list[Failure]]:
    """Films named by files, folders (searched all the way down), globs and studies tables.

    Each film is taken once, in the order given (a folder's by name). Names come from the file, the path below the folder, or the study's
    id; two films of one name get a part of the hash of their path, so that neither overwrites the other. What an earlier run drew into
    `out_dir` is not taken for a film.

    Returns:
        Jobs, and a failure for each input that names no film.
    """
    found: dict[Path, tuple[Path, str]] = {}
    failures = []
    for entry in inputs:
        try:
            films = list(_films_of(entry))
        except (InputError, OSError) as error:
            failures.append(Failure(entry, str(error)))
            continue
        for path, name in films:
            if not _ours(path, out_dir):
                found.setdefault(path.resolve(), (path, name))
    uses = Counter(name.casefold() for _, name in found.values())
    return [Job(path, name if uses[name.casefold()] == 1 else _told_apart(name, path)) for path, name in found.values()], failures


def run_jobs(
    jobs: Iterable[Job],
    work: Callable[[Path], Outcome],
    out_dir: Path,
    done_already: Callable[[Path, Mapping[str, Any]], bool] | None = None,
) -> Iterator[Done | Failure]:
    """Do each film and write its files; one that fails does not stop the others.

    Args:
        jobs: of `find_jobs`.
        work: film -> outcome; `InputError` is the caller's mistake, anything else ours.
        out_dir: where `write_result` writes.
        done_already: told a film's path and the JSON found under its name, whether that will do (`--resume`); None does all again.

    Raises:
        OSError: the disk is full, which would fail all the others as well.
    """
    for job in jobs:
        stored = _stored(out_dir, job) if done_already else None
        if stored is not None and done_already is not None and job.path.is_file() and done_already(job.path, stored):
            drawn = stored["synthetic"] and out_dir / stored["synthetic"]["path"]
            paths = ResultPaths(out_dir / f"{job.name}.json", out_dir / f"{job.name}.html", drawn or None)
            yield Done(job, paths, stored["report"], skipped=True)
            continue
        try:
            outcome = work(job.path)
            write_thumbnail(out_dir, job.name, outcome.film or outcome.drawn)
            paths = write_result(out_dir, job.name, outcome.result, outcome.film, outcome.drawn)
        except InputError as error:
            yield Failure(str(job.path), _naming(str(job.path), str(error)))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            log.debug("%s", job.path, exc_info=True)
            yield Failure(
                str(job.path), f"{job.path}: {type(error).__name__}: {_one_line(error)} (our error; --verbose shows where)", ours=True
            )
        else:
            yield Done(job, paths, outcome.result.report)


def same_film_and_model(path: Path, stored: Mapping[str, Any], model: Mapping[str, str], *, drawn: bool) -> bool:
    """Whether a stored result is of these very bytes and this very model, and (`drawn`) has its drawn film."""
    image = stored["image"]
    is_whole = not drawn or stored["synthetic"] is not None
    return is_whole and stored["model"] == dict(model) and image is not None and image["sha256"] == sha256_of(path)


def _films_of(entry: str) -> Iterator[tuple[Path, str]]:
    path = Path(entry)
    if path.is_dir():
        yield from _films_in(path)
    elif path.suffix.lower() in TABLES:
        yield from ((Path(study.image), _name(study.id)) for study in read_studies(path))
    elif not path.exists() and _GLOB.search(entry):
        matches = sorted(glob.glob(entry, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not matches:
            raise InputError(f"{entry}: no file matches; check the pattern (quoted, the program expands it itself)")
        for match in matches:
            yield from _films_of(match)
    else:
        yield path, _name(path.stem)  # missing or no film: reading it says so


def _films_in(folder: Path) -> Iterator[tuple[Path, str]]:
    files = [path for path in sorted(folder.rglob("*")) if not path.name.startswith(".") and _looks_like_film(path)]
    if not files:
        raise InputError(f"{folder}: no film in this folder; a film is {', '.join(SUFFIXES)}, or a DICOM file without a suffix")
    for path in files:
        yield path, _name("_".join(path.relative_to(folder).with_suffix("").parts))


def _looks_like_film(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix:
        return path.suffix.lower() in SUFFIXES or _starts_as_dicom(path)
    return path.name != "DICOMDIR" and _starts_as_dicom(path)


def _starts_as_dicom(path: Path) -> bool:
    """Names of a PACS export often end in numbers (`1.2.840.113`), which look like suffixes."""
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(_HEAD), path.name)
    except OSError:
        return False


def _name(text: str) -> str:
    """A file name that no path or shell trips over."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("._")[:150]
    return f"{name}_" if name.casefold() in _RESERVED else name


def _told_apart(name: str, path: Path) -> str:
    return f"{name}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def _ours(path: Path, out_dir: Path) -> bool:
    """What a run wrote into `out_dir`, found when films and results share a folder."""
    parent, out = path.resolve().parent, out_dir.resolve()
    return parent == out / THUMBNAILS or (
        parent == out and path.name.endswith(DRAWN) and (out / path.name.replace(DRAWN, ".json")).exists()
    )


def _stored(out_dir: Path, job: Job) -> dict[str, Any] | None:
    """The result of that name, None where there is none or what is there is no result."""
    try:
        stored = json.loads((out_dir / f"{job.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and stored.get("schema") == Result.schema else None


def _naming(path: str, message: str) -> str:
    return _one_line(message) if path in message else f"{path}: {_one_line(message)}"


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
