"""The draw task: films drawn from the split's true reports, their FID between its floors, and whether they show what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from cyclicxr.checkpoint import read_json, write_atomically, write_json
from cyclicxr.data.openi import findings_of
from cyclicxr.evaluate.baselines import derangement
from cyclicxr.evaluate.system import Case, Evaluated, Table, over_films
from cyclicxr.metrics.clinical import MIN_FILMS, NORMAL, area_under_curve
from cyclicxr.metrics.image import frechet_distance, reconstruction_error
from cyclicxr.metrics.interval import Measure, measure, single
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.corpus import to_float
from cyclicxr.types import InputError, Study

BATCH = 32  # films drawn at once; part of what the seed fixes
DRAWN, SHUFFLED = "drawn from the true report", "drawn from another film's report"
RECONSTRUCTED, OTHERS, REAL = "VQ-GAN reconstruction (floor)", "other real films (floor)", "the real film"


def score_drawn_films(model: Evaluated, case: Case, out: Path) -> dict[str, Table]:
    """Tables "draw" (system -> FID, mean AUC of the findings, reconstruction error) and "draw by finding" (finding -> AUC of each).

    The AUC is that of our classifier, which reads the film; the label is what the report's study shows. Real films give its ceiling, films
    drawn from another study's report its floor: a system that draws the same healthy chest for every report scores there.

    Args:
        model: draws the films.
        case: what is evaluated.
        out: films go to `drawn/` there as they are drawn; a second call goes on with the rest.

    Raises:
        InputError: `out` holds films of another model, split or seed.
    """
    films = case.cases.pixels
    drawn = draw_all(model, case, out / "drawn")
    redrawn = _reconstruct(model, films, case)
    table: Table = {name: {} for name in (DRAWN, SHUFFLED, RECONSTRUCTED, OTHERS, REAL)}
    errors = reconstruction_error(to_float(films), redrawn)
    table[RECONSTRUCTED] |= {name: _mean(value.numpy(), case.seed) for name, value in errors.items()}
    if model.classifier is None:
        return {"draw": table}
    classifier = model.classifier
    vectors = {
        REAL: over_films(classifier.features, films),
        DRAWN: over_films(classifier.features, drawn),
        RECONSTRUCTED: over_films(classifier.features, (redrawn * 255).round().byte().squeeze(1)),
    }
    for name in (DRAWN, RECONSTRUCTED):
        table[name]["FID"] = single(frechet_distance(vectors[REAL], vectors[name]), len(films))
    floor = _real_floor(classifier, vectors[REAL], case)
    table[OTHERS] |= {"FID": floor} if floor else {}
    vectors[SHUFFLED] = vectors[DRAWN][derangement(len(films), case.seed)]
    by_finding = _by_finding(classifier, vectors, case.cases.studies, case.seed)
    for name in (DRAWN, SHUFFLED, RECONSTRUCTED, REAL) if by_finding else ():
        table[name]["finding AUC"] = by_finding["mean"][name]
    return {"draw": table, "draw by finding": by_finding}


def draw_all(model: Evaluated, case: Case, folder: Path) -> UInt8[Tensor, "n s s"]:
    """A film for each report of the split, in order; batches whose files are all there are read, not drawn again.

    Raises:
        InputError: the folder's films are of another model, split or seed.
    """
    header, marker = {"model": model.info, "split": case.split, "seed": case.seed}, folder / "drawn.json"
    if not marker.exists():
        write_json(marker, header)
    elif read_json(marker) != header:
        raise InputError(f"{folder}: holds films of another model, split or seed; choose another --out, or remove the folder")
    studies = case.cases.studies
    paths = [folder / f"{quote(study.id, safe='')}.png" for study in studies]
    drawn = []
    for start in range(0, len(studies), BATCH):
        batch = slice(start, start + BATCH)
        if not all(path.exists() for path in paths[batch]):
            texts = [study.report for study in studies[batch]]
            _save(model.draw_films(texts, seed=case.seed + start), paths[batch])
        drawn += [torch.from_numpy(np.array(Image.open(path))) for path in paths[batch]]
        case.progress("drawing films", len(drawn), len(studies))
    return torch.stack(drawn)


def _save(films: UInt8[Tensor, "b s s"], paths: Sequence[Path]) -> None:
    for film, path in zip(films.numpy(), paths, strict=True):
        with write_atomically(path) as temporary:
            Image.fromarray(film).save(temporary, format="PNG")


def _reconstruct(model: Evaluated, films: UInt8[Tensor, "n s s"], case: Case) -> Float[Tensor, "n 1 s s"]:
    told = partial(case.progress, "reconstructing films")
    return over_films(lambda pixels: model.vqgan.decode(model.vqgan.encode(pixels)).clamp(0, 1), films, told)


def _real_floor(classifier: FilmClassifier, real: Float[Tensor, "n d"], case: Case) -> Measure | None:
    """FID between the split and as many training films; None where there are not as many."""
    train, n = case.train, len(real)
    if train is None or len(train) < n:
        return None
    rows = np.random.default_rng(case.seed).permutation(len(train))[:n]
    return single(frechet_distance(real, over_films(classifier.features, train.pixels[rows])), n)


def _by_finding(classifier: FilmClassifier, vectors: dict[str, Float[Tensor, "n d"]], studies: Sequence[Study], seed: int) -> Table:
    """Finding (and "mean") -> system -> AUC, over the labelled studies; empty where no finding is on `MIN_FILMS` films."""
    labels = [findings_of(study.mesh) for study in studies]
    rows = [i for i, shown in enumerate(labels) if shown]
    if not rows:
        return {}
    shown = np.array([[finding in labels[i] for finding in classifier.findings] for i in rows])  # (n, f)
    enough = (shown.sum(0) >= MIN_FILMS) & ((~shown).sum(0) >= MIN_FILMS)
    kept = [j for j, finding in enumerate(classifier.findings) if enough[j] and finding != NORMAL]
    if not kept:
        return {}
    with torch.inference_mode():
        logits = {name: classifier.head(vector[rows]).numpy() for name, vector in vectors.items()}

    def areas(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {(name, j): area_under_curve(logit[:, j], shown[:, j], weights) for name, logit in logits.items() for j in kept}
        means = {(name, -1): np.mean([found[name, j] for j in kept], axis=0) for name in logits}
        return {f"{j}\t{name}": values for (name, j), values in (found | means).items()}

    table: Table = {}
    for key, number in measure(areas, len(rows), seed).items():
        j, name = key.split("\t")
        finding = "mean" if j == "-1" else f"{classifier.findings[int(j)]} ({int(shown[:, int(j)].sum())} films)"
        table.setdefault(finding, {})[name] = number
    return table


def _mean(values: np.ndarray, seed: int) -> Measure:
    return measure(lambda weights: {"mean": weights @ values / weights.sum(1)}, len(values), seed)["mean"]
