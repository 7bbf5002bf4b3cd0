"""Do drawn films show what was asked for, to a reader that had no part in the model? A second film classifier is trained for the question:
another seed, fixed patches, findings alone; neither the VQ-GAN nor a choice between drawings ever saw it.

python benchmarks/drawn_reader.py ../shared/data/openi/studies.csv       # reads the films that evaluate_openi.py drew, or draws them
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from comparison import compared, joined
from jaxtyping import Float, UInt8
from machine import save_result
from peers import FIXED, PRETRAINING, Bench
from torch import Tensor

import cyclicxr
from cyclicxr.config import OPENI_SMALL, override
from cyclicxr.cycle import Model
from cyclicxr.evaluate.baselines import derangement
from cyclicxr.evaluate.drawing import copied_films, reconstruct
from cyclicxr.evaluate.drawn_films import draw_all
from cyclicxr.evaluate.drawn_findings import MEAN, Finder, finder_of
from cyclicxr.evaluate.drawn_tables import BY_TEXT, REAL
from cyclicxr.evaluate.reports import raw_reports
from cyclicxr.evaluate.system import Case, over_films
from cyclicxr.evaluate.verdicts import DRAWN, DRAWN_SHUFFLED, RECONSTRUCTED
from cyclicxr.metrics.interval import Statistic
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.corpus import Corpus, load_corpus

READER_SEED, SEED = 1, 0
ASKED = ("cardiomegaly", "effusion", "opacity")  # of the goal: an AUC of .70 each
OWN, OTHER = "the model's own classifier", "a classifier that had no part in it"


def reader(corpus: Corpus, out: Path) -> FilmClassifier:
    """The classifier that had no part in the model, trained once: the peers' with fixed patches, and another seed."""
    return FilmClassifier.load(Bench(corpus, override(OPENI_SMALL, PRETRAINING), out).classifier(FIXED, READER_SEED).model).eval()


def film_sets(model: Model, case: Case, drawn: Path) -> dict[str, UInt8[Tensor, "n s s"]]:
    """The films of each row, one a study."""
    films, copied = draw_all(model, case, drawn), copied_films(case)[BY_TEXT]()
    return {DRAWN: films, BY_TEXT: copied, RECONSTRUCTED: reconstruct(model, case, {}), REAL: case.cases.pixels}


def shown(finder: Finder, features: Float[Tensor, "n d"]) -> Statistic:
    """AUC of the mean finding and of those in the goal."""
    areas = finder.statistic(features)

    def of(weights: Float[np.ndarray, "w r"]) -> dict[str, Float[np.ndarray, " w"]]:
        return {name: area for name, area in areas(weights).items() if name.startswith((*ASKED, MEAN))}

    return of


def read(finder: Finder, sets: dict[str, UInt8[Tensor, "n s s"]]) -> dict[str, Any]:
    """Every row as one reader sees it, and the drawn films less the others."""
    features = {name: over_films(finder.classifier.features, films) for name, films in sets.items()}
    others = {DRAWN_SHUFFLED: features[DRAWN][derangement(len(features[DRAWN]), SEED)]}
    rows = {name: shown(finder, vectors) for name, vectors in ({DRAWN: features[DRAWN]} | others | features).items()}
    alone, less = compared(rows, DRAWN, len(finder.rows), SEED)
    return {"rows": joined(alone), "drawn less": joined(less)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--split", default="test", help="val to tune (default: test)")
    parser.add_argument("--drawn", type=Path, default=Path("out/evaluate/drawn"), help="where drawn films are, or will be")
    parser.add_argument("--out", type=Path, default=Path("runs/peers"), help="where the reader's training is kept")
    asked = parser.parse_args()
    model = cyclicxr.load(asked.model)
    if model.classifier is None:
        raise SystemExit("this model has no classifier of its own to compare the reader with")
    corpus = load_corpus(asked.studies, model.preset.encoder.size, asked.out / "cache", model.preset.encoder.fit)
    case = Case(corpus, raw_reports(asked.studies), asked.split, SEED, partial(print, file=sys.stderr))
    sets = film_sets(model, case, asked.drawn)
    readers = {OWN: finder_of(model.classifier, case.cases.studies), OTHER: finder_of(reader(corpus, asked.out), case.cases.studies)}
    found = {name: read(finder, sets) for name, finder in readers.items() if finder}
    print(save_result("drawn_reader", {"model": model.info, "films": len(case.cases), "split": asked.split, "readers": found}))


if __name__ == "__main__":
    main()
