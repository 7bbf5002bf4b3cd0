"""A studies table with its films at the network's size, 8-bit pixels mapped from a cache on disk; knows nothing about training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float, UInt8
from torch import Tensor

from cyclicxr.data.cache import cached_films
from cyclicxr.data.studies import read_studies, split_by_patient
from cyclicxr.types import InputError, Progress, Study

SPLIT_SEED = 0  # a table without a `split` column is split by patient, always in the same way


@dataclass(frozen=True)
class Corpus:
    """Studies and their films, row by row.

    Args:
        studies: n studies.
        pixels: uint8 (n, size, size), bone bright; may be mapped from a file larger than the memory.
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
        together = rows[-1] - rows[0] == len(rows) - 1  # a stretch of the corpus, so that nothing needs to be copied
        pixels = self.pixels[rows[0] : rows[-1] + 1] if together else self.pixels[rows]
        return Corpus([self.studies[i] for i in rows], pixels)

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


def load_corpus(table: Path, size: int, cache: Path, fit: str = "squash", progress: Progress = lambda what, done, total: None) -> Corpus:
    """Read a studies table with its films; a film that can't be read is left out and logged with its reason.

    Args:
        table: CSV or Parquet.
        size: side of the network's image, pixels.
        cache: folder for the decoded films, so that a second run starts at once.
        fit: how films come into the network's square, one of `types.FITS`.
        progress: told what is done, how many of it, and of how many.

    Returns:
        The studies split by split, each split in the table's order, so that a split is one stretch of the cache.

    Raises:
        InputError: the table is wrong, or no film could be read.
    """
    studies = read_studies(table)
    if not any(study.split for study in studies):
        studies = split_by_patient(studies, SPLIT_SEED)
    studies.sort(key=lambda study: study.split)
    films = cached_films([study.image for study in studies], size, fit, cache, progress)
    if not films.rows:
        raise InputError(f"{table}: none of its {len(studies)} films could be read; check the `image` column (paths relative to the table)")
    return Corpus([studies[i] for i in films.rows], films.pixels)
