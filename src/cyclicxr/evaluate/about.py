"""What an evaluation says of itself: hashes of its inputs, versions, and the key by which a finished task is known again; no metric."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from functools import cache
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import provenance, sha256_of
from cyclicxr.data.tables import read_table
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.metrics.interval import RESAMPLES
from cyclicxr.types import InputError

_LIBRARIES = ("cyclicxr", "matplotlib", "negspacy", "nltk", "pycocoevalcap", "scikit-learn", "scipy", "torchmetrics")
_SUFFIXES = (".safetensors", ".json", ".txt")  # of a model's files


def about_inputs(studies: Path, model: Path | None, seed: int, command: str) -> dict[str, Any]:
    """Hashes, versions, seeds and resamples of one evaluation.

    Args:
        studies: the studies table.
        model: the model's directory, whose files are hashed; None where there is none.
        seed: of everything random.
        command: that was given.
    """
    made = provenance({}, seed)
    files = sorted(path for path in model.rglob("*") if path.suffix in _SUFFIXES) if model else []
    return {
        "command": command,
        "code": made["code"],
        "versions": {
            **made["versions"],
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
            "python": platform.python_version(),
        },
        "studies": {"name": studies.name, "sha256": studies_digest(studies)},
        "model files": {path.relative_to(model).as_posix(): sha256_of(path) for path in files if model},
        "seeds": {"drawing, baselines, shuffles, resampling": seed},
        "resamples": RESAMPLES,
    }


def studies_digest(studies: Path) -> str:
    """SHA-256 of a studies table; of a folder's rows where the table is a folder of films and texts."""
    if studies.is_dir():
        return hashlib.sha256(json.dumps(list(read_table(studies)[1])).encode()).hexdigest()
    return sha256_of(studies)


def path_digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of a folder's files.

    Raises:
        InputError: there is nothing.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_file():
        return sha256_of(path)
    files = sorted(found for found in path.rglob("*") if found.is_file())
    named = [f"{found.relative_to(path).as_posix()} {sha256_of(found)}" for found in files]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def matcher_digest(matcher: AdaMatch) -> str:
    """SHA-256 of a matcher's weights, whatever directory they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(matcher.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 of the package's source: numbers of another code are not taken for this one's."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
