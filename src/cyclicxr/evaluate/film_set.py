"""What one set of films, one for each study of the split, is measured by: features, naturalness, likeness among themselves, and the nearest
training film of each; knows not where the films come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from cyclicxr.evaluate.system import over_films
from cyclicxr.metrics.image import SMALLEST, likeness_of_pairs, random_pairs, reconstruction_error
from cyclicxr.metrics.niqe import BLOCK, niqe
from cyclicxr.training.corpus import Corpus, to_float

Network = Callable[[Float[Tensor, "b 1 h w"]], Float[Tensor, "b d"]]

PAIRS = 200  # of films whose likeness is averaged
_THUMBNAIL = 32  # pixels along a side: where films are compared as wholes
_ASKED = 64  # films compared with all training films at once


@dataclass(frozen=True)
class Library:
    """The training films that drawn ones may be copies of.

    Args:
        corpus: the training split.
        vectors: space ("feature", "pixel") -> a vector a film, Euclidean.
        centre: mean of the classifier's features.
    """

    corpus: Corpus
    vectors: dict[str, Float[Tensor, "m _"]]
    centre: Float[Tensor, " d"]


@dataclass(frozen=True)
class Nearest:
    """For each film the nearest training film in one space: its row, and how far it is."""

    rows: Int[np.ndarray, " n"]
    distances: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class FilmSet:
    """Numbers of n films.

    Args:
        features: network -> features; "classifier" is our own, where the model has one.
        natural: NIQE of each film, NaN for a flat one; None for films too small for it.
        likeness: MS-SSIM of random pairs; None for films too small for it.
        nearest: space -> nearest training films; empty without classifier or training split.
        structure: SSIM of each film with its nearest training film by pixels; None without one.
    """

    features: dict[str, Float[Tensor, "n _"]]
    natural: Float[np.ndarray, " n"] | None = None
    likeness: Float[np.ndarray, " p"] | None = None
    nearest: dict[str, Nearest] = field(default_factory=dict)
    structure: Float[np.ndarray, " n"] | None = None


def measure_films(films: UInt8[Tensor, "n s s"], networks: Mapping[str, Network], library: Library | None, seed: int) -> FilmSet:
    """All numbers of a set of films; a batch of them as floats at a time.

    Args:
        films: 8 bits, bone bright.
        networks: name -> network; its features are kept by that name.
        library: of the training films; None where the nearest ones are not asked for.
        seed: of the random pairs.
    """
    features = {name: over_films(network, films) for name, network in networks.items()}
    blocks = (films.shape[1] // BLOCK) * (films.shape[2] // BLOCK)
    natural = np.array([niqe(film.numpy()) for film in films]) if blocks > 1 else None
    large = min(films.shape[1:]) >= SMALLEST and len(films) > 1
    likeness = likeness_of_pairs(films, random_pairs(len(films), seed, PAIRS)) if large else None
    if library is None:
        return FilmSet(features, natural, likeness)
    nearest = {
        "feature": _nearest(library.vectors["feature"], directions(features["classifier"], library.centre)),
        "pixel": _nearest(library.vectors["pixel"], over_films(_thumbnail, films)),
    }
    return FilmSet(features, natural, likeness, nearest, _structure(films, library.corpus, nearest["pixel"].rows))


def library_of(corpus: Corpus, classifier: Network, told: Callable[[int, int], None]) -> Library:
    """The training films' features and thumbnails."""
    features = over_films(classifier, corpus.pixels, told)
    centre = features.mean(0)
    return Library(corpus, {"feature": directions(features, centre), "pixel": over_films(_thumbnail, corpus.pixels)}, centre)


def directions(features: Float[Tensor, "n d"], centre: Float[Tensor, " d"]) -> Float[Tensor, "n d"]:
    """Features less the training films' mean, at length 1: what two usual films share falls out."""
    return torch.nn.functional.normalize(features - centre, dim=1)


def _thumbnail(films: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b p"]:
    """32 x 32 means of the pixels, scaled so that a Euclidean distance is the root mean square of differences."""
    return torch.nn.functional.adaptive_avg_pool2d(films, _THUMBNAIL).flatten(1) / _THUMBNAIL


def _nearest(known: Float[Tensor, "m d"], asked: Float[Tensor, "n d"]) -> Nearest:
    rows, distances = [], []
    for start in range(0, len(asked), _ASKED):
        found = torch.cdist(asked[start : start + _ASKED], known, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        rows.append(found.indices)
        distances.append(found.values)
    return Nearest(torch.cat(rows).numpy(), torch.cat(distances).double().numpy())


def _structure(films: UInt8[Tensor, "n s s"], train: Corpus, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    found = []
    for start in range(0, len(films), _ASKED):
        block = slice(start, start + _ASKED)
        found.append(reconstruction_error(train.films(rows[block].tolist()), to_float(films[block]))["SSIM"])
    return torch.cat(found).double().numpy()
