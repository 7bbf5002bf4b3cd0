"""What the page of one result shows: boxes in the units of its drawing, the report cut into lines, words and gaps; knows no HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from cyclicxr.types import KeypatchRecord, PixelBox, Point, Result, SentenceRecord, WordRecord

UNITS = 1000.0  # width of the drawing over the film; its height follows from the film's aspect ratio
COLOURS = 8  # sentence colours in page.css; the ninth sentence begins again
HEAD = 11.0  # units: length of an arrow's head
THUMBNAIL = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")  # any other address could fetch something


@dataclass(frozen=True)
class Mark:
    """A box of the drawing, in its units, with the arrow from the fixed to the shifted centre (Fig. 8).

    `key` is what words, keywords and lines refer to; `anchor` is None where the box is no patch of the result.
    """

    key: str
    x: float
    y: float
    width: float
    height: float
    centre: Point
    anchor: Point | None = None
    head: str = ""
    note: str = ""

    @property
    def dead(self) -> bool:
        """A patch of no size (Eq. 2 gives 0): nothing but its centre can be shown."""
        return self.width <= 0 or self.height <= 0


@dataclass(frozen=True)
class Piece:
    """A stretch of a line: a word with its mark, or (mark "") the text between words. `strength` in [0, 1] ranks the report's words."""

    text: str
    mark: str = ""
    score: float = 0.0
    strength: float = 0.0


@dataclass(frozen=True)
class Line:
    """One line of the report: a sentence (numbered from 1), or text outside every sentence (number 0)."""

    number: int
    text: str
    pieces: tuple[Piece, ...]
    marks: tuple[str, ...] = ()
    consistency: float | None = None
    flagged: bool = False

    @property
    def colour(self) -> int:
        """1-based sentence colour."""
        return (self.number - 1) % COLOURS + 1


@dataclass(frozen=True)
class Keyword:
    """A keyword found on the film; `left` and `top` place its tag in percent of the film."""

    text: str
    group: str
    score: float
    mark: str
    left: float
    top: float


@dataclass(frozen=True)
class Timing:
    """A stage's seconds and their share of the longest stage."""

    name: str
    seconds: float
    share: float


@dataclass
class Drawing:
    """The boxes over the film: pixels of the original file in, drawing units out; one mark for equal boxes."""

    width: int
    height: int
    patches: list[Mark] = field(default_factory=list)
    extras: list[Mark] = field(default_factory=list)
    keys: dict[PixelBox, str] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """Units a pixel."""
        return UNITS / self.width

    @property
    def units_high(self) -> float:
        return round(self.height * self.scale, 1)

    def add_patch(self, index: int, box: PixelBox, anchor: Point, shift: Point) -> None:
        """Draw patch `index` of a result."""
        fixed = (anchor[0] * self.scale, anchor[1] * self.scale)
        centre = (fixed[0] + shift[0] * self.scale, fixed[1] + shift[1] * self.scale)
        mark = replace(self._box(str(index), box), centre=_rounded(centre), anchor=_rounded(fixed), head=_head(fixed, centre))
        self.patches.append(replace(mark, note=_shift_note(index, shift)))
        self.keys.setdefault(box, mark.key)

    def key(self, box: PixelBox, patch: int | None = None) -> str:
        """The mark of a box: that of its patch where there is one, else one of its own."""
        if patch is not None and 0 <= patch < len(self.patches):
            return str(patch)
        if box not in self.keys:
            self.keys[box] = f"x{len(self.extras)}"
            self.extras.append(self._box(self.keys[box], box))
        return self.keys[box]

    def mark(self, key: str) -> Mark:
        return self.extras[int(key[1:])] if key.startswith("x") else self.patches[int(key)]

    def _box(self, key: str, box: PixelBox) -> Mark:
        x0, y0, x1, y1 = (corner * self.scale for corner in box)
        left, top, width, height = (round(value, 1) for value in (x0, y0, max(x1 - x0, 0.0), max(y1 - y0, 0.0)))
        return Mark(key, left, top, width, height, centre=_rounded(((x0 + x1) / 2, (y0 + y1) / 2)))


@dataclass(frozen=True)
class View:
    """All that the template loops over."""

    drawing: Drawing
    lines: tuple[Line, ...]
    keywords: tuple[Keyword, ...]
    keypatches: tuple[KeypatchRecord, ...]
    timings: tuple[Timing, ...]


def view_of(result: Result, width: int, height: int) -> View:
    """Lay a result out over a film of `width` x `height` pixels, those that its boxes count in."""
    drawing = Drawing(width, height)
    for index, patch in enumerate(result.patches):
        drawing.add_patch(index, patch.box, patch.anchor, patch.shift)
    keywords = []
    for keyword in result.keywords:
        mark = drawing.mark(drawing.key(keyword.box, keyword.patch))
        left, top = 100 * mark.x / UNITS, 100 * mark.y / drawing.units_high
        keywords.append(Keyword(keyword.text, keyword.group, keyword.score, mark.key, round(left, 2), round(top, 2)))
    keypatches = tuple(k if THUMBNAIL.fullmatch(k.thumbnail) else replace(k, thumbnail="") for k in result.keypatches)
    return View(drawing, tuple(_lines(result, drawing)), tuple(keywords), keypatches, _timings(result.timings))


def _lines(result: Result, drawing: Drawing) -> Iterator[Line]:
    """The report from its first character to its last: sentences in order, and whatever stands between them."""
    at = 0
    for number, sentence in enumerate(sorted(result.sentences, key=lambda s: s.start), start=1):
        start = max(sentence.start, at)
        end = max(sentence.end, start)
        yield from _gap(result, drawing, at, start)
        pieces = tuple(_pieces(result, drawing, start, end))
        yield Line(number, result.report[start:end], pieces, _marks(sentence, drawing), sentence.consistency, sentence.flagged)
        at = end
    yield from _gap(result, drawing, at, len(result.report))


def _gap(result: Result, drawing: Drawing, start: int, end: int) -> Iterator[Line]:
    text = result.report[start:end]
    if text.strip():
        yield Line(0, text, tuple(_pieces(result, drawing, start, end)))


def _marks(sentence: SentenceRecord, drawing: Drawing) -> tuple[str, ...]:
    return tuple(dict.fromkeys(drawing.key(box) for box in sentence.boxes))


def _pieces(result: Result, drawing: Drawing, start: int, end: int) -> Iterator[Piece]:
    """Words and gaps of `report[start:end]`, which they rebuild exactly."""
    at = start
    for word in sorted(result.words, key=lambda w: w.start):
        if word.start < at or word.end > end or word.end <= word.start:
            continue
        if word.start > at:
            yield Piece(result.report[at : word.start])
        mark = drawing.key(word.box, word.patch)
        yield Piece(result.report[word.start : word.end], mark, word.score, _strength(word, result.words))
        at = word.end
    if at < end:
        yield Piece(result.report[at:end])


def _strength(word: WordRecord, words: Sequence[WordRecord]) -> float:
    scores = [w.score for w in words]
    low, high = min(scores), max(scores)
    return round((word.score - low) / (high - low), 2) if high > low else 1.0


def _timings(seconds: dict[str, float]) -> tuple[Timing, ...]:
    longest = max((s for name, s in seconds.items() if name != "total"), default=0.0)
    return tuple(Timing(name, s, round(min(s / longest, 1.0), 3) if longest > 0 else 0.0) for name, s in seconds.items())


def _rounded(point: Point) -> Point:
    return (round(point[0], 1), round(point[1], 1))


def _head(start: Point, end: Point) -> str:
    """Path data of an open arrow head at `end`; "" for a shift too small to have a direction."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    if length < 2.0:
        return ""
    size = min(HEAD, 0.6 * length)
    angle = math.atan2(dy, dx)
    sides = [(end[0] - size * math.cos(angle + turn), end[1] - size * math.sin(angle + turn)) for turn in (0.5, -0.5)]
    (ax, ay), (bx, by) = (_rounded(side) for side in sides)
    return f"M{ax} {ay}L{end[0]:.1f} {end[1]:.1f}L{bx} {by}"


def _shift_note(index: int, shift: Point) -> str:
    across, down = round(shift[0]), round(shift[1])
    moves = [f"{abs(across)} px {'right' if across > 0 else 'left'}"] if across else []
    moves += [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    return f"patch {index}, {', '.join(moves) or 'not shifted'}"
