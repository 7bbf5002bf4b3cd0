"""A studies table with its films decoded once to the network's size, held in memory as 8-bit pixels; knows nothing about training."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cyclicxr.checkpoint import load_tensors, save_tensors
from cyclicxr.data.images import network_pixels, read_film
from cyclicxr.data.studies import read_studies, split_by_patient
from cyclicxr.types import InputError, Study

log = logging.getLogger(__name__)

SPLIT_SEED = 0  # a table without a `split` column is split by patient, always in the same way


@dataclass(frozen=True)
class Corpus:
    """Studies and their films, row by row.

    Args:
        studies: n studies.
        pixels: uint8 (n, size, size), bone bright.
    """

    studies: list[Study]
    pixels: UInt8[Tensor, "n h w"]

    def __len__(self) -> int:
        return len(self.studies)

    def split(self, name: str) -> Corpus:
        """The studies of one split.

        Raises:
            InputError: the split has no study.
        """
        rows = [i for i, study in enumerate(self.studies) if study.split == name]
        if not rows:
            raise InputError(f"studies table: no row of split '{name}'; give a `split` column with train, val and test")
        return Corpus([self.studies[i] for i in rows], self.pixels[rows])

    def films(self, indices: list[int]) -> Float[Tensor, "b 1 h w"]:
        """Films as float32 in [0, 1]."""
        return to_float(self.pixels[indices])

    @property
    def reports(self) -> list[str]:
        """The reports, in order."""
        return [study.report for study in self.studies]


def to_float(pixels: UInt8[Tensor, "b h w"]) -> Float[Tensor, "b 1 h w"]:
    """8-bit pixels -> float32 in [0, 1] with a channel axis."""
    return pixels.unsqueeze(1).float() / 255


def load_corpus(table: Path, size: int, cache: Path) -> Corpus:
    """Read a studies table and decode its films; a film that can't be read is left out and logged with its reason.

    Args:
        table: CSV or Parquet.
        size: side of the network's image, pixels.
        cache: folder for the decoded films, so that a second run starts at once; its name holds a hash of the table and of each
            film's path, size and time of change.

    Raises:
        InputError: the table is wrong, or no film could be read.
    """
    studies = read_studies(table)
    if not any(study.split for study in studies):
        studies = split_by_patient(studies, SPLIT_SEED)
    stored = cache / f"films-{size}-{_fingerprint(studies)}.safetensors"
    if stored.exists():
        found = load_tensors(stored)
        return Corpus([studies[i] for i in found["rows"].tolist()], found["pixels"])
    rows, films = [], []
    for i, study in enumerate(studies):
        try:
            films.append(torch.from_numpy(network_pixels(read_film(study.image), size)))
            rows.append(i)
        except InputError as error:
            log.warning("left out: %s", error)
    if not films:
        raise InputError(f"{table}: none of its {len(studies)} films could be read; check the `image` column (paths relative to the table)")
    pixels = torch.stack(films)
    save_tensors(stored, {"pixels": pixels, "rows": torch.from_numpy(np.array(rows))})
    return Corpus([studies[i] for i in rows], pixels)


def _fingerprint(studies: list[Study]) -> str:
    digest = hashlib.sha256()
    for study in studies:
        path = Path(study.image)
        stat = path.stat() if path.exists() else None
        digest.update(f"{study.id}\t{path}\t{stat.st_size if stat else 0}\t{stat.st_mtime_ns if stat else 0}\n".encode())
    return digest.hexdigest()[:16]
