"""A film for each report of the split, kept as PNG: an interrupted drawing goes on where it was; knows no metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from cyclicxr.checkpoint import read_json, write_atomically, write_json
from cyclicxr.evaluate.system import Case, Evaluated
from cyclicxr.types import InputError

BATCH = 32  # films drawn at once; part of what the seed fixes


def draw_all(model: Evaluated, case: Case, folder: Path) -> UInt8[Tensor, "n s s"]:
    """A film for each report of the split, in order; a batch whose files are all there and whole is read, not drawn again.

    Raises:
        InputError: the folder's films are of another model, split, seed or sample.
    """
    header, marker = {"model": model.info, "split": case.split, "seed": case.seed}, folder / "drawn.json"
    header |= {} if case.sample is None else {"sample": case.sample}
    if not marker.exists():
        write_json(marker, header)
    elif read_json(marker) != header:
        raise InputError(f"{folder}: holds films of another model, split, seed or sample; choose another --out, or remove the folder")
    studies = case.cases.studies
    films = torch.empty(case.cases.pixels.shape, dtype=torch.uint8)
    for start in range(0, len(studies), BATCH):
        batch = studies[start : start + BATCH]
        paths = [folder / drawn_name(study.id) for study in batch]
        read = [_read(path) for path in paths]
        whole = [film for film in read if film is not None]
        if len(whole) < len(batch):
            _save(model.draw_films([study.report for study in batch], seed=case.seed + start), paths)
            whole = [film for path in paths if (film := _read(path)) is not None]
        films[start : start + len(batch)] = torch.stack(whole)
        case.progress("drawing films", start + len(batch), len(studies))
    return films


def drawn_name(study: str) -> str:
    """File name of the film that was drawn for a study."""
    return f"{quote(study, safe='')}.png"


def _read(path: Path) -> UInt8[Tensor, "s s"] | None:
    """A drawn film; None where there is none, or its file is torn."""
    try:
        with Image.open(path) as film:
            return torch.from_numpy(np.array(film))
    except (FileNotFoundError, UnidentifiedImageError, OSError, SyntaxError):  # Pillow says the last of a broken PNG
        return None


def _save(films: UInt8[Tensor, "b s s"], paths: Sequence[Path]) -> None:
    for film, path in zip(films.numpy(), paths, strict=True):
        with write_atomically(path) as temporary:
            Image.fromarray(film).save(temporary, format="PNG")
