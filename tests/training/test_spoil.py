"""Films for the gate to learn from stay films in [0, 1] of their size, and what spoils them does so."""

import pytest
import torch

from cyclicxr.training import spoil


@pytest.fixture
def films() -> torch.Tensor:
    return torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("change", [spoil.develop, spoil.frame, spoil.quarter_turns, spoil.destroy, lambda films: spoil.mirror(films, 0.5)])
def test_the_size_and_the_range_are_kept(films, change):
    for seed in range(10):
        torch.manual_seed(seed)
        found = change(films)
        assert found.shape == films.shape and found.min() >= 0 and found.max() <= 1 + 1e-6


@pytest.mark.parametrize("change", [spoil.develop, spoil.frame, spoil.quarter_turns, spoil.destroy])
def test_the_seed_decides(films, change):
    torch.manual_seed(3)
    first = change(films)
    torch.manual_seed(3)
    assert torch.equal(first, change(films))
    assert not torch.equal(first, change(films))


def test_a_window_keeps_the_order_of_grey_levels(films):
    torch.manual_seed(0)
    order = films[0].flatten().argsort()
    assert (spoil.develop(films)[0].flatten()[order].diff() >= 0).all()


def test_a_turned_film_is_one_of_the_three_turns(films):
    torch.manual_seed(0)
    for film, turned in zip(films, spoil.quarter_turns(films), strict=True):
        assert sum(torch.equal(turned, film.rot90(turns, (1, 2))) for turns in range(4)) == 1 and not torch.equal(turned, film)


def test_a_mirror_exchanges_left_and_right_in_its_share(films):
    assert torch.equal(spoil.mirror(films, 1.0), films.flip(3)) and torch.equal(spoil.mirror(films, 0.0), films)


def test_nothing_destroyed_is_what_it_was(films):
    for seed in range(20):
        torch.manual_seed(seed)
        assert ((spoil.destroy(films) - films).abs().mean(dim=(1, 2, 3)) > 0.05).all()
