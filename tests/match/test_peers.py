"""The peers' similarities by hand, and against the plain way that loops over films, reports and words."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import cosine_similarity

from cyclicxr.checkpoint import write_preset
from cyclicxr.config import SIMILARITIES, EncoderConfig, MatchConfig, Preset, WordsConfig
from cyclicxr.match import peers
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.peers import SIMILARITY, attention, mean_word, pooled
from cyclicxr.types import InputError
from cyclicxr.words.encoder import build_tokenizer


def draw(b: int, c: int, n: int, k: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors of any length, and a mask that hides some words of most reports but never all."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(b, n, d, generator=generator, dtype=dtype)
    words = torch.randn(c, k, d, generator=generator, dtype=dtype)
    mask = torch.rand(c, k, generator=generator) > 0.4
    mask[torch.arange(c), torch.randint(k, (c,), generator=generator)] = True
    return patches, words, mask


def slowly(patches: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Global and local similarities by loops: each report's real words alone, one pair at a time."""
    overall, local = (torch.empty(len(patches), len(words), dtype=patches.dtype) for _ in range(2))
    for i, film in enumerate(patches):
        for j, real in enumerate(words[r][mask[r]] for r in range(len(words))):
            overall[i, j] = cosine_similarity(film.mean(dim=0), real.mean(dim=0), dim=0)
            shares = torch.stack([(real @ patch).softmax(dim=0) for patch in film])  # (n, words)
            weights = (4 * shares).softmax(dim=0)
            cosines = [cosine_similarity(word, weights[:, w] @ film, dim=0) for w, word in enumerate(real)]
            local[i, j] = torch.stack(cosines).mul(5).exp().mean().log() / 5
    return overall, local


def test_the_mean_word_is_that_of_real_words():
    words = torch.tensor([[[3.0, 0.0], [1.0, 0.0], [9.0, 9.0]]])
    assert mean_word(words, torch.tensor([[True, True, False]])).tolist() == [[2.0, 0.0]]


def test_pooled_by_hand():
    """Mean patch (1, 1); mean words (2, 0) and, without the padding, (0, 1): cosines 1 / sqrt 2. Lengths count in a mean: (3, 0), (0, 1)
    pull it to (3, 1) / sqrt 10."""
    patches = torch.tensor([[[2.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, 1.0]]])
    words = torch.tensor([[[3.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [9.0, 9.0]]])
    to_text, to_image = pooled(patches, words, torch.tensor([[True, True], [True, False]]))
    expected = torch.tensor([[1 / math.sqrt(2), 1 / math.sqrt(2)], [3 / math.sqrt(10), 1 / math.sqrt(10)]])
    torch.testing.assert_close(to_text, expected)
    torch.testing.assert_close(to_image, expected)


def test_attention_by_hand():
    """Patches x, y; words x, y. x shares itself among the words as e : 1, so the word x weighs the patches as exp(4 e / (1 + e)) to
    exp(4 / (1 + e)), that is 0.8639 to 0.1361. Its cosine with their mixture is 0.8639 / sqrt(0.8639^2 + 0.1361^2) = 0.98782; the word y
    has the same, and so has their soft maximum. The other half, mean against mean, is 1."""
    both = torch.eye(2, dtype=torch.float64)[None]
    to_text, to_image = attention(both, both, torch.tensor([[True, True]]))
    torch.testing.assert_close(to_text, torch.full((1, 1), (1 + 0.98782) / 2, dtype=torch.float64), atol=1e-5, rtol=0)
    assert torch.equal(to_text, to_image)


def test_words_are_joined_by_a_soft_maximum():
    """One patch x: every word attends to it alone. Words x and y have cosines 1 and 0: log((e^5 + 1) / 2) / 5 = 0.86271."""
    patches, words = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    mean = pooled(patches, words, torch.tensor([[True, True]]))[0]
    found = attention(patches, words, torch.tensor([[True, True]]))[0]
    torch.testing.assert_close(2 * found - mean, torch.tensor([[0.86271]]), atol=1e-5, rtol=0)


shapes = st.integers(1, 5)


@given(shapes, shapes, shapes, shapes, shapes, st.integers(0, 2**31))
def test_they_equal_the_plain_loops(b: int, c: int, n: int, k: int, d: int, seed: int):
    patches, words, mask = draw(b, c, n, k, d, seed)
    overall, local = slowly(patches, words, mask)
    torch.testing.assert_close(pooled(patches, words, mask), (overall, overall))
    torch.testing.assert_close(attention(patches, words, mask), ((overall + local) / 2,) * 2)


@pytest.mark.parametrize("name", ["pooled", "attention"])
def test_what_padding_holds_changes_nothing(name: str):
    patches, words, mask = draw(3, 4, 5, 6, 4, seed=1)
    louder = torch.where(mask[..., None], words, torch.full_like(words, 50.0))
    torch.testing.assert_close(SIMILARITY[name](patches, louder, mask), SIMILARITY[name](patches, words, mask))


@pytest.mark.parametrize("name", ["pooled", "attention"])
def test_gradients_are_those_of_finite_differences(name: str):
    patches, words, mask = draw(2, 3, 4, 3, 3, seed=2)
    assert gradcheck(lambda p, w: SIMILARITY[name](p, w, mask)[0], (patches.requires_grad_(), words.requires_grad_()))


def test_attention_keeps_no_film_s_weights_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch):
    """What is saved beside the inputs is n c k of no film: the backward pass goes through each film once more."""
    patches, words, mask = draw(6, 5, 32, 16, 8, seed=3)
    calls = []
    monkeypatch.setattr(peers, "_attended", lambda film, *others, whole=peers._attended: calls.append(film) or whole(film, *others))
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.numel()) or tensor, lambda tensor: tensor):
        found = attention(patches.requires_grad_(), words.requires_grad_(), mask)[0]
        assert len(calls) == 6
        assert max(saved) < 32 * 5 * 16
    found.sum().backward()
    assert len(calls) == 12


def test_every_similarity_that_a_setting_may_name_has_its_function():
    assert tuple(SIMILARITY) == SIMILARITIES
    with pytest.raises(InputError, match=r"match\.similarity: 'cosine' is not one of maxsim, pooled, attention"):
        MatchConfig(similarity="cosine")


@pytest.mark.parametrize("name", SIMILARITIES)
@torch.no_grad()
def test_a_model_compares_by_the_similarity_that_it_was_trained_with(name: str, tmp_path):
    """Also after it was written and read again; only MaxSim's vectors have length 1."""
    encoder = EncoderConfig(
        size=64, widths=(4, 8, 8, 12), convolutions=(1, 1, 1, 0), attentions=(0, 0, 1, 1), heads=(1, 2, 2, 3), size_scale=1.0
    )
    preset = Preset(encoder=encoder, words=WordsConfig(vocabulary=150, width=16, layers=1, heads=2, max_tokens=32))
    preset = dataclasses.replace(preset, match=MatchConfig(width=16, similarity=name))
    reports = ["The heart is normal in size.", "Small left pleural effusion. No pneumothorax."]
    torch.manual_seed(0)
    AdaMatch.build(preset.encoder, preset.words, preset.match, build_tokenizer(preset.words, reports)).save(tmp_path)
    write_preset(tmp_path, preset)
    model = AdaMatch.load(tmp_path)
    patches, words = model.encode_films(torch.rand(3, 1, 64, 64)).features, model.encode_texts(reports)
    torch.testing.assert_close(
        model.similarity(patches, words.features, words.mask), SIMILARITY[name](patches, words.features, words.mask), atol=0, rtol=0
    )
    lengths = torch.cat([patches.norm(dim=-1).flatten(), words.features.norm(dim=-1)[words.mask]])
    assert bool(((lengths - 1).abs() < 1e-5).all()) == (name == "maxsim")
