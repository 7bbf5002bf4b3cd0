"""Where a film lies in the network's square, and that every box finds its way back to the pixels of the file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cyclicxr.data.images import decode_film, network_pixels
from cyclicxr.types import FITS, Film, Geometry

SIZE = 64

sides = st.integers(1, 20000)
aspects = st.floats(0.2, 5)
geometries = st.builds(Geometry, sides, sides, st.sampled_from(FITS), aspects)
shares = st.floats(0, 1)


def floats(*numbers: float) -> tuple[float, ...]:
    """A box or a point of whole numbers too: the tests check that each is a float."""
    return tuple(float(number) for number in numbers)


def test_a_squashed_film_fills_the_square():
    geometry = Geometry(200, 100)
    assert geometry.to_unit(floats(50, 50, 150, 100)) == (0.25, 0.5, 0.75, 1.0)
    assert geometry.to_pixels(floats(0.25, 0.5, 0.75, 1.0)) == (50.0, 50.0, 150.0, 100.0)
    assert geometry.point_to_pixels(floats(0.5, 0.25)) == (100.0, 25.0)
    assert geometry.vector_to_pixels(floats(0.5, -0.25)) == (100.0, -25.0)


def test_a_padded_film_lies_between_two_bars():
    geometry = Geometry(200, 100, "pad")  # a bar of 50 pixels above and one below
    assert geometry.to_unit(floats(0, 0, 200, 100)) == (0, 0.25, 1, 0.75)
    assert geometry.to_pixels(floats(0.25, 0.25, 0.5, 0.5)) == (50.0, 0.0, 100.0, 50.0)
    assert geometry.point_to_pixels(floats(0.5, 0.5)) == (100.0, 50.0)
    assert geometry.vector_to_pixels(floats(0.5, 0.5)) == (100.0, 100.0)
    assert Geometry(100, 200, "pad").to_unit(floats(0, 0, 100, 200)) == (0.25, 0, 0.75, 1)


def test_pixels_that_are_no_squares_keep_the_films_aspect_only_where_it_is_padded():
    tall = Geometry(100, 100, "pad", aspect=2.0)  # as tall as 200 square pixels
    assert tall.to_unit(floats(0, 0, 100, 100)) == (0.25, 0, 0.75, 1)
    assert tall.to_pixels(floats(0.25, 0.5, 0.75, 1)) == (0, 50, 100, 100)
    assert tall.vector_to_pixels(floats(0.25, 0.25)) == (50, 25)
    assert Geometry(100, 100, "squash", aspect=2.0).to_unit(floats(0, 0, 100, 100)) == (0, 0, 1, 1)


def test_a_box_is_clipped_to_the_film_and_one_in_a_bar_has_no_area():
    geometry = Geometry(200, 100, "pad")
    assert geometry.to_pixels(floats(0, 0, 0.5, 0.5)) == (0, 0, 100, 50)
    assert geometry.to_pixels(floats(0.25, 0.0, 0.5, 0.125)) == (50, 0, 100, 0)
    assert geometry.to_pixels(floats(0.25, 0.875, 0.5, 1)) == (50, 100, 100, 100)
    assert geometry.point_to_pixels(floats(0.5, 0.0)) == (100, -50)  # a point is not


@given(geometries, st.tuples(shares, shares, shares, shares))
def test_to_the_network_and_back_is_the_same_box(geometry: Geometry, corners: tuple[float, float, float, float]):
    x0, y0, x1, y1 = corners
    box = (x0 * geometry.width, y0 * geometry.height, x1 * geometry.width, y1 * geometry.height)
    unit = geometry.to_unit(floats(*box))
    assert all(-1e-9 <= edge <= 1 + 1e-9 for edge in unit)
    tolerance = 1e-6 * max(1, geometry.width, geometry.height)
    assert geometry.to_pixels(unit) == pytest.approx(box, abs=tolerance)
    assert geometry.point_to_pixels(unit[:2]) == pytest.approx(box[:2], abs=tolerance)


@given(geometries, st.tuples(shares, shares), st.tuples(shares, shares))
def test_a_vector_is_the_way_between_two_points(geometry: Geometry, start: tuple[float, float], end: tuple[float, float]):
    (ax, ay), (bx, by) = geometry.point_to_pixels(start), geometry.point_to_pixels(end)
    way = geometry.vector_to_pixels(floats(end[0] - start[0], end[1] - start[1]))
    assert way == pytest.approx((bx - ax, by - ay), abs=1e-6 * (abs(ax) + abs(ay) + abs(bx) + abs(by) + 1))


@given(geometries)
def test_a_padded_film_keeps_its_aspect_in_the_middle(geometry: Geometry):
    x0, y0, x1, y1 = geometry.to_unit(floats(0, 0, geometry.width, geometry.height))
    assert (x0 + x1, y0 + y1) == pytest.approx((1, 1))
    assert max(x1 - x0, y1 - y0) == pytest.approx(1)
    if geometry.fit == "pad":
        assert (x1 - x0) * geometry.height * geometry.aspect == pytest.approx((y1 - y0) * geometry.width)


@given(st.sampled_from(FITS), st.integers(64, 400), st.integers(64, 400), aspects, st.tuples(shares, shares, shares, shares))
def test_a_bright_rectangle_is_found_where_it_was_drawn(
    fit: str, width: int, height: int, aspect: float, place: tuple[float, float, float, float]
):
    geometry = Geometry(width, height, fit, aspect)
    x0, y0, x1, y1 = geometry.to_unit(floats(0, 0, width, height))
    pixel = (width / (x1 - x0) / SIZE, height / (y1 - y0) / SIZE)  # sides of the network's pixel, in the film's
    box = (*span(width, place[0], place[2], 4 * pixel[0]), *span(height, place[1], place[3], 4 * pixel[1]))
    left, right, top, bottom = box
    pixels = np.zeros((height, width), np.float32)
    pixels[top:bottom, left:right] = 1
    bright = network_pixels(Film(pixels, geometry, "", ""), SIZE) > 127
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if not len(rows):  # thinner than a pixel of the network: nothing to find
        assert min((right - left) / pixel[0], (bottom - top) / pixel[1]) < 1.5
        return
    found = geometry.to_pixels(floats(columns[0] / SIZE, rows[0] / SIZE, (columns[-1] + 1) / SIZE, (rows[-1] + 1) / SIZE))
    for seen, drawn, step in zip(found, (left, top, right, bottom), pixel * 2, strict=True):
        assert abs(seen - drawn) <= step


def span(length: int, first: float, second: float, least: float) -> tuple[int, int]:
    """Whole pixels from a first to a second share of a side, at least so many."""
    low, high = sorted((round(first * length), round(second * length)))
    high = min(length, max(high, low + round(least) + 1))
    return max(0, min(low, high - round(least) - 1)), high


def test_bars_are_black_and_a_flat_film_stays_flat_between_them():
    square = network_pixels(Film(np.full((100, 200), 0.5, np.float32), Geometry(200, 100, "pad"), "", ""), SIZE)
    np.testing.assert_array_equal(square[:16], 0)
    np.testing.assert_array_equal(square[-16:], 0)
    np.testing.assert_array_equal(square[18:-18], 128)
    np.testing.assert_array_equal(
        square, network_pixels(Film(np.full((200, 100), 0.5, np.float32), Geometry(100, 200, "pad"), "", ""), SIZE).T
    )


def test_a_padded_square_film_is_the_squashed_one():
    pixels = np.random.default_rng(0).random((90, 90), np.float32)
    padded, squashed = (network_pixels(Film(pixels, Geometry(90, 90, fit), "", ""), SIZE) for fit in FITS)
    np.testing.assert_array_equal(padded, squashed)


def test_a_very_thin_film_is_padded_without_filling_the_memory():
    square = network_pixels(Film(np.ones((100_000, 32), np.float32), Geometry(32, 100_000, "pad"), "", ""), SIZE)
    assert square.shape == (SIZE, SIZE) and square[:, : SIZE // 2 - 1].max() == 0


@pytest.mark.parametrize("fit", FITS)
def test_a_picture_says_in_its_geometry_how_it_will_be_fitted(fit: str):
    buffer = io.BytesIO()
    Image.new("L", (64, 40)).save(buffer, "PNG")
    assert decode_film(buffer.getvalue(), "film.png", fit).geometry == Geometry(64, 40, fit)
