"""Patch-word similarity (Eqs. 5-6) by hand, and against the plain einsum that holds every similarity at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import normalize

from cyclicxr.match.maxsim import maxsim


def naive(patches: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    similarity = torch.einsum("bnd,ckd->bcnk", patches, words)
    to_text = similarity.masked_fill(~mask[None, :, None, :], -torch.inf).amax(dim=3).mean(dim=2)
    to_image = similarity.amax(dim=2).masked_fill(~mask[None], 0).sum(dim=2) / mask.sum(dim=1)
    return to_text, to_image


def draw(b: int, c: int, n: int, k: int, d: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors, and a mask that hides some words of most reports but never all."""
    generator = torch.Generator().manual_seed(seed)
    patches = normalize(torch.randn(b, n, d, generator=generator, dtype=dtype), dim=-1)
    words = normalize(torch.randn(c, k, d, generator=generator, dtype=dtype), dim=-1)
    mask = torch.rand(c, k, generator=generator) > 0.4
    mask[torch.arange(c), torch.randint(k, (c,), generator=generator)] = True
    return patches, words, mask


def test_equations_5_and_6_by_hand():
    """Patches x, y; words (.6, .8) and (0, -1), and one of padding that would win every maximum.

    Image to text: x takes .6, y takes .8: .7. Text to image: (.6, .8) takes y: .8; (0, -1) takes x: 0; mean .4.
    """
    patches = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    words = torch.tensor([[[0.6, 0.8], [0.0, -1.0], [1.0, 1.0]]])
    to_text, to_image = maxsim(patches, words, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(to_text, torch.tensor([[0.7]]))
    torch.testing.assert_close(to_image, torch.tensor([[0.4]]))


def test_padding_never_beats_a_negative_similarity():
    """All similarities negative: a padding multiplied by 0 would win with 0."""
    patches = torch.tensor([[[1.0, 0.0], [0.8, 0.6]]])
    words = torch.tensor([[[-1.0, 0.0], [0.0, 0.0]], [[-0.6, -0.8], [-0.8, -0.6]]])
    to_text, to_image = maxsim(patches, words, torch.tensor([[True, False], [True, True]]))
    torch.testing.assert_close(to_text, torch.tensor([[-0.9, (-0.6 - 0.96) / 2]]))
    torch.testing.assert_close(to_image, torch.tensor([[-0.8, (-0.6 - 0.8) / 2]]))


def test_numbers_of_films_reports_patches_and_words_may_all_differ():
    patches, words, mask = draw(2, 3, 5, 4, 6, seed=0)
    assert maxsim(patches, words, mask)[0].shape == maxsim(patches, words, mask)[1].shape == (2, 3)


shapes = st.integers(1, 5)


@given(shapes, shapes, shapes, shapes, shapes, st.integers(0, 2**31))
def test_it_equals_the_plain_einsum(b: int, c: int, n: int, k: int, d: int, seed: int):
    patches, words, mask = draw(b, c, n, k, d, seed)
    for found, expected in zip(maxsim(patches, words, mask), naive(patches, words, mask), strict=True):
        torch.testing.assert_close(found, expected)


@given(shapes, shapes, shapes, shapes, st.integers(0, 2**31))
def test_what_padding_holds_changes_nothing(b: int, c: int, n: int, k: int, seed: int):
    patches, words, mask = draw(b, c, n, k, 4, seed)
    louder = torch.where(mask[..., None], words, torch.full_like(words, 5.0))
    for found, expected in zip(maxsim(patches, louder, mask), maxsim(patches, words, mask), strict=True):
        torch.testing.assert_close(found, expected)


@given(shapes, shapes, shapes, shapes, st.integers(0, 2**31))
def test_gradients_equal_those_of_the_plain_einsum(b: int, c: int, n: int, k: int, seed: int):
    patches, words, mask = draw(b, c, n, k, 6, seed, torch.float64)
    weights = torch.randn(2, b, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gradients = []
    for function in (maxsim, naive):
        tensors = [patches.clone().requires_grad_(), words.clone().requires_grad_()]
        to_text, to_image = function(*tensors, mask)
        gradients.append(torch.autograd.grad((to_text * weights[0] + to_image * weights[1]).sum(), tensors))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_gradcheck_in_float64():
    patches, words, mask = draw(2, 3, 4, 3, 5, seed=7, dtype=torch.float64)
    assert gradcheck(lambda p, w: maxsim(p, w, mask), (patches.requires_grad_(), words.requires_grad_()))


def test_padding_has_no_gradient():
    patches, words, mask = draw(2, 2, 3, 3, 4, seed=1)
    words.requires_grad_()
    sum(part.sum() for part in maxsim(patches, words, mask)).backward()
    assert words.grad is not None and words.grad[~mask].abs().sum() == 0 and bool((words.grad[mask].abs().sum(dim=-1) > 0).all())


def test_bfloat16_is_averaged_in_float32():
    """1,000 patches of which each says 1.0: a bf16 mean of such sums would still be 1, a sum beside small ones would not."""
    patches, words, mask = draw(1, 1, 1000, 8, 16, seed=2)
    to_text, to_image = maxsim(patches.bfloat16(), words.bfloat16(), mask)
    assert to_text.dtype == to_image.dtype == torch.float32
    expected = naive(patches.bfloat16().double(), words.bfloat16().double(), mask)
    assert abs(float(to_text) - float(expected[0])) < 2e-3 and abs(float(to_image) - float(expected[1])) < 4e-3


def test_a_report_without_words_is_refused():
    patches, words, mask = draw(1, 2, 2, 2, 3, seed=0)
    mask[1] = False
    with pytest.raises(ValueError, match="without words"):
        maxsim(patches, words, mask)
