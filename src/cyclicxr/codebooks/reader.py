"""What a film as a whole says of each keyword: ridge regression from its pooled patches to what its report affirms; knows no words.

MaxSim finds where a keyword is, and is a poor judge of whether it is there: it was never told that "no effusion" denies one
(docs/decisions/0041-keywords-read-off-the-film.md).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from cyclicxr.checkpoint import load_tensors, save_tensors
from cyclicxr.types import InputError

WEIGHTS = "textual_reader.safetensors"
PENALTY = 3e4  # [ours] of the ridge regression, on standardised features
FOLDS = 5


@dataclass(frozen=True)
class FilmReader:
    """Reads w keywords off f pooled features.

    Args:
        centre: (f,) the mean film.
        scale: (f,) the deviation of each feature.
        weights: (f, w).
    """

    centre: Float[Tensor, " f"]
    scale: Float[Tensor, " f"]
    weights: Float[Tensor, "f w"]

    @classmethod
    def fit(cls, films: Float[Tensor, "c f"], affirmed: Bool[Tensor, "c w"]) -> tuple[FilmReader, Float[Tensor, "c w"]]:
        """Learn it from the training films.

        Args:
            films: pooled patches, `FilmPatches.pooled`.
            affirmed: which film's report affirms which keyword.

        Returns:
            The reader, and what is read off each film by a reader that was not taught with it (in `FOLDS` parts).
        """
        scaler, said = StandardScaler(), affirmed.numpy().astype(np.float64)
        seen, ridge = scaler.fit_transform(films.numpy()), Ridge(PENALTY, fit_intercept=False)
        centred = said - said.mean(0)
        held_out = cross_val_predict(ridge, seen, centred, cv=KFold(min(FOLDS, len(seen))))
        weights = ridge.fit(seen, centred).coef_.reshape(-1, seen.shape[1]).T
        learned = (torch.from_numpy(np.asarray(part)).float() for part in (scaler.mean_, scaler.scale_, weights))
        return cls(*learned), torch.from_numpy(held_out.reshape(said.shape)).float()

    def read(self, films: Float[Tensor, "b f"]) -> Float[Tensor, "b w"]:
        """How far each film's report is expected to affirm each keyword, less how far reports usually do."""
        return (films.float() - self.centre) / self.scale @ self.weights

    def save(self, directory: Path) -> None:
        """Write `textual_reader.safetensors` (float16)."""
        save_tensors(directory / WEIGHTS, {each.name: getattr(self, each.name) for each in fields(self)}, half=True)

    @classmethod
    def load(cls, directory: Path) -> FilmReader:
        """What `save` wrote.

        Raises:
            InputError: the file is missing or broken.
        """
        parts = load_tensors(directory / WEIGHTS)
        if set(parts) != {each.name for each in fields(cls)}:
            raise InputError(f"{directory / WEIGHTS}: no reader of keywords; restore the file or train the codebooks again")
        return cls(**parts)
