"""Small changes of position and grey level that leave a chest film true: crop, turn, stretch, brightness, contrast, gamma.

Never a mirror: left and right are findings. All randomness comes from torch's global generator.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

ZOOM = 0.12  # [ours] up to this share of the side is cropped or padded
SHIFT = 0.06  # [ours] of the side
TURN = math.radians(6)  # [ours]
GREY = 0.2  # [ours] brightness and contrast
GAMMA = 0.25  # [ours] exponent e**(±GAMMA)


def augment(pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Films in [0, 1] -> films in [0, 1], each changed in its own way."""
    return grey_level(move(pixels))


def move(pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Turn, zoom and shift each film; what comes from outside repeats the edge."""
    angle = _uniform(pixels) * TURN
    zoom_x, zoom_y = 1 + _uniform(pixels) * ZOOM, 1 + _uniform(pixels) * ZOOM
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack(
        [
            torch.stack([cos * zoom_x, -sin * zoom_x, 2 * SHIFT * _uniform(pixels)], dim=1),
            torch.stack([sin * zoom_y, cos * zoom_y, 2 * SHIFT * _uniform(pixels)], dim=1),
        ],
        dim=1,
    )  # (b, 2, 3)
    grid = functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def grey_level(pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Gamma, then contrast about the mean, then brightness, clamped to [0, 1]."""
    gamma, contrast, brightness = (_uniform(pixels).view(-1, 1, 1, 1) for _ in range(3))
    bent = pixels.clamp(min=1e-4) ** (gamma * GAMMA).exp()
    mean = bent.mean(dim=(1, 2, 3), keepdim=True)
    return ((bent - mean) * (1 + GREY * contrast) + mean + GREY / 2 * brightness).clamp(0, 1)


def _uniform(pixels: Tensor) -> Tensor:
    return torch.rand(len(pixels), device=pixels.device) * 2 - 1
