"""DenseNet-121 for grey films, as torchxrayvision lays out its weights; knows no finding.

torchxrayvision imports torchvision, which does not go beside this torch; hence this one. Names of modules are those of its models.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_SIZE = 224
_RANGE = 1024.0  # its films range over [-1024, 1024]
_GROWTH = 32  # channels that each layer adds
_LAYERS = (6, 12, 24, 16)  # of the four blocks
_BOTTLENECK = 4


class DenseNet(nn.Module):
    """Films -> features of the last pooling, 1,024 of them.

    Args:
        findings: of the classifier in the file; features are taken before it.

    Source: Huang et al. 2017; Cohen et al. 2022 (torchxrayvision).
    """

    def __init__(self, findings: int = 18) -> None:
        super().__init__()
        width = 2 * _GROWTH
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(width))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        for i, count in enumerate(_LAYERS, start=1):
            block = nn.Sequential()
            for j in range(count):
                block.add_module(f"denselayer{j + 1}", _Layer(width + j * _GROWTH))
            self.features.add_module(f"denseblock{i}", block)
            width += count * _GROWTH
            if i < len(_LAYERS):
                self.features.add_module(f"transition{i}", _transition(width))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, findings)

    def forward(self, films: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b d"]:
        """Films in [0, 1], stretched to 224 x 224, in [-1024, 1024] -> features."""
        x = functional.interpolate(films, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False, antialias=True)
        return functional.relu(self.features((2 * x - 1) * _RANGE)).mean((2, 3))


class _Layer(nn.Sequential):
    def __init__(self, incoming: int) -> None:
        super().__init__()
        self.add_module("norm1", nn.BatchNorm2d(incoming))
        self.add_module("relu1", nn.ReLU())
        self.add_module("conv1", nn.Conv2d(incoming, _BOTTLENECK * _GROWTH, 1, bias=False))
        self.add_module("norm2", nn.BatchNorm2d(_BOTTLENECK * _GROWTH))
        self.add_module("relu2", nn.ReLU())
        self.add_module("conv2", nn.Conv2d(_BOTTLENECK * _GROWTH, _GROWTH, 3, padding=1, bias=False))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        added = x
        for layer in self:
            added = layer(added)
        return torch.cat([x, added], 1)


def _transition(width: int) -> nn.Sequential:
    transition = nn.Sequential()
    transition.add_module("norm", nn.BatchNorm2d(width))
    transition.add_module("relu", nn.ReLU())
    transition.add_module("conv", nn.Conv2d(width, width // 2, 1, bias=False))
    transition.add_module("pool", nn.AvgPool2d(2, stride=2))
    return transition
