"""Is a film an upright frontal chest X-ray with bone bright? A score in [0, 1] and what is wrong; knows no findings, no patient's words,
and nothing of left and right: a mirrored chest passes.

A small convolutional network looks at 64 x 64 pixels (ours; decision 0027). It was taught on adult chest films of one collection:
what it says of a child's film or of a film taken in bed is untested.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from cyclicxr.checkpoint import load_weights
from cyclicxr.types import Film, FrontalRecord, InputError

WEIGHTS = Path(__file__).parents[1] / "assets" / "frontal.safetensors"
SIZE = 64  # [ours] pixels along a side that the network sees
ACCEPTED = 0.5  # [ours] a film of a lower score is refused; chosen on validation films (decision 0027)
REMEDIES = {
    "lateral": "give the frontal film of the study",
    "inverted": "turn its grey levels round, so that bone is bright",
    "rotated": "turn it upright",
    "not a chest film": "give a frontal chest X-ray",
}
REASONS = ("", *REMEDIES)  # the network's classes, in order; "" is a frontal film as it should be
_ENOUGH = 8  # pixels of the film along a side, of which one of the thumbnail is the mean
_LEAST_SPREAD = 1e-3  # standard deviation of grey levels below which a picture counts as empty


class FrontalNet(nn.Module):
    """Four convolutions and two linear layers, 68,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64, 64)
        strides = (2, 2, 2, 1)
        layers: list[nn.Module] = []
        for inner, outer, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        side = SIZE // 8 // 2  # of the last map, pooled: where things are matters
        self.body = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Conv2d(widths[-1], 16, 1), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(16 * side * side, 32), nn.ReLU(), nn.Linear(32, len(REASONS)))

    def forward(self, pixels: Float[Tensor, "b 1 64 64"]) -> Float[Tensor, "b 5"]:
        """Grey levels in [0, 1], bone bright -> a logit for each of `REASONS`. Brightness and contrast of a film are taken out first."""
        mean = pixels.mean(dim=(2, 3), keepdim=True)
        spread = pixels.std(dim=(2, 3), keepdim=True).clamp(min=_LEAST_SPREAD)
        logits: Tensor = self.head(self.body((pixels - mean) / spread))
        return logits


def judge(film: Film) -> FrontalRecord:
    """How surely a film is an upright frontal chest X-ray with bone bright, and what is wrong with it.

    Args:
        film: of any size and aspect ratio.

    Returns:
        The score in [0, 1], and the likeliest reason where the score is below `ACCEPTED`, else "".
    """
    chances = _chances(thumbnail(film)[None, None])[0]
    score = float(chances[0])
    return FrontalRecord(score, "" if score >= ACCEPTED else REASONS[1 + int(chances[1:].argmax())])


def frontal_scores(films: Float[Tensor, "b 1 h w"]) -> Float[Tensor, " b"]:
    """The score of `judge` for films in [0, 1] that were not read from a file, such as drawn ones; in [0, 1]."""
    return _chances(functional.interpolate(films.cpu().float().clamp(0, 1), size=(SIZE, SIZE), mode="area"))[:, 0]


def require_frontal(film: Film, *, force: bool = False) -> FrontalRecord:
    """`judge`, and refuse what is no frontal chest film.

    Args:
        film: as read.
        force: take any film; what is wrong still stands in the record.

    Raises:
        InputError: the film is flagged; names the reason and the remedy.
    """
    record = judge(film)
    if record.reason and not force:
        kind = record.reason if record.reason == "not a chest film" else f"{record.reason}, not a frontal chest film as it is read"
        raise InputError(
            f"{film.path}: looks {kind} (score {record.score:.2f} of 1); {REMEDIES[record.reason]}, or go on with --force (force=True)"
        )
    return record


def thumbnail(film: Film, size: int = SIZE) -> Float[Tensor, "s s"]:
    """The film squashed to a small square, as the network sees it: each pixel the mean of those it covers, in [0, 1].

    Args:
        film: of any size and aspect ratio.
        size: pixels along a side, > 0.
    """
    step = max(1, min(film.pixels.shape) // (_ENOUGH * size))  # of a large film every second, third, ... pixel will do, and is fast
    small = Image.fromarray(film.pixels[::step, ::step]).resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.clip(np.asarray(small, dtype=np.float32), 0, 1))


@torch.inference_mode()
def _chances(small: Float[Tensor, "b 1 64 64"]) -> Float[Tensor, "b 5"]:
    """The probability of each of `REASONS`."""
    chances: Tensor = _network()(small).softmax(dim=1)
    return chances


@cache
def _network() -> FrontalNet:
    network = FrontalNet()
    load_weights(network, WEIGHTS)
    return network.eval()
