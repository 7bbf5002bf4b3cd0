"""The picture of a drawn chest: thicknesses of tissue, air and bone on a grid, added up and developed like a film; knows no words.

Anatomical coordinates are x, y in [0, 1] as for boxes; the patient's right is on the left of the film. A finding's box is measured from
the layer that draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

from cyclicxr.types import UnitBox

Layer = Float[np.ndarray, "s s"]
_VISIBLE = 0.35  # of a layer's maximum: where its box ends
RIGHT, LEFT = -1, 1  # side of the patient = sign of x - 0.5


@dataclass(frozen=True)
class Chest:
    """One patient's anatomy. All lengths in widths of the film."""

    half_width: float  # from the midline to the ribs
    apex: float  # y
    base: float  # y of the costophrenic angles
    dome: float  # height of the diaphragm over them
    heart: float  # half width
    heart_centre: float  # x
    knob: float  # radius of the aortic arch


def new_chest(rng: np.random.Generator, heart_growth: float) -> Chest:
    """A patient at random; `heart_growth` times the usual width of the heart."""
    half_width = rng.uniform(0.375, 0.415)
    heart = half_width * rng.uniform(0.43, 0.47) * heart_growth
    return Chest(
        half_width=half_width,
        apex=rng.uniform(0.07, 0.11),
        base=rng.uniform(0.8, 0.85),
        dome=rng.uniform(0.07, 0.11),
        heart=heart,
        heart_centre=0.5 + heart * rng.uniform(0.26, 0.32),
        knob=rng.uniform(0.034, 0.046),
    )


class Drawing:
    """A chest on its way to a film: layers are added to `thickness`, then `develop` makes the picture.

    Args:
        chest: the anatomy.
        rng: for pose, vessels, exposure and noise.
        size: pixels along a side.
    """

    def __init__(self, chest: Chest, rng: np.random.Generator, size: int) -> None:
        self.chest, self.rng, self.size = chest, rng, size
        self.x, self.y = _posed_grid(rng, size)
        self.lungs = {side: self._lung(side) for side in (RIGHT, LEFT)}
        self.thickness = np.zeros((size, size))
        self._draw_body()

    def add(self, layer: Layer, weight: float) -> UnitBox:
        """Add a layer and measure its box."""
        self.thickness = self.thickness + weight * layer
        return self.box(layer)

    def box(self, layer: Layer) -> UnitBox:
        """Where a layer is seen, in [0, 1] of the film."""
        seen = np.abs(layer) > _VISIBLE * np.abs(layer).max()
        columns, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
        x0, x1, y0, y1 = (float(edge) / self.size for edge in (columns[0], columns[-1] + 1, rows[0], rows[-1] + 1))
        return (x0, y0, x1, y1)

    def heart(self) -> Layer:
        """An egg that leans to the patient's left, down to the diaphragm."""
        chest = self.chest
        top = 0.3 + 0.06 * (chest.heart < 0.2)
        v = (self.y - chest.base + 0.14) / np.where(self.y < chest.base - 0.14, chest.base - 0.14 - top, 0.2)
        narrow = np.clip(1 - np.abs(v) ** 1.9, 0, None) ** 0.62
        centre = 0.5 + (chest.heart_centre - 0.5) * np.clip(0.75 + 0.35 * v, 0.2, 1.2)
        egg = _step(chest.heart * narrow - np.abs(self.x - centre), 0.009)
        floor = np.minimum(self._diaphragm(RIGHT), self._diaphragm(LEFT) + 0.02)
        return np.asarray(egg * np.clip(4 * narrow, 0, 1) * _step(floor + 0.02 - self.y, 0.014))

    def effusion(self, side: int, height: float) -> Layer:
        """Fluid to `height` above the costophrenic angle, with a meniscus that climbs the chest wall."""
        lateral = np.clip((np.abs(self.x - 0.5) - 0.12) / (self.chest.half_width - 0.12), 0, 1)
        level = self.chest.base - height * (0.55 + 0.6 * lateral**3)
        return np.asarray(self.lungs[side] * _step(self.y - level, 0.014))

    def blob(self, x: float, y: float, radius: float) -> Layer:
        """A cloud with an uneven edge, inside the lungs."""
        noise = gaussian_filter(self.rng.standard_normal((self.size, self.size)), self.size * 0.02)
        distance = np.hypot((self.x - x) / radius, (self.y - y) / (0.85 * radius)) + 0.35 * noise / noise.std()
        return np.asarray(np.exp(-(np.clip(distance, 0, None) ** 2)) * self.air)

    def disc(self, x: float, y: float, radius: float) -> Layer:
        """A round, rather sharp shadow."""
        return _step(1 - np.hypot(self.x - x, self.y - y) / radius, 0.12)

    def rind(self, side: int, depth: float) -> tuple[Layer, Layer]:
        """Air between the chest wall and a collapsed lung: the air, and the line of the pleura."""
        outside = self._depth(side) - depth * np.clip(1.35 - (self.y - self.chest.apex) / 0.42, 0, 1)
        upper = self.lungs[side] * _step(self.chest.apex + 0.5 - self.y, 0.03)
        return upper * _step(-outside, 0.004), upper * np.exp(-((outside / 0.0045) ** 2))

    def line(self, points: Sequence[tuple[float, float]], width: float) -> Layer:
        """A smooth wire through the points."""
        curve, layer, margin = _smooth(points), np.zeros(self.x.shape), 2 * width
        low, high = curve.min(0) - margin, curve.max(0) + margin
        near = (self.x > low[0]) & (self.x < high[0]) & (self.y > low[1]) & (self.y < high[1])
        layer[near] = np.exp(-((_distance(self.x[near], self.y[near], curve) / width) ** 4))
        return layer

    def plate(self, x: float, y: float, half: float) -> Layer:
        """A rounded metal case."""
        return _step(1 - (np.abs((self.x - x) / half) ** 3 + np.abs((self.y - y) / (0.8 * half)) ** 3), 0.1)

    @property
    def air(self) -> Layer:
        """Both lungs, in [0, 1]."""
        return np.asarray(self.lungs[RIGHT] + self.lungs[LEFT])

    def develop(self) -> UInt8[np.ndarray, "s s"]:
        """Exposure, blur of the screen, scatter and grain; bone bright, 8 bits."""
        rng = self.rng
        film = 1 - np.exp(-1.25 * np.clip(self.thickness, 0, None) ** rng.uniform(0.95, 1.15))
        scatter = gaussian_filter(film, self.size * 0.08)
        film = gaussian_filter(0.9 * film + 0.1 * scatter, self.size * rng.uniform(0.0016, 0.003))
        tilt = rng.uniform(-0.05, 0.05) * (self.x - 0.5) + rng.uniform(-0.08, 0.02) * (self.y - 0.5)
        film = (film + tilt) * rng.uniform(1.12, 1.25) - rng.uniform(0.0, 0.05)
        grain = gaussian_filter(rng.standard_normal(film.shape), 0.6) * rng.uniform(0.008, 0.016)
        return np.asarray(np.clip(film + grain * (0.5 + film), 0, 1) * 255 + 0.5, dtype=np.uint8)

    def _draw_body(self) -> None:
        chest, x, y = self.chest, self.x, self.y
        across = np.abs(x - 0.5)
        shoulder = 0.02 + 0.34 * _step(across - 0.1, 0.06) * np.clip(across - 0.08, 0, None) ** 1.2
        outline = _step(y - shoulder, 0.012) * _step(0.5 + 0.04 * y - across, 0.02)
        self.thickness += outline * (0.72 + 0.1 * y - 0.55 * across**2)
        below = _step(y - np.where(x < 0.5, self._diaphragm(RIGHT), self._diaphragm(LEFT)), 0.01)
        self.thickness += 0.22 * outline * below * _step(chest.half_width + 0.02 - across, 0.03)
        self.thickness -= 0.56 * self.air * (0.9 + 0.15 * y)
        self._draw_mediastinum(across)
        self._draw_bones(across)
        self._draw_vessels()
        bubble = np.hypot((x - 0.68) / 0.07, (y - chest.base - 0.03) / 0.035)
        self.thickness -= self.rng.uniform(0.05, 0.3) * _step(1 - bubble, 0.25)
        self.thickness = np.where(outline > 0.02, self.thickness, 0.03 * outline)

    def _draw_mediastinum(self, across: Layer) -> None:
        chest, x, y = self.chest, self.x, self.y
        width = (
            0.042
            + 0.03 * np.exp(-(((y - 0.02) / 0.12) ** 2))
            + 0.014 * np.exp(-(((y - 0.4) / 0.1) ** 2))
            + 0.02 * np.clip(y - 0.3, 0, None)
        )
        middle = _step(width - np.abs(x - 0.502), 0.02)
        self.thickness += 0.22 * middle
        knob = _step(1 - np.hypot(x - 0.5 - 0.055, y - 0.31) / chest.knob, 0.15)
        descending = _step(0.02 - np.abs(x - 0.56 - 0.015 * np.sin(6 * y)), 0.01) * _step(y - 0.31, 0.02) * _step(0.8 - y, 0.05)
        self.thickness += 0.2 * knob + 0.09 * descending
        self.thickness += 0.42 * self.heart() * (1 - 0.45 * middle)
        trachea = _step(0.016 - np.abs(x - 0.497), 0.006) * _step(0.33 - y, 0.02)
        self.thickness -= 0.17 * trachea
        vertebrae = 0.7 + 0.3 * np.tanh(3 * np.cos(2 * np.pi * y / 0.062))
        self.thickness += 0.1 * _step(0.034 - np.abs(x - 0.5), 0.014) * vertebrae * _step(y - 0.03, 0.03)
        processes = np.exp(-(((y % 0.062) - 0.031) ** 2) / 0.00006) * _step(0.055 - across, 0.012)
        self.thickness += 0.04 * processes

    def _draw_bones(self, across: Layer) -> None:
        chest, y = self.chest, self.y
        spacing, first = self.rng.uniform(0.068, 0.074), chest.apex + self.rng.uniform(0.0, 0.02)
        for number in range(11):
            reach = chest.half_width * min(0.42 + 0.2 * number, 1.04)
            out = np.clip((across - 0.035) / reach, 0, 1.05)
            inside = _step(reach - across, 0.012) * _step(across - 0.03, 0.01)
            top = first + spacing * number
            behind = top - 0.028 * np.sin(np.pi * np.clip(out, 0, 1) * 0.8) + 0.11 * out**2.4
            self.thickness += 0.085 * inside * _rib(y - behind, 0.0125)
            if 1 <= number <= 7:
                before = top + 0.075 + 0.13 * (1 - np.clip(out, 0, 1)) ** 1.3
                self.thickness += 0.04 * inside * _step(across - 0.13, 0.05) * _rib(y - before, 0.015)
        for side in (RIGHT, LEFT):
            clavicle = [(0.5 + side * 0.045, 0.185), (0.5 + side * 0.16, 0.155), (0.5 + side * 0.3, 0.13), (0.5 + side * 0.43, 0.1)]
            self.thickness += 0.16 * self.line(clavicle, 0.014)
            scapula = [(0.5 + side * 0.34, 0.15), (0.5 + side * 0.385, 0.3), (0.5 + side * 0.4, 0.47)]
            self.thickness += 0.06 * self.line(scapula, 0.02)
            humerus = [(0.5 + side * 0.455, 0.14), (0.5 + side * 0.49, 0.3), (0.5 + side * 0.51, 0.5)]
            self.thickness += 0.16 * self.line(humerus, 0.034)

    def _draw_vessels(self) -> None:
        rng = self.rng
        for side in (RIGHT, LEFT):
            x, y = 0.5 + side * 0.075, 0.42 - 0.015 * (side == LEFT)
            vessels = 0.8 * np.exp(-(np.hypot((self.x - x) / 0.03, (self.y - y) / 0.06) ** 2))
            for angle in np.linspace(-1.45, 1.5, 10) + rng.normal(0, 0.1, 10):
                length, bend = rng.uniform(0.16, 0.3), rng.normal(0, 0.3)
                for reach, fork, width in ((0.55, 0.0, 0.0085), (1.0, 0.16, 0.0055), (1.0, -0.2, 0.0045)):
                    steps = [(0.03 + t * reach * length, angle + (bend + fork) * t * reach) for t in (0.0, 0.3, 0.65, 1.0)]
                    path = [(x + side * r * np.cos(a), y + r * np.sin(a)) for r, a in steps]
                    vessels = np.maximum(vessels, self.line(path, width * rng.uniform(0.8, 1.2)))
            fade = np.exp(-np.hypot(self.x - x, self.y - y) / 0.16)
            self.thickness += 0.15 * fade * vessels * self.lungs[side]

    def _thorax(self, side: int) -> Layer:
        """The half of the chest within the ribs, without a lower end."""
        lateral = _step(self._depth(side), 0.008)
        medial = 0.035 + 0.07 * np.exp(-np.clip(self.y - self.chest.apex, 0, None) / 0.035)
        return np.asarray(lateral * _step(side * (self.x - 0.5) - medial, 0.012))

    def _depth(self, side: int) -> Layer:
        """Distance from the ribs inwards, as seen across."""
        chest, y = self.chest, self.y
        below = (y - 0.66) / np.where(y < 0.66, 0.66 - chest.apex, 0.9)
        rib = chest.half_width * np.clip(1 - np.abs(below) ** 2.3, 0, None) ** 0.5
        return np.asarray(rib - side * (self.x - 0.5))

    def _diaphragm(self, side: int) -> Layer:
        chest = self.chest
        centre, half = 0.5 + side * chest.half_width * 0.5, chest.half_width * 0.56
        height = chest.dome + (0.02 if side == RIGHT else 0.0)
        lowest = np.where(side * (self.x - centre) < 0, 0.35, -0.3)
        return np.asarray(chest.base - height * np.clip(1 - ((self.x - centre) / half) ** 2, lowest, 1))

    def _lung(self, side: int) -> Layer:
        return np.asarray(self._thorax(side) * _step(self._diaphragm(side) - self.y, 0.007))


def _posed_grid(rng: np.random.Generator, size: int) -> tuple[Layer, Layer]:
    """Anatomical coordinates of every pixel of a film that is a little turned, shifted and scaled."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size
    turn, scale = np.deg2rad(rng.normal(0, 1.2)), rng.uniform(0.96, 1.05)
    dx, dy = x - 0.5 + rng.normal(0, 0.012), y - 0.5 + rng.normal(0, 0.012)
    return 0.5 + scale * (dx * np.cos(turn) - dy * np.sin(turn)), 0.5 + scale * (dx * np.sin(turn) + dy * np.cos(turn))


def _step(distance: Layer, softness: float) -> Layer:
    """0 outside (distance < 0), 1 inside, over `softness`."""
    return np.asarray(1 / (1 + np.exp(-np.clip(distance / softness * 2, -30, 30))))


def _rib(distance: Layer, half: float) -> Layer:
    """A hollow bone: brighter at its two edges."""
    inside = _step(half - np.abs(distance), half * 0.25)
    return np.asarray(inside * (0.65 + 0.35 * np.clip(np.abs(distance) / half, 0, 1) ** 2))


def _smooth(points: Sequence[tuple[float, float]]) -> Float[np.ndarray, "p 2"]:
    """Points along a curve through the corners (Catmull-Rom), (p, 2)."""
    corners = np.array([points[0], *points, points[-1]])
    t = np.linspace(0, 1, 5)[:-1, None]
    curve = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(corners, corners[1:], corners[2:], corners[3:], strict=False)
    ]
    return np.concatenate([*curve, corners[-1:]])


def _distance(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], curve: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, " n"]:
    """Of every pixel to a chain of segments."""
    nearest = np.full(x.shape, np.inf)
    for (ax, ay), (bx, by) in pairwise(curve):
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2 + 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
    return nearest
