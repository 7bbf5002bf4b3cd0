"""What the VQ-GAN is trained against ([13] Esser et al. 2021, Eqs. 5-7): features, a patch discriminator, and their balance; no data.

The perceptual features are given as a callable; whose they are is the trainer's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

LARGEST = 1e4  # [taming] of the adaptive weight
BLUR, GAIN = 3.0, 10.0  # [ours] pixels of deviation; how many times detail is made larger


class PatchDiscriminator(nn.Module):
    """PatchGAN with taming's convolutions of stride 2 and leaky ReLU: a logit for each patch of 70 pixels of a film's detail.

    Spectral norms (Miyato et al. 2018) stand in for taming's batch norms. A discriminator of bounded slope tells no film by a trick, but
    does not hear grain of a hundredth of the grey scale either: so it is given the detail, made larger (docs/decisions/0022).

    Args:
        channels: of the first layer; they double with each layer, up to eight times.
        layers: of stride 2; 3 sees patches of 70 pixels.
    """

    def __init__(self, channels: int, layers: int = 3) -> None:
        super().__init__()
        widths = [channels * min(2**i, 8) for i in range(layers + 1)]
        main: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise([1, *widths])):
            main += [_bounded(before, after, stride=2 if i < layers else 1), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*main, _bounded(widths[-1], 1, stride=1))

    def forward(self, pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 y x"]:
        """Films in [0, 1] -> logits, large where the patch looks real."""
        logits: Tensor = self.main(GAIN * detail(pixels))
        return logits


def detail(films: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Films less their Gaussian blur, the edge repeated: what ribs, vessels and grain are drawn with; 0 where a film is flat."""
    reach = round(3 * BLUR)
    bell = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=films.device) / BLUR).square())
    bell = (bell / bell.sum()).to(films.dtype)
    padded = functional.pad(films, (reach,) * 4, mode="replicate")
    with torch.autocast(films.device.type, enabled=False):  # a grey level in bf16 is coarser than what is looked for
        return films - functional.conv2d(functional.conv2d(padded, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))


def perceptual_distance(real: Sequence[Float[Tensor, "b _ _ _"]], redrawn: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, ""]:
    """Mean over maps, films and positions of the squared distance of the unit-length feature vectors, in [0, 4].

    At one position with features (1, 0) and (0, 1): 2; LPIPS without its learned weights.
    """
    distances = [(_unit(a) - _unit(b)).square().sum(dim=1).mean() for a, b in zip(real, redrawn, strict=True)]
    return torch.stack(distances).mean()


def discriminator_loss(real: Float[Tensor, "*r"], redrawn: Float[Tensor, "*f"]) -> Float[Tensor, ""]:
    """Hinge: half of mean(relu(1 - real)) + mean(relu(1 + redrawn)). For logits 0.5 and -2: (0.5 + 0) / 2 = 0.25."""
    return 0.5 * (functional.relu(1 - real.float()).mean() + functional.relu(1 + redrawn.float()).mean())


def generator_loss(redrawn: Float[Tensor, "*f"]) -> Float[Tensor, ""]:
    """Minus the mean logit."""
    return -redrawn.float().mean()


def adaptive_weight(reconstruction: Float[Tensor, "*w"], adversarial: Float[Tensor, "*w"]) -> Float[Tensor, ""]:
    """Ratio of the two losses' gradient lengths at the last layer, at most 10,000. For (3, 4) and (0, 2): 5 / (2 + 1e-4).

    Source: [13] Eq. (7), with taming's delta.
    """
    lengths: list[Tensor] = [torch.linalg.vector_norm(gradient) for gradient in (reconstruction, adversarial)]
    return (lengths[0] / (lengths[1] + 1e-4)).clamp(0, LARGEST)


def _unit(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    return functional.normalize(features.float(), dim=1, eps=1e-6)


def _bounded(before: int, after: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(before, after, 4, stride=stride, padding=1))
