"""Pictures that are no chest film: each from its own seed, none like the next."""

import numpy as np
import pytest

from cyclicxr.training.frontal_material import draw_others


@pytest.mark.parametrize("size", [32, 128])
def test_as_many_pictures_as_asked_for_of_that_size(size):
    assert draw_others(15, size, 0).shape == (15, size, size)


def test_the_seed_decides_and_more_pictures_begin_with_the_fewer():
    assert np.array_equal(draw_others(14, 48, 1), draw_others(21, 48, 1)[:14])
    assert not np.array_equal(draw_others(7, 48, 1), draw_others(7, 48, 2))


def test_no_two_pictures_are_alike():
    assert len({picture.tobytes() for picture in draw_others(70, 48, 0)}) == 70
