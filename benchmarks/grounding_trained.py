"""Do words find their place, and do patches move there, where the boxes are known? AdaMatch trained on drawn chests, beside fixed patches.

python benchmarks/grounding_trained.py                                  # 3,000 drawn chests, three seeds, all rows
python benchmarks/grounding_trained.py --jobs 9                         # as many runs beside one another, on a large GPU
python benchmarks/grounding_trained.py --sweep                          # and what each of some settings changes, seed 0
python benchmarks/grounding_trained.py --pictures docs/images           # a figure of the first row's first seed, trained before

What is trained is kept: a run whose score.json is deleted is scored anew and not trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import grounding_picture
import numpy as np
from grounding_phantoms import Place, drawn, places_of
from grounding_scores import CENTRE, PRIOR, RANDOM, blind, scores
from machine import save_result
from rows import START, Row, finished, minutes, opened, pretrain, train_from

from cyclicxr.checkpoint import write_json
from cyclicxr.config import OPENI_SMALL, Preset, override
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.metrics.grounding import mean_over
from cyclicxr.metrics.interval import measure, paired
from cyclicxr.processes import device, device_name
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory

OURS, FIXED, SCORE = "adamatch", "fixed", "score.json"
ROWS = {
    OURS: Row("AdaMatch"),
    FIXED: Row("fixed patches", {"encoder.adaptive": False}),
    "stage2": Row("AdaMatch, patches of stage 2", {"match.stage": 2}),
    "stage2-fixed": Row("fixed patches of stage 2", {"match.stage": 2, "encoder.adaptive": False}),
}
SWEEP = {
    "local": Row("no attention between patches", {"encoder.attentions": (0, 0, 0, 0)}),
    "local-fixed": Row("no attention between patches, fixed patches", {"encoder.attentions": (0, 0, 0, 0), "encoder.adaptive": False}),
    "sentences": Row("a third of the sentences a step", {"match.sentence_share": 0.3}),
    "sharp": Row("temperature 0.03 at the start", {"match.temperature": 0.03}),
    "soft": Row("temperature 0.15 at the start", {"match.temperature": 0.15}),
    "near": Row("patches move by at most half a patch", {"encoder.offset_scale": 0.03125}),
    "far": Row("patches move over half the film", {"encoder.offset_scale": 0.5}),
    "one-rate": Row("the encoder learns as fast as the rest, all of it", {"match.image_rate": 1.0, "match.frozen_stages": 0}),
    "short": Row("five epochs of the matcher", {"match.epochs": 5}),
}
ALL = {**ROWS, **SWEEP}


@dataclass(frozen=True)
class Bench:
    """What all runs share: how many chests, the preset that rows differ from, and the folder of the runs."""

    films: int
    preset: Preset
    out: Path

    def run(self, row: str, seed: int) -> RunDirectory:
        """The folder of a row's run with its preset in it.

        Raises:
            InputError: another preset is there.
        """
        return self._run(row, seed, ALL[row].settings)

    def _run(self, name: str, seed: int, settings: dict[str, Any]) -> RunDirectory:
        return opened(self.out / f"{name}-seed{seed}", override(self.preset, {**settings, "seed": seed}))

    def classifier(self, row: str, seed: int) -> RunDirectory:
        """The folder of the image encoder that a row begins with."""
        first = next(name for name in ALL if _encoder(name) == _encoder(row))
        return self._run(f"classifier-{first}", seed, _encoder(row))

    def corpus(self) -> Corpus:
        return drawn(self.films, self.preset.encoder.size, self.out, 1)


def _encoder(row: str) -> dict[str, Any]:
    return {name: value for name, value in ALL[row].settings.items() if name.startswith("encoder.")}


def train_classifier_of(bench: Bench, row: str, seed: int) -> None:
    """The pre-trained image encoder that a row begins with."""
    pretrain(bench.classifier(row, seed), bench.corpus())


def train_row(bench: Bench, row: str, seed: int) -> None:
    """Train a row from its classifier and write the numbers of each test phrase into its run, each unless that is done."""
    run, pretrained = bench.run(row, seed), bench.classifier(row, seed)
    if (run.root / SCORE).exists():
        return
    corpus = bench.corpus()
    records = train_from(pretrained, run, corpus)
    matcher, usual, films = AdaMatch.load(run.model).to(device()), corpus.split("val").pixels, corpus.split("test").pixels
    numbers = scores(matcher, GlobalAlignment.load(run.model), films, usual, places_of(corpus, "test", bench.out))
    learned = {"classifier AUC": records["classifier"].get("AUC mean"), "R@10": records["match"]["i2t R@10"]}
    write_json(run.root / SCORE, {"minutes": minutes(records), "learned": learned, "phrases": numbers})


# ---- what is collected of all runs


def collected(bench: Bench, corpus: Corpus) -> dict[str, Any]:
    """Every row with its finished seeds together (mean over the seeds of each phrase, intervals over films), baselines, and differences."""
    places, training = places_of(corpus, "test", bench.out), places_of(corpus, "train", bench.out)
    runs = {name: list(finished(bench.out, name, SCORE)) for name in ALL}
    numbers = {name: _over_seeds([score["phrases"] for _, score in of]) for name, of in runs.items() if of}
    numbers |= blind(places, training, bench.preset.encoder.size // 16)
    films = list(dict.fromkeys(place.film for place in places))
    number = [films.index(place.film) for place in places]
    statistics = {name: mean_over(found, number) for name, found in numbers.items()}
    rows = {
        name: {
            **({**asdict(ALL[name]), **_about(runs[name])} if name in ALL else {"label": name}),
            "scores": {metric: of.to_json() for metric, of in measure(statistic, len(films), seed=0).items()},
            "by finding": _by_finding(numbers[name], places),
        }
        for name, statistic in statistics.items()
    }
    against = {
        f"{ours} less {other}": {metric: of.to_json() for metric, of in paired(statistics[ours], statistics[other], len(films), 0).items()}
        for ours, other in _compared(statistics)
    }
    return {
        "about": {
            "training films": bench.films,
            "test films with a finding": len(films),
            "test phrases": len(places),
            "epochs of the classifier": bench.preset.classifier.epochs,
            "epochs of the matcher": bench.preset.match.epochs,
            "pixels": bench.preset.encoder.size,
            "device": device_name(),
        },
        "places": _spread_of(places),
        "rows": rows,
        "paired": against,
    }


def _over_seeds(runs: Sequence[Sequence[dict[str, float]]]) -> list[dict[str, float]]:
    return [{metric: float(np.mean([of[metric] for of in phrase])) for metric in phrase[0]} for phrase in zip(*runs, strict=True)]


def _about(runs: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    """Seeds, minutes, what was learned, and each seed's pointing game."""
    scores = [score for _, score in runs]
    return {
        "seeds": [seed for seed, _ in runs],
        "minutes": {stage: [score["minutes"][stage] for score in scores] for stage in scores[0]["minutes"]},
        "learned": {name: [score["learned"][name] for score in scores] for name in scores[0]["learned"]},
        "pointing game": [float(np.mean([phrase["pointing game"] for phrase in score["phrases"]])) for score in scores],
    }


def _by_finding(numbers: Sequence[dict[str, float]], places: Sequence[Place]) -> dict[str, dict[str, float]]:
    found = {}
    for finding in sorted({place.finding for place in places}):
        rows = [of for of, place in zip(numbers, places, strict=True) if place.finding == finding]
        found[finding] = {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}
    return found


def _compared(names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for ours, other in ((OURS, FIXED), ("stage2", "stage2-fixed"), ("stage2", OURS), *((OURS, of) for of in (CENTRE, PRIOR, RANDOM))):
        if ours in names and other in names:
            yield ours, other


def _spread_of(places: Sequence[Place]) -> dict[str, dict[str, float]]:
    """By finding: phrases, mean and standard deviation of the box's middle, and its mean area."""
    found = {}
    for finding in sorted({place.finding for place in places}):
        boxes = np.array([place.box for place in places if place.finding == finding])
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1).mean()
        (x, y), (sd_x, sd_y) = middle.mean(0), middle.std(0)
        found[finding] = {"phrases": len(boxes), "x": x, "y": y, "sd x": sd_x, "sd y": sd_y, "area": float(area)}
    return found


def measured(bench: Bench, todo: Sequence[tuple[str, int]], jobs: int) -> Path:
    """Train and score what is not there yet of rows and seeds, and write the result after each run."""
    corpus = drawn(bench.films, bench.preset.encoder.size, bench.out, 2 * jobs)
    path = save_result("grounding_trained", collected(bench, corpus))
    encoders = {bench.classifier(*run).root: run for run in todo}.values()  # a run for each encoder
    for work, runs in ((train_classifier_of, encoders), (train_row, todo)):
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            for done in as_completed([pool.submit(work, bench, *run) for run in runs]):
                done.result()
                path = save_result("grounding_trained", collected(bench, corpus))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=3000, help="drawn for training")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--sweep", action="store_true", help="rows that change one setting, too, seed 0")
    parser.add_argument("--epochs", type=int, default=15, help="of the matcher")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the preset, such as classifier.epochs=2")
    parser.add_argument("--jobs", type=int, default=1, help="runs beside one another")
    parser.add_argument("--out", type=Path, default=Path("runs/grounding"), help="runs of all rows; what is finished there is kept")
    parser.add_argument("--pictures", type=Path, default=None, metavar="DIR", help="draw DIR/grounding.png in place of the measurement")
    asked = parser.parse_args()
    changed = {name: float(value) if "." in value else int(value) for name, _, value in (each.partition("=") for each in asked.set)}
    preset = override(OPENI_SMALL, {**START, "match.epochs": asked.epochs, "classifier.min_films": min(40, asked.films // 25), **changed})
    bench = Bench(asked.films, preset, asked.out)
    if asked.pictures:
        corpus, path = bench.corpus(), asked.pictures / "grounding.png"
        grounding_picture.draw(bench.run(asked.rows[0], asked.seeds[0]).model, corpus, places_of(corpus, "test", bench.out), path)
        print(path)
        return
    print(measured(bench, [(row, seed) for row in asked.rows for seed in asked.seeds], asked.jobs))
    if asked.sweep:
        measured(bench, [(row, 0) for row in SWEEP], asked.jobs)


if __name__ == "__main__":
    main()
