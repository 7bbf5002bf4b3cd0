"""Pictures that are no upright frontal chest film, for the gate to learn from: drawn ones, and chest films spoilt; knows no network.

No picture of another body part or of the world is at hand but the two photographs of scikit-learn, so most are drawn: limbs and skulls of
capsules and ellipses, leaves over one another and noise of falling spectrum (the usual stand-ins for photographs), pages, patterns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFilter
from sklearn.datasets import load_sample_images

Picture = UInt8[np.ndarray, "s s"]


def draw_others(count: int, size: int, seed: int) -> UInt8[np.ndarray, "n s s"]:
    """Pictures that are no chest films, each from its own seed.

    Args:
        count: of pictures, > 0.
        size: pixels along a side, 32 or more.
        seed: of all of them.
    """
    pictures = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        pictures.append(_KINDS[number % len(_KINDS)](rng, size))
    return np.stack(pictures)


def _limb(rng: np.random.Generator, size: int) -> Picture:
    """A few long bones in soft tissue on black, as arms, legs and hands are; sometimes dark on bright."""
    grey: np.ndarray = np.zeros((size, size), dtype=np.float32)
    turn, bones = rng.uniform(0, np.pi), int(rng.integers(1, 7))
    middle = rng.uniform(0.35, 0.65, 2) * size
    for bone in range(bones):
        angle = turn + rng.normal(0, 0.15)
        offset = (bone - (bones - 1) / 2) * size * rng.uniform(0.1, 0.18)
        half = size * rng.uniform(0.25, 0.7)
        along = np.array([np.cos(angle), np.sin(angle)])
        start, end = (middle + np.array([-along[1], along[0]]) * offset + way * along * half for way in (-1, 1))
        width = size * rng.uniform(0.02, 0.08)
        grey = np.maximum(grey, 0.35 * _capsule(size, start, end, 2.5 * width))
        core = _capsule(size, start, end, width) - 0.4 * _capsule(size, start, end, 0.5 * width)
        grey = grey + rng.uniform(0.4, 0.7) * core
    return _developed(grey, rng)


def _skull(rng: np.random.Generator, size: int) -> Picture:
    """Nested ellipses with sockets and rows of small bright blocks: heads, pelves and slices of a body."""
    picture = Image.new("F", (size, size), 0)
    pen = ImageDraw.Draw(picture)
    x, y = rng.uniform(0.4, 0.6, 2) * size
    a, b = rng.uniform(0.25, 0.48, 2) * size
    for shrink, level in ((1, 0.9), (rng.uniform(0.82, 0.93), rng.uniform(0.3, 0.6))):
        pen.ellipse((x - a * shrink, y - b * shrink, x + a * shrink, y + b * shrink), fill=level)
    for _ in range(rng.integers(1, 9)):
        dx, dy = rng.uniform(-0.6, 0.6, 2)
        r, s = rng.uniform(0.04, 0.3, 2)
        for side in (-1, 1) if rng.random() < 0.6 else (1,):
            box = (x + side * dx * a - r * a, y + dy * b - s * b, x + side * dx * a + r * a, y + dy * b + s * b)
            pen.ellipse(box, fill=float(rng.uniform(0, 1)))
    return _developed(np.asarray(picture), rng)


def _leaves(rng: np.random.Generator, size: int) -> Picture:
    """Discs and boxes over one another, large ones behind: edges and sizes as in photographs."""
    picture = Image.new("L", (size, size), int(rng.integers(256)))
    pen = ImageDraw.Draw(picture)
    count = int(rng.integers(4, 200))
    for radius in sorted(size * 0.6 * rng.power(0.4, count) + 1, reverse=True):
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        stretch = rng.uniform(0.4, 2.5)
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((x - radius * stretch, y - radius, x + radius * stretch, y + radius), fill=int(rng.integers(256)))
    return _developed(np.asarray(picture, dtype=np.float32) / 255, rng)


def _noise(rng: np.random.Generator, size: int) -> Picture:
    """Noise whose spectrum falls as 1/f**p: p 0 is white, 2 is clouds."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = 1 / size
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) / frequency ** rng.uniform(0, 2.5)
    return _developed(np.fft.ifft2(spectrum).real.astype(np.float32), rng)


def _pattern(rng: np.random.Generator, size: int) -> Picture:
    """Ramps, stripes, rings, boards and empty pictures."""
    y, x = np.mgrid[:size, :size] / size - rng.uniform(0.2, 0.8, 2).reshape(2, 1, 1)
    angle, times = rng.uniform(0, 2 * np.pi), rng.uniform(1, 12)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    kinds = (
        along,
        np.hypot(along, across * rng.uniform(0.5, 2)),
        np.sin(along * times * 2 * np.pi),
        np.sin(np.hypot(x, y) * times * 2 * np.pi),
        np.sign(np.sin(along * times * np.pi) * np.sin(across * times * np.pi)),
        np.zeros_like(x),
    )
    return _developed(kinds[rng.integers(len(kinds))].astype(np.float32), rng)


def _page(rng: np.random.Generator, size: int) -> Picture:
    """Rows of short dark strokes on paper, with a box or two: scanned pages and screens."""
    picture = Image.new("L", (size, size), 255)
    pen = ImageDraw.Draw(picture)
    height = int(rng.integers(2, 9))
    for y in range(height, size, 2 * height):
        x = int(rng.integers(2, size // 4))
        while x < size * rng.uniform(0.5, 1):
            step = int(rng.integers(1, 4 * height))
            pen.rectangle((x, y, x + step, y + height // 2), fill=int(rng.integers(0, 120)))
            x += step + height
    for _ in range(rng.integers(0, 3)):
        x, y = rng.uniform(0, 0.8, 2) * size
        pen.rectangle((x, y, x + size * rng.uniform(0.1, 0.6), y + size * rng.uniform(0.1, 0.6)), fill=int(rng.integers(256)))
    grey = np.asarray(picture, dtype=np.float32) / 255
    return _developed(1 - grey if rng.random() < 0.3 else grey, rng)


def _photograph(rng: np.random.Generator, size: int) -> Picture:
    """A part of one of scikit-learn's two photographs, or all of it."""
    photographs = load_sample_images().images
    photograph = Image.fromarray(photographs[rng.integers(len(photographs))]).convert("L")
    share = rng.uniform(0.2, 1, 2)
    width, height = (side * part for side, part in zip(photograph.size, share, strict=True))
    x, y = rng.uniform(0, photograph.width - width), rng.uniform(0, photograph.height - height)
    part = photograph.resize((size, size), box=(x, y, x + width, y + height))
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose(int(rng.integers(7))))
    return _developed(np.asarray(part, dtype=np.float32) / 255, rng)


_KINDS: tuple[Callable[[np.random.Generator, int], Picture], ...] = (_limb, _skull, _leaves, _noise, _pattern, _page, _photograph)


def _capsule(size: int, start: np.ndarray, end: np.ndarray, radius: float) -> Float32[np.ndarray, "s s"]:
    """1 within `radius` pixels of the line from `start` to `end`, softly 0 outside."""
    points = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).astype(np.float32)
    way = end - start
    at = np.clip(((points - start) @ way) / max(float(way @ way), 1e-6), 0, 1)
    distance = np.linalg.norm(points - start - at[..., None] * way, axis=-1)
    inside: np.ndarray = np.clip((radius - distance) / max(0.3 * radius, 1) + 0.5, 0, 1)
    return inside.astype(np.float32)


def _developed(grey: np.ndarray, rng: np.random.Generator) -> Picture:
    """Stretched to grey levels, blurred and grained a little, sometimes a negative."""
    spread = float(grey.max() - grey.min())
    grey = (grey - grey.min()) / spread if spread > 0 else np.full_like(grey, rng.random())
    grey = grey ** rng.uniform(0.5, 2) * rng.uniform(0.4, 1)
    grey = 1 - grey if rng.random() < 0.3 else grey
    grey = np.clip(grey + rng.normal(0, rng.uniform(0, 0.06), grey.shape), 0, 1)
    picture = Image.fromarray(np.round(grey * 255).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5))))
