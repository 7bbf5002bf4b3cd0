"""Does a map of a phrase lie where its boxes are, and do patches move there? Pointing game, share of the best patches inside, contrast,
overlap, and movement; knows no model.

Coordinates are in [0, 1] of the film, x to the right and y downwards; a map is a square grid over it, a cell's value that of its centre.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from cyclicxr.metrics.interval import Statistic
from cyclicxr.types import InputError, UnitBox

CELLS = 128  # along a side of a map
TOP = 5  # best patches whose share inside is counted
NEAREST = 16  # patches outside of a box whose movement is measured
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # [BioViL] of mIoU


def box_mask(boxes: Sequence[UnitBox], cells: int = CELLS) -> Bool[np.ndarray, "s s"]:
    """Cells whose centre lies in any of the boxes; the nearest cell where a box is smaller than one.

    Raises:
        InputError: no box, or one without area or outside of the film.
    """
    if not boxes:
        raise InputError("grounding: a phrase without a box; give at least one")
    mask = np.zeros((cells, cells), dtype=bool)
    for box in boxes:
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            raise InputError(f"grounding: box {box} has no area or leaves the film; give x0 < x1 and y0 < y1 in [0, 1]")
        mask[_cells(y0, y1, cells), _cells(x0, x1, cells)] = True
    return mask


def spread_patches(scores: Float[np.ndarray, " n"], boxes: Float[np.ndarray, "n 4"], cells: int = CELLS) -> Float[np.ndarray, "s s"]:
    """A map from patches: each cell the mean score of the patches whose box covers its centre, the lowest score where none does."""
    total, count = np.zeros((cells, cells)), np.zeros((cells, cells))
    for score, (x0, y0, x1, y1) in zip(scores, np.clip(boxes, 0, 1).tolist(), strict=True):
        block = _cells(y0, y1, cells), _cells(x0, x1, cells)
        total[block] += score
        count[block] += 1
    return np.where(count > 0, total / np.maximum(count, 1), scores.min())


def points_inside(points: Float[np.ndarray, "n 2"], boxes: Sequence[UnitBox]) -> Bool[np.ndarray, " n"]:
    """Which points lie in any of the boxes, edges included."""
    x, y = points[:, :1], points[:, 1:]
    x0, y0, x1, y1 = np.array(boxes).T
    return np.asarray(((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)).any(1))


def pointing(scores: Float[np.ndarray, " n"], centres: Float[np.ndarray, "n 2"], boxes: Sequence[UnitBox]) -> dict[str, float]:
    """ "pointing game": 1 where the best patch's centre lies in a box; "top 5 inside": the share of the best five whose centre does.

    Source: the pointing game is Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, without its 15 pixels of grace.
    """
    order = np.argsort(-scores, kind="stable")[:TOP]
    inside = points_inside(centres[order], boxes)
    return {"pointing game": float(inside[0]), f"top {TOP} inside": float(inside.mean())}


def contrast(heat: Float[np.ndarray, "s s"], mask: Bool[np.ndarray, "s s"]) -> float:
    """Contrast-to-noise ratio: the mean inside less the mean outside, over the root of the sum of both variances; signed, so that a map
    that lights up everywhere else is below 0. It is 0 where nothing varies on either side, NaN where a side has no cell.

    Inside 3 and 5, outside 1 and 1: (4 - 1) / sqrt(1 + 0) = 3.

    Source: Boecking et al., Making the Most of Text Semantics (BioViL), ECCV 2022, which takes the absolute value.
    """
    inside, outside = heat[mask], heat[~mask]
    if not inside.size or not outside.size:
        return float("nan")
    noise = float(np.sqrt(inside.var() + outside.var()))
    return float(inside.mean() - outside.mean()) / noise if noise > 0 else 0.0


def mean_overlap(heat: Float[np.ndarray, "s s"], mask: Bool[np.ndarray, "s s"]) -> float:
    """mIoU: intersection over union of the box and the cells at or above a threshold, mean over thresholds .1 to .5.

    The thresholds are absolute: a cosine map that nowhere reaches .1 scores 0.

    Source: Boecking et al., ECCV 2022 (thresholds .1, .2, .3, .4, .5 on cosine similarities).
    """
    found = []
    for threshold in THRESHOLDS:
        above = heat >= threshold
        found.append((above & mask).sum() / max(1, (above | mask).sum()))
    return float(np.mean(found))


def stretched(heat: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "s s"]:
    """The map from its lowest value, 0, to its highest, 1; a flat map is 0."""
    width = heat.max() - heat.min()
    return (heat - heat.min()) / width if width > 0 else np.zeros_like(heat)


def map_numbers(heat: Float[np.ndarray, "s s"], boxes: Sequence[UnitBox]) -> dict[str, float]:
    """Contrast and overlap of a map with a phrase's boxes."""
    mask = box_mask(boxes, len(heat))
    return {
        "CNR": contrast(heat, mask),
        "mIoU": mean_overlap(heat, mask),
        "mIoU, map stretched to 0..1": mean_overlap(stretched(heat), mask),
    }


def peak(heat: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "1 2"]:
    """Where a map is highest; the mean of such places where there are several."""
    best = np.argwhere(heat == heat.max()).mean(0)[::-1] + 0.5
    return np.asarray(best[None] / len(heat))


def moved_towards(anchors: Float[np.ndarray, "n 2"], shifts: Float[np.ndarray, "n 2"], box: UnitBox) -> float:
    """How far the `NEAREST` patches that begin outside of a box moved towards its centre, mean; below 0 where they moved away.

    A patch at (.2, .5) that moved by (.1, .1) moved .1 towards a box around (.6, .5). NaN where every patch begins inside.

    Args:
        anchors: centres of the fixed patches.
        shifts: of each patch's centre; in the same unit as the answer.
        box: corners.
    """
    outside = np.flatnonzero(~points_inside(anchors, [box]))
    low, high = np.array(box[:2]), np.array(box[2:])
    gap = np.linalg.norm(np.maximum(0, np.maximum(low - anchors[outside], anchors[outside] - high)), axis=1)
    near = outside[np.argsort(gap, kind="stable")[:NEAREST]]
    if not near.size:
        return float("nan")
    way = (low + high) / 2 - anchors[near]
    return float(((shifts[near] * way).sum(1) / np.linalg.norm(way, axis=1)).mean())


def area_inside(patches: Float[np.ndarray, "n 4"], box: UnitBox) -> float:
    """The share of the patches' area, added up, that lies in a box; NaN where they have none."""
    low, high = np.maximum(patches[:, :2], box[:2]), np.minimum(patches[:, 2:], box[2:])
    total = float((patches[:, 2:] - patches[:, :2]).prod(1).sum())
    return float(np.clip(high - low, 0, None).prod(1).sum()) / total if total > 0 else float("nan")


def mean_over(numbers: Sequence[dict[str, float]], films: Sequence[int]) -> Statistic:
    """Mean of each score over phrases when film i counts `weights[:, i]` times; scores that are no number are left out.

    Args:
        numbers: scores of each phrase, by name.
        films: of each phrase.
    """
    names = list(dict.fromkeys(name for found in numbers for name in found))
    values = np.array([[found.get(name, np.nan) for name in names] for found in numbers]).reshape(len(numbers), len(names))
    known, of_film = np.isfinite(values), np.array(films)

    def means(weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        of_phrase = weights[:, of_film]
        total = of_phrase @ known
        sums = of_phrase @ np.where(known, values, 0)
        mean = np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)
        return {name: mean[:, column] for column, name in enumerate(names)}

    return means


def _cells(low: float, high: float, cells: int) -> slice:
    """Cells whose centre lies between two edges; the nearest one where none does."""
    first, last = int(np.ceil(low * cells - 0.5)), int(np.ceil(high * cells - 0.5))
    if first < last:
        return slice(first, last)
    nearest = min(int((low + high) / 2 * cells), cells - 1)
    return slice(nearest, nearest + 1)
