"""NIQE: how natural a film's local statistics are, without a reference; lower is more natural. Knows no radiology.

Pinned to the published parameters, which were fitted to 125 photographs: no film is at their centre, and what counts is the distance from
real films in the same table, never a number of another paper. Grey 8-bit pixels, blocks of 96, no border cut off, both sides alike:
a JPEG has another NIQE than the PNG of the same film.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from safetensors.numpy import load_file
from scipy.ndimage import correlate1d
from scipy.special import gamma

from cyclicxr.types import InputError

PARAMETERS = Path(__file__).with_name("niqe.safetensors")
BLOCK = 96  # pixels; [published]
_SHAPES = np.arange(0.2, 10.001, 0.001)  # shapes alpha that a distribution is looked up among; [published]
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))  # E|x|² / E x² of each
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def niqe(film: UInt8[np.ndarray, "h w"]) -> float:
    """NIQE of one film, >= 0; NaN for a film so flat that fewer than two blocks have statistics.

    Args:
        film: grey, 8 bits; what is beyond a multiple of 96 pixels to the right and below is not looked at.

    Raises:
        InputError: the film has fewer than two blocks of 96 x 96, whose spread the measure needs.

    Source: Mittal, Soundararajan, Bovik 2013; parameters of their `niqe_release`, in the file that BasicSR ships (Apache-2.0).
    """
    down, across = (side // BLOCK for side in film.shape)
    if down * across < 2:
        raise InputError(f"NIQE: a film of {film.shape[1]} x {film.shape[0]} pixels is too small; give {BLOCK} x {2 * BLOCK} at least")
    pixels = film[: down * BLOCK, : across * BLOCK].astype(np.float64)
    scales = []
    for size, image in ((BLOCK, pixels), (BLOCK // 2, _halve(pixels))):
        normal = _normalise(image)
        blocks = normal.reshape(down, size, across, size).swapaxes(1, 2).reshape(-1, size, size)
        scales.append([_features(block) for block in blocks])
    features = np.concatenate(scales, axis=1)  # (blocks, 36)
    whole = features[np.isfinite(features).all(1)]
    if len(whole) < 2:
        return float("nan")
    mean, covariance, _ = _parameters()
    apart = np.nanmean(features, axis=0) - mean  # a flat block keeps its shapes, as in the published code
    inverse = np.linalg.pinv((covariance + np.cov(whole, rowvar=False)) / 2)
    return float(np.sqrt(apart @ inverse @ apart))


@functools.cache
def _parameters() -> tuple[Float[np.ndarray, " 36"], Float[np.ndarray, "36 36"], Float[np.ndarray, " 7"]]:
    """Mean and covariance of the features of pristine photographs, and one side of the Gaussian window (sigma 7/6)."""
    found = load_file(PARAMETERS)
    return found["mean"], found["covariance"], found["window"]


def _normalise(image: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Each pixel less its surrounding mean, over its surrounding deviation plus 1."""
    mean = _blur(image)
    deviation = np.sqrt(np.abs(_blur(image**2) - mean**2))
    return np.asarray((image - mean) / (deviation + 1))


def _blur(image: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    *_, window = _parameters()
    return np.asarray(correlate1d(correlate1d(image, window, axis=0, mode="nearest"), window, axis=1, mode="nearest"))


def _halve(image: Float[np.ndarray, "y x"]) -> Float[np.ndarray, "h w"]:
    """Half the size, as MATLAB's `imresize` with its antialiased bicubic kernel: eight taps, edges mirrored."""
    far = np.abs(np.arange(8) - 3.5) / 2
    near = far <= 1
    taps = np.where(near, 1.5 * far**3 - 2.5 * far**2 + 1, -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2)
    for axis in (0, 1):
        # an even kernel sits half a pixel beside its output: correlate1d centres tap 4, so the first output begins at pixel 1
        image = correlate1d(image, taps / taps.sum(), axis=axis, mode="reflect").take(np.arange(1, image.shape[axis], 2), axis)
    return image


def _features(block: Float[np.ndarray, "b b"]) -> Sequence[float]:
    """18 numbers of one block at one scale: its own distribution and those of products of neighbours in four directions."""
    shape, left, right = _fit(block)
    found = [shape, (left + right) / 2]
    for shift in _NEIGHBOURS:
        shape, left, right = _fit(block * np.roll(block, shift, axis=(0, 1)))
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return found


def _fit(values: Float[np.ndarray, "b b"]) -> tuple[float, float, float]:
    """Shape, left and right scale of an asymmetric generalised Gaussian by its moments; a scale is NaN where its side has no value."""
    left, right = (_deviation(values[side]) for side in (values < 0, values > 0))
    if np.isnan(left) or np.isnan(right):
        shape = _SHAPES[0]
    else:
        skew = left / right
        ratio = np.mean(np.abs(values)) ** 2 / np.mean(values**2) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
        shape = _SHAPES[np.argmin((_RATIOS - ratio) ** 2)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return float(shape), float(left * scale), float(right * scale)


def _deviation(values: Float[np.ndarray, " v"]) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")
