"""Many films, one after another: which files, under which names, which are done already, and what failed; knows no model."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from cyclicxr.checkpoint import sha256_of, write_atomically
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
_PART = re.compile(r"\.(?P<name>.+?)(?:\.drawn\.png|\.png|\.json|\.html|\.jpg)\.[0-9a-f]{8}\.part")  # of `write_atomically`
FAILURES = "failures.jsonl"


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


@dataclass
class Tally:
    """What a run over `films` films has come to so far; `failures` begins with the inputs that name no film."""

    films: int
    failures: list[Failure]
    written: int = 0
    skipped: int = 0
    over: int = 0

    @property
    def left(self) -> int:
        """Films that nothing is known of yet."""
        return self.films - self.over

    def add(self, item: Done | Failure) -> None:
        """One film more is over."""
        self.over += 1
        if isinstance(item, Failure):
            self.failures.append(item)
        elif item.skipped:
            self.skipped += 1
        else:
            self.written += 1


Work = Callable[[Path], Outcome]
DoneAlready = Callable[[Path, Mapping[str, Any]], bool]


def find_jobs(inputs: Sequence[str], out_dir: Path) -> tuple[list[Job], list[Failure]]:
    """Films named by files, folders (searched all the way down), globs and studies tables.

    Each film is taken once, in the order given (a folder's by name). Names come from the file, the path below the folder, or the study's
    id; two films of one name get a part of the hash of their path, so that neither overwrites the other. What an earlier run drew into
    `out_dir` is not taken for a film.

    Returns:
        Jobs, and a failure for each input that names no film, or one whose name can't be written down.
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
            if not _is_utf8(path):
                failures.append(Failure(str(path), f"{path}: the name is not in UTF-8, as results are; rename the file"))
            elif not _ours(path, out_dir):
                found.setdefault(path.resolve(), (path, name))
    uses = Counter(name.casefold() for _, name in found.values())
    return [Job(path, name if uses[name.casefold()] == 1 else _told_apart(name, path)) for path, name in found.values()], failures


def run_jobs(
    jobs: Iterable[Job], work: Work, out_dir: Path, done_already: DoneAlready | None = None, timeout: float | None = None
) -> Iterator[Done | Failure]:
    """Do each film and write its files; one that fails does not stop the others.

    Args:
        jobs: of `find_jobs`.
        work: film -> outcome; `InputError` is the caller's mistake, anything else ours.
        out_dir: where `write_result` writes.
        done_already: told a film's path and the JSON found under its name, whether that will do (`--resume`); None does all again.
        timeout: most seconds of one film; None is no limit.

    Raises:
        InputError, OSError: the disk is full, which would fail all the others as well.
    """
    for job in jobs:
        yield do_job(job, work, out_dir, done_already, timeout)


def do_job(job: Job, work: Work, out_dir: Path, done_already: DoneAlready | None, timeout: float | None) -> Done | Failure:
    """One film of `run_jobs`."""
    try:
        stored = _stored(out_dir, job) if done_already else None
        if stored is not None and done_already is not None and job.path.is_file() and done_already(job.path, stored):
            drawn = stored["synthetic"] and out_dir / stored["synthetic"]["path"]
            paths = ResultPaths(out_dir / f"{job.name}.json", out_dir / f"{job.name}.html", drawn or None)
            return Done(job, paths, stored["report"], skipped=True)
        with _at_most(timeout):
            outcome = work(job.path)
    except InputError as error:
        return Failure(str(job.path), _naming(str(job.path), str(error)))
    except _OutOfTime:
        return Failure(str(job.path), f"{job.path}: not done after {timeout:g} s; allow more with --timeout", ours=True)
    except Exception as error:
        if _fills_the_disk(error):
            raise
        return _our_failure(job, error)
    try:
        write_thumbnail(out_dir, job.name, outcome.film or outcome.drawn)
        paths = write_result(out_dir, job.name, outcome.result, outcome.film, outcome.drawn)
    except BaseException as error:
        _forget(job, out_dir)
        if not isinstance(error, Exception) or isinstance(error, InputError) or _fills_the_disk(error):
            raise
        return _our_failure(job, error)
    return Done(job, paths, outcome.result.report)


def write_failures(out_dir: Path, failures: Sequence[Failure]) -> Path | None:
    """Write `failures.jsonl`, one object with "image" and "error" a line; without a failure there is no such file, nor an earlier run's."""
    path = out_dir / FAILURES
    if not failures:
        path.unlink(missing_ok=True)
        return None
    lines = (json.dumps({"image": failure.path, "error": failure.message}) for failure in failures)
    with write_atomically(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def sweep(jobs: Iterable[Job], out_dir: Path) -> None:
    """Remove what processes that were killed left half written of these films; nobody may be writing them now."""
    names = {job.name for job in jobs}
    for folder in (out_dir, out_dir / THUMBNAILS):
        for path in folder.glob(".*.part"):
            part = _PART.fullmatch(path.name)
            if part and part["name"] in names:
                path.unlink(missing_ok=True)


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


def _is_utf8(path: Path) -> bool:
    """Bytes of a name that are no UTF-8 are halves of characters in Python."""
    return not any("\ud800" <= letter <= "\udfff" for letter in str(path))


def _name(text: str) -> str:
    """A file name that no path or shell trips over."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("._")[:150]
    return f"{name}_" if name.casefold() in _RESERVED else name


def _told_apart(name: str, path: Path) -> str:
    return f"{name}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def _ours(path: Path, out_dir: Path) -> bool:
    """What a run wrote into `out_dir`, found when films and results share a folder."""
    parent, out, name = path.resolve().parent, out_dir.resolve(), path.name.removesuffix(DRAWN)
    written = out / f"{name}.json", out / THUMBNAILS / f"{name}.jpg"  # last and first of a result
    return parent == out / THUMBNAILS or (parent == out and name != path.name and any(file.exists() for file in written))


def _stored(out_dir: Path, job: Job) -> dict[str, Any] | None:
    """The result of that name, None where there is none or what is there is no result."""
    try:
        stored = json.loads((out_dir / f"{job.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and stored.get("schema") == Result.schema else None


class _OutOfTime(BaseException):
    """A film took too long; no `except Exception` on the way may take it for an error of its own."""


@contextmanager
def _at_most(seconds: float | None) -> Iterator[None]:
    """Raise `_OutOfTime` in this thread when the time is over, at its next Python instruction: a call into native code ends first."""
    if seconds is None:
        yield
        return
    thread = ctypes.c_ulong(threading.get_ident())  # a signal would reach the main thread alone, and Ray's workers use another
    timer = threading.Timer(seconds, ctypes.pythonapi.PyThreadState_SetAsyncExc, (thread, ctypes.py_object(_OutOfTime)))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # raised now or never: not while the result is written


def _forget(job: Job, out_dir: Path) -> None:
    """Remove pictures and page of a result whose JSON was not written."""
    if not (out_dir / f"{job.name}.json").exists():
        for path in (out_dir / f"{job.name}.html", out_dir / f"{job.name}{DRAWN}", out_dir / THUMBNAILS / f"{job.name}.jpg"):
            path.unlink(missing_ok=True)


def _fills_the_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _our_failure(job: Job, error: Exception) -> Failure:
    log.debug("%s", job.path, exc_info=error)
    message = f"{job.path}: {type(error).__name__}: {_one_line(error)} (our error; --verbose shows where)"
    return Failure(str(job.path), message, ours=True)


def _naming(path: str, message: str) -> str:
    return _one_line(message) if path in message else f"{path}: {_one_line(message)}"


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
