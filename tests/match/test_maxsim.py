"""Patch-word similarity (Eqs. 5-6) by hand, and against the plain einsum that holds every similarity at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import normalize

from cyclicxr.match import maxsim as module
from cyclicxr.match.maxsim import maximum, maxsim


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


@pytest.fixture
def small_steps(monkeypatch):
    """One film and 8 reports a tile, one film or report a step of the backward pass: what large batches have, at the size of a test."""
    monkeypatch.setattr(module, "TILE", {"cpu": 1})
    monkeypatch.setattr(module, "CHUNK", 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.usefixtures("small_steps")
def test_many_tiles_equal_the_plain_einsum(dtype: torch.dtype, tolerance: float):
    """19 reports of 1 to 12 words are groups of 8, 8 and 3, each padded to its own longest."""
    patches, words, mask = draw(3, 19, 7, 12, 16, 3, dtype)
    mask &= torch.arange(12) < torch.arange(1, 20).clamp(max=12)[:, None]
    mask[:, 0] = True
    weights = torch.randn(2, 3, 19, generator=torch.Generator().manual_seed(4), dtype=dtype)
    found = []
    for function in (maxsim, naive):
        tensors = [patches.clone().requires_grad_(), words.clone().requires_grad_()]
        both = function(*tensors, mask)
        found.append([*both, *torch.autograd.grad((both[0] * weights[0] + both[1] * weights[1]).sum(), tensors)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def test_a_tile_of_many_films_equals_tiles_of_one(monkeypatch):
    patches, words, mask = draw(9, 10, 6, 5, 8, seed=5)
    whole = maxsim(patches, words, mask)
    monkeypatch.setattr(module, "TILE", {"cpu": 1})
    for found, expected in zip(maxsim(patches, words, mask), whole, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@given(shapes, shapes, shapes, st.integers(1, 20), st.integers(0, 2**31))
def test_the_maximum_of_a_tile_is_torchs_with_the_first_of_equals(dtype: torch.dtype, f: int, n: int, length: int, r: int, seed: int):
    """Few distinct values, so that nearly every maximum is reached more than once; a padded word is -inf throughout."""
    tile = torch.randint(-2, 3, (f, n, length, r), generator=torch.Generator().manual_seed(seed)).to(dtype)
    tile[:, :, -1, 0] = -torch.inf
    for dim in (1, 2):
        top, index = maximum(tile, dim)
        first = (tile == tile.amax(dim, keepdim=True)).int().argmax(dim)
        assert torch.equal(top, tile.amax(dim)) and torch.equal(index, first) and torch.equal(index, tile.max(dim).indices)


def test_of_equal_words_and_patches_the_first_gets_the_gradient():
    """Both patches are (1, 0) and both words too: patch 0 is best for both words, word 0 for both patches.

    Image to text: word 0 gets (1, 0) / 2 twice; text to image: patch 0 gets (1, 0) / 2 twice, and each patch a word's (1, 0) / 2.
    """
    patches, words = (torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]).requires_grad_() for _ in range(2))
    to_text, to_image = maxsim(patches, words, torch.ones(1, 2, dtype=torch.bool))
    (by_text,) = torch.autograd.grad(to_text, words, retain_graph=True)
    assert torch.equal(by_text, torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    (by_image,) = torch.autograd.grad(to_image, patches, retain_graph=True)
    assert torch.equal(by_image, torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    (both,) = torch.autograd.grad(to_text + to_image, patches)
    assert torch.equal(both, torch.tensor([[[1.5, 0.0], [0.5, 0.0]]]))


def test_only_what_is_asked_for_gets_a_gradient():
    patches, words, mask = draw(2, 3, 4, 3, 5, seed=6)
    for learned, fixed in ((patches, words), (words, patches)):
        learned = learned.clone().requires_grad_()
        to_text, to_image = maxsim(learned, fixed, mask) if fixed is words else maxsim(fixed, learned, mask)
        (to_text + to_image).sum().backward()
        assert learned.grad is not None and fixed.grad is None
    assert not maxsim(patches, words, mask)[0].requires_grad


@pytest.mark.usefixtures("small_steps")
def test_nothing_of_the_size_of_all_similarities_is_ever_held():
    """Of 6 x 16 x 40 x 30 similarities, no tensor of either pass has the bytes of a fifth."""
    b, c, n, k, d = 6, 16, 40, 30, 4
    patches, words, mask = draw(b, c, n, k, d, seed=8)
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            seen.extend(
                part.untyped_storage().nbytes() for part in (found if isinstance(found, tuple) else (found,)) if torch.is_tensor(part)
            )
            return found

    with Watch():
        sum(part.sum() for part in maxsim(patches.requires_grad_(), words.requires_grad_(), mask)).backward()
    assert 0 < max(seen) <= 4 * b * c * n * k / 5


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


# ---- on a GPU, where tiles are large, `torch.max` finds the maxima and the sums are other kernels

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: MaxSim's kernels for a GPU can't run here")


def learned(function, patches: Tensor, words: Tensor, mask: Tensor) -> list[Tensor]:
    """Both similarities and both gradients of a sum in which each similarity counts differently."""
    leaves = [patches.clone().requires_grad_(), words.clone().requires_grad_()]
    both = function(*leaves, mask)
    weights = torch.linspace(-1, 1, both[0].numel(), dtype=both[0].dtype, device=patches.device).view_as(both[0])
    return [*both, *torch.autograd.grad(((both[0] + 2 * both[1]) * weights).sum(), leaves)]


@on_gpu
@pytest.mark.parametrize("tile", [1, 2**12, module.LARGE_TILE])
def test_on_a_gpu_similarities_equal_those_in_float64(monkeypatch, tile: int):
    """Films and reports one by one, a few at a time, and all at once."""
    monkeypatch.setattr(module, "LARGE_TILE", tile)
    patches, words, mask = (part.cuda() for part in draw(9, 17, 49, 33, 256, seed=9))
    for found, expected in zip(maxsim(patches, words, mask), naive(patches.double(), words.double(), mask), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


@on_gpu
@pytest.mark.parametrize("chunk", [1, module.CHUNK])
def test_on_a_gpu_gradients_equal_those_of_the_plain_einsum(monkeypatch, chunk: int):
    """In float64, so that no rounding decides which of two places a gradient goes to."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    given = [part.cuda() for part in draw(5, 9, 16, 12, 32, seed=10, dtype=torch.float64)]
    for found, expected in zip(learned(maxsim, *given), learned(naive, *given), strict=True):
        torch.testing.assert_close(found, expected)


@on_gpu
def test_a_gpu_finds_what_a_cpu_finds():
    given = draw(5, 9, 16, 12, 32, seed=11)
    for found, expected in zip(learned(maxsim, *(part.cuda() for part in given)), learned(maxsim, *given), strict=True):
        torch.testing.assert_close(found.cpu(), expected)


@on_gpu
def test_on_a_gpu_the_first_of_equals_is_the_maximum():
    tile = torch.randint(-2, 3, (3, 40, 30, 24), generator=torch.Generator().manual_seed(12)).float().cuda()
    for dim in (1, 2):
        top, index = maximum(tile, dim)
        assert torch.equal(index, (tile == top.unsqueeze(dim)).int().argmax(dim))
