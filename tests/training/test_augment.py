"""Changed films are still chest films: in range, of the same size, and never mirrored."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cyclicxr.training.augment import augment, grey_level, move


def marked(left: float, top: float) -> Tensor:
    """A dark film with a bright square a tenth of its side wide."""
    film = torch.full((1, 1, 80, 80), 0.2)
    x, y = round(left * 80), round(top * 80)
    film[..., y : y + 8, x : x + 8] = 1.0
    return film


def centre_of_light(films: Tensor) -> Tensor:
    """(b, 2): x and y in [0, 1], of what is bright."""
    weight = (films[:, 0] > films.amax(dim=(1, 2, 3))[:, None, None] * 0.8).float()
    place = (torch.arange(80) + 0.5) / 80
    total = weight.sum(dim=(1, 2))
    return torch.stack([(weight.sum(dim=1) * place).sum(dim=1) / total, (weight.sum(dim=2) * place).sum(dim=1) / total], dim=1)


@pytest.mark.parametrize("change", [augment, move, grey_level], ids=lambda change: change.__name__)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([(1, 32, 32), (3, 64, 64), (2, 32, 48)]))
def test_range_and_shape_are_kept(change, seed: int, size: tuple[int, int, int]):
    b, h, w = size
    torch.manual_seed(seed)
    films = torch.rand(b, 1, h, w)
    films[0] = seed % 2  # a film all black or all white
    found = change(films)
    assert found.shape == films.shape and found.dtype == torch.float32
    assert bool(found.isfinite().all()) and found.min() >= 0 and found.max() <= 1 + 1e-6


@pytest.mark.parametrize(("left", "top"), [(0.2, 0.3), (0.7, 0.3), (0.2, 0.6), (0.7, 0.6)])
def test_a_mark_stays_on_its_side(left: float, top: float):
    """500 films each: a mirror, or a turn by a right angle, would carry some of the marks across the middle."""
    torch.manual_seed(0)
    centres = centre_of_light(augment(marked(left, top).expand(500, -1, -1, -1)))
    assert bool(((centres[:, 0] < 0.5) == (left < 0.5)).all())
    assert bool(((centres[:, 1] < 0.5) == (top < 0.5)).all())


def test_each_film_is_changed_in_its_own_way():
    torch.manual_seed(0)
    found = augment(marked(0.3, 0.3).expand(8, -1, -1, -1))
    assert len({tuple(film.flatten()[:200].tolist()) for film in found}) == 8
    centres = centre_of_light(found)
    assert centres.std(dim=0).min() > 0.01


def test_the_same_seed_changes_in_the_same_way():
    films = torch.rand(4, 1, 32, 32)
    runs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        runs.append(augment(films))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_the_films_that_were_given_are_left_alone():
    films = torch.rand(2, 1, 32, 32)
    before = films.clone()
    augment(films)
    assert torch.equal(films, before)


def test_grey_levels_keep_their_order():
    """Gamma, contrast and brightness are all rising: bone stays brighter than air."""
    ramp = torch.linspace(0, 1, 64).repeat(64, 1)[None, None].expand(50, -1, -1, -1)
    torch.manual_seed(1)
    assert bool((grey_level(ramp).diff(dim=-1) >= 0).all())
