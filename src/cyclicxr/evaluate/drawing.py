"""The draw task: films drawn from the split's true reports, how near they are to real ones, whether they show what was asked for, and
whether they are copies of training films; each beside its floors and beside what needs no drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from cyclicxr.checkpoint import save_tensors, write_json
from cyclicxr.evaluate.drawn_films import draw_all
from cyclicxr.evaluate.drawn_findings import finder_of
from cyclicxr.evaluate.drawn_tables import BY_TEXT, CLASSIFIER, REAL, Judged, means
from cyclicxr.evaluate.film_set import Network, library_of, measure_films
from cyclicxr.evaluate.system import Case, Evaluated, Table
from cyclicxr.evaluate.verdicts import DRAWN, OTHER_FILMS, RECONSTRUCTED
from cyclicxr.metrics.image import reconstruction_error
from cyclicxr.metrics.interval import measure
from cyclicxr.training.corpus import to_float
from cyclicxr.types import InputError

_FILMS = 32  # reconstructed at once
_TIE = 1e-6  # likeness of reports is known to float64; what is nearer than this is decided by the seed

Films = Callable[[], UInt8[Tensor, "n s s"]]


def score_drawn_films(
    model: Evaluated,
    case: Case,
    out: Path,
    others: Mapping[str, UInt8[Tensor, "_ _ _"]] = {},
    backbones: Mapping[str, Network] = {},
) -> dict[str, Table]:
    """Tables "draw" (system -> FID, KID, finding AUC, likeness, NIQE, MS-SSIM, reconstruction error), "draw by finding" (finding -> AUC of
    each), "draw, nearest training film" (system -> how near, and how often nearer than real films) and "draw, paired" (the model less
    each system).

    The AUC is that of our classifier, which reads the film; the label is what the report's study shows. Real films give its ceiling, films
    drawn from another study's report its floor: a system that draws the same healthy chest for every report scores there. It is no
    independent reader: the VQ-GAN was trained with its features as the perceptual loss.

    Args:
        model: draws the films.
        case: what is evaluated.
        out: films go to `drawn/` there as they are drawn, and a second call goes on with the rest; `drawn_features.safetensors` ("real" and
            "drawn", the classifier's) and `drawn_cases.json` (a record a film) when all is measured.
        others: name of another system -> its films for the same studies in the same order.
        backbones: name -> another network for FID.

    Raises:
        InputError: `out` holds films of another model, split or seed; another system's films are of another number or size.
    """
    real, classifier = case.cases.pixels, model.classifier
    for name, films in others.items():
        if films.shape != real.shape:
            raise InputError(f"films of '{name}' are {tuple(films.shape)}; give {tuple(real.shape)}: one a study, at the network's size")
    networks = dict(backbones) | ({CLASSIFIER: classifier.features} if classifier else {})
    told = partial(case.progress, "features of training films (classifier)")
    library = library_of(case.train, classifier.features, told) if classifier and case.train else None
    errors: dict[str, Float[np.ndarray, " n"]] = {}
    makers: dict[str, Films] = {DRAWN: lambda: draw_all(model, case, out / "drawn")}
    makers |= {name: partial(_given, films) for name, films in others.items()}
    makers |= {RECONSTRUCTED: lambda: reconstruct(model, case, errors), **copied_films(case), REAL: partial(_given, real)}
    sets = {name: measure_films(make(), networks, library, case.seed) for name, make in makers.items()}  # one set of films at a time
    judged = Judged(case, sets, finder_of(classifier, case.cases.studies) if classifier else None, library)
    tables = {"draw": judged.drawn(), "draw by finding": judged.by_finding()}
    tables["draw"][RECONSTRUCTED] |= measure(means(errors), len(real), case.seed)
    tables |= {"draw, nearest training film": judged.copies(), "draw, paired": judged.against()}
    if classifier:
        save_tensors(out / "drawn_features.safetensors", {"real": judged.features()[REAL], "drawn": judged.features()[DRAWN]})
    write_json(out / "drawn_cases.json", judged.cases())
    return tables


def _given(films: UInt8[Tensor, "n s s"]) -> UInt8[Tensor, "n s s"]:
    return films


def reconstruct(model: Evaluated, case: Case, errors: dict[str, Float[np.ndarray, " n"]]) -> UInt8[Tensor, "n s s"]:
    """The real films through the VQ-GAN, 8 bits; `errors` gets L1, PSNR and SSIM of each before rounding."""
    real, redrawn = case.cases.pixels, torch.empty(case.cases.pixels.shape, dtype=torch.uint8)
    found = []
    for start in range(0, len(real), _FILMS):
        films = to_float(real[start : start + _FILMS])
        with torch.inference_mode():
            decoded = model.vqgan.decode(model.vqgan.encode(films)).clamp(0, 1).float()
        found.append(reconstruction_error(films, decoded))
        redrawn[start : start + len(films)] = (decoded * 255).round().byte().squeeze(1)
        case.progress("reconstructing films", start + len(films), len(real))
    errors |= {name: torch.cat([of[name] for of in found]).double().numpy() for name in found[0]}
    return redrawn


def copied_films(case: Case) -> dict[str, Films]:
    """Training films that stand for drawn ones: any (where there are as many), and for each report the one whose report is nearest."""
    train, n = case.train, len(case.cases)
    if train is None:
        return {}
    anyone = np.random.default_rng(case.seed).permutation(len(train))[:n]
    rows = nearest_reports(train.reports, case.cases.reports, case.seed)
    makers: dict[str, Films] = {BY_TEXT: lambda: train.pixels[rows]}
    return makers | ({OTHER_FILMS: lambda: train.pixels[anyone]} if len(anyone) == n else {})


def nearest_reports(known: Sequence[str], asked: Sequence[str], seed: int) -> Int[np.ndarray, " n"]:
    """For each asked report the known one of the highest cosine of tf-idf words; among equals the seed decides."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # here: importing it takes a second

    counter = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True)
    vectors = counter.fit_transform(known)
    likeness = (counter.transform(asked) @ vectors.T).toarray()
    chance = np.random.default_rng(seed).random(likeness.shape)
    return np.asarray((likeness + _TIE * chance).argmax(1))
