"""NIQE against the numbers that the published code gives for the same pixels (BasicSR 1.4.2: `calculate_niqe(film, 0, "HW")`)."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from cyclicxr.data.phantom import draw_phantom
from cyclicxr.metrics.niqe import niqe
from cyclicxr.types import InputError


def waves(height, width):
    down, across = np.mgrid[:height, :width]
    grain = (across * 7919 + down * 104729) % 31 - 15
    film = 128 + 60 * np.sin(across * 0.13 + 3 * np.cos(down * 0.09)) + 50 * np.cos(across * down * 0.003) + grain
    return np.clip(film, 0, 255).astype(np.uint8)


def half_flat():
    film = waves(256, 256)
    film[:, :110] = 77
    return film


def blurred():
    return uniform_filter(draw_phantom(0, size=256).pixels.astype(float), 5).astype(np.uint8)


def grainy():
    down, across = np.mgrid[:256, :256]
    return (draw_phantom(0, size=256).pixels.astype(int) + (across * 7919 + down * 104729) % 41 - 20).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("film", "expected"),
    [
        (waves(256, 256), 40.045247663),
        (waves(210, 300), 36.606287668),  # what is beyond two and three blocks is not looked at
        (draw_phantom(0, size=256).pixels, 5.562888391),
        (draw_phantom(1, size=256).pixels, 6.432515196),
        (blurred(), 11.002108746),
        (half_flat(), 28.441935141),  # two of four blocks without statistics
    ],
)
def test_niqe_is_the_published_number(film, expected):
    assert niqe(film) == pytest.approx(expected, rel=2e-4)  # the published code computes in float32


def test_a_blurred_or_grainy_film_is_less_natural():
    assert niqe(draw_phantom(0, size=256).pixels) < niqe(blurred()) < niqe(grainy())


def test_a_flat_film_has_no_number():
    assert np.isnan(niqe(np.full((256, 256), 9, dtype=np.uint8)))


@pytest.mark.parametrize("shape", [(96, 191), (95, 300), (64, 64)])
def test_films_of_less_than_two_blocks_are_refused(shape):
    with pytest.raises(InputError, match=f"{shape[1]} x {shape[0]}"):
        niqe(np.zeros(shape, dtype=np.uint8))
