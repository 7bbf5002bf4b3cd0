"""The cycle task: film -> report -> film and report -> film -> report against the originals, and whether the consistency of a sentence
tells a true one from one that was made false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cyclicxr.data.reports import without_marks
from cyclicxr.evaluate.baselines import derangement
from cyclicxr.evaluate.consistency import SentenceScorer, score_consistency
from cyclicxr.evaluate.drawn_films import draw_all
from cyclicxr.evaluate.drawn_findings import MEAN, finder_of
from cyclicxr.evaluate.reports import write_all
from cyclicxr.evaluate.system import Case, Evaluated, Table, over_films
from cyclicxr.language.prompt import has_words
from cyclicxr.metrics.clinical import NORMAL, finding_statistics, named_findings, scored_findings
from cyclicxr.metrics.interval import Measure, Statistic, measure, paired
from cyclicxr.metrics.report import report_statistics
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.corpus import Corpus

REDRAWN, OTHER_FILM = "drawn from the report written for it", "drawn from the report written for another film"
FROM_TRUE, ITSELF = "drawn from its true report", "the film itself"
REWRITTEN, OTHER_REPORT = "written for the film drawn from it", "written for the film drawn from another report"
FROM_FILM = "written for its original film"
FILM_TO_FILM, REPORT_TO_REPORT = "cycle, film to report to film", "cycle, report to film to report"
WORDLESS = "Chest radiograph."  # what is drawn for a report of no words


def score_cycles(model: Evaluated, case: Case, out: Path) -> dict[str, Table]:
    """Tables "cycle, film to report to film" (cosine of classifier features with the original, AUC of the findings), "cycle, report to
    film to report" (BLEU, ROUGE-L, CIDEr, agreement of the findings that both texts name), "cycle, paired" (both against shuffled pairs),
    and those of `consistency.score_consistency`.

    Args:
        model: writes and draws.
        case: what is evaluated.
        out: `reports.jsonl` and `drawn/` of the other tasks are used where they are there; `redrawn/`, `rewritten.jsonl` and `changed/` get
            what is drawn and written here, as it comes.

    Raises:
        InputError: `out` holds reports or films of another model or split.
    """
    written = write_all(model, case, out / "reports.jsonl")
    drawn = draw_all(model, case, out / "drawn")
    studies = [
        replace(study, report=text if has_words(text) else WORDLESS) for study, text in zip(case.cases.studies, written, strict=True)
    ]
    redrawn = draw_all(model, of_corpus(case, Corpus(studies, case.cases.pixels)), out / "redrawn")
    rewritten = write_all(model, of_corpus(case, Corpus(case.cases.studies, drawn)), out / "rewritten.jsonl")
    tables: dict[str, Table] = {FILM_TO_FILM: {}, REPORT_TO_REPORT: {}, "cycle, paired": {}}
    if model.classifier is not None:
        tables[FILM_TO_FILM], tables["cycle, paired"] = _films(model.classifier, case, redrawn, drawn)
    tables[REPORT_TO_REPORT], differences = _reports(case, written, rewritten)
    tables["cycle, paired"] |= differences
    return tables | (score_consistency(model, case, drawn, out) if isinstance(model, SentenceScorer) else {})


def of_corpus(case: Case, corpus: Corpus) -> Case:
    """The same evaluation over other films or texts: all studies of `corpus`."""
    return replace(case, corpus=corpus, sample=None)


def _films(classifier: FilmClassifier, case: Case, redrawn: UInt8[Tensor, "n s s"], drawn: UInt8[Tensor, "n s s"]) -> tuple[Table, Table]:
    """Drawn films against their originals, and the difference of the first row and the shuffled one."""
    real = over_films(classifier.features, case.cases.pixels)
    vectors = {REDRAWN: over_films(classifier.features, redrawn), FROM_TRUE: over_films(classifier.features, drawn), ITSELF: real}
    vectors[OTHER_FILM] = vectors[REDRAWN][derangement(len(real), case.seed)]
    finder = finder_of(classifier, case.cases.studies)
    table: Table = {}
    for name in (REDRAWN, OTHER_FILM, FROM_TRUE, ITSELF):
        table[name] = measure(_cosine(real, vectors[name]), len(real), case.seed)
        if finder is not None:
            table[name]["finding AUC"] = measure(finder.statistic(vectors[name]), len(finder.rows), case.seed)[MEAN]
    difference = paired(_cosine(real, vectors[REDRAWN]), _cosine(real, vectors[OTHER_FILM]), len(real), case.seed)
    if finder is not None:
        own, other = (finder.statistic(vectors[name]) for name in (REDRAWN, OTHER_FILM))
        difference["finding AUC"] = paired(own, other, len(finder.rows), case.seed)[MEAN]
    return table, {f"film {REDRAWN}, against {OTHER_FILM}": difference}


def _cosine(real: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> Statistic:
    """Mean cosine of each pair, both less the mean of the real films: else all films are alike."""
    centre = real.mean(0)
    cosines = torch.nn.functional.cosine_similarity(real - centre, other - centre, dim=1).double().numpy()
    return lambda weights: {"feature cosine": weights @ cosines / weights.sum(1)}


def _reports(case: Case, written: Sequence[str], rewritten: Sequence[str]) -> tuple[Table, Table]:
    """Texts against the true reports, and the difference of the first row and the shuffled one."""
    order = derangement(len(written), case.seed)
    systems = {REWRITTEN: list(rewritten), OTHER_REPORT: [rewritten[i] for i in order], FROM_FILM: list(written)}
    statistics = {name: _agreement(case.cases.reports, [without_marks(text) for text in texts]) for name, texts in systems.items()}
    n = len(written)
    difference = paired(statistics[REWRITTEN], statistics[OTHER_REPORT], n, case.seed)
    table: Table = {name: measure(statistic, n, case.seed) for name, statistic in statistics.items()}
    return table, {f"report {REWRITTEN}, against {OTHER_REPORT}": _shown(difference)}


def _agreement(references: Sequence[str], texts: Sequence[str]) -> Statistic:
    """BLEU, ROUGE-L, CIDEr, and the F1 of findings that the text affirms against those that the reference affirms."""
    words = report_statistics(references, texts, None)
    labels = [named or {NORMAL} for named in named_findings(references)]
    findings = finding_statistics(named_findings(texts), labels) if scored_findings(labels) else None

    def scores(weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        found = {name: value for name, value in words.scores(weights).items() if not name.startswith("METEOR")}
        if findings is not None:
            found |= {name: value for name, value in findings.scores(weights).items() if name.endswith(" F1")}
        return found

    return scores


def _shown(numbers: dict[str, Measure]) -> dict[str, Measure]:
    return {name: number for name, number in numbers.items() if name not in {"BLEU-1", "BLEU-2", "BLEU-3"}}
