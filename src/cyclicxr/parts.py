"""Which files of a model directory belong together: each part's own, and the parts that it was made from; knows no network.

`parts.json` holds, for each part, the SHA-256 of its files as they were trained and that of each part that it was made from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import CONFIG, read_json, sha256_of, write_json
from cyclicxr.types import InputError

RECORD = "parts.json"
SETTINGS = "settings"
FILES: Mapping[str, Sequence[str]] = {  # of each part: files and folders
    SETTINGS: (CONFIG,),
    "classifier": ("classifier.safetensors", "findings.json"),
    "match": ("match.safetensors", "text_tokenizer", "global.safetensors", "global.json"),
    "vqgan": ("vqgan.safetensors",),
    "codebooks": (
        "textual_codebook.json",
        "textual_reader.safetensors",
        "visual_codebook.safetensors",
        "support.json",
        "thumbnails",
        "sentences.json",
    ),
    "llm": ("llm",),
}
MADE_FROM: Mapping[str, Sequence[str]] = {
    SETTINGS: (),
    "classifier": (),
    "match": ("classifier",),
    "vqgan": ("classifier",),
    "codebooks": ("match", "vqgan"),
    "llm": ("match", "vqgan", "codebooks"),
}

Found = Mapping[str, Mapping[str, str]]  # part -> file or folder -> SHA-256, of what is there


def record_parts(directory: Path, parts: Sequence[str] = tuple(FILES)) -> None:
    """Note that these parts are as they should be, made from the others that are there: all of them, for a directory put together by hand.

    Args:
        directory: a model directory.
        parts: keys of `FILES`; those of which nothing is there are left out.
    """
    noted = {part: note for part in parts if (note := _note(directory, part))["files"]}
    write_json(directory / RECORD, {**_record(directory), **noted})


def unrecorded(directory: Path, part: str) -> bool:
    """Whether a part is there of which nothing is noted: by a version that took no notes, or by a process that died before it could."""
    return part not in _record(directory) and any((directory / name).exists() for name in FILES[part])


def outdated(directory: Path, part: str) -> bool:
    """Whether a part is not as it was made, or was made from others than are there; False where nothing is noted of it."""
    now = _note(directory, part)
    return bool(_record(directory).get(part, now) != now)


def check_parts(directory: Path) -> dict[str, str]:
    """Refuse a model directory whose parts do not belong together; one without `parts.json` is taken as it is.

    A file that is missing is left to who reads it, and so is the classifier, which not every use needs.

    Returns:
        SHA-256 of every file of the directory, by its path in it.

    Raises:
        InputError: a file is not as it was made, or a part was made from another than the one that is there; it is named.
    """
    record, listed = _record(directory), hashes(directory)
    found = _found(listed)
    changed = {part: [name for name, now in found[part].items() if noted["files"].get(name) != now] for part, noted in record.items()}
    trained = [names for part, names in changed.items() if part != SETTINGS and found[part]]
    if len(trained) > 1 and all(trained):
        raise InputError(f"{directory / RECORD}: is of another model than all the parts here; restore it, or train again with --resume")
    wrong = [name for names in changed.values() for name in names]
    if wrong:
        raise InputError(f"{directory / wrong[0]}: is not the one that this model was made with; restore it, or train again with --resume")
    as_made: Found = {part: record[part]["files"] if files and part in record else files for part, files in found.items()}
    for part, noted in record.items():
        for source, digest in _sources(part, as_made).items():
            if found[part] and noted["from"].get(source, digest) != digest:
                raise InputError(f"{directory}: '{part}' was made from another '{source}' than the one here; train again with --resume")
    return listed


def hashes(directory: Path, names: Iterable[str] = ("",)) -> dict[str, str]:
    """SHA-256 of the files of a model directory, or of these files and folders of it, by path; without what is being written there."""
    files = [file for name in names for file in _files(directory / name)]
    inside = {file.relative_to(directory): file for file in files}
    return {name.as_posix(): sha256_of(file) for name, file in inside.items() if not any(part.startswith(".") for part in name.parts)}


def revision(listed: Mapping[str, str]) -> str:
    """Twelve hex digits that change when any part does, settings and codebooks too: models of one revision give the same outputs.

    Args:
        listed: SHA-256 by path, of `check_parts`.
    """
    return _digest({part: _digest(files) for part, files in _found(listed).items()})[:12]


def _files(path: Path) -> list[Path]:
    return [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]


def _note(directory: Path, part: str) -> dict[str, Mapping[str, str]]:
    """What there is to note of a part now."""
    found = _found(hashes(directory, [name for each in (part, *MADE_FROM[part]) for name in FILES[each]]))
    return {"files": found[part], "from": _sources(part, found)}


def _record(directory: Path) -> dict[str, Any]:
    """What is noted.

    Raises:
        InputError: it is no record of parts.
    """
    path = directory / RECORD
    record = read_json(path) if path.exists() else {}
    if not isinstance(record, dict) or any(part not in FILES or not _is_note(noted) for part, noted in record.items()):
        raise InputError(f"{path}: no record of a model's parts; restore it, or delete it to take the parts as they are")
    return record


def _is_note(noted: object) -> bool:
    return isinstance(noted, dict) and all(
        isinstance(each, dict) and all(isinstance(value, str) for value in each.values())
        for each in (noted.get("files"), noted.get("from"))
    )


def _found(listed: Mapping[str, str]) -> Found:
    return {part: {name: whole for name in names if (whole := _whole(name, listed))} for part, names in FILES.items()}


def _whole(name: str, listed: Mapping[str, str]) -> str:
    """SHA-256 of a file; of a folder, of the names and SHA-256 of its files; "" where there is neither."""
    inside = {file: sha for file, sha in listed.items() if file.startswith(f"{name}/")}
    return _digest(inside) if inside else listed.get(name, "")


def _sources(part: str, found: Found) -> dict[str, str]:
    return {source: _digest(found[source]) for source in MADE_FROM[part] if found[source]}


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(sorted(files.items()))).encode()).hexdigest()
