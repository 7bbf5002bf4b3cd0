"""What crosses the borders between stages, as frozen dataclasses; knows no torch and no file format.

Legend of axes: b batch of films, c batch of reports, n adaptive patches of a film, k tokens of a report, w keyword tokens,
g sampling points along one side of a patch (the paper's m), p keypatches, s image tokens, d width of the shared space.

Coordinates: x to the right and y downwards. A `UnitBox` is `(x0, y0, x1, y1)` in [0, 1] of the *network's* image, a `PixelBox`
the same four numbers in pixels of the *original* file; `Geometry` alone converts between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

UnitBox = tuple[float, float, float, float]
PixelBox = tuple[float, float, float, float]
Point = tuple[float, float]
Progress = Callable[[str, int, int], None]  # told what is done, how many of it, and of how many

FITS = ("squash", "pad")  # how a film of any aspect comes into the network's square: `Geometry`

NOTICE = "Research use only. Not a medical device; not for diagnosis or any clinical decision."


class InputError(ValueError):
    """The caller's mistake: one line that says what is wrong, where, and what to do. The command line exits with 2."""


@dataclass(frozen=True)
class Geometry:
    """The way from the network's square image to the original file and back, for the film as it stands upright (an EXIF rotation applied).

    "squash" stretches the film over the whole square, as the paper does (4.1). "pad" keeps its aspect: the longer side fills the square,
    and the film lies in the middle between two black bars. Decision 0026.

    Args:
        width: pixels of the original file, > 0.
        height: pixels of the original file, > 0.
        fit: one of `FITS`.
        aspect: height of a pixel over its width, > 0; 1 is square. Only "pad" needs it.
    """

    width: int
    height: int
    fit: str = "squash"
    aspect: float = 1.0

    def to_pixels(self, box: UnitBox) -> PixelBox:
        """Box in [0, 1] -> box in pixels of the original file, clipped to the film: a box in a black bar becomes one without area."""
        x0, y0 = self.point_to_pixels(box[:2])
        x1, y1 = self.point_to_pixels(box[2:])
        return (_between(x0, self.width), _between(y0, self.height), _between(x1, self.width), _between(y1, self.height))

    def point_to_pixels(self, point: Point) -> Point:
        """Point in [0, 1] -> pixels of the original file; one in a black bar lies outside of the film."""
        (x, y), (share_x, share_y) = point, self._shares()
        return ((x - (1 - share_x) / 2) / share_x * self.width, (y - (1 - share_y) / 2) / share_y * self.height)

    def vector_to_pixels(self, vector: Point) -> Point:
        """A way between two points, in sides of the square -> pixels of the original file."""
        share_x, share_y = self._shares()
        return (vector[0] / share_x * self.width, vector[1] / share_y * self.height)

    def to_unit(self, box: PixelBox) -> UnitBox:
        """Box in pixels of the original file -> box in [0, 1] of the network's image."""
        (x0, y0, x1, y1), (share_x, share_y) = box, self._shares()
        left, top = (1 - share_x) / 2, (1 - share_y) / 2
        across, down = share_x / self.width, share_y / self.height
        return (left + x0 * across, top + y0 * down, left + x1 * across, top + y1 * down)

    def _shares(self) -> tuple[float, float]:
        """How much of the square's width and of its height the film covers, in (0, 1]."""
        if self.fit == "squash":
            return (1.0, 1.0)
        tall = self.height * self.aspect
        longest = max(self.width, tall)
        return (self.width / longest, tall / longest)


def _between(value: float, highest: int) -> float:
    return min(max(value, 0.0), float(highest))


@dataclass(frozen=True)
class Film:
    """One decoded film.

    Args:
        pixels: float32 (h, w) in [0, 1], bone bright; the original resolution.
        geometry: back to the original file's pixels.
        path: as the user named it ("" for a film that never was a file).
        sha256: of the file's bytes.
        view: "PA", "AP", ... or "unknown".
    """

    pixels: np.ndarray
    geometry: Geometry
    path: str
    sha256: str
    view: str = "unknown"


@dataclass(frozen=True)
class Study:
    """One row of a studies table. `image` is an absolute path; `mesh` are NLM's annotations, `()` where there are none."""

    id: str
    patient: str
    image: str
    report: str
    split: str = ""
    view: str = "unknown"
    mesh: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entity:
    """A term of a report. `text` is normalised (lower case); `start:end` are characters of the report it came from."""

    text: str
    group: str
    negated: bool
    start: int
    end: int


@dataclass(frozen=True)
class PatchRecord:
    """One adaptive patch of a result (Fig. 8): its box, the centre of the fixed patch it began as, and the shift of its centre."""

    box: PixelBox
    anchor: Point
    shift: Point


@dataclass(frozen=True)
class KeywordRecord:
    """A keyword found on the film. `score` is standardised over the training films (0: as usual, 2: rare); `patch` indexes `patches`."""

    text: str
    group: str
    score: float
    patch: int
    box: PixelBox


@dataclass(frozen=True)
class WordRecord:
    """A word of the report with the patch that matches it best. `score` is a cosine in [-1, 1]; `start:end` are characters of `report`."""

    text: str
    start: int
    end: int
    score: float
    patch: int
    box: PixelBox


@dataclass(frozen=True)
class SentenceRecord:
    """A sentence of the report: its evidence, and its consistency in [0, 1] after a cycle (None before one)."""

    text: str
    start: int
    end: int
    boxes: tuple[PixelBox, ...]
    consistency: float | None = None
    flagged: bool = False


@dataclass(frozen=True)
class KeypatchRecord:
    """A keypatch used as a hint. `box` is in [0, 1] of the source film, `thumbnail` a PNG data URI decoded from its image `token`."""

    source: str
    box: UnitBox
    token: int
    word: str
    score: float
    thumbnail: str = ""


@dataclass(frozen=True)
class FrontalRecord:
    """Whether a film is an upright frontal chest X-ray with bone bright: a score in [0, 1], and what is wrong ("" where nothing is)."""

    score: float
    reason: str


@dataclass(frozen=True)
class ImageRecord:
    """The film a result is about. `path` is "" for a drawn film that was asked for by text alone; `frontal` is None where nobody looked."""

    path: str
    sha256: str
    width: int
    height: int
    view: str
    frontal: FrontalRecord | None = None


@dataclass(frozen=True)
class SyntheticRecord:
    """A drawn film: the file it was written to and its image tokens (row by row)."""

    path: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Result:
    """One result, `cyclicxr.result/1`. `to_json` gives what is written to disk and validated by `result.schema.json`."""

    image: ImageRecord | None
    model: dict[str, str]
    report: str
    sentences: tuple[SentenceRecord, ...] = ()
    keywords: tuple[KeywordRecord, ...] = ()
    patches: tuple[PatchRecord, ...] = ()
    words: tuple[WordRecord, ...] = ()
    keypatches: tuple[KeypatchRecord, ...] = ()
    synthetic: SyntheticRecord | None = None
    timings: dict[str, float] = field(default_factory=dict)
    notice: str = NOTICE
    schema: str = "cyclicxr.result/1"

    def to_json(self) -> dict[str, Any]:
        """Plain dict of JSON types, `schema` first."""
        fields = asdict(self)
        return {"schema": fields.pop("schema"), **fields}
