"""A matcher and a VQ-GAN whose answers can be worked out by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

WORDS = ("background", "heart", "enlarged", "opacity", "effusion", "pleural", "clear", "lung", "left", "no", "the", "cardiomegaly")


@dataclass(frozen=True)
class Patches:
    features: Tensor
    boxes: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class Words:
    features: Tensor
    mask: Tensor
    spans: list[list[tuple[int, int]]]


class GridMatcher:
    """A film is a 4 x 4 grid of grey levels, and level i/255 *is* word i of WORDS; each word is its own axis of the space."""

    calls = 0

    def encode_films(self, pixels: Tensor) -> Patches:
        side = pixels.shape[-1] // 4
        level = (pixels[:, 0, side // 2 :: side, side // 2 :: side] * 255).round().long().flatten(1)
        corners = torch.arange(4) / 4
        y, x = torch.meshgrid(corners, corners, indexing="ij")
        boxes = torch.stack([x, y, x + 0.25, y + 0.25], -1).reshape(1, 16, 4).expand(len(pixels), -1, -1)
        features = torch.eye(len(WORDS) + 1)[level]
        return Patches(features, boxes, features.amax(1))

    def encode_texts(self, texts: list[str]) -> Words:
        self.calls += 1
        found = [list(re.finditer(r"\w+|[^\w\s]", text)) for text in texts]
        length = max(map(len, found), default=0) + 2  # one special token at each end
        features, mask = torch.zeros(len(texts), length, len(WORDS) + 1), torch.zeros(len(texts), length, dtype=torch.bool)
        spans = [[(0, 0)] * length for _ in texts]
        for c, tokens in enumerate(found):
            for k, token in enumerate(tokens, start=1):
                word = token.group().lower()
                features[c, k, WORDS.index(word) if word in WORDS else len(WORDS)] = 1
                mask[c, k] = True
                spans[c][k] = token.span()
        return Words(features, mask, spans)


class GreyVQGAN:
    """f = 16; the code of a token is its mean grey level."""

    def encode(self, pixels: Tensor) -> Tensor:
        return (torch.nn.functional.avg_pool2d(pixels, 16)[:, 0] * 255).round().long()

    def decode(self, ids: Tensor) -> Tensor:
        return (ids.float() / 255).repeat_interleave(16, 1).repeat_interleave(16, 2).unsqueeze(1)


@pytest.fixture
def matcher() -> GridMatcher:
    return GridMatcher()


@pytest.fixture
def vqgan() -> GreyVQGAN:
    return GreyVQGAN()


def film(words: dict[int, str]) -> Tensor:
    """uint8 (64, 64): patch -> word; other patches are background."""
    grid = torch.zeros(16, dtype=torch.uint8)
    for patch, word in words.items():
        grid[patch] = WORDS.index(word)
    return grid.reshape(4, 4).repeat_interleave(16, 0).repeat_interleave(16, 1)


@pytest.fixture
def draw():
    return film
