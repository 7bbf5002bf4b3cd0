"""Model and run directories: safetensors, JSON and a provenance note, each file written whole or not at all; knows no stage.

Nothing here unpickles: tensors are safetensors, everything else is JSON.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import secrets
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cyclicxr.config import Preset, from_json
from cyclicxr.types import InputError

CONFIG = "config.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)  # safetensors tells such a number in its message alone
_LIBRARIES = ("torch", "transformers", "numpy", "safetensors", "spacy", "pillow")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes to a file: a full disk is one clear line.

    Raises:
        InputError: the disk, or the share of it that may be used, is full.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) not in _FULL and not any(f"(os error {n})" in str(error) for n in _FULL):
            raise
        full = "the disk is full; what was there before is whole. Free some space, and go on with --resume where the command has it"
        raise InputError(f"{path}: can't be written, {full}") from None


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; it takes the name `path` when the block ends well and is removed when it does not.

    Raises:
        InputError: the disk is full; what stood at `path` still stands there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove what processes that were killed while they wrote `path` left beside it; nobody may be writing it now."""
    for left in path.parent.glob(f".{path.name}.*.part"):
        left.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinity are refused (they are not JSON)."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is this a complete model directory?") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); restore the file or train again") from None


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes; of a folder, of the names and sizes of the files in it.

    Raises:
        InputError: there is no such file.
    """
    if path.is_dir():
        listed = sorted((file.relative_to(path).as_posix(), file.stat().st_size) for file in path.rglob("*") if file.is_file())
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is this a complete model directory?") from None


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, half: bool = False, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically. `half` stores floating ones as float16 (half the size)."""
    stored = {name: _stored(tensor, half) for name, tensor in tensors.items()}
    with write_atomically(path) as temporary:
        save_file(stored, temporary, metadata=dict(metadata or {}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors; float16 comes back as float32.

    Raises:
        InputError: the file is missing, truncated or not safetensors.
    """
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in _read(path).items()}


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module with what `save_tensors` wrote of its `state_dict()`.

    Raises:
        InputError: the file is missing, truncated, or of a module of other sizes.
    """
    tensors = load_tensors(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise InputError(f"{path}: does not fit {CONFIG} beside it ({reason}); restore both from one run, or train again") from None


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a nested dict of tensors, numbers, strings and lists (modules' and optimisers' `state_dict()`), atomically and exactly."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_flatten(state, "", tensors))
    save_tensors(path, tensors, metadata={"tree": tree, "sha256": _contents(tree, tensors)})


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote; one that was written before states held their SHA-256 is taken as it is.

    Raises:
        InputError: the file is missing, truncated, changed since it was written, or not a checkpoint of ours.
    """
    tree, kept = _state_header(path)
    tensors = _read(path)
    found = _contents(tree, tensors)
    if kept and found != kept:
        changed = f"changed since it was written (SHA-256 {found[:16]}, not {kept[:16]})"
        raise InputError(f"{path}: {changed}; restore it, or delete it and start the stage again")
    state: dict[str, Any] = _unflatten(json.loads(tree), tensors)
    return state


def state_numbers(path: Path) -> dict[str, Any]:
    """What `save_state` wrote, with None for each tensor: none is read.

    Raises:
        InputError: the file is missing, truncated, or not a checkpoint of ours.
    """
    state: dict[str, Any] = _unflatten(json.loads(_state_header(path)[0]), defaultdict(lambda: None))
    return state


def write_preset(directory: Path, preset: Preset) -> None:
    """Write `config.json` of a model directory."""
    write_json(directory / CONFIG, preset.to_json())


def read_preset(directory: Path) -> Preset:
    """The preset of a model directory.

    Raises:
        InputError: `config.json` is missing, or does not fit this version.
    """
    return from_json(Preset, read_json(directory / CONFIG))


def provenance(inputs: Mapping[str, Path], seed: int) -> dict[str, Any]:
    """Where a model came from: code revision, hashes of its inputs, seed, versions of the libraries."""
    return {
        "code": _revision(),
        "inputs": {name: sha256_of(path) for name, path in inputs.items()},
        "seed": seed,
        "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    tensor = tensor.half() if half and tensor.is_floating_point() else tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def _contents(tree: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state: its tree, and its tensors in the order of their names."""
    digest = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        plain = tensors[name].detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {plain.dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _state_header(path: Path) -> tuple[str, str]:
    """A state's tree and the SHA-256 of its contents, "" where it holds none."""
    with _opened(path) as file:
        metadata = file.metadata() or {}
    if "tree" not in metadata:
        raise InputError(f"{path}: not a training checkpoint of this version; delete it and start the stage again")
    return metadata["tree"], metadata.get("sha256", "")


def _read(path: Path) -> dict[str, Tensor]:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is this a complete model directory?") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); restore it or train again") from None


def _flatten(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        tensors[path] = node
        return {"tensor": path}
    if isinstance(node, Mapping):
        return {"dict": [[key, _flatten(value, f"{path}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return {"list": [_flatten(value, f"{path}/{i}", tensors) for i, value in enumerate(node)]}
    return {"value": node}


def _unflatten(tree: Any, tensors: Mapping[str, Tensor | None]) -> Any:
    ((kind, value),) = tree.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _unflatten(child, tensors) for key, child in value}
    if kind == "list":
        return [_unflatten(child, tensors) for child in value]
    return value


def _revision() -> str:
    here = Path(__file__).parent
    try:
        found = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"
