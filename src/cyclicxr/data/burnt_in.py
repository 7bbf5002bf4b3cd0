"""Film -> boxes of what looks like burnt-in text: glyphs that stand out and are lined up; reads no word and blanks nothing.

A rule, no network (ours): a line of text is three or more small shapes of like height, all white or all black, side by side. A single
side marker ("L", "R") is therefore none. How often it finds drawn text, and how often it errs on real films, is in BENCHMARKS.md.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from cyclicxr.types import PixelBox

_WHITE = 0.75  # [ours] of the way from the film's darkest to its brightest pixel: a glyph lies above it, or as far below for black ones
_CONTRAST = 0.25  # [ours] that a glyph differs at least from what is around it
_LOWEST, _HIGHEST = 5, 0.08  # [ours] pixels, and share of the film's height: the height of a glyph
_WIDEST = 2.0  # [ours] heights: the width of a glyph
_FILLED = (0.15, 0.95)  # [ours] share of its box that a glyph covers; "I" and "1" may fill all and are carried by their neighbours
_LIKE = 1.6  # [ours] ratio of heights in a line
_GAP = 1.2  # [ours] heights between two glyphs of a line
_GLYPHS = 3  # [ours] in a line
_MOST_SHAPES, _MOST_GLYPHS = 20_000, 1_000  # [ours] a film with more is noise, and holds no text that stands out


def text_regions(pixels: Float32[np.ndarray, "h w"]) -> list[PixelBox]:
    """Where a film may have text burnt in.

    Args:
        pixels: in [0, 1].

    Returns:
        A box (x0, y0, x1, y1) in pixels for each line of text, from top to bottom.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return []
    grey = (pixels - low) / (high - low)
    found = [box for mask in (grey >= _WHITE, grey <= 1 - _WHITE) for box in _lines(_glyphs(mask, grey))]
    return sorted(found, key=lambda box: (box[1], box[0]))


def _glyphs(mask: Bool[np.ndarray, "h w"], grey: Float32[np.ndarray, "h w"]) -> list[tuple[int, int, int, int]]:
    """Boxes (x0, y0, x1, y1) of the shapes that could be a letter."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count > _MOST_SHAPES:
        return []
    highest = max(_LOWEST, _HIGHEST * len(mask))
    glyphs = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not (_LOWEST <= height <= highest and width <= _WIDEST * height):
            continue
        shape = labels[rows, columns] == number
        is_stroke = width <= height / 2
        if _FILLED[0] <= shape.mean() and (is_stroke or shape.mean() <= _FILLED[1]) and _stands_out(labels, number, rows, columns, grey):
            glyphs.append((columns.start, rows.start, columns.stop, rows.stop))
    return glyphs if len(glyphs) <= _MOST_GLYPHS else []


def _stands_out(labels: np.ndarray, number: int, rows: slice, columns: slice, grey: np.ndarray) -> bool:
    margin = 2
    rows, columns = (slice(max(0, part.start - margin), part.stop + margin) for part in (rows, columns))
    inside = labels[rows, columns] == number
    around = grey[rows, columns][~ndimage.binary_dilation(inside)]
    return around.size > 0 and abs(float(np.median(grey[rows, columns][inside])) - float(np.median(around))) >= _CONTRAST


def _lines(glyphs: list[tuple[int, int, int, int]]) -> list[PixelBox]:
    """Glyphs side by side, joined; each joins the line whose last glyph is near, as high, and level with it."""
    lines: list[list[tuple[int, int, int, int]]] = []
    for glyph in sorted(glyphs):
        line = next((line for line in lines if _follows(line[-1], glyph)), None)
        if line is None:
            lines.append([glyph])
        else:
            line.append(glyph)
    return [_around(line) for line in lines if len(line) >= _GLYPHS and not _is_ruled(line)]


def _follows(last: tuple[int, int, int, int], glyph: tuple[int, int, int, int]) -> bool:
    heights = sorted((last[3] - last[1], glyph[3] - glyph[1]))
    level = min(last[3], glyph[3]) - max(last[1], glyph[1])
    return heights[1] <= _LIKE * heights[0] and level >= heights[0] / 2 and glyph[0] - last[2] <= _GAP * heights[1]


def _is_ruled(line: list[tuple[int, int, int, int]]) -> bool:
    """The ticks of a ruler: strokes of one width at one distance."""
    steps = {after[0] - before[0] for before, after in pairwise(line)}
    return max(steps) - min(steps) <= 1 and all(glyph[2] - glyph[0] <= (glyph[3] - glyph[1]) / 4 for glyph in line)


def _around(line: list[tuple[int, int, int, int]]) -> PixelBox:
    left, top, right, bottom = zip(*line, strict=True)
    return (float(min(left)), float(min(top)), float(max(right)), float(max(bottom)))
