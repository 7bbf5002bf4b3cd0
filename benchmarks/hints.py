"""What the hints are worth: reports with no keywords, another film's and the film's own; films with no keypatches, another report's and
the report's own. Same films, same seeds; what is done is kept in --out, a file a row, and not done again.

python benchmarks/hints.py ../shared/data/openi/studies.csv --films 200
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Numbers, compared, joined
from machine import save_result

import cyclicxr
from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.codebooks.entities import extractor
from cyclicxr.cycle import Model
from cyclicxr.evaluate.baselines import derangement
from cyclicxr.evaluate.drawn_findings import MEAN, Finder, finder_of
from cyclicxr.evaluate.report_tables import report_tables
from cyclicxr.evaluate.reports import raw_reports
from cyclicxr.evaluate.system import Case, over_films
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import IGNORED, Example, collate
from cyclicxr.metrics.interval import Statistic
from cyclicxr.training.corpus import Corpus, load_corpus
from cyclicxr.training.llm_material import Material, keypatch_codes
from cyclicxr.training.train_codebooks import batches
from cyclicxr.training.train_llm import validation_drawing, validation_report

MATCHED, SHUFFLED, NONE = "matched", "shuffled", "none"
NATS = "nats a token"
SHOWN = ("BLEU-4", "METEOR", "METEOR (nltk, exact + stem)", "ROUGE-L", "finding macro F1")
SEED = 0
FILMS = 16  # drawn together


@dataclass(frozen=True)
class Row:
    """What one kind of hint gave.

    Args:
        outputs: reports, or codes of drawn films; one a film.
        nats: of each film's true report, or true codes, all tokens together.
        tokens: how many those are.
    """

    outputs: list[Any]
    nats: list[float]
    tokens: list[int]

    def statistic(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Nats a token over the films, each as often as it is drawn."""
        return {NATS: weights @ np.array(self.nats) / (weights @ np.array(self.tokens))}


@torch.inference_mode()
def material_of(model: Model, case: Case) -> Material:
    """The films as the language model sees them, with the hints that belong to each."""
    codes, keywords = [], []
    for films in batches(case.cases):
        patches = model.matcher.encode_films(films)
        codes.append(model.vqgan.encode(films).flatten(1))
        keywords += model.hints.of(model.matcher, patches)
    ids, reports = [study.id for study in case.cases.studies], list(case.cases.reports)
    keypatches = keypatch_codes(model.visual, model.matcher, ids, reports)
    named = model.textual.named(reports, extractor(model.preset.codebooks))
    return Material(torch.cat(codes)[None], [keywords], named, keypatches, reports, ids)


def conditions(material: Material, seed: int) -> dict[str, Material]:
    """The same films and reports with their own hints, another's, and none."""
    order, n = derangement(len(material), seed).tolist(), len(material)
    words, patches = material.keywords[0], material.keypatches
    return {
        MATCHED: material,
        SHUFFLED: dataclasses.replace(material, keywords=[[words[i] for i in order]], keypatches=[patches[i] for i in order]),
        NONE: dataclasses.replace(material, keywords=[[[] for _ in range(n)]], keypatches=[[] for _ in range(n)]),
    }


@torch.inference_mode()
def nats(llm: LanguageModel, examples: Sequence[Example], done: Callable[[int], None]) -> tuple[list[float], list[int]]:
    """Of each example's response: nats of all its tokens, and how many they are."""
    totals, counts = [], []
    for i, each in enumerate(examples):
        batch = collate([each], llm.vocabulary.padding)
        counts.append(int((batch.labels != IGNORED).sum()))
        totals.append(float(llm.loss(batch)) * counts[-1])
        done(i + 1)
    return totals, counts


@torch.inference_mode()
def reported(model: Model, films: Corpus, given: Material, done: Callable[[int], None]) -> Row:
    """A report a film, and what the true one costs."""
    written: list[str] = []
    for texts in model.llm.candidates(given.codes[0], given.keywords[0]):
        written += model.compose(model.matcher.encode_films(films.films([len(written)])), [texts])
        done(len(written))
    return Row(written, *nats(model.llm, [validation_report(model.llm, given, i) for i in range(len(given))], done))


@torch.inference_mode()
def drawn(model: Model, films: Corpus, given: Material, done: Callable[[int], None]) -> Row:
    """The codes of a film a report, and what the true ones cost."""
    codes: list[list[int]] = []
    for start in range(0, len(given), FILMS):
        some = slice(start, start + FILMS)
        codes += model.llm.draw(given.reports[some], given.keypatches[some], SEED, given.named[some]).tolist()
        done(len(codes))
    return Row(codes, *nats(model.llm, [validation_drawing(model.llm, given, i) for i in range(len(given))], done))


def kept(path: Path, about: Mapping[str, Any], make: Callable[[], Row]) -> Row:
    """The row of this file where it is of the same model, films and seed; else it is made, and written."""
    if path.exists():
        found = read_json(path)
        if found["about"] == about:
            return Row(**found["row"])
    row = make()
    write_json(path, {"about": about, "row": dataclasses.asdict(row)})
    return row


def score_reports(rows: Mapping[str, Row], case: Case) -> dict[str, Numbers]:
    """What was written against the true reports, and nats."""
    tables = report_tables({name: row.outputs for name, row in rows.items()}, case)
    words = {name: {key: value for key, value in tables["report"][name].items() if key in SHOWN} for name in rows}
    differences = {
        name: {key: value for key, value in tables["report, paired"][f"{MATCHED} against {name}"].items() if key in SHOWN}
        for name in rows
        if name != MATCHED
    }
    alone, less = compared({name: row.statistic for name, row in rows.items()}, MATCHED, len(case.cases), SEED)
    return {"rows": joined(alone, words), "matched less": joined(less, differences)}


def score_drawings(rows: Mapping[str, Row], case: Case, model: Model) -> dict[str, Numbers]:
    """What the drawn films show of what was asked for, and nats."""
    alone, less = compared({name: row.statistic for name, row in rows.items()}, MATCHED, len(case.cases), SEED)
    finder = finder_of(model.classifier, case.cases.studies) if model.classifier is not None else None
    if finder is None:
        return {"rows": joined(alone), "matched less": joined(less)}
    shown, differences = compared({name: seen(row, finder, model) for name, row in rows.items()}, MATCHED, len(finder.rows), SEED)
    return {"rows": joined(alone, shown), "matched less": joined(less, differences)}


@torch.inference_mode()
def seen(row: Row, finder: Finder, model: Model) -> Statistic:
    """The mean AUC of the findings on drawn films."""
    codes, side = torch.tensor(row.outputs), round(model.preset.image_tokens**0.5)
    films = [model.vqgan.decode(some.view(-1, side, side))[:, 0] for some in codes.split(FILMS)]
    pixels = (torch.cat(films).clamp(0, 1) * 255).round().to(torch.uint8)
    statistic = finder.statistic(over_films(finder.classifier.features, pixels))
    return lambda weights: {"finding AUC": statistic(weights)[MEAN]}


def tell(what: str, of: int, done: int) -> None:
    """Progress, on standard error."""
    print(f"\r{what}: {done}/{of} ", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--films", type=int, default=None, help="so many of the split, by the seed; all without it")
    parser.add_argument("--split", default="val", help="test only to report (default: val)")
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--out", type=Path, default=Path("out/hints"), help="where finished rows are kept")
    parser.add_argument("--cache", type=Path, default=Path("out/evaluate/cache"), help="of decoded films")
    asked = parser.parse_args()
    model = cyclicxr.load(asked.model)
    corpus = load_corpus(asked.studies, model.preset.encoder.size, asked.cache, model.preset.encoder.fit)
    case = Case(corpus, raw_reports(asked.studies), asked.split, SEED, lambda what, done, total: None, asked.films)
    about = {"model": model.info, "split": asked.split, "seed": SEED, "ids": [study.id for study in case.cases.studies]}
    rows: dict[str, dict[str, Row]] = {"reports": {}, "drawings": {}}
    for name, given in conditions(material_of(model, case), SEED).items():
        for way, make in (("reports", reported), ("drawings", drawn)):
            told = partial(tell, f"{way}, hints {name}", len(given))
            rows[way][name] = kept(asked.out / f"{way}-{name}.json", about, partial(make, model, case.cases, given, told))
    found = {"reports": score_reports(rows["reports"], case), "drawings": score_drawings(rows["drawings"], case, model)}
    print(save_result("hints", {"model": model.info, "films": len(case.cases), "split": asked.split, "seed": SEED, **found}))


if __name__ == "__main__":
    main()
