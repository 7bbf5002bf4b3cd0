"""Does the consistency of a sentence tell a true one from one made false by rule? AUC by kind of change, beside what looks less."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from cyclicxr.checkpoint import write_json
from cyclicxr.codebooks.support import consistency
from cyclicxr.data.reports import sentences
from cyclicxr.evaluate.baselines import derangement
from cyclicxr.evaluate.drawn_films import draw_all
from cyclicxr.evaluate.system import Case, Evaluated, Table
from cyclicxr.metrics.calibration import calibration_error
from cyclicxr.metrics.clinical import area_under_curve
from cyclicxr.metrics.interval import measure, paired
from cyclicxr.training.changed_text import KINDS, Change, change_reports
from cyclicxr.training.corpus import Corpus

CHECKED = 100  # films whose reports are changed; each change is drawn
CYCLE, ORIGINAL = "consistency after the cycle", "support by the original film alone"
LIKELY, POINTWISE = "language model, given the film", "language model, given the film less given another"
ELSEWHERE = "support by another film (blind)"
FREQUENT, BRIEF = "times the sentence is in train (blind)", "fewer words (blind)"
ALL = "all kinds"


@runtime_checkable
class SentenceScorer(Protocol):
    """What a model says of single sentences: see `cycle.Model`."""

    def sentence_support(self, pixels: UInt8[Tensor, "n s s"], films: Sequence[int], texts: Sequence[str]) -> Float[Tensor, " c"]:
        """Chance that each sentence is true of its film."""

    def sentence_likelihood(
        self, pixels: UInt8[Tensor, "n s s"], films: Sequence[int], befores: Sequence[str], texts: Sequence[str]
    ) -> Float[Tensor, " c"]:
        """Mean log-probability of each sentence's tokens."""


class Checked(Evaluated, SentenceScorer, Protocol):
    """A model whose sentences can be checked."""


@dataclass(frozen=True)
class Sentences:
    """True sentences, then the same number of false ones.

    Args:
        changes: of each true sentence, and in the same order of each false one.
        films: n, for resampling.
    """

    changes: Sequence[Change]
    films: int

    @property
    def true(self) -> Bool[np.ndarray, " c"]:
        """Which are true."""
        return np.repeat([True, False], len(self.changes))

    @property
    def texts(self) -> list[str]:
        """The words."""
        return [change.true for change in self.changes] + [change.false for change in self.changes]

    @property
    def on(self) -> list[int]:
        """The film of each."""
        return [change.own for change in self.changes] + [change.film for change in self.changes]

    @property
    def befores(self) -> list[str]:
        """What its report says before each."""
        return [change.before for change in self.changes] + [change.report[: change.at] for change in self.changes]

    @property
    def kinds(self) -> list[str]:
        """The kind of change of each, of the true ones too."""
        return [change.kind for change in self.changes] * 2

    def areas(self, scores: Float[np.ndarray, " c"]) -> Callable[[Float[np.ndarray, "r n"]], dict[str, Float[np.ndarray, " r"]]]:
        """AUC of each kind, true sentences above false ones, when film i counts `weights[:, i]` times with all that is changed in its
        report."""
        of_film, kinds = np.array([change.film for change in self.changes] * 2), np.array(self.kinds)
        chosen = {kind: kinds == kind for kind in KINDS} | {ALL: np.ones(len(kinds), dtype=bool)}

        def found(weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
            each = weights[:, of_film]
            return {
                kind: area_under_curve(scores[which], self.true[which], each[:, which]) for kind, which in chosen.items() if which.any()
            }

        return found


def score_consistency(model: Checked, case: Case, drawn: UInt8[Tensor, "n s s"], out: Path) -> dict[str, Table]:
    """Tables "consistency" (scorer -> AUC by kind of change; calibration error of those that are probabilities) and "consistency, paired"
    (the cycle's AUC less each other scorer's).

    A false sentence is scored on its film and on a film drawn from the changed report, a true one on its own film and on the one drawn from
    the true report.

    Args:
        model: scores sentences and draws.
        case: what is evaluated; `CHECKED` films of it, by the seed.
        drawn: a film for each true report.
        out: `changed/` there gets the films of changed reports, `consistency.json` score, truth and kind of each sentence.

    Raises:
        InputError: `out` holds films of another model or split.
    """
    rows = np.sort(np.random.default_rng(case.seed).permutation(len(case.cases))[:CHECKED])
    studies = [case.cases.studies[row] for row in rows]
    given = Sentences(change_reports([study.report for study in studies], case.seed), len(studies))
    if not given.changes:
        return {}
    pixels, true_drawn = case.cases.pixels[rows], drawn[rows]
    changed = [
        replace(studies[change.film], id=f"{studies[change.film].id}/{change.kind}", report=change.report) for change in given.changes
    ]
    of_changed = Corpus(changed, pixels[[change.film for change in given.changes]])
    false_drawn = draw_all(model, replace(case, corpus=of_changed, sample=None), out / "changed")
    scores = _scores(model, case, given, pixels, torch.cat([true_drawn, false_drawn]))
    write_json(out / "consistency.json", {"score": scores[CYCLE].tolist(), "true": given.true.tolist(), "kind": given.kinds})
    statistics = {name: given.areas(values) for name, values in scores.items()}
    table: Table = {name: measure(statistic, given.films, case.seed) for name, statistic in statistics.items()}
    of_film = np.array([change.film for change in given.changes] * 2)
    for name in (CYCLE, ORIGINAL):
        table[name] |= measure(
            lambda weights, name=name: {"calibration error": calibration_error(scores[name], given.true, weights[:, of_film])},  # type: ignore[misc]
            given.films,
            case.seed,
        )
    against = {
        f"{CYCLE}, against {name}": paired(statistics[CYCLE], other, given.films, case.seed)
        for name, other in statistics.items()
        if name != CYCLE
    }
    return {"consistency": table, "consistency, paired": against}


def _scores(
    model: Checked, case: Case, given: Sentences, pixels: UInt8[Tensor, "n s s"], drawn: UInt8[Tensor, "m s s"]
) -> dict[str, Float[np.ndarray, " c"]]:
    """Scorer -> a score a sentence, high for true ones; `drawn` are those of the true reports, then those of the changed ones."""
    half, texts = len(given.changes), given.texts
    case.progress("scoring sentences", 0, len(texts))
    original = model.sentence_support(pixels, given.on, texts)
    redrawn = model.sentence_support(drawn, [*given.on[:half], *range(len(pixels), len(pixels) + half)], texts)
    case.progress("scoring sentences", half, len(texts))
    likely = model.sentence_likelihood(pixels, given.on, given.befores, texts)
    other = derangement(len(pixels), case.seed)
    instead = [int(other[film]) for film in given.on]
    blind = model.sentence_likelihood(pixels, instead, given.befores, texts)
    elsewhere = model.sentence_support(pixels, instead, texts)
    case.progress("scoring sentences", len(texts), len(texts))
    scores = {CYCLE: consistency(original, redrawn), ORIGINAL: original, LIKELY: likely, POINTWISE: likely - blind, ELSEWHERE: elsewhere}
    found = {name: values.double().numpy() for name, values in scores.items()}
    if case.train is not None:
        known = Counter(_plain(text) for report in case.train.reports for text, _, _ in sentences(report))
        found[FREQUENT] = np.array([known[_plain(text)] for text in texts], dtype=float)
    return found | {BRIEF: -np.array([len(text.split()) for text in texts], dtype=float)}


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")
