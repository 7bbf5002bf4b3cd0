"""Do drawn films show what their reports say? AUC of each finding as our classifier reads it; knows not how a film came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cyclicxr.data.openi import findings_of
from cyclicxr.evaluate.system import Table
from cyclicxr.metrics.clinical import MIN_FILMS, NORMAL, area_under_curve
from cyclicxr.metrics.interval import Statistic, measure
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.types import Study

MEAN = "mean"


@dataclass(frozen=True)
class Finder:
    """What is looked for, and where it is known to be.

    Args:
        classifier: reads the films.
        rows: of the r labelled studies among all n.
        columns: of the f findings, among the classifier's, that are on `MIN_FILMS` films, and not on as many.
        shown: whether each labelled study shows each of them.
    """

    classifier: FilmClassifier
    rows: Int[np.ndarray, " r"]
    columns: Int[np.ndarray, " f"]
    shown: Bool[np.ndarray, "r f"]

    def statistic(self, features: Float[Tensor, "n d"]) -> Statistic:
        """Finding (and "mean") -> AUC, of how often each labelled study is drawn."""
        with torch.inference_mode():
            logits = self.classifier.head(features[self.rows]).numpy()[:, self.columns]

        def of(weights: Float[np.ndarray, "w r"]) -> dict[str, Float[np.ndarray, " w"]]:
            areas = [area_under_curve(logits[:, j], self.shown[:, j], weights) for j in range(len(self.columns))]
            return dict(zip(self.names, areas, strict=True)) | {MEAN: np.mean(areas, axis=0)}

        return of

    @property
    def names(self) -> list[str]:
        """The findings with the number of films that show them."""
        films = self.shown.sum(0)
        return [f"{self.classifier.findings[column]} ({count} films)" for column, count in zip(self.columns, films, strict=True)]

    def table(self, features: Mapping[str, Float[Tensor, "n d"]], seed: int) -> Table:
        """Finding (and "mean") -> system -> AUC."""
        table: Table = {}
        for name, vectors in features.items():
            for finding, number in measure(self.statistic(vectors), len(self.rows), seed).items():
                table.setdefault(finding, {})[name] = number
        return table


def finder_of(classifier: FilmClassifier, studies: Sequence[Study]) -> Finder | None:
    """What the classifier can be asked about these studies; None where no finding is on `MIN_FILMS` labelled ones."""
    labels = [findings_of(study.mesh) for study in studies]
    rows = np.array([i for i, shown in enumerate(labels) if shown], dtype=int)
    known = [[finding in labels[i] for finding in classifier.findings] for i in rows]
    shown = np.array(known, dtype=bool).reshape(len(rows), len(classifier.findings))
    enough = (shown.sum(0) >= MIN_FILMS) & ((~shown).sum(0) >= MIN_FILMS)
    columns = np.array([j for j, finding in enumerate(classifier.findings) if len(rows) and enough[j] and finding != NORMAL], dtype=int)
    return Finder(classifier, rows, columns, shown[:, columns]) if len(columns) else None
