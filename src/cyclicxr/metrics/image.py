"""How near one film is to another: reconstruction error, and how alike the films of a set are (MS-SSIM); knows no model."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from cyclicxr.types import InputError

SMALLEST = 161  # pixels of a film's side for MS-SSIM: at its fifth scale the 11 x 11 window must still fit
_PAIRS = 8  # of films at once
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first; [published]
_C1, _C2 = 0.01**2, 0.03**2


def reconstruction_error(films: Float[Tensor, "b 1 h w"], redrawn: Float[Tensor, "c 1 y x"]) -> dict[str, Float[Tensor, " b"]]:
    """L1 (of a range of 1), PSNR in dB (at most 100) and SSIM (11 x 11 Gaussian, sigma 1.5) of each film; both sides in [0, 1].

    Raises:
        InputError: shapes that differ, or pixels outside [0, 1] (0-255 is the commonest mistake).
    """
    if films.shape != redrawn.shape:
        raise InputError(f"reconstruction error: films are {tuple(films.shape)}, redrawn ones {tuple(redrawn.shape)}")
    for name, pixels in (("films", films), ("redrawn films", redrawn)):
        low, high = float(pixels.min()), float(pixels.max())
        if low < 0 or high > 1:
            raise InputError(f"reconstruction error: {name} range over [{low:.3g}, {high:.3g}]; give pixels in [0, 1]")
    films, redrawn = films.float(), redrawn.float()
    with torch.autocast(films.device.type, enabled=False):  # SSIM subtracts squares of means: in bfloat16 nothing true is left
        return _errors(films, redrawn)


def _errors(films: Float[Tensor, "b 1 h w"], redrawn: Float[Tensor, "b 1 h w"]) -> dict[str, Float[Tensor, " b"]]:
    return {
        "L1": (films - redrawn).abs().flatten(1).mean(1),
        "PSNR": peak_signal_noise_ratio(redrawn, films, data_range=1.0, reduction="none", dim=(1, 2, 3)).clamp_max(100),
        "SSIM": structural_similarity_index_measure(redrawn, films, data_range=1.0, reduction="none"),
    }


def likeness_of_pairs(films: UInt8[Tensor, "n h w"], pairs: Int[np.ndarray, "p 2"]) -> Float[np.ndarray, " p"]:
    """MS-SSIM of each pair of films of one set, in [0, 1]: its mean over random pairs is low for a diverse set, 1 for one film throughout.

    Raises:
        InputError: films of fewer than `SMALLEST` pixels along a side.

    Source: Wang, Simoncelli, Bovik 2003 (five scales, their weights); as a measure of diversity, Odena, Olah, Shlens 2017.
    """
    if min(films.shape[1:]) < SMALLEST:
        raise InputError(
            f"MS-SSIM: films of {films.shape[2]} x {films.shape[1]} pixels are too small; give {SMALLEST} along a side at least"
        )
    found = []
    for start in range(0, len(pairs), _PAIRS):
        left, right = (films[pairs[start : start + _PAIRS, side]].unsqueeze(1).float() / 255 for side in (0, 1))
        found.append(_multiscale_similarity(left, right).double().numpy())
    return np.concatenate(found)


def _multiscale_similarity(left: Float[Tensor, "b 1 h w"], right: Float[Tensor, "b 1 h w"]) -> Float[Tensor, " b"]:
    """torchmetrics' MS-SSIM (at the coarsest scale films are mirrored at their edges), its window one axis after the other: faster."""
    likeness = torch.ones(len(left))
    for scale, weight in enumerate(_WEIGHTS, start=1):
        last = scale == len(_WEIGHTS)
        if last:
            left, right = (functional.pad(side, (5, 5, 5, 5), mode="reflect") for side in (left, right))
        mean_l, mean_r, square_l, square_r, product = _blur(torch.cat([left, right, left * left, right * right, left * right])).chunk(5)
        structure = (2 * (product - mean_l * mean_r) + _C2) / (square_l - mean_l**2 + square_r - mean_r**2 + _C2)
        if last:
            structure = structure * (2 * mean_l * mean_r + _C1) / (mean_l**2 + mean_r**2 + _C1)
        likeness = likeness * structure.mean((1, 2, 3)).clamp_min(0) ** weight
        left, right = functional.avg_pool2d(left, 2), functional.avg_pool2d(right, 2)
    return likeness


def _blur(pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 y x"]:
    """Gaussian window of 11 and sigma 1.5, where it fits; as two products with banded matrices, the fastest way on a CPU."""
    down, across = (_band(side) for side in pixels.shape[2:])
    return down @ pixels @ across.T


def _band(side: int) -> Float[Tensor, "y h"]:
    window = torch.exp(-torch.arange(-5.0, 6.0).square() / (2 * 1.5**2))
    window = window / window.sum()
    return torch.stack([functional.pad(window, (start, side - 11 - start)) for start in range(side - 10)])


def random_pairs(n: int, seed: int, count: int) -> Int[np.ndarray, "p 2"]:
    """Up to `count` distinct pairs of n > 1 films, none of a film with itself."""
    rng, wanted = np.random.default_rng(seed), min(count, n * (n - 1) // 2)
    if wanted == n * (n - 1) // 2:
        return np.stack(np.triu_indices(n, 1), axis=1)
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < wanted:
        left, right = sorted(rng.choice(n, 2, replace=False).tolist())
        pairs[left, right] = None
    return np.array(list(pairs))
