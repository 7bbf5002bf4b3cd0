"""Adaptive patch extraction, AdaPatch (section 3.1, Eqs. 1-4): each patch of a grid is moved and resized by the network, then sampled.

Knows feature maps, not films and not words. Coordinates are in [0, 1] of the image, x to the right and y downwards.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from cyclicxr.patches.sums import products, scattered_sums, weighted_sums


def shift_and_size(
    f: Float[Tensor, "b n 4"], offset_scale: float, size_scale: float, size_floor: float
) -> tuple[Float[Tensor, "b n 2"], Float[Tensor, "b n 2"]]:
    """Outputs of the four heads -> shift of the centre and size of the patch.

    delta = Tanh(f) and s = ReLU(Tanh(f)), times their scales; the paper's scale is 1, the whole image.

    Args:
        f: outputs of f1 (x shift), f2 (y shift), f3 (width), f4 (height).
        offset_scale: largest shift, in widths of the image, > 0.
        size_scale: largest side, in widths of the image, > 0.
        size_floor: smallest side; 0 keeps the equation, whose patches can die (size 0, no gradient).

    Returns:
        Shifts in [-offset_scale, offset_scale] and sizes in [size_floor, size_scale].

    Source: Eqs. (1), (2).
    """
    shift = offset_scale * torch.tanh(f[..., :2])
    size = size_scale * torch.relu(torch.tanh(f[..., 2:]))
    return shift, size.clamp(min=size_floor)


def corners(centre: Float[Tensor, "n 2"], shift: Float[Tensor, "b n 2"], size: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 4"]:
    """Left-top and right-bottom corners `(a_x, a_y, b_x, b_y)`, clamped to the image.

    Source: Eqs. (3), (4).
    """
    middle = centre + shift
    return torch.cat([middle - size / 2, middle + size / 2], dim=-1).clamp(0, 1)


def sample(feature_map: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b n 4"], points: int) -> Float[Tensor, "b n gg c"]:
    """g x g points spread evenly inside each box, read by bilinear interpolation.

    Point j of a side lies at (j + 1/2) / g of it, so that a fixed 2 x 2 patch with g = 2 reads exactly its four cells.

    Args:
        feature_map: the previous stage's features.
        boxes: corners in [0, 1].
        points: g, along one side of a patch.

    Source: section 3.1 ("uniformly sample m x m feature points").
    """
    (b, c, h, w), n = feature_map.shape, boxes.shape[1]
    step = (torch.arange(points, device=boxes.device, dtype=boxes.dtype) + 0.5) / points  # (g,)
    x = (torch.lerp(boxes[..., 0:1], boxes[..., 2:3], step) * w - 0.5).clamp(0, w - 1)  # (b, n, g), in cells, 0 the middle of the first
    y = (torch.lerp(boxes[..., 1:2], boxes[..., 3:4], step) * h - 0.5).clamp(0, h - 1)
    places = [at.expand(b, n, points, points).reshape(b, -1) for at in (x.unsqueeze(2), y.unsqueeze(3))]
    read: Tensor = _Bilinear.apply(feature_map.permute(0, 2, 3, 1).to(boxes.dtype), *places)  # type: ignore[no-untyped-call]
    return read.view(b, n, points**2, c)


class _Bilinear(torch.autograd.Function):
    """Cells (b, h, w, c) read at x and y (b, p) -> (b p, c): weighted sums of four whole cells.

    `grid_sample` goes channel by channel, which takes a CPU longer (decision 34).
    """

    @staticmethod
    def forward(ctx: Any, cells: Tensor, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(cells, x, y)
        rows, right, lower = _four_cells(cells, x, y)
        return weighted_sums(cells, rows, _products((1 - lower, lower), (1 - right, right)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        cells, x, y = ctx.saved_tensors
        rows, right, lower = _four_cells(cells, x, y)
        down, across = (1 - lower, lower), (1 - right, right)
        slope = (torch.full_like(x, -1), torch.ones_like(x))
        of_cells = of_x = of_y = None
        if ctx.needs_input_grad[0]:
            point = torch.arange(x.numel(), dtype=torch.int32, device=x.device).view(*x.shape, 1).expand(rows.shape)
            of_cells = scattered_sums(gradient, point, _products(down, across), rows, cells.shape[:3].numel()).view(cells.shape)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            along = products(cells, rows, gradient)  # (b, p, 4)
            of_x = (along * _products(down, slope)).sum(dim=2)
            of_y = (along * _products(slope, across)).sum(dim=2)
        return of_cells, of_x, of_y


def _four_cells(
    cells: Float[Tensor, "b h w c"], x: Float[Tensor, "b p"], y: Float[Tensor, "b p"]
) -> tuple[Int[Tensor, "b p 4"], Float[Tensor, "b p"], Float[Tensor, "b p"]]:
    """Numbers of the cells left top, right top, left bottom, right bottom of each point; shares of the right and of the lower ones."""
    b, h, w, _ = cells.shape
    left, top = (at.floor().nan_to_num(0) for at in (x, y))  # a place that is no number reads what is no number, from a cell that is there
    columns = [(left + one).clamp(max=w - 1).int() for one in (0, 1)]
    lines = [(top + one).clamp(max=h - 1).int() * w for one in (0, 1)]
    first = torch.arange(0, b * h * w, h * w, dtype=torch.int32, device=x.device)[:, None]
    return torch.stack([first + line + column for line in lines for column in columns], dim=-1), x - left, y - top


def _products(down: tuple[Tensor, Tensor], across: tuple[Tensor, Tensor]) -> Float[Tensor, "b p 4"]:
    """Weights of the four cells from those of the two lines and of the two columns, each (b, p)."""
    return torch.stack([line * column for line in down for column in across], dim=-1)


def grid_centres(rows: int, columns: int) -> Float[Tensor, "n 2"]:
    """Centres (c_x, c_y) of the fixed patches of a grid, row by row, in [0, 1]."""
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


class AdaPatch(nn.Module):
    """A stage's patch embedding: halves the grid, each patch at the place and size that the network chose for it.

    The four heads start with zero weights, and biases that reproduce the fixed grid exactly.

    Args:
        in_width: channels of the previous stage.
        width: channels of this stage.
        grid: patches along a side of this stage; the previous map has twice as many.
        points: g, sampling points along a side of a patch.
        offset_scale: largest shift, in widths of the image.
        size_scale: largest side of a patch, in widths of the image, > 1 / grid.
        size_floor: smallest side of a patch, in widths of the image.
        adaptive: False keeps the patches fixed (Table 5).

    Source: section 3.1, Eqs. (1)-(4).
    """

    centres: Tensor

    def __init__(
        self,
        in_width: int,
        width: int,
        grid: int,
        *,
        points: int,
        offset_scale: float,
        size_scale: float,
        size_floor: float,
        adaptive: bool,
    ) -> None:
        super().__init__()
        self.points, self.adaptive, self.grid = points, adaptive, grid
        self.scales = (offset_scale, size_scale, size_floor)
        self.register_buffer("centres", grid_centres(grid, grid), persistent=False)
        self.look = nn.Conv2d(in_width, in_width, kernel_size=2, stride=2)  # the fully connected layer, over each fixed patch
        self.heads = nn.Linear(in_width, 4)  # f1, f2, f3, f4
        self.embed = nn.Linear(points * points * in_width, width)  # f5
        self.reset_heads()

    def reset_heads(self) -> None:
        """Zero weights, and biases that give the fixed grid: shift 0, size 1 / grid."""
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)
        with torch.no_grad():
            self.heads.bias[2:] = math.atanh(1 / (self.grid * self.scales[1])) if self.scales[1] * self.grid > 1 else 3.0

    def boxes(self, feature_map: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n 4"]:
        """Corners of the adaptive patches, in [0, 1]."""
        looked = functional.gelu(self.look(feature_map)).flatten(2).transpose(1, 2)  # (b, n, c)
        with torch.autocast(feature_map.device.type, enabled=False):  # a bf16 coordinate is too coarse to be a box
            f = self.heads(looked.to(self.heads.weight.dtype)) if self.adaptive else self.heads.bias.detach().expand(*looked.shape[:2], 4)
            return corners(self.centres, *shift_and_size(f, *self.scales))

    def forward(self, feature_map: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 4"]]:
        """Previous stage's map -> patch embeddings and their boxes."""
        boxes = self.boxes(feature_map)
        read = sample(feature_map, boxes.to(feature_map.dtype) if feature_map.dtype == torch.float64 else boxes, self.points)
        return self.embed(read.flatten(2)), boxes
