"""The grounding task: does the map of a phrase lie where its boxes are? On drawn chests with known boxes, or on MS-CXR's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cyclicxr.data.images import network_pixels, read_film
from cyclicxr.data.mscxr import GroundedPhrase, read_mscxr
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.data.phantom_report import sentence_of
from cyclicxr.evaluate.matching import on_the_grid
from cyclicxr.evaluate.system import FILMS, Case, Evaluated, Table, over_films
from cyclicxr.evaluate.verdicts import OURS
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.match.shares import directions, film_shares, phrase_map
from cyclicxr.metrics.grounding import box_mask, map_numbers, mean_over, peak, pointing, points_inside, spread_patches
from cyclicxr.metrics.interval import Measure, measure, paired, single
from cyclicxr.training.corpus import to_float
from cyclicxr.types import Geometry, PixelBox, UnitBox

PHANTOMS = 200  # drawn films with a finding
GRID, SHUFFLED = "same weights with its patches put back on the grid", "another finding's phrase on the same film"
SHARES = "the global alignment's shares of the same patches"
PRIOR, RANDOM = "mean box of the same finding on other films (blind)", "a box of the same size at a random place"


@dataclass(frozen=True)
class Place:
    """A phrase on a film.

    Args:
        film: which film.
        finding: what kind of phrase it is.
        phrase: the words.
        boxes: where it is, in [0, 1] of the network's image.
    """

    film: int
    finding: str
    phrase: str
    boxes: tuple[UnitBox, ...]


@dataclass(frozen=True)
class Seen:
    """The patches of one film on one phrase.

    Args:
        scores: cosine of each patch's best word; by `SHARES`, how much more than usual a patch says of the phrase.
        boxes: of the patches, corners in [0, 1].
    """

    scores: Float[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]

    def numbers(self, place: Place) -> dict[str, float]:
        """All scores of this map."""
        centres = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        return pointing(self.scores, centres, place.boxes) | map_numbers(spread_patches(self.scores, self.boxes), place.boxes)


def score_grounding(model: Evaluated, case: Case, boxes: Path | None, out: Path) -> dict[str, Table]:
    """Tables "grounding" (system -> pointing game, share of the five best patches inside, contrast, mIoU), "grounding, paired" (their
    differences) and "grounding by finding" (finding -> pointing game of each system).

    A phrase's map is each patch's best cosine with one of its words, spread over the patch's box; beside it what each patch adds to the
    global alignment's reading of the phrase, which is no cosine: mIoU by thresholds of cosines is left out there. Phantoms are drawn
    chests: what a model of real films finds on them says little of real films, and the other way round.

    Args:
        model: its matcher is scored.
        case: its seed draws the phantoms and shuffles.
        boxes: MS-CXR's table or JSON, films beside it; None draws `PHANTOMS` chests with a finding.
        out: not written to.

    Raises:
        InputError: `boxes` is wrong (`data.mscxr.read_mscxr`).
    """
    pixels, places = phantom_places(PHANTOMS, case.seed, model.preset.encoder.size) if boxes is None else _read_places(model, boxes)
    seen = systems_seen(model.matcher, pixels, places, case.seed, lambda done: case.progress("grounding phrases", done, len(places)))
    numbers = {name: [one.numbers(place) for one, place in zip(maps, places, strict=True)] for name, maps in seen.items()}
    shared = shares_seen(model.matcher, model.alignment, pixels, places, seen[OURS])
    numbers[SHARES] = [one.numbers(place) for one, place in zip(shared, places, strict=True)]
    for each in numbers[SHARES]:
        each.pop("mIoU")
    numbers[PRIOR] = [_prior(places, i) for i in range(len(places))]
    numbers[RANDOM] = _random_places(places, case.seed)
    films = len(pixels)
    statistics = {name: mean_over(found, [place.film for place in places]) for name, found in numbers.items()}
    table: Table = {name: measure(statistic, films, case.seed) for name, statistic in statistics.items()}
    table[OURS] |= {"phrases": single(float(len(places)), films), "box area": single(_area(places), films)}
    against = {
        f"{OURS} against {name}": paired(statistics[OURS], other, films, case.seed) for name, other in statistics.items() if name != OURS
    }
    return {"grounding": table, "grounding, paired": against, "grounding by finding": _by_finding(numbers, places, case.seed)}


def phantom_places(count: int, seed: int, size: int) -> tuple[UInt8[Tensor, "n s s"], list[Place]]:
    """Drawn chests with a finding, and each finding's sentence with its box.

    Args:
        count: of films, > 0.
        seed: of all of them.
        size: pixels along a side.
    """
    films: list[np.ndarray] = []
    places: list[Place] = []
    for film_seed in _seeds(seed):
        if len(films) == count:
            break
        phantom = draw_phantom(film_seed, size=size)
        said = {finding: sentence_of(phantom.report, finding) for finding in phantom.findings}
        places += [Place(len(films), finding, text, (_inside(phantom.boxes[finding]),)) for finding, text in said.items()]
        films += [phantom.pixels] if said else []
    return torch.from_numpy(np.stack(films)), places


@torch.inference_mode()
def systems_seen(
    matcher: AdaMatch, pixels: UInt8[Tensor, "n s s"], places: Sequence[Place], seed: int, told: Callable[[int], None]
) -> dict[str, list[Seen]]:
    """System -> its patches on each phrase: the matcher, its weights with the patches on the grid, and its patches on another phrase.

    Args:
        matcher: AdaMatch.
        pixels: the films.
        places: the phrases, film by film.
        seed: which other phrase is asked for.
        told: how many phrases are done.
    """
    own, others = [place.phrase for place in places], _other_phrases(places, seed)
    fixed = on_the_grid(matcher)
    found = {OURS: list(_looked(matcher, pixels, places, own, told)), SHUFFLED: list(_looked(matcher, pixels, places, others, told))}
    return found | ({GRID: list(_looked(fixed, pixels, places, own, told))} if fixed is not None else {})


def _looked(
    matcher: AdaMatch, pixels: UInt8[Tensor, "n s s"], places: Sequence[Place], phrases: Sequence[str], told: Callable[[int], None]
) -> Iterator[Seen]:
    asked = list(zip(places, phrases, strict=True))
    done = 0
    for batch, group in groupby(asked, key=lambda item: item[0].film // FILMS):
        films = matcher.encode_films(to_float(pixels[batch * FILMS : (batch + 1) * FILMS]))
        of_batch = list(group)
        words = matcher.encode_texts([phrase for _, phrase in of_batch])
        for row, (place, _) in enumerate(of_batch):
            film = place.film % FILMS
            cosines = films.features[film].float() @ words.features[row][words.mask[row]].float().T  # (n, k)
            yield Seen(cosines.amax(1).double().numpy(), films.boxes[film].double().numpy())
        done += len(of_batch)
        told(done)


def shares_seen(
    matcher: AdaMatch, alignment: GlobalAlignment, pixels: UInt8[Tensor, "n s s"], places: Sequence[Place], seen: Sequence[Seen]
) -> list[Seen]:
    """The same patches by what each adds to the global alignment's reading of the phrase, less what it adds on the mean of these films.

    Args:
        matcher: AdaMatch.
        alignment: of the matcher.
        pixels: the films; they say what is usual, too.
        places: the phrases.
        seen: the matcher's patches on each phrase.
    """
    shares = over_films(lambda films: film_shares(matcher, films), pixels)
    usual, asked = shares.mean(0), directions(alignment, matcher, [place.phrase for place in places])
    return [
        replace(one, scores=phrase_map(shares[place.film], usual, direction).double().numpy())
        for one, place, direction in zip(seen, places, asked, strict=True)
    ]


def _other_phrases(places: Sequence[Place], seed: int) -> list[str]:
    """For each phrase one of another finding, at random; its own where all are of one finding."""
    rng = np.random.default_rng(seed)
    found = []
    for place in places:
        choices = [other.phrase for other in places if other.finding != place.finding] or [place.phrase]
        found.append(choices[int(rng.integers(len(choices)))])
    return found


# ---- what looks at no film


def _prior(places: Sequence[Place], index: int) -> dict[str, float]:
    """The mean of the boxes of the same finding on other films (of all findings where it is on no other)."""
    place = places[index]
    others = [other for other in places if other.film != place.film]
    same = [other for other in others if other.finding == place.finding] or others
    if not same:
        return {}
    heat = np.mean([box_mask(other.boxes) for other in same], axis=0)
    return {"pointing game": float(points_inside(peak(heat), place.boxes)[0])} | map_numbers(heat, place.boxes)


def _random_places(places: Sequence[Place], seed: int) -> list[dict[str, float]]:
    """The phrase's first box, moved to a place drawn evenly from those where it fits."""
    rng = np.random.default_rng(seed)
    found = []
    for place in places:
        x0, y0, x1, y1 = place.boxes[0]
        left, top = rng.uniform(0, 1 - (x1 - x0)), rng.uniform(0, 1 - (y1 - y0))
        box = (left, top, min(1.0, left + x1 - x0), min(1.0, top + y1 - y0))
        middle = np.array([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]])
        pointed = {"pointing game": float(points_inside(middle, place.boxes)[0])}
        found.append(pointed | map_numbers(box_mask([box]).astype(float), place.boxes))
    return found


# ---- tables


def _by_finding(numbers: dict[str, list[dict[str, float]]], places: Sequence[Place], seed: int) -> Table:
    table: Table = {}
    for finding in sorted({place.finding for place in places}):
        rows = [i for i, place in enumerate(places) if place.finding == finding]
        number = {film: i for i, film in enumerate(dict.fromkeys(places[i].film for i in rows))}
        those = [replace(places[i], film=number[places[i].film]) for i in rows]
        row: dict[str, Measure] = {}
        for name, found in numbers.items():
            pointed = [{"pointing game": found[i]["pointing game"]} for i in rows if "pointing game" in found[i]]
            if len(pointed) == len(rows):
                row[name] = measure(mean_over(pointed, [place.film for place in those]), len(number), seed)["pointing game"]
        table[f"{finding} ({len(rows)} phrases)"] = row | {"box area": single(_area(those), len(number))}
    return table


def _area(places: Sequence[Place]) -> float:
    return float(np.mean([box_mask(place.boxes).mean() for place in places]))


# ---- places


def _seeds(seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(0, 2**31))


def _inside(box: UnitBox) -> UnitBox:
    x0, y0, x1, y1 = (min(max(edge, 0.0), 1.0) for edge in box)
    return (x0, y0, x1, y1)


def _read_places(model: Evaluated, boxes: Path) -> tuple[UInt8[Tensor, "n s s"], list[Place]]:
    """MS-CXR's phrases on their films, read at the network's size."""
    encoder = model.preset.encoder
    rows: dict[Path, int] = {}
    films: list[np.ndarray] = []
    geometries: list[Geometry] = []
    places = []
    for phrase in sorted(read_mscxr(boxes), key=lambda phrase: str(phrase.image)):
        if phrase.image not in rows:
            film = read_film(phrase.image, encoder.fit)
            rows[phrase.image] = len(films)
            films.append(network_pixels(film, encoder.size))
            geometries.append(film.geometry)
        row = rows[phrase.image]
        places.append(Place(row, phrase.category, phrase.phrase, tuple(_to_unit(geometries[row], phrase, box) for box in phrase.boxes)))
    return torch.from_numpy(np.stack(films)), places


def _to_unit(geometry: Geometry, phrase: GroundedPhrase, box: PixelBox) -> UnitBox:
    """A box on the film that was boxed -> on the network's image, also where the file is a smaller copy of that film."""
    across, down = geometry.width / phrase.width, geometry.height / phrase.height
    return _inside(geometry.to_unit((box[0] * across, box[1] * down, box[2] * across, box[3] * down)))
