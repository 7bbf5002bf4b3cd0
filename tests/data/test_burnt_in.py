"""Burnt-in text: found where it is drawn, in white and in black; markers, rulers, noise and bones are no text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from cyclicxr.data.burnt_in import text_regions
from cyclicxr.data.phantom import draw_phantom


def film(ground: int = 60) -> Image.Image:
    """A ramp, so that no text stands on plain ground."""
    ramp = np.linspace(ground, ground + 60, 400)[None].repeat(300, axis=0)
    ramp[0, 0], ramp[0, 1] = 0, 255
    return Image.fromarray(ramp.astype(np.uint8))


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


@pytest.mark.parametrize(("ground", "ink"), [(20, 255), (170, 0)])
@pytest.mark.parametrize("size", [14, 20])
def test_a_line_of_text_is_found_where_it_is(ground: int, ink: int, size: int) -> None:
    picture = film(ground)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    draw.text((100, 200), "MRN 0012345", fill=ink, font=font)
    left, top, right, bottom = draw.textbbox((100, 200), "MRN 0012345", font=font)
    found = text_regions(pixels(picture))
    assert found
    assert sum(x1 - x0 for x0, _, x1, _ in found) >= 0.6 * (right - left)
    for x0, y0, x1, y1 in found:
        assert left - 2 <= x0 < x1 <= right + 2 and top - 2 <= y0 < y1 <= bottom + 2


def test_a_side_marker_a_ruler_and_an_empty_film_are_no_text() -> None:
    picture = film(20)
    draw = ImageDraw.Draw(picture)
    draw.text((30, 30), "L", fill=255, font=ImageFont.load_default(24))
    for tick in range(12):
        draw.rectangle((200 + 10 * tick, 250, 201 + 10 * tick, 262), fill=255)
    assert text_regions(pixels(picture)) == []
    assert text_regions(np.zeros((40, 40), np.float32)) == []


def test_a_drawn_chest_holds_no_text_and_noise_ends_quickly() -> None:
    assert text_regions(draw_phantom(seed=3, size=512).pixels.astype(np.float32) / np.float32(255)) == []
    noise = np.random.default_rng(0).random((600, 600)).astype(np.float32)
    assert isinstance(text_regions(noise), list)


@given(st.integers(0, 2**32 - 1), st.integers(32, 80), st.integers(32, 80))
def test_every_box_lies_in_the_film(seed: int, height: int, width: int) -> None:
    blots = np.random.default_rng(seed).random((height, width)) > 0.8
    for x0, y0, x1, y1 in text_regions(blots.astype(np.float32)):
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
