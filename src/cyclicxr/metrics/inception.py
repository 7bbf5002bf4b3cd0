"""The Inception network that FID was defined with (TensorFlow's of 2015-12-05), as pytorch-fid lays out its weights; knows no film.

torchvision has the same network with other pooling and another ending, and does not go beside this torch; hence this one. Names of
modules are those of the published file.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_SIZE = 299
_CLASSES = 1008


class InceptionV3(nn.Module):
    """Films -> 2,048 features of the last pooling.

    Source: Szegedy et al. 2016; Heusel et al. 2017.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(768, 128)
        self.Mixed_6c = _BlockC(768, 160)
        self.Mixed_6d = _BlockC(768, 160)
        self.Mixed_6e = _BlockC(768, 192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b = _BlockE(1280, largest=False)
        self.Mixed_7c = _BlockE(2048, largest=True)
        self.fc = nn.Linear(2048, _CLASSES)  # in the file; features are taken before it

    def forward(self, films: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b d"]:
        """Films in [0, 1], stretched to 299 x 299 (bilinear), grey in three channels, in [-1, 1] -> features."""
        x = functional.interpolate(films, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False)
        x = (2 * x - 1).expand(-1, 3, -1, -1)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, stride=2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)
        return x.mean((2, 3))


class _Conv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, incoming: int, outgoing: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | tuple[int, int] = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(incoming, outgoing, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outgoing, eps=0.001)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        return functional.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Branches side by side: each a list of layers by name, or the pooling with its own layer behind it."""

    def run(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = getattr(self, name)(x)
        return x


class _BlockA(_Block):
    def __init__(self, incoming: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(incoming, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _Conv(incoming, 48, 1), _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(incoming, 64, 1), _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(incoming, pooled, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        wide = self.run(x, "branch5x5_1", "branch5x5_2")
        double = self.run(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(_average(x))], 1)


class _BlockB(_Block):
    def __init__(self, incoming: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(incoming, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(incoming, 64, 1), _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        double = self.run(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, stride=2)], 1)


class _BlockC(_Block):
    def __init__(self, incoming: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(incoming, 192, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = _Conv(incoming, inner, 1), _across(inner, inner), _down(inner, 192)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Conv(incoming, inner, 1), _down(inner, inner)
        self.branch7x7dbl_3, self.branch7x7dbl_4, self.branch7x7dbl_5 = _across(inner, inner), _down(inner, inner), _across(inner, 192)
        self.branch_pool = _Conv(incoming, 192, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        wide = self.run(x, "branch7x7_1", "branch7x7_2", "branch7x7_3")
        double = self.run(x, *(f"branch7x7dbl_{i}" for i in range(1, 6)))
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(_average(x))], 1)


class _BlockD(_Block):
    def __init__(self, incoming: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Conv(incoming, 192, 1), _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(incoming, 192, 1), _across(192, 192)
        self.branch7x7x3_3, self.branch7x7x3_4 = _down(192, 192), _Conv(192, 192, 3, stride=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        small = self.run(x, "branch3x3_1", "branch3x3_2")
        wide = self.run(x, *(f"branch7x7x3_{i}" for i in range(1, 5)))
        return torch.cat([small, wide, functional.max_pool2d(x, 3, stride=2)], 1)


class _BlockE(_Block):
    """`largest`: the last block pools by the maximum, which TensorFlow's network of that date does (an oversight that FID keeps)."""

    def __init__(self, incoming: int, largest: bool) -> None:
        super().__init__()
        self.largest = largest
        self.branch1x1 = _Conv(incoming, 320, 1)
        self.branch3x3_1 = _Conv(incoming, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = _split(384)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(incoming, 448, 1), _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _split(384)
        self.branch_pool = _Conv(incoming, 192, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        small, double = self.branch3x3_1(x), self.run(x, "branch3x3dbl_1", "branch3x3dbl_2")
        pooled = functional.max_pool2d(x, 3, stride=1, padding=1) if self.largest else _average(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(small), self.branch3x3_2b(small)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, 1)


def _across(incoming: int, outgoing: int) -> _Conv:
    return _Conv(incoming, outgoing, (1, 7), padding=(0, 3))


def _down(incoming: int, outgoing: int) -> _Conv:
    return _Conv(incoming, outgoing, (7, 1), padding=(3, 0))


def _split(channels: int) -> tuple[_Conv, _Conv]:
    """A 1 x 3 and a 3 x 1 convolution, which stand side by side."""
    return _Conv(channels, channels, (1, 3), padding=(0, 1)), _Conv(channels, channels, (3, 1), padding=(1, 0))


def _average(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
