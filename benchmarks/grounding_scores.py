"""How well the patches of a matcher find the phrases of drawn chests, whether they moved there, and what does as well without a film."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from grounding_phantoms import Place
from jaxtyping import Float
from torch import Tensor

from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.match.shares import directions, phrase_map, shares
from cyclicxr.metrics.grounding import (
    area_inside,
    box_mask,
    map_numbers,
    moved_towards,
    peak,
    pointing,
    points_inside,
    spread_patches,
)
from cyclicxr.patches.adapatch import grid_centres, sample
from cyclicxr.processes import device
from cyclicxr.training.corpus import to_float
from cyclicxr.types import UnitBox

FILMS = 32  # encoded at once
TOP = 5  # patches that a phrase chooses
OTHER, SHARED = "another finding's phrase", "by the global alignment's shares"
CENTRE, PRIOR, RANDOM = "always the film's centre", "mean place of what the words say (blind)", "a patch at random"


@dataclass(frozen=True)
class Looked:
    """The patches of one film on one phrase.

    Args:
        scores: cosine of each patch's best word.
        boxes: of the patches.
        anchors: centres of the fixed patches.
        read: where on the film a patch reads: its box is on the map of the stage before, whose patches have moved too.
        unusual: mean cosine of its words, less its mean over films of the validation split.
    """

    scores: Float[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    anchors: Float[np.ndarray, "n 2"]
    read: Float[np.ndarray, "n 2"]
    unusual: Float[np.ndarray, " n"]

    @property
    def centres(self) -> Float[np.ndarray, "n 2"]:
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def side(self) -> float:
        """Of a fixed patch."""
        return float(len(self.anchors) ** -0.5)

    @property
    def grid(self) -> Float[np.ndarray, "n 4"]:
        """The fixed patches."""
        return np.concatenate([self.anchors - self.side / 2, self.anchors + self.side / 2], axis=1)


@dataclass(frozen=True)
class Patches:
    """The patches of n films, on the CPU.

    Args:
        features: unit vectors.
        boxes: corners in [0, 1].
        read: centres of where they read on the film.
        shares: `match.shares.shares`.
        anchors: centres of the fixed patches.
    """

    features: Float[Tensor, "n p d"]
    boxes: Float[Tensor, "n p 4"]
    read: Float[Tensor, "n p 2"]
    shares: Float[Tensor, "n p e"]
    anchors: Float[Tensor, "p 2"]


@torch.inference_mode()
def patches_of(matcher: AdaMatch, pixels: Tensor) -> Patches:
    """All patches of some films, where on the film each reads, and what each adds to the film as a whole."""
    parts = []
    for films in pixels.split(FILMS):
        stages = matcher.image(to_float(films).to(device()))
        found, matched = matcher.film_patches(stages), stages[matcher.stage - 1]
        read = (stages[1].boxes[..., :2] + stages[1].boxes[..., 2:]) / 2
        for stage in stages[2 : matcher.stage]:
            side = round(read.shape[1] ** 0.5)
            before = read.view(len(read), side, side, 2).permute(0, 3, 1, 2).contiguous()
            read = sample(before, stage.boxes, matcher.image.config.points).mean(2)
        parts.append([of.float().cpu() for of in (found.features, found.boxes, read, shares(matched.features.float()))])
    return Patches(*(torch.cat(of) for of in zip(*parts, strict=True)), found.anchors.cpu())


@torch.inference_mode()
def look(matcher: AdaMatch, films: Patches, mean: Float[Tensor, "p d"], film: int, phrase: str) -> Looked:
    """The patches of one film on a phrase.

    Args:
        matcher: made the patches.
        films: of the matcher.
        mean: features of each patch, over films that say what is usual.
        film: which of them.
        phrase: the words.
    """
    found = matcher.encode_texts([phrase])
    words = found.features[0][found.mask[0]].float().cpu()
    cosines = films.features[film] @ words.T  # (p, k)
    unusual = (films.features[film] - mean) @ words.mean(0)
    parts = cosines.amax(1), films.boxes[film], films.anchors, films.read[film], unusual
    return Looked(*(part.double().numpy() for part in parts))


def scores(matcher: AdaMatch, alignment: GlobalAlignment, pixels: Tensor, usual: Tensor, places: Sequence[Place]) -> list[dict[str, float]]:
    """The numbers of each phrase on its film.

    Args:
        matcher: in evaluation mode, on the device.
        alignment: of the matcher.
        pixels: of the places' films.
        usual: films that say what is usual of a phrase.
        places: phrases and boxes.
    """
    films, others = patches_of(matcher, pixels), patches_of(matcher, usual)
    mean, mean_shares = others.features.mean(0), others.shares.mean(0)

    def seen(film: int, phrase: str) -> Looked:
        return look(matcher, films, mean, film, phrase)

    def shared(film: int, phrase: str) -> Looked:
        told = phrase_map(films.shares[film], mean_shares, directions(alignment, matcher, [phrase])[0])
        return replace(seen(film, phrase), scores=told.double().numpy())

    return [
        numbers_of(seen(place.film, place.phrase), seen(place.without, place.phrase), place.box)
        | _named(_map_scores(seen(place.film, other), place.box), OTHER)
        | _named(_share_scores(shared(place.film, place.phrase), place.box), SHARED)
        | _named(_share_scores(shared(place.film, other), place.box), f"{SHARED}, {OTHER}")
        for place, other in zip(places, _other_phrases(places), strict=True)
    ]


def numbers_of(seen: Looked, without: Looked, box: UnitBox) -> dict[str, float]:
    """Where the map of a phrase lies, and how its patches moved, here and on a film that does not show the finding."""
    chosen = np.argsort(-seen.scores, kind="stable")[:TOP]
    at_anchors = pointing(seen.scores, seen.anchors, [box])
    moved, idle = (moved_towards(of.anchors, (of.centres - of.anchors) / of.side, box) for of in (seen, without))
    return {
        **_map_scores(seen, box),
        "pointing game, before moving": at_anchors["pointing game"],
        "top 5 inside, before moving": at_anchors["top 5 inside"],
        "pointing game, where it reads": pointing(seen.scores, seen.read, [box])["pointing game"],
        **_named(_map_scores(replace(seen, scores=seen.unusual), box), "less the usual map"),
        "moved towards it, patch widths": moved,
        "the same on a film without it": idle,
        "chosen patches' area inside": area_inside(seen.boxes[chosen], box),
        "chosen patches' area inside, before moving": area_inside(seen.grid[chosen], box),
        "all patches' area inside": area_inside(seen.boxes, box),
        "all patches' area inside, before moving": area_inside(seen.grid, box),
        "all patches' area inside, on a film without it": area_inside(without.boxes, box),
    }


def _map_scores(seen: Looked, box: UnitBox) -> dict[str, float]:
    return pointing(seen.scores, seen.centres, [box]) | map_numbers(spread_patches(seen.scores, seen.boxes), [box])


def _share_scores(seen: Looked, box: UnitBox) -> dict[str, float]:
    """Of a map that is no cosine: without the overlap at thresholds of cosines; and with the patches back at their fixed places."""
    found = _map_scores(seen, box) | {"pointing game, before moving": pointing(seen.scores, seen.anchors, [box])["pointing game"]}
    return {name: value for name, value in found.items() if name != "mIoU"}


def _named(numbers: dict[str, float], how: str) -> dict[str, float]:
    return {f"{name}, {how}": value for name, value in numbers.items()}


def _other_phrases(places: Sequence[Place]) -> list[str]:
    """For each phrase the next one that says another finding."""
    n = len(places)
    return [next(places[k % n].phrase for k in range(i, i + n) if places[k % n].finding != place.finding) for i, place in enumerate(places)]


# ---- what looks at no film


def blind(places: Sequence[Place], training: Sequence[Place], side: int) -> dict[str, list[dict[str, float]]]:
    """Baselines: the film's centre, where the finding lay in training (by the words that name its place, too), and a patch at random."""
    centres = grid_centres(side, side).double().numpy()
    distance = np.linalg.norm(grid_centres(128, 128).double().numpy() - 0.5, axis=1).reshape(128, 128)
    heats: dict[str, Float[np.ndarray, "s s"]] = {}
    for said in {_said(place) for place in training}:
        heats[said] = np.mean([box_mask([place.box]) for place in training if _said(place) == said], axis=0)
    nowhere = np.mean([box_mask([place.box]) for place in training], axis=0)
    found: dict[str, list[dict[str, float]]] = {CENTRE: [], PRIOR: [], RANDOM: []}
    for place in places:
        heat, inside = heats.get(_said(place), nowhere), points_inside(centres, [place.box]).mean()
        found[CENTRE].append(_pointed(np.array([[0.5, 0.5]]), place) | map_numbers(1 - distance / distance.max(), [place.box]))
        found[PRIOR].append(_pointed(peak(heat), place) | map_numbers(heat, [place.box]))
        found[RANDOM].append({"pointing game": float(inside), "top 5 inside": float(inside)})
    return found


def _said(place: Place) -> str:
    """The finding, and the words of the phrase that say where it is."""
    where = re.search(r"(left|right)( upper| lower)?", place.phrase.lower())
    return f"{place.finding}, {where.group() if where else ''}"


def _pointed(at: Float[np.ndarray, "1 2"], place: Place) -> dict[str, float]:
    return {"pointing game": float(points_inside(at, [place.box])[0])}
