"""Chest films as they come in, good and spoilt: framed, windowed, turned round, turned over, cut up; knows no network.

What the gate (`data/frontal.py`) learns from beside the films themselves. All randomness comes from torch's global generator.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

TURN = math.radians(10)  # [ours] a film stands this crooked at most
ZOOM_IN, ZOOM_OUT = 0.15, 0.35  # [ours] share of a side that is cropped, or added as a border
LETTERBOX, BORDER = 0.3, 0.6  # [ours] chance of a border on two sides, and the most that it adds to that side
SHIFT = 0.08  # [ours] of the side
GAMMA = 0.6  # [ours] exponent e**(±GAMMA)
DARK, BRIGHT = 0.25, 0.3  # [ours] most of the grey range that a window cuts off below and above
GRAIN = 0.08  # [ours] most noise, standard deviation
LABEL = 0.3  # [ours] chance of a marker or a label in one grey level


def develop(pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Another exposure and window of each film, in [0, 1]."""
    b = len(pixels)
    bent = pixels.clamp(min=1e-4) ** (_signed(b) * GAMMA).exp()
    low, high = DARK * torch.rand(b, 1, 1, 1) ** 2, 1 - BRIGHT * torch.rand(b, 1, 1, 1) ** 2
    return ((bent - low) / (high - low)).clamp(0, 1)


def frame(pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Each film a little crooked, cropped or with a border of any grey level, stretched, with a label, grained."""
    b = len(pixels)
    angle = _signed(b).flatten() * TURN
    zoom = 1 - ZOOM_IN + (ZOOM_IN + ZOOM_OUT) * torch.rand(b, 2) ** 2
    boxed = (torch.rand(b) < LETTERBOX).float()
    zoom[torch.arange(b), torch.randint(2, (b,))] *= 1 + boxed * BORDER * torch.rand(b)
    cos, sin = angle.cos(), angle.sin()
    shift = SHIFT * _signed(2 * b).view(b, 2)
    rows = [
        torch.stack([cos * zoom[:, 0], -sin * zoom[:, 0], shift[:, 0]], 1),
        torch.stack([sin * zoom[:, 1], cos * zoom[:, 1], shift[:, 1]], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(pixels.shape), align_corners=False)
    level = (1.5 * torch.rand(b, 1, 1, 1) - 0.25).clamp(0, 1)  # black and white more often than a grey between
    framed = functional.grid_sample(pixels - level, grid, padding_mode="zeros", align_corners=False) + level
    framed = _label(framed)
    return (framed + GRAIN * torch.rand(b, 1, 1, 1) ** 2 * torch.randn_like(framed)).clamp(0, 1)


def mirror(pixels: Float[Tensor, "b 1 h w"], share: float) -> Float[Tensor, "b 1 h w"]:
    """Left and right exchanged in some of the films."""
    return torch.where(torch.rand(len(pixels), 1, 1, 1) < share, pixels.flip(3), pixels)


def quarter_turns(pixels: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "b 1 s s"]:
    """Each film turned by 90, 180 or 270 degrees."""
    turns = torch.randint(1, 4, (len(pixels),)).tolist()
    return torch.stack([film.rot90(turn, (1, 2)) for film, turn in zip(pixels, turns, strict=True)])


def destroy(pixels: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "b 1 s s"]:
    """Each film made into something that is none: tiles exchanged, phases lost, a small part alone, or two films in one picture."""
    ways = (_tiles, _phases, _part, _pair)
    return torch.stack([ways[int(torch.randint(len(ways), ()))](film, pixels) for film in pixels])


def _tiles(film: Float[Tensor, "1 s s"], _: Tensor) -> Float[Tensor, "1 s s"]:
    cuts = int(torch.randint(2, 5, ()))
    side = film.shape[1] // cuts
    tiles = [film[:, y * side : (y + 1) * side, x * side : (x + 1) * side] for y in range(cuts) for x in range(cuts)]
    order = torch.randperm(cuts**2).roll(1).tolist() if cuts > 2 else [3, 2, 1, 0]
    rows = [torch.cat([tiles[order[y * cuts + x]] for x in range(cuts)], dim=2) for y in range(cuts)]
    return _resized(torch.cat(rows, dim=1), film.shape[1])


def _phases(film: Float[Tensor, "1 s s"], _: Tensor) -> Float[Tensor, "1 s s"]:
    noise = torch.fft.rfft2(torch.randn_like(film))
    spectrum = torch.fft.rfft2(film)
    other: Tensor = torch.fft.irfft2(spectrum.abs() * noise / noise.abs().clamp(min=1e-6), s=film.shape[1:])
    return (other - other.min()) / (other.max() - other.min()).clamp(min=1e-6)


def _part(film: Float[Tensor, "1 s s"], _: Tensor) -> Float[Tensor, "1 s s"]:
    side = int(film.shape[1] * (0.15 + 0.25 * float(torch.rand(()))))
    y, x = torch.randint(film.shape[1] - side, (2,)).tolist()
    return _resized(film[:, y : y + side, x : x + side], film.shape[1])


def _pair(film: Float[Tensor, "1 s s"], films: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "1 s s"]:
    other = films[int(torch.randint(len(films), ()))]
    return _resized(torch.cat([film, other], dim=int(torch.randint(1, 3, ()))), film.shape[1])


def _resized(film: Float[Tensor, "1 h w"], size: int) -> Float[Tensor, "1 s s"]:
    return functional.interpolate(film[None], (size, size), mode="bilinear", align_corners=False, antialias=True)[0]


def _label(pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    b, _, height, width = pixels.shape
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    top, left = (torch.rand(b, 1, 1) * side for side in (height, width))
    tall, wide = (torch.rand(b, 1, 1) * 0.15 * side for side in (height, width))
    inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide) & (torch.rand(b, 1, 1) < LABEL)
    return torch.where(inside[:, None], torch.rand(b, 1, 1, 1), pixels)


def _signed(n: int) -> Float[Tensor, "n 1 1 1"]:
    return torch.rand(n, 1, 1, 1) * 2 - 1
