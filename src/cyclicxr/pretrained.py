"""What others trained, in Hugging Face form, from a directory or from a hub at a pinned revision; knows no architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from cyclicxr.types import InputError

T = TypeVar("T")


def load_pretrained(load: Callable[..., T], setting: str, name: str | Path, revision: str, **options: Any) -> T:
    """What `load` finds under a name, or one clear line.

    Args:
        load: a `from_pretrained`, or another function that takes a name and a `revision`.
        setting: that holds the name, for messages.
        name: a directory; else a hub id.
        revision: of the hub id; a directory has none.
        options: for `load`.

    Raises:
        InputError: a hub id without a revision, or what is there can't be loaded.
    """
    is_here = Path(name).is_dir()
    if not is_here and not revision:
        raise InputError(
            f"{setting}: '{name}' is no directory, and a hub id needs its revision pinned; give a local directory, or a commit as revision"
        )
    try:
        return load(str(name), revision=None if is_here else revision, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{setting}: '{name}' can't be loaded ({reason}); give a whole local directory") from None
