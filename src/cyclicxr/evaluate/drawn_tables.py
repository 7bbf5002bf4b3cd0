"""Numbers of film sets -> the tables of the draw task; knows no network but the finding reader."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from cyclicxr.evaluate.baselines import derangement
from cyclicxr.evaluate.drawn_films import drawn_name
from cyclicxr.evaluate.drawn_findings import MEAN, Finder
from cyclicxr.evaluate.film_set import FilmSet, Library, directions
from cyclicxr.evaluate.system import Case, Table
from cyclicxr.evaluate.verdicts import DRAWN, DRAWN_SHUFFLED, OTHER_FILMS, OURS
from cyclicxr.metrics.frechet import frechet_measure, kernel_distance
from cyclicxr.metrics.interval import Measure, Statistic, measure, paired, single

REAL = "the real film"
HALVES, BY_TEXT = "one half of the real films (floor)", "training film of the nearest report"
CLASSIFIER = "classifier"
COSINE, AREA = "likeness to the real film", "finding AUC"
_NEAR = (1, 5)  # percentiles of the real films' distances


@dataclass(frozen=True)
class Judged:
    """The measured sets of one evaluation.

    Args:
        case: what is evaluated.
        sets: system -> its films, one a study; `ours` and `REAL` among them.
        finder: reads findings; None without classifier or labels.
        library: the training films; None without classifier or training split.
        ours: the system that the others are compared with.
    """

    case: Case
    sets: dict[str, FilmSet]
    finder: Finder | None
    library: Library | None
    ours: str = DRAWN

    def drawn(self) -> Table:
        """System -> FID of each network, KID, finding AUC, likeness, NIQE, MS-SSIM."""
        table = {name: self._row(name) for name in self._systems()}
        if OTHER_FILMS not in self.sets and self._n > 3:
            table[HALVES] = self._halves()
        return table

    def by_finding(self) -> Table:
        """Finding (and "mean") -> system -> AUC."""
        return self._areas

    def copies(self) -> Table:
        """System -> mean distance of its films to the nearest training film, and the share nearer to one than 1 % and 5 % of the real
        films are, in classifier features and in pixels; and SSIM with the nearest by pixels."""
        table: Table = {}
        for name, found in self.sets.items():
            values = {}
            for space, nearest in found.nearest.items():
                values[f"{space} distance"] = nearest.distances
                for percent in _NEAR:
                    bound = np.percentile(self.sets[REAL].nearest[space].distances, percent)
                    values[f"{space} distance below {percent} % of real films"] = (nearest.distances < bound).astype(float)
            values |= {} if found.structure is None else {"SSIM with the nearest": found.structure}
            table[name] = measure(means(values), self._n, self.case.seed) if values else {}
        return table

    def against(self) -> Table:
        """The model less each other system, on the same studies: KID, finding AUC, likeness, NIQE."""
        ours = self._statistic(self.ours)
        others = [name for name in self._systems() if name != self.ours]
        us = OURS if self.ours == DRAWN else self.ours
        return {f"{us} against {name}": paired(ours, self._statistic(name), self._n, self.case.seed) for name in others}

    def features(self) -> dict[str, Float[Tensor, "n d"]]:
        """System -> features of our classifier; empty without one."""
        found = {name: of.features[CLASSIFIER] for name, of in self.sets.items() if CLASSIFIER in of.features}
        return found | ({DRAWN_SHUFFLED: found[self.ours][derangement(self._n, self.case.seed)]} if found and self._n > 1 else {})

    def cases(self) -> list[dict[str, Any]]:
        """A record a study: its drawn film, how like the real one it is, and the nearest training film; None where there is no number."""
        drawn = self.sets[self.ours]
        columns = {"NIQE": drawn.natural, COSINE: self._cosine(self.ours)}
        columns |= {f"{space} distance": nearest.distances for space, nearest in drawn.nearest.items()}
        records = []
        for i, study in enumerate(self.case.cases.studies):
            record: dict[str, Any] = {"id": study.id, "film": f"drawn/{drawn_name(study.id)}"}
            record |= {name: _plain(values[i]) for name, values in columns.items() if values is not None}
            if self.library:
                record["nearest training film"] = self.library.corpus.studies[drawn.nearest["feature"].rows[i]].id
            records.append(record)
        return records

    # ---- parts of a row

    @property
    def _n(self) -> int:
        return len(self.case.cases)

    def _systems(self) -> list[str]:
        shuffled = [DRAWN_SHUFFLED] if self._vectors and self._n > 1 else []
        return [self.ours, *shuffled, *(name for name in self.sets if name != self.ours)]

    @cached_property
    def _vectors(self) -> dict[str, Float[Tensor, "n d"]]:
        return self.features()

    @cached_property
    def _areas(self) -> Table:
        return self.finder.table(self._vectors, self.case.seed) if self.finder else {}

    def _row(self, name: str) -> dict[str, Measure]:
        row: dict[str, Measure] = {}
        if name not in (DRAWN_SHUFFLED, REAL) and self._n > 1:
            real, ours = self.sets[REAL].features, self.sets[name].features
            row |= {_fid(network): frechet_measure(real[network], ours[network], self.case.seed) for network in sorted(ours, key=_fid)}
        row |= measure(self._statistic(name), self._n, self.case.seed)
        row |= {AREA: self._areas[MEAN][name]} if self._areas else {}  # over the labelled studies alone
        found = self.sets.get(name)
        if found and found.likeness is not None:
            row |= measure(means({"MS-SSIM": found.likeness}), len(found.likeness), self.case.seed)
        if found and found.natural is not None and np.isnan(found.natural).any():
            row["films too flat for NIQE"] = single(float(np.isnan(found.natural).sum()), self._n)
        return row

    def _statistic(self, name: str) -> Statistic:
        """KID, finding AUC, likeness and NIQE of a system, of how often each study is drawn; those that it has."""
        parts: list[Statistic] = []
        averaged: dict[str, Float[np.ndarray, " n"]] = {}
        if name not in (DRAWN_SHUFFLED, REAL) and name in self._vectors and self._n > 1:
            parts.append(kernel_distance(self._vectors[REAL], self._vectors[name]))
        if self.finder:
            rows, areas = self.finder.rows, self.finder.statistic(self._vectors[name])
            parts.append(lambda weights: {AREA: areas(weights[:, rows])[MEAN]})
        if name != REAL and (cosine := self._cosine(name)) is not None:
            averaged[COSINE] = cosine
        if name in self.sets and (natural := self.sets[name].natural) is not None:
            averaged["NIQE"] = natural
        parts.append(means(averaged))
        return lambda weights: {metric: values for part in parts for metric, values in part(weights).items()}

    def _cosine(self, name: str) -> Float[np.ndarray, " n"] | None:
        """Cosine of each film's features with those of the study's real film, after centring."""
        if name not in self._vectors:
            return None
        real = self._vectors[REAL]
        centre = self.library.centre if self.library else real.mean(0)
        return (directions(real, centre) * directions(self._vectors[name], centre)).sum(1).double().numpy()

    def _halves(self) -> dict[str, Measure]:
        """FID and KID of one random half of the real films and the other, where no training film can stand for them."""
        order = np.random.default_rng(self.case.seed).permutation(self._n)[: self._n // 2 * 2].reshape(2, -1)
        row: dict[str, Measure] = {}
        for network, features in self.sets[REAL].features.items():
            row[_fid(network)] = frechet_measure(features[order[0]], features[order[1]], self.case.seed)
        if CLASSIFIER in self.sets[REAL].features:
            left, right = (self._vectors[REAL][half] for half in order)
            row |= measure(kernel_distance(left, right), len(left), self.case.seed)
        return row


def _fid(network: str) -> str:
    return "FID" if network == CLASSIFIER else f"FID ({network})"


def means(values: dict[str, Float[np.ndarray, " n"]]) -> Statistic:
    """Weighted means of what is not NaN."""

    def of(weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        found = {}
        for name, column in values.items():
            known = ~np.isnan(column)
            total = weights[:, known].sum(1)
            found[name] = np.divide(weights[:, known] @ column[known], total, out=np.full(len(weights), np.nan), where=total > 0)
        return found

    return of


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
