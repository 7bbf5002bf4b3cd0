"""The VQ-GAN ([13] Esser et al. 2021): film -> grid of ids -> film; knows pixels, never words.

With `unshuffle=1` the modules and their names are those of taming-transformers (encoder.down.0.block.0.conv1, ...), with one grey
channel where taming has three. A larger `unshuffle` moves pixels into channels before the first level and back after the last one,
so that the costly levels are never computed (in the decoder `Finish`, narrow, stands in for them).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from cyclicxr.checkpoint import load_weights, save_tensors
from cyclicxr.config import VQGANConfig
from cyclicxr.tokens.quantize import Quantizer
from cyclicxr.types import InputError

FINE = 16  # [ours] channels of the decoder beyond its first level


class VQGAN(nn.Module):
    """Film -> ids -> film.

    Args:
        config: sizes.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        width = config.code_width
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv2d(width, width, 1)
        self.quantize = Quantizer(config.codes, width, config.commitment)
        self.post_quant_conv = nn.Conv2d(width, width, 1)
        self.decoder = Decoder(config)

    def forward(self, pixels: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, ""], Int[Tensor, "b y x"]]:
        """Films in [0, 1] -> reconstructions (around [0, 1], not clamped: they carry the gradient), commitment loss, ids."""
        codes, loss, ids = self.quantize(self._vectors(pixels))
        return self._film(codes), loss, ids

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "b 1 h w"]) -> Int[Tensor, "b y x"]:
        """Films in [0, 1] -> ids, one for each f x f pixels.

        Raises:
            InputError: a side that is no multiple of f, or pixels outside [0, 1] (0-255 is the commonest mistake) or NaN.
        """
        f = self.config.downsampling
        if pixels.shape[2] % f or pixels.shape[3] % f:
            raise InputError(f"VQ-GAN: films of {pixels.shape[2]} x {pixels.shape[3]} pixels; give multiples of {f}")
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise InputError(
                f"VQ-GAN: pixels range over [{float(pixels.min()):.3g}, {float(pixels.max()):.3g}]; give numbers in [0, 1], no NaN"
            )
        vectors = self._vectors(pixels).float()
        return self.quantize.nearest(vectors.permute(0, 2, 3, 1).flatten(0, 2)).view(len(vectors), *vectors.shape[2:])

    @torch.no_grad()
    def decode(self, ids: Int[Tensor, "b y x"]) -> Float[Tensor, "b 1 h w"]:
        """Ids -> films in [0, 1].

        Raises:
            InputError: an id that is no code.
        """
        if ids.numel() and (ids.min() < 0 or ids.max() >= self.config.codes):
            raise InputError(f"VQ-GAN: ids range over [{int(ids.min())}, {int(ids.max())}]; there are {self.config.codes} codes")
        return self.redraw(ids).float().clamp(0, 1)

    def redraw(self, ids: Int[Tensor, "b y x"]) -> Float[Tensor, "b 1 h w"]:
        """Ids -> films as `forward` gives them, not clamped: the decoder learns through them."""
        return self._film(self.quantize.embedding(ids).permute(0, 3, 1, 2))

    @torch.no_grad()
    def start_codes(self, pixels: Float[Tensor, "b 1 h w"]) -> None:
        """Make the codes by k-means of the vectors of these films, in [0, 1]."""
        self.quantize.start(self._vectors(pixels).float().permute(0, 2, 3, 1).flatten(0, 2))

    def code_vectors(self) -> Float[Tensor, "k d"]:
        """The codebook."""
        return self.quantize.embedding.weight.detach().clone()

    def last_layer(self) -> Float[Tensor, "o i k l"]:
        """Weights of the decoder's last convolution (o, i, k, l), where the adaptive weight compares gradients."""
        return self.decoder.conv_out.weight

    def save(self, path: Path) -> None:
        """Write the weights (float16)."""
        save_tensors(path, self.state_dict(), half=True)

    @classmethod
    def load(cls, path: Path, config: VQGANConfig) -> VQGAN:
        """Read what `save` wrote, ready for inference.

        Raises:
            InputError: the file is missing, broken, or of another config.
        """
        model = cls(config)
        load_weights(model, path)
        return model.eval().requires_grad_(False)

    def _vectors(self, pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b d y x"]:
        vectors: Tensor = self.quant_conv(self.encoder(pixels * 2 - 1))
        return vectors

    def _film(self, codes: Float[Tensor, "b d y x"]) -> Float[Tensor, "b 1 h w"]:
        film: Tensor = self.decoder(self.post_quant_conv(codes))
        return (film + 1) / 2


class Encoder(nn.Module):
    """Film in [-1, 1] -> vectors at 1/f of its size."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.unshuffle = config.unshuffle
        widths = [config.channels * m for m in config.multipliers]
        self.conv_in = nn.Conv2d(config.unshuffle**2, config.channels, 3, padding=1)
        before = [config.channels, *widths[:-1]]
        last = len(widths) - 1
        self.down = nn.ModuleList(
            Level(before[i], widths[i], config.blocks, attention=config.attention and i == last, downsample=i < last)
            for i in range(len(widths))
        )
        self.mid = Middle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.code_width, 3, padding=1)

    def forward(self, film: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b d y x"]:
        """Down through the levels."""
        x = self.conv_in(functional.pixel_unshuffle(film, self.unshuffle).contiguous(memory_format=torch.channels_last))
        for level in self.down:
            x = level(x)
        vectors: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid(x))))
        return vectors


class Decoder(nn.Module):
    """Codes -> film around [-1, 1]."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        self.conv_in = nn.Conv2d(config.code_width, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1])
        before = [*widths[1:], widths[-1]]
        last = len(widths) - 1
        self.up = nn.ModuleList(  # as in taming, up[0] is the level of the film and runs last
            Level(before[i], widths[i], config.blocks + 1, attention=config.attention and i == last, upsample=i > 0)
            for i in range(len(widths))
        )
        self.norm_out = _norm(widths[0])
        doublings = config.unshuffle.bit_length() - 1
        self.finish = Finish(widths[0], doublings) if doublings else nn.Identity()
        self.conv_out = nn.Conv2d(FINE if doublings else widths[0], 1, 3, padding=1)

    def forward(self, codes: Float[Tensor, "b d y x"]) -> Float[Tensor, "b 1 h w"]:
        """Up through the levels."""
        x = self.mid(self.conv_in(codes))
        for level in reversed(self.up):
            x = level(x)
        film: Tensor = self.conv_out(functional.silu(self.finish(self.norm_out(x))))
        return film


class Finish(nn.Module):
    """In place of the levels that `unshuffle` leaves out: narrow convolutions, one after each bilinear doubling.

    Putting channels side by side as pixels instead drew a grid, or squares of one grey (docs/log.md).
    """

    def __init__(self, before: int, doublings: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(before, FINE, 3, padding=1)
        self.up = nn.ModuleList(nn.Conv2d(FINE, FINE, 3, padding=1) for _ in range(doublings))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Up to the film's size."""
        x = self.conv_in(functional.silu(x))
        for conv in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="bilinear")
            x = x + conv(functional.silu(x))
        return x


class Level(nn.Module):
    """Residual blocks at one resolution, each followed by attention where asked, then half or twice the resolution."""

    def __init__(self, before: int, after: int, blocks: int, *, attention: bool, downsample: bool = False, upsample: bool = False) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(before if i == 0 else after, after) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(after) for _ in range(blocks if attention else 0))
        if downsample:
            self.downsample = Downsample(after)
        if upsample:
            self.upsample = Upsample(after)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Blocks, then the change of resolution."""
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        return self.upsample(x) if hasattr(self, "upsample") else x


class Middle(nn.Module):
    """Block, attention, block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width)
        self.attn_1 = Attention(width)
        self.block_2 = ResidualBlock(width, width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same shape."""
        x = self.block_2(self.attn_1(self.block_1(x)))
        return x


class ResidualBlock(nn.Module):
    """Twice norm, swish, convolution, around a skip."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1 = _norm(before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = _norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Same resolution."""
        h: Tensor = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        x = self.nin_shortcut(x)
        return x + h


class Attention(nn.Module):
    """Every position attends to all, one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same shape."""
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))  # (b, h w, c)
        found = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        change: Tensor = self.proj_out(found)
        return x + change


class Downsample(nn.Module):
    """Half the resolution, by a convolution of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c y x"]:
        """Padded right and below, as in taming."""
        x = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return x


class Upsample(nn.Module):
    """Twice the resolution: each pixel repeated, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c y x"]:
        """Nearest neighbour, then smoothed."""
        x = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, max(1, width // 4)), width, eps=1e-6)  # 32 groups at taming's widths
