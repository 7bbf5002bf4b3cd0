"""Shares of patches by hand, and that they add up to what the global alignment reads."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.config import Preset, override
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.film_ridge import FilmRidge
from cyclicxr.match.global_alignment import GlobalAlignment, TextSpace
from cyclicxr.match.shares import directions, film_shares, phrase_map, shares
from cyclicxr.words.encoder import build_tokenizer

PHRASES = ["clear", "effusion", "clear effusion"]


def matcher_of(preset: Preset, stage: int) -> AdaMatch:
    torch.manual_seed(0)
    preset = override(preset, {"match.stage": stage})
    tokenizer = build_tokenizer(preset.words, ["Small effusion. The lungs are clear."])
    return AdaMatch.build(preset.encoder, preset.words, preset.match, tokenizer).eval()


def alignment_of(films: torch.Tensor) -> GlobalAlignment:
    """Two terms, each its own direction, and any map of what is pooled of the films that it was taught with."""
    draw, f = torch.Generator().manual_seed(0), films.shape[1]
    film = FilmRidge(films.mean(0), 0.5 + torch.rand(f, generator=draw), torch.randn(f, 2, generator=draw))
    return GlobalAlignment(TextSpace(("clear", "effusion"), torch.ones(2), torch.eye(2), torch.zeros(2)), film, torch.ones(3))


def test_shares_by_hand():
    """Half of (1, 4) and of (3, 2); the maximum of the first channel is the second patch's, that of the second the first's."""
    expected = torch.tensor([[[0.5, 2, 0, 4], [1.5, 1, 3, 0]]])
    torch.testing.assert_close(shares(torch.tensor([[[1.0, 4], [3, 2]]])), expected)


def test_of_patches_that_tie_the_first_has_the_maximum():
    torch.testing.assert_close(shares(torch.tensor([[[2.0], [2.0]]])), torch.tensor([[[1.0, 2], [1.0, 0]]]))


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_shares_add_up_to_the_mean_and_the_maximum(b: int, n: int, c: int, seed: int):
    features = torch.randn(b, n, c, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(shares(features).sum(1), torch.cat([features.mean(1), features.amax(1)], dim=1))


@torch.no_grad()
@pytest.mark.parametrize("stage", [2, 3, 4])
def test_a_phrases_map_adds_up_to_what_the_alignment_reads_of_the_stage(toy_preset: Preset, stage: int):
    """The mean of the films that it was taught with is its centre: less the usual shares, the sum is the ridge's reading of that stage."""
    matcher = matcher_of(toy_preset, stage)
    films = torch.rand(5, 1, toy_preset.encoder.size, toy_preset.encoder.size, generator=torch.Generator().manual_seed(1))
    pooled, found, widths = matcher.encode_films(films).pooled, film_shares(matcher, films), toy_preset.encoder.widths
    columns = slice(2 * sum(widths[1 : stage - 1]), 2 * sum(widths[1:stage]))
    torch.testing.assert_close(found.sum(1), pooled[:, columns])
    alignment, others = alignment_of(pooled), pooled.mean(0).repeat(5, 1)
    others[:, columns] = pooled[:, columns]  # all other stages as usual
    ways = directions(alignment, matcher, PHRASES)
    sums = torch.stack([torch.stack([phrase_map(film, found.mean(0), way).sum() for way in ways]) for film in found])
    torch.testing.assert_close(sums, alignment.film.read(others) @ alignment.embed(PHRASES).T, rtol=1e-4, atol=1e-4)


def test_a_map_by_hand():
    """((.5, 3) - (.5, 1)) . (10, 2) = 4; a patch that says what it always says has 0."""
    film, usual = torch.tensor([[0.5, 3], [1, 0]]), torch.tensor([[0.5, 1], [1, 0]])
    torch.testing.assert_close(phrase_map(film, usual, torch.tensor([10.0, 2])), torch.tensor([4.0, 0]))
