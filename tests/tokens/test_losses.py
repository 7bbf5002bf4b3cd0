"""The VQ-GAN's losses, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cyclicxr.tokens.losses import (
    BLUR,
    LARGEST,
    PatchDiscriminator,
    adaptive_weight,
    detail,
    discriminator_loss,
    generator_loss,
    perceptual_distance,
)


def at_one_position(*features: float) -> torch.Tensor:
    return torch.tensor(features).view(1, -1, 1, 1)


def test_perceptual_distance_by_hand():
    assert float(perceptual_distance([at_one_position(1.0, 0.0)], [at_one_position(0.0, 1.0)])) == pytest.approx(2.0)
    assert float(perceptual_distance([at_one_position(1.0, 0.0)], [at_one_position(-2.0, 0.0)])) == pytest.approx(4.0)
    # (3, 4) has the direction (.6, .8): (1 - .6)^2 + .8^2 = .8; the mean with an equal map is half of it
    maps = [at_one_position(1.0, 0.0), at_one_position(5.0, 5.0)], [at_one_position(3.0, 4.0), at_one_position(1.0, 1.0)]
    assert float(perceptual_distance(*maps)) == pytest.approx(0.4)


def test_perceptual_distance_is_a_mean_over_positions_whatever_the_grid():
    near, far = at_one_position(1.0, 0.0).expand(1, 2, 4, 4), at_one_position(0.0, 1.0).expand(1, 2, 4, 4)
    half = torch.cat([near[..., :2], far[..., :2]], dim=-1)
    assert float(perceptual_distance([near], [half])) == pytest.approx(1.0)


def test_perceptual_distance_of_empty_features_has_a_finite_gradient():
    redrawn = torch.zeros(1, 3, 2, 2, requires_grad=True)
    perceptual_distance([torch.zeros(1, 3, 2, 2)], [redrawn]).backward()
    assert redrawn.grad.isfinite().all()


def test_hinge_losses_by_hand():
    real, redrawn = torch.tensor([0.5, 3.0]), torch.tensor([-2.0, 0.25])
    assert float(discriminator_loss(real, redrawn)) == pytest.approx(0.5 * ((0.5 + 0) / 2 + (0 + 1.25) / 2))
    assert float(generator_loss(redrawn)) == pytest.approx(0.875)


def test_a_discriminator_that_is_sure_has_no_loss():
    assert float(discriminator_loss(torch.tensor([1.0, 7.0]), torch.tensor([-1.0, -9.0]))) == 0.0


def test_adaptive_weight_by_hand():
    assert float(adaptive_weight(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0]))) == pytest.approx(5 / 2.0001)
    assert float(adaptive_weight(torch.tensor([3.0, 4.0]), torch.zeros(2))) == pytest.approx(LARGEST)
    assert float(adaptive_weight(torch.zeros(2), torch.tensor([0.0, 2.0]))) == 0.0


def test_a_logit_sees_70_pixels_of_detail():
    """As in taming: of 256 px films 30 x 30 logits, and a pixel more than 34 away from a logit's centre does not matter."""
    discriminator = PatchDiscriminator(4).eval()
    detailed = torch.rand(1, 1, 256, 256, requires_grad=True)
    logits = discriminator.main(detailed)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    rows = detailed.grad[0, 0].abs().sum(dim=1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_the_discriminator_hears_detail_alone():
    """A grey level more, and a ramp of greys away from its edges, are no detail; a bright pixel is what it has beyond its surroundings."""
    film = torch.rand(1, 1, 64, 64) / 2
    torch.testing.assert_close(detail(film + 0.25), detail(film), rtol=0, atol=1e-6)
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    assert float(detail(ramp)[..., 9:-9].abs().max()) < 1e-6
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1
    assert float(detail(point)[0, 0, 20, 20]) == pytest.approx(1 - 1 / (2 * math.pi * BLUR**2), rel=0.01)
    assert float(detail(point).sum()) == pytest.approx(0, abs=1e-5)


def test_the_discriminators_slope_is_bounded():
    """Its spectral norms keep each layer's matrix to length 1 (after some power iterations), whatever its weights grow to."""
    discriminator = PatchDiscriminator(4)
    convolutions = [m for m in discriminator.main if isinstance(m, torch.nn.Conv2d)]
    with torch.no_grad():
        for convolution in convolutions:
            convolution.parametrizations.weight.original.mul_(100)
        for _ in range(50):
            discriminator(torch.rand(1, 1, 64, 64))
    for convolution in convolutions:
        assert float(torch.linalg.matrix_norm(convolution.weight.detach().flatten(1), ord=2)) == pytest.approx(1, rel=0.05)


def test_discriminator_widths_are_tamings():
    convolutions = [m for m in PatchDiscriminator(64).main if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 128, 256, 512, 1]
    assert [m.stride[0] for m in convolutions] == [2, 2, 2, 1, 1]
