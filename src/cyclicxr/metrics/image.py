"""How near drawn films are to real ones: FID on given features, and reconstruction error; knows no model.

FID depends on the features, on n and on the pixel range: every table names them, compares equal n only and prints two floors (other
real films; the VQ-GAN's reconstructions). It is biased upwards for few films, so it says nothing without its floors.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance

from cyclicxr.types import InputError


class _Given(nn.Module):
    """Stands where torchmetrics wants a network: the "images" are features already, in float64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """As they are."""
        return features


def frechet_distance(real: Float[Tensor, "n d"], drawn: Float[Tensor, "m e"]) -> float:
    """Fréchet distance of two sets of features (FID, where they are a network's), >= 0, in float64.

    With n <= d the covariances are singular and the distance is still defined, but dominated by its bias: use n > d.

    Raises:
        InputError: the sets differ in size or width, or hold fewer than two films, or a number that is not finite.
    """
    if real.shape != drawn.shape or real.dim() != 2 or len(real) < 2:
        raise InputError(f"FID: {tuple(real.shape)} real against {tuple(drawn.shape)} drawn features; give as many of both, 2 at least")
    if not (real.isfinite().all() and drawn.isfinite().all()):
        raise InputError("FID: a feature is not a finite number; check the films it came from")
    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]), normalize=True)
    metric.set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(drawn.double(), real=False)
    return max(0.0, float(metric.compute()))


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
