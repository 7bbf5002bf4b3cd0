"""What adaptive patches cost: the image encoder's forward and backward pass beside the same encoder on fixed patches, time and memory.

python benchmarks/encoder_cost.py

The fixed encoder has PVT's own patch embedding, a fully connected layer over each 2 x 2 cells, in place of AdaPatch's two and its heads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from functools import partial
from typing import Any

import torch
from machine import beyond, rounds, save_result
from torch import nn

from cyclicxr.config import PRESETS, EncoderConfig
from cyclicxr.patches.adapatch import AdaPatch
from cyclicxr.patches.encoder import ImageEncoder

PATCHES = ("adaptive", "fixed")


def build(config: EncoderConfig, patches: str) -> ImageEncoder:
    """An encoder in training, its adaptive patches moved off the grid as a trained one's are."""
    torch.manual_seed(0)
    encoder = ImageEncoder(config)
    for stage in encoder.stages:
        if isinstance(stage.patches, AdaPatch):
            nn.init.normal_(stage.patches.heads.weight, std=0.05)
            if patches == "fixed":
                stage.patches = nn.Conv2d(stage.patches.look.in_channels, stage.patches.embed.out_features, kernel_size=2, stride=2)
    return encoder.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]


def step(encoder: ImageEncoder, films: torch.Tensor) -> None:
    """Forward and backward through the patches of stages 2 to 4, which the matcher and the classifier use."""
    encoder.zero_grad()
    sum(stage.features.square().mean() for stage in encoder(films)[1:]).backward()


def films_of(config: EncoderConfig, batch: int) -> torch.Tensor:
    return torch.rand(batch, 1, config.size, config.size, generator=torch.Generator().manual_seed(0))


def child(preset: str, patches: str, batch: int) -> None:
    """MB that a step takes at most beyond encoder, gradients and films; in a process of its own."""
    config = PRESETS[preset].encoder
    encoder, films = build(config, patches), films_of(config, batch)
    step(encoder, films[:1])
    print(json.dumps(beyond(lambda: step(encoder, films))))


def peak(preset: str, patches: str, batch: int) -> float:
    command = [sys.executable, __file__, "--child", preset, patches, str(batch)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def measure(preset: str, batch: int, times: int) -> dict[str, Any]:
    """Milliseconds a film of each, one after another, and the ratio within each round."""
    config = PRESETS[preset].encoder
    encoders, films = {patches: build(config, patches) for patches in PATCHES}, films_of(config, batch)
    taken = rounds({patches: partial(step, encoder, films) for patches, encoder in encoders.items()}, times)
    return {
        "batch": batch,
        "size": config.size,
        "weights": {patches: sum(x.numel() for x in encoder.parameters()) for patches, encoder in encoders.items()},
        "ms a film": {patches: 1000 * statistics.median(one[patches] for one in taken) / batch for patches in PATCHES},
        "time ratio": statistics.median(one["adaptive"] / one["fixed"] for one in taken),
        "MB": (memory := {patches: peak(preset, patches, batch) for patches in PATCHES}),
        "memory ratio": memory["adaptive"] / memory["fixed"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9, help="rounds of both encoders")
    parser.add_argument("--batches", type=int, nargs=2, default=(32, 4), help="films a step at openi-small and at paper")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], asked.child[1], int(asked.child[2]))
        return
    presets = {name: measure(name, batch, asked.times) for name, batch in zip(("openi-small", "paper"), asked.batches, strict=True)}
    print(save_result("encoder_cost", {"times": asked.times, "presets": presets}))


if __name__ == "__main__":
    main()
