"""MIMIC-CXR-JPG or MIMIC-CXR in its official layout -> studies table, in the official splits, a row a frontal film; knows no pixel.

Source: Johnson et al., MIMIC-CXR-JPG 2.0.0, PhysioNet 2019. Which rows are taken, and why fewer than the paper's, is decision 0028.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyarrow import compute, csv

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.data.reports import MIN_TOKENS, count_tokens, report_text, without_marks
from cyclicxr.data.sections import Sections, last_paragraph, split_report
from cyclicxr.data.tables import Row, read_table, write_table
from cyclicxr.data.tally import Tally
from cyclicxr.types import InputError, Progress

PAPER = {"train": 368_960, "val": 2_991, "test": 5_159}  # [paper 4.1] the official split: every film, whatever its view and report
SPLITS = {"train": "train", "validate": "val", "test": "test"}
VIEWS = {"PA": "PA", "AP": "AP", "postero-anterior": "PA", "antero-posterior": "AP"}  # ViewPosition, else the meaning of its code
ARCHIVE = "mimic-cxr-reports.zip"

# [ours] CheXpert's labels as the NLM headings that mean the same (openi.py reads findings from them); the rest under their own names.
_HEADINGS = {
    "Atelectasis": "Pulmonary Atelectasis",
    "Edema": "Pulmonary Edema",
    "Fracture": "Fractures, Bone",
    "Lung Lesion": "Nodule",
    "Lung Opacity": "Opacity",
    "No Finding": "normal",
    "Support Devices": "Medical Device",
}
_LABELS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion", "Lung Opacity"),
    *("No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices"),
)
_COLUMNS = {
    "split": ("dicom_id", "study_id", "subject_id", "split"),
    "metadata": ("dicom_id", "ViewPosition", "ViewCodeSequence_CodeMeaning", "Rows", "Columns"),
    "chexpert": ("study_id", *_LABELS),
}
_PART = 8192  # films of which a part of the table is written; a run that is broken off goes on at the next
_WORKERS = 8  # reports read at a time: a network disk answers slowly
_LARGEST_REPORT = 2**20  # bytes

Reports = Callable[[str], str | None]


class _Study(NamedTuple):
    """A study's report, the films in its folder, and its films in the data set."""

    parts: Sections | None
    files: Mapping[str, str]
    films: list[Row]


def build_mimic(root: Path, table: Path, reports: Path | None = None, progress: Progress = lambda what, done, total: None) -> Tally:
    """Make a studies table from the official download.

    Only ids, views and labels are in memory as a whole; reports are read a few at a time. The table grows in parts in a folder beside it: a
    run that is broken off goes on where it was, if nothing has changed.

    Args:
        root: the folder with `mimic-cxr-2.0.0-split.csv.gz`, `-metadata.csv.gz` and `-chexpert.csv.gz` (each also unpacked; without the
            last there are no labels), and with `files/`, the films as JPEG, DICOM or PNG.
        table: Parquet or CSV to write; its image paths are relative to its folder.
        reports: `mimic-cxr-reports.zip`, or the folder it unpacks to; None looks in `root` for both.
        progress: called with "films", how many are done, of how many.

    Returns:
        How many films of each split are in the table, and how many are not for which reason.

    Raises:
        InputError: a file of the download is missing or has other columns, or no film is left.
    """
    films = _films(root)
    find = _reports(root, reports)
    parts = table.with_name(f".{table.name}.parts") / _fingerprint(root, table, reports, len(films))
    tally = Tally(PAPER)
    for number, start in enumerate(range(0, len(films), _PART)):
        counts = parts / f"{number:04}.json"
        if not counts.exists():
            part = Tally(PAPER)
            rows = list(_rows(films.slice(start, _PART), root, table.parent, find, part))
            if rows:
                write_table(parts / f"{number:04}.parquet", rows)
            write_json(counts, part.to_json())  # last: it says that the part is whole
        tally.add(Tally.from_json(read_json(counts)))
        progress("films", min(start + _PART, len(films)), len(films))
    if not tally.kept:
        raise InputError(f"{root}: none of its {len(films)} films is left: {'; '.join(tally.excluded)}; is the whole download there?")
    write_table(table, (row for part in sorted(parts.glob("*.parquet")) for _, row in read_table(part)[1]))
    shutil.rmtree(parts.parent)
    return tally


def labels_of(row: Mapping[str, str]) -> str:
    """CheXpert's positive labels as annotations, joined by semicolons; "No Finding" is `normal` only where nothing else is positive.

    Args:
        row: label -> "1.0", "0.0", "-1.0" (uncertain) or "".
    """
    positive = [label for label in _LABELS if row.get(label) in {"1.0", "1"}]
    named = [label for label in positive if label != "No Finding"] or positive
    return ";".join(_HEADINGS.get(label, label) for label in named)


# ---- the films of the data set


def _films(root: Path) -> pa.Table:
    """A row a film with its study, patient, split, view, size and labels, all strings, those of a study together."""
    split = _csv(root, "split")
    metadata = _csv(root, "metadata")
    films = split.join(metadata, "dicom_id", join_type="left outer")
    if _path(root, "chexpert"):
        films = films.join(_labelled(_csv(root, "chexpert")), "study_id", join_type="left outer")
    order = [("subject_id", "ascending"), ("study_id", "ascending"), ("dicom_id", "ascending")]
    return films.sort_by(order).combine_chunks()


def _labelled(labels: pa.Table) -> pa.Table:
    """`study_id` and `mesh` alone."""
    mesh = [labels_of(row) for batch in labels.to_batches(max_chunksize=_PART) for row in batch.to_pylist()]
    return pa.table({"study_id": labels["study_id"], "mesh": pa.array(mesh, pa.string())})


def _csv(root: Path, name: str) -> pa.Table:
    path = _path(root, name)
    if path is None:
        raise InputError(f"{root}: no mimic-cxr-2.0.0-{name}.csv.gz; it comes with MIMIC-CXR-JPG and belongs beside files/")
    columns = _COLUMNS[name]
    options = csv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.string()))
    try:
        found = csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]}); download it again") from None
    key = found[columns[0]]
    if compute.count_distinct(key).as_py() != len(key):
        raise InputError(f"{path}: `{columns[0]}` is not different in each row; download it again")
    return found


def _path(root: Path, name: str) -> Path | None:
    return next((path for end in (".csv.gz", ".csv") if (path := root / f"mimic-cxr-2.0.0-{name}{end}").is_file()), None)


def _fingerprint(root: Path, table: Path, reports: Path | None, count: int) -> str:
    """Changes with whatever a part of the table was made from, short of the reports and films themselves."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for name in _COLUMNS if (path := _path(root, name))]
    made = [str(root.absolute()), str(table.absolute()), str(reports and reports.absolute()), stats, count, _PART]
    return hashlib.sha256(json.dumps([*made, importlib.metadata.version("cyclicxr")]).encode()).hexdigest()[:16]


# ---- the reports


def _reports(root: Path, reports: Path | None) -> Reports:
    """What gives a report by its name, such as files/p10/p10000032/s50414267.txt; None where there is no such file."""
    archive = reports or root / ARCHIVE
    if archive.is_file():
        try:
            unpacked = zipfile.ZipFile(archive)
            first = next((name for name in unpacked.namelist() if name.endswith(".txt")), "")
            return partial(_archived, unpacked, first.partition("files/")[0])
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{archive}: not {ARCHIVE} ({error}); download it again") from None
    if reports and not reports.is_dir():
        raise InputError(f"{reports}: no such file or folder; give {ARCHIVE}, or the folder it unpacks to")
    for folder in (reports, root / "mimic-cxr-reports", root) if reports is None else (reports,):
        if folder and (folder / "files").is_dir():
            return partial(_unpacked, folder)
    raise InputError(f"{reports or root}: no folder files/ in it; give {ARCHIVE}, or the folder it unpacks to")


def _archived(archive: zipfile.ZipFile, prefix: str, name: str) -> str | None:
    try:
        entry = archive.getinfo(prefix + name)
        if entry.file_size > _LARGEST_REPORT:
            raise InputError(f"{archive.filename}, {name}: larger than a report can be; download it again")
        return archive.read(entry).decode("utf-8", "replace")
    except KeyError:
        return None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive.filename}, {name}: damaged ({error}); download it again") from None


def _unpacked(folder: Path, name: str) -> str | None:
    path = folder / name
    try:
        if path.stat().st_size > _LARGEST_REPORT:
            raise InputError(f"{path}: larger than a report can be; download it again")
        return path.read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


# ---- the rows of the table


def _rows(films: pa.Table, root: Path, folder: Path, find: Reports, tally: Tally) -> Iterator[dict[str, str]]:
    """Those of one part, in order; what is left out is counted."""
    listed = ({name: value or "" for name, value in row.items()} for row in films.to_pylist())
    studies = (list(group) for _, group in groupby(listed, key=lambda row: row["study_id"]))
    with ThreadPoolExecutor(_WORKERS) as pool:
        for study in pool.map(partial(_read, root, find), studies):
            yield from _rows_of(study, root, folder, tally)


def _read(root: Path, find: Reports, films: list[Row]) -> _Study:
    place = _place(films[0])
    text = find(f"{place}.txt")
    return _Study(_parts(text) if text is not None else None, _files(root / place), films)


def _place(film: Row) -> str:
    subject, study = film["subject_id"], film["study_id"]
    return f"files/p{subject[:2]}/p{subject}/s{study}"


def _parts(text: str) -> Sections:
    """The sections; of a report without findings and impression, its last paragraph for the impression, as its authors do."""
    parts = split_report(text)
    paragraph = "" if parts.found else last_paragraph(text)
    if not paragraph:
        return parts
    return Sections("", paragraph, parts.indication, parts.text, True, (*parts.notes, "last paragraph for the impression"))


def _files(folder: Path) -> dict[str, str]:
    """The name of a film's file by its id."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (half the time of Path.iterdir, 227,835 times)
    except OSError:
        return {}
    return {name.rpartition(".")[0]: name for name in names if name.endswith((".jpg", ".dcm", ".png"))}


def _rows_of(study: _Study, root: Path, folder: Path, tally: Tally) -> Iterator[dict[str, str]]:
    parts = study.parts
    written = report_text(parts.findings, parts.impression) if parts else ""
    tokens = count_tokens(without_marks(written))
    for film in study.films:
        split = SPLITS.get(film["split"], film["split"])
        view = VIEWS.get(film.get("ViewPosition") or film.get("ViewCodeSequence_CodeMeaning") or "", "")
        reason = _reason(film, view, parts, tokens, study.files)
        if reason or parts is None:
            tally.exclude(split, reason)
            continue
        tally.keep(split)
        tally.notes.update(parts.notes)
        path = root / _place(film) / study.files[film["dicom_id"]]
        yield {
            "id": film["dicom_id"],
            "patient": f"p{film['subject_id']}",
            "study": f"s{film['study_id']}",
            "split": split,
            "image": Path(os.path.relpath(path, folder)).as_posix(),
            "view": view,
            "findings": parts.findings,
            "impression": parts.impression,
            "report": written,
            "indication": parts.indication,
            "mesh": film.get("mesh", ""),
            "width": film.get("Columns", ""),
            "height": film.get("Rows", ""),
        }


def _reason(film: Row, view: str, parts: Sections | None, tokens: int, files: Mapping[str, str]) -> str:
    """Why a film is left out, "" where it is not; in the order in which the reasons are looked at."""
    if film["split"] not in SPLITS:
        return f"split '{film['split']}' is unknown"
    if not view:
        stated = film.get("ViewPosition") or film.get("ViewCodeSequence_CodeMeaning")
        return "view other than PA and AP" if stated else "view not stated"
    if parts is None:
        return "no report"
    if not parts.found:
        return "report without findings and impression"
    if tokens < MIN_TOKENS:
        return f"report of fewer than {MIN_TOKENS} tokens"
    return "" if film["dicom_id"] in files else "no film"
