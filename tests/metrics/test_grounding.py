"""Every score by hand on maps of a few cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.metrics.grounding import (
    NEAREST,
    area_inside,
    box_mask,
    contrast,
    map_numbers,
    mean_over,
    mean_overlap,
    moved_towards,
    pointing,
    points_inside,
    spread_patches,
    stretched,
)
from cyclicxr.types import InputError


def test_cells_of_a_box_are_those_whose_centre_it_holds():
    assert box_mask([(0.25, 0.0, 1.0, 0.5)], cells=4).astype(int).tolist() == [[0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert np.argwhere(box_mask([(0.76, 0.3, 0.78, 0.32)], cells=4)).tolist() == [[1, 3]]  # smaller than a cell
    assert box_mask([(0.0, 0.0, 0.25, 0.25), (0.75, 0.75, 1.0, 1.0)], cells=4).sum() == 2


@pytest.mark.parametrize("box", [(0.5, 0.1, 0.5, 0.2), (0.6, 0.1, 0.5, 0.2), (-0.1, 0.0, 0.5, 0.5), (0.0, 0.0, 0.5, 1.2)])
def test_boxes_without_area_or_outside_are_refused(box):
    with pytest.raises(InputError, match="box"):
        box_mask([box])
    with pytest.raises(InputError, match="without a box"):
        box_mask([])


def test_a_map_is_the_mean_of_the_patches_that_cover_a_cell_and_the_lowest_elsewhere():
    boxes = np.array([[0, 0, 0.5, 1], [0.25, 0, 0.75, 1]])
    heat = spread_patches(np.array([0.2, 0.6]), boxes, cells=4)
    assert heat.tolist() == [pytest.approx([0.2, 0.4, 0.6, 0.2])] * 4


@given(st.integers(0, 99), st.integers(1, 30))
def test_a_map_stays_between_its_patches(seed, n):
    rng = np.random.default_rng(seed)
    scores, edges = rng.uniform(-1, 1, n), np.sort(rng.uniform(-0.2, 1.2, (n, 2, 2)), axis=1).reshape(n, 4)
    heat = spread_patches(scores, edges, cells=16)
    assert scores.min() - 1e-9 <= heat.min() and heat.max() <= scores.max() + 1e-9


def test_pointing_by_hand():
    centres = np.array([[0.1, 0.1], [0.5, 0.5], [0.9, 0.9], [0.52, 0.5], [0.2, 0.2], [0.3, 0.3]])
    scores = np.array([0.1, 0.9, 0.8, 0.7, 0.6, 0.5])
    box = (0.4, 0.4, 0.6, 0.6)
    assert points_inside(centres, [box]).tolist() == [False, True, False, True, False, False]
    assert pointing(scores, centres, [box]) == {"pointing game": 1.0, "top 5 inside": 0.4}
    assert pointing(-scores, centres, [box])["pointing game"] == 0
    assert pointing(scores, centres, [(0.0, 0.0, 0.05, 0.05), (0.8, 0.8, 1.0, 1.0)])["top 5 inside"] == 0.2


def test_contrast_by_hand():
    heat, mask = np.array([[3.0, 5.0], [1.0, 1.0]]), np.array([[True, True], [False, False]])
    assert contrast(heat, mask) == 3
    assert contrast(heat, ~mask) == -3
    assert contrast(np.ones((2, 2)), mask) == 0
    assert np.isnan(contrast(heat, np.ones((2, 2), bool)))


def test_overlap_by_hand():
    """Cells of .05, .15, .35 and .9, the box on the last two: at .1 three cells, 2 of 3; at .2 and .3 both, 1; at .4 and .5 one of two."""
    heat, mask = np.array([[0.05, 0.15], [0.35, 0.9]]), np.array([[False, False], [True, True]])
    assert mean_overlap(heat, mask) == pytest.approx((2 / 3 + 1 + 1 + 0.5 + 0.5) / 5)
    assert mean_overlap(np.full((2, 2), 0.05), mask) == 0
    assert stretched(np.array([[2.0, 3.0], [2.5, 2.0]])).tolist() == [[0, 1], [0.5, 0]]
    assert stretched(np.full((2, 2), 0.3)).tolist() == [[0, 0], [0, 0]]


def test_movement_towards_a_box_by_hand():
    """Left of the box by (.1, .1): .1 of it towards its centre; above it straight away by .2; one inside doesn't count."""
    anchors = np.array([[0.2, 0.5], [0.6, 0.1], [0.6, 0.5]])
    shifts = np.array([[0.1, 0.1], [0.0, -0.2], [0.3, 0.3]])
    assert moved_towards(anchors, shifts, (0.5, 0.4, 0.7, 0.6)) == pytest.approx((0.1 - 0.2) / 2)
    assert np.isnan(moved_towards(anchors[2:], shifts[2:], (0.5, 0.4, 0.7, 0.6)))


def test_the_patches_nearest_a_box_are_those_whose_movement_counts():
    far = np.linspace(0.0, 0.1, 5)
    near = np.linspace(0.2, 0.4, NEAREST)
    anchors = np.stack([np.concatenate([far, near]), np.full(5 + NEAREST, 0.5)], axis=1)
    shifts = np.zeros_like(anchors)
    shifts[:5, 0], shifts[5:, 0] = -1.0, 0.05
    assert moved_towards(anchors, shifts, (0.45, 0.4, 0.6, 0.6)) == pytest.approx(0.05)


@given(st.integers(0, 999))
def test_movement_is_bounded_by_its_length_and_turns_with_its_sign(seed):
    rng = np.random.default_rng(seed)
    anchors, shifts = rng.uniform(0, 1, (64, 2)), rng.normal(0, 0.1, (64, 2))
    found = moved_towards(anchors, shifts, (0.3, 0.3, 0.5, 0.6))
    assert abs(found) <= np.linalg.norm(shifts, axis=1).max()
    assert moved_towards(anchors, -shifts, (0.3, 0.3, 0.5, 0.6)) == pytest.approx(-found)


def test_area_inside_by_hand():
    """A patch of .04 half inside and one of .16 outside: .02 of .2."""
    patches = np.array([[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 1.0, 1.0]])
    assert area_inside(patches, (0.2, 0.0, 0.5, 0.5)) == pytest.approx(0.1)
    assert np.isnan(area_inside(np.array([[0.2, 0.2, 0.2, 0.4]]), (0.0, 0.0, 1.0, 1.0)))  # dead


def test_the_fixed_grid_has_as_much_inside_as_the_box_is_large():
    corners = np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1).reshape(-1, 2) / 8
    assert area_inside(np.concatenate([corners, corners + 1 / 8], axis=1), (0.13, 0.2, 0.6, 0.77)) == pytest.approx(0.47 * 0.57)


def test_all_scores_of_a_map_are_those_of_its_parts():
    heat = np.random.default_rng(0).uniform(0, 0.6, (16, 16))
    mask = box_mask([(0.1, 0.2, 0.5, 0.6)], cells=16)
    found = map_numbers(heat, [(0.1, 0.2, 0.5, 0.6)])
    assert list(found.values()) == [contrast(heat, mask), mean_overlap(heat, mask), mean_overlap(stretched(heat), mask)]


def test_means_count_a_phrase_as_often_as_its_film_and_leave_out_what_is_no_number():
    statistic = mean_over([{"a": 1.0, "b": 2.0}, {"a": 4.0}, {"a": 7.0, "b": float("nan")}], [0, 0, 1])
    found = statistic(np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]]))
    assert found["a"].tolist() == [4.0, 2.5, 7.0]
    assert found["b"][:2].tolist() == [2.0, 2.0] and np.isnan(found["b"][2])
