"""AdaPatch (Eqs. 1-4) with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.nn import functional

from cyclicxr.patches.adapatch import AdaPatch, corners, grid_centres, sample, shift_and_size

ATANH_HALF = 0.5493061443340549


def adapatch(in_width: int = 3, width: int = 5, grid: int = 4, points: int = 2, **settings: object) -> AdaPatch:
    numbers = {"offset_scale": 0.125, "size_scale": 0.5, "size_floor": 0.0, "adaptive": True, **settings}
    torch.manual_seed(0)
    return AdaPatch(in_width, width, grid, points=points, **numbers)


def test_equations_1_and_2_by_hand():
    """tanh(atanh(1/2)) = 1/2, tanh(-atanh(1/2)) = -1/2: shifts (.5, -.5), sizes (.5, ReLU(-.5) = 0), each times its scale."""
    f = torch.tensor([[[ATANH_HALF, -ATANH_HALF, ATANH_HALF, -ATANH_HALF]]])
    shift, size = shift_and_size(f, 1.0, 1.0, 0.0)
    torch.testing.assert_close(shift, torch.tensor([[[0.5, -0.5]]]))
    torch.testing.assert_close(size, torch.tensor([[[0.5, 0.0]]]))
    shift, size = shift_and_size(f, 0.25, 0.5, 0.1)
    torch.testing.assert_close(shift, torch.tensor([[[0.125, -0.125]]]))
    torch.testing.assert_close(size, torch.tensor([[[0.25, 0.1]]]))


def test_equations_3_and_4_by_hand():
    """Centre (.5, .25) moved by (.1, -.05) is (.6, .2); a patch .2 wide and .3 high runs from (.5, .05) to (.7, .35)."""
    found = corners(torch.tensor([[0.5, 0.25]]), torch.tensor([[[0.1, -0.05]]]), torch.tensor([[[0.2, 0.3]]]))
    torch.testing.assert_close(found, torch.tensor([[[0.5, 0.05, 0.7, 0.35]]]))


def test_corners_are_clamped_to_the_image():
    found = corners(torch.tensor([[0.9, 0.1]]), torch.tensor([[[0.2, -0.2]]]), torch.tensor([[[0.4, 0.4]]]))
    torch.testing.assert_close(found, torch.tensor([[[0.9, 0.0, 1.0, 0.1]]]))


def test_grid_centres_run_row_by_row():
    assert grid_centres(1, 2).tolist() == [[0.25, 0.5], [0.75, 0.5]]
    assert grid_centres(2, 2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_sample_points_by_hand():
    """On the plane 10x + 100y of the image, whose cells a 4 x 4 map reads at its centres, bilinear interpolation is exact.

    A box from (.25, .25) to (.75, .5) with g = 2 has points at x = .375, .625 and y = .3125, .4375.
    """
    centres = (torch.arange(4) + 0.5) / 4
    plane = (10 * centres[None, :] + 100 * centres[:, None])[None, None]
    found = sample(plane, torch.tensor([[[0.25, 0.25, 0.75, 0.5]]]), 2)
    torch.testing.assert_close(found[0, 0, :, 0], torch.tensor([35.0, 37.5, 47.5, 50.0]))


def test_a_point_at_the_edge_repeats_the_edge():
    found = sample(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([[[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]]), 1)
    assert found.flatten().tolist() == [1.0, 4.0]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**31))
def test_reading_and_its_gradients_equal_those_of_grid_sample(h: int, w: int, points: int, seed: int):
    """Boxes of any place and size, dead ones too, over maps of any shape; of two films, so that none reads the other's cells."""
    generator = torch.Generator().manual_seed(seed)
    feature_map = torch.randn(2, 3, h, w, generator=generator, dtype=torch.float64)
    lower, upper = torch.rand(2, 2, 4, 2, generator=generator, dtype=torch.float64).sort(dim=0).values
    boxes = torch.cat([lower, upper], dim=-1)
    boxes[0, 0, 2] = boxes[0, 0, 0]
    weights = torch.randn(2, 4, points**2, 3, generator=generator, dtype=torch.float64)

    def by_grid_sample(feature_map: Tensor, boxes: Tensor) -> Tensor:
        step = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        x, y = (torch.lerp(boxes[..., i, None], boxes[..., i + 2, None], step) for i in (0, 1))
        grid = torch.stack([x.repeat(1, 1, points), y.repeat_interleave(points, dim=2)], dim=-1)
        read = functional.grid_sample(feature_map, 2 * grid - 1, padding_mode="border", align_corners=False)
        return read.permute(0, 2, 3, 1)

    found = []
    for read in (lambda *inputs: sample(*inputs, points), by_grid_sample):
        inputs = [feature_map.clone().requires_grad_(), boxes.clone().requires_grad_()]
        out = read(*inputs)
        found.append([out, *torch.autograd.grad((out * weights).sum(), inputs)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_a_box_that_is_no_number_reads_no_number_and_stops_nothing():
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [float("nan"), 0.0, 1.0, 1.0]]])
    read = sample(torch.ones(1, 2, 4, 4), boxes, 2)
    assert bool(read[0, 0].eq(1).all()) and bool(read[0, 1].isnan().any())


@pytest.mark.parametrize("grid", [2, 4, 16])
def test_with_zeroed_heads_the_patches_are_the_fixed_ones(grid: int):
    part = adapatch(grid=grid, size_scale=1.0)
    feature_map = torch.randn(2, 3, 2 * grid, 2 * grid)
    boxes = part.boxes(feature_map)
    half = 0.5 / grid
    torch.testing.assert_close(boxes[..., :2], (part.centres - half).expand(2, -1, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(boxes[..., 2:], (part.centres + half).expand(2, -1, 2), atol=1e-6, rtol=0)
    cells = functional.unfold(feature_map, 2, stride=2).view(2, 3, 4, grid * grid).permute(0, 3, 2, 1)  # (b, n, gg, c)
    torch.testing.assert_close(sample(feature_map, boxes, 2), cells, atol=1e-5, rtol=0)
    by_hand = part.embed(cells.reshape(2, grid * grid, 12))
    torch.testing.assert_close(part(feature_map)[0], by_hand, atol=1e-5, rtol=0)


def test_with_zeroed_heads_the_patches_are_the_fixed_ones_to_1e_6_in_float64():
    part = adapatch(grid=4).double()
    part.reset_heads()  # its bias in double precision
    feature_map = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    boxes = corners(part.centres.double(), *shift_and_size(part.heads.bias.detach().expand(1, 16, 4), *part.scales))
    cells = functional.unfold(feature_map, 2, stride=2).view(1, 3, 4, 16).permute(0, 3, 2, 1)
    assert float((sample(feature_map, boxes, 2) - cells).abs().max()) < 1e-6


def test_fixed_patches_stay_fixed_whatever_the_heads_learn():
    part = adapatch(adaptive=False)
    torch.nn.init.normal_(part.heads.weight)
    boxes = part.boxes(torch.randn(2, 3, 8, 8))
    torch.testing.assert_close(boxes[0, :, :2], part.centres - 0.125)
    torch.testing.assert_close(boxes[1, :, 2:], part.centres + 0.125)


def test_each_patch_follows_its_own_head_outputs():
    part = adapatch()
    torch.nn.init.normal_(part.heads.weight)
    boxes = part.boxes(torch.randn(2, 3, 8, 8))
    assert len({tuple(box) for box in boxes.flatten(0, 1).tolist()}) == 32


def test_a_dead_patch_has_no_size_and_its_size_no_gradient():
    """Eq. 2 as it stands: where f3 <= 0 the patch is a line, and no step can widen it."""
    f = torch.tensor([[[0.0, 0.0, -0.3, 0.3], [0.0, 0.0, 0.3, 0.3]]], requires_grad=True)
    _, size = shift_and_size(f, 1.0, 1.0, 0.0)
    assert size[0, 0, 0] == 0 and bool((size[0].flatten()[1:] > 0).all())
    size.sum().backward()
    assert f.grad is not None
    assert f.grad[0, 0, 2] == 0 and f.grad[0, 1, 2] > 0


def test_a_floor_keeps_patches_from_vanishing_but_not_from_freezing():
    f = torch.full((1, 1, 4), -1.0, requires_grad=True)
    _, size = shift_and_size(f, 1.0, 1.0, 0.05)
    torch.testing.assert_close(size, torch.full((1, 1, 2), 0.05))
    size.sum().backward()
    assert f.grad is not None and f.grad[..., 2:].abs().max() == 0


def test_gradients_of_place_size_and_features_are_right():
    """Away from the borders of cells, where bilinear interpolation has a corner."""
    generator = torch.Generator().manual_seed(3)
    f = (0.2 + 0.3 * torch.rand(1, 4, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    feature_map = torch.randn(1, 2, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    centres = grid_centres(2, 2).double()

    def read(f: Tensor, feature_map: Tensor) -> Tensor:
        return sample(feature_map, corners(centres, *shift_and_size(f, 0.25, 0.5, 0.0)), 3)

    assert gradcheck(read, (f, feature_map), eps=1e-7, atol=1e-5)


def test_gradients_of_adapatch_are_right():
    """Of the feature map and of every weight; the patches lie inside the image and away from the borders of cells."""
    part = adapatch(in_width=2, width=3, grid=2).double()
    torch.nn.init.normal_(part.heads.weight, std=0.2)
    torch.nn.init.constant_(part.heads.bias[2:].data, 0.6)
    feature_map = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*part.named_parameters(), strict=True)

    def embedded(feature_map: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return functional_call(part, dict(zip(names, weights, strict=True)), (feature_map,))

    inside = part.boxes(feature_map).detach()
    assert bool(((inside > 0) & (inside < 1)).all())
    assert gradcheck(embedded, (feature_map, *(weight.detach().requires_grad_() for weight in weights)), eps=1e-7, atol=1e-5)


def test_points_go_row_by_row_into_f5_each_with_all_its_channels():
    """By hand: cells (y, x) of two channels read 10 y + x and 100 more; published patch embeddings rely on this order."""
    part = adapatch(in_width=2, width=8, grid=1, size_scale=1.0)
    torch.nn.init.eye_(part.embed.weight)
    torch.nn.init.zeros_(part.embed.bias)
    torch.nn.init.constant_(part.heads.bias[2:].data, 20.0)  # the whole map: one patch
    feature_map = torch.tensor([[[[0.0, 1.0], [10.0, 11.0]], [[100.0, 101.0], [110.0, 111.0]]]])
    assert part(feature_map)[0].flatten().tolist() == [0.0, 100.0, 1.0, 101.0, 10.0, 110.0, 11.0, 111.0]


def test_the_heads_learn_from_the_first_step():
    part = adapatch()
    embedded, _ = part(torch.randn(2, 3, 8, 8))
    embedded.square().sum().backward()
    assert part.heads.weight.grad is not None and part.heads.weight.grad.abs().min() > 0
    assert part.look.weight.grad is not None and part.look.weight.grad.abs().max() == 0  # only once the heads' weights are not 0


def test_a_grid_finer_than_the_largest_patch_begins_as_large_as_it_may():
    part = adapatch(grid=4, size_scale=0.125)
    _, size = shift_and_size(part.heads.bias.expand(1, 1, 4), *part.scales)
    torch.testing.assert_close(size, torch.full((1, 1, 2), 0.125 * math.tanh(3.0)))


@given(
    st.lists(st.floats(-8, 8), min_size=8, max_size=8),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.sampled_from([0.0, 0.005]),
)
def test_every_box_is_inside_the_image_and_not_inside_out(values: list[float], offset: float, size: float, floor: float):
    f = torch.tensor(values, dtype=torch.float64).view(1, 2, 4)
    boxes = corners(grid_centres(1, 2).double(), *shift_and_size(f, offset, size, floor))
    assert bool(((boxes >= 0) & (boxes <= 1)).all())
    sides = boxes[..., 2:] - boxes[..., :2]
    assert bool(((sides >= -1e-12) & (sides <= max(size, floor) + 1e-12)).all())


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.01, 0.35), st.floats(0.01, 0.35))
def test_corners_go_back_to_centre_and_size(dx: float, dy: float, width: float, height: float):
    shift, size = torch.tensor([[[dx, dy]]], dtype=torch.float64), torch.tensor([[[width, height]]], dtype=torch.float64)
    box = corners(torch.tensor([[0.5, 0.5]], dtype=torch.float64), shift, size)
    torch.testing.assert_close((box[..., :2] + box[..., 2:]) / 2 - 0.5, shift)
    torch.testing.assert_close(box[..., 2:] - box[..., :2], size)
