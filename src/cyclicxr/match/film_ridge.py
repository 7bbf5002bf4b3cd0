"""Ridge regression from a film's pooled patches to whatever is known of training films; knows no words and no keywords."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor

FOLDS = 5


@dataclass(frozen=True)
class FilmRidge:
    """A linear map of f pooled features, each standardised.

    Args:
        centre: (f,) the mean film.
        scale: (f,) the deviation of each feature.
        weights: (f, r).
    """

    centre: Float[Tensor, " f"]
    scale: Float[Tensor, " f"]
    weights: Float[Tensor, "f r"]

    @classmethod
    def fit(cls, films: Float[Tensor, "n f"], targets: Float[np.ndarray, "n r"], penalty: float) -> FilmRidge:
        """Learn it.

        Args:
            films: pooled patches, `FilmPatches.pooled`.
            targets: what each film calls for, the mean taken away.
            penalty: of the regression, on standardised features.
        """
        scaler = StandardScaler()
        ridge = Ridge(penalty, fit_intercept=False).fit(scaler.fit_transform(films.numpy()), targets)
        weights = ridge.coef_.reshape(targets.shape[1], -1).T
        return cls(*(torch.from_numpy(np.asarray(part)).float() for part in (scaler.mean_, scaler.scale_, weights)))

    def read(self, films: Float[Tensor, "b f"]) -> Float[Tensor, "b r"]:
        """What films call for, less what they usually do."""
        return (films.float() - self.centre) / self.scale @ self.weights


def fit_held_out(films: Float[Tensor, "n f"], targets: Float[np.ndarray, "n r"], penalty: float) -> list[tuple[range, FilmRidge]]:
    """For each of `FOLDS` stretches of the films, a regression that was not taught with them; arguments as of `FilmRidge.fit`."""
    return [
        (range(int(out[0]), int(out[-1]) + 1), FilmRidge.fit(films[taught], targets[taught], penalty))
        for taught, out in KFold(min(FOLDS, len(films))).split(targets)
    ]
