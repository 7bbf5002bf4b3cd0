"""What a film as a whole says of each keyword: ridge regression from its pooled patches to what its report affirms; knows no words.

MaxSim finds where a keyword is, and is a poor judge of whether it is there: it was never told that "no effusion" denies one
(docs/decisions/0041-keywords-read-off-the-film.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cyclicxr.checkpoint import load_tensors, save_tensors
from cyclicxr.match.film_ridge import FilmRidge, fit_held_out
from cyclicxr.types import InputError

WEIGHTS = "textual_reader.safetensors"
PENALTY = 3e4  # [ours] of the ridge regression, on standardised features


def learn_reader(films: Float[Tensor, "c f"], affirmed: Bool[Tensor, "c w"]) -> tuple[FilmRidge, Float[Tensor, "c w"]]:
    """How far each film's report is expected to affirm each keyword, less how far reports usually do.

    Args:
        films: pooled patches of the training films, `FilmPatches.pooled`.
        affirmed: which film's report affirms which keyword.

    Returns:
        The reader, and what is read off each film by a reader that was not taught with it.
    """
    held_out = torch.cat([reader.read(films[list(part)]) for part, reader in learn_held_out(films, affirmed)])
    return FilmRidge.fit(films, _targets(affirmed), PENALTY), held_out


def learn_held_out(films: Float[Tensor, "c f"], affirmed: Bool[Tensor, "c w"]) -> list[tuple[range, FilmRidge]]:
    """For each stretch of the training films, a reader that was not taught with them; arguments as of `learn_reader`."""
    return fit_held_out(films, _targets(affirmed), PENALTY)


def _targets(affirmed: Bool[Tensor, "c w"]) -> Float[np.ndarray, "c w"]:
    said = affirmed.numpy().astype(np.float64)
    return np.asarray(said - said.mean(0))


def save_reader(reader: FilmRidge, directory: Path) -> None:
    """Write `textual_reader.safetensors` (float16)."""
    save_tensors(directory / WEIGHTS, vars(reader), half=True)


def load_reader(directory: Path) -> FilmRidge:
    """What `save_reader` wrote.

    Raises:
        InputError: the file is missing or broken.
    """
    parts = load_tensors(directory / WEIGHTS)
    if set(parts) != {"centre", "scale", "weights"}:
        raise InputError(f"{directory / WEIGHTS}: no reader of keywords; restore the file or train the codebooks again")
    return FilmRidge(**parts)
