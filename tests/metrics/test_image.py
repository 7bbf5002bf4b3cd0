"""FID against its closed form, its bias for few films, and pixels in the wrong range."""

import pytest
import torch

from cyclicxr.metrics.image import frechet_distance, reconstruction_error
from cyclicxr.types import InputError


def gaussian(n, d, seed, shift=0.0, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


def test_fid_is_the_closed_form():
    # One feature: (difference of means)^2 + (difference of standard deviations)^2.
    real, drawn = gaussian(500, 1, 0), gaussian(500, 1, 1, shift=2, scale=3)
    expected = (real.mean() - drawn.mean()) ** 2 + (real.std() - drawn.std()) ** 2
    assert frechet_distance(real, drawn) == pytest.approx(float(expected), rel=1e-9)


def test_fid_of_the_same_films_is_zero_and_of_few_films_is_biased():
    real = gaussian(300, 16, 0)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    same_source = [frechet_distance(gaussian(n, 16, 1), gaussian(n, 16, 2)) for n in (20, 100, 300)]
    assert same_source[0] > same_source[1] > same_source[2] > 0


def test_fid_is_defined_with_fewer_films_than_features():
    assert 0 < frechet_distance(gaussian(8, 64, 0).float(), gaussian(8, 64, 1).float()) < 1e3


@pytest.mark.parametrize("drawn", [torch.zeros(3, 2), torch.zeros(4, 3), torch.full((4, 2), torch.nan)])
def test_unequal_or_broken_features_are_refused(drawn):
    with pytest.raises(InputError, match="FID"):
        frechet_distance(torch.zeros(4, 2), drawn)


def test_reconstruction_error_by_hand():
    films = torch.full((2, 1, 32, 32), 0.5)
    redrawn = films.clone()
    redrawn[1] += 0.1
    errors = reconstruction_error(films, redrawn)
    assert errors["L1"].tolist() == pytest.approx([0, 0.1], abs=1e-6)
    assert errors["PSNR"].tolist() == pytest.approx([100, 20], rel=1e-4)  # 10 log10(1 / 0.01)
    assert errors["SSIM"][0] == pytest.approx(1)
    assert errors["SSIM"][1] < 1


def test_a_range_of_255_is_refused():
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        reconstruction_error(torch.full((1, 1, 16, 16), 200.0), torch.zeros(1, 1, 16, 16))


def test_errors_are_the_same_under_autocast() -> None:
    """SSIM in bfloat16 was .13 where it is .6: mixed precision must not reach a metric."""
    torch.manual_seed(0)
    films = torch.rand(2, 1, 32, 32)
    redrawn = (films + 0.02 * torch.randn_like(films)).clamp(0, 1)
    exact = reconstruction_error(films, redrawn)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = reconstruction_error(films, redrawn)
    assert all(torch.equal(mixed[name], exact[name]) for name in exact)
