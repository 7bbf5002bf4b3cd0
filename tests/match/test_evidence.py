"""From tokens to words: which patch speaks for which word, by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.match.adamatch import TextWords
from cyclicxr.match.evidence import sentence_support, word_evidence
from cyclicxr.match.maxsim import maxsim

PATCHES = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


def words(features: list[list[float]], spans: list[tuple[int, int]], mask: list[bool]) -> TextWords:
    return TextWords(torch.tensor([features]), torch.tensor([mask]), [spans])


def test_a_word_takes_the_patch_that_is_best_for_its_tokens_together():
    """Tokens "eff" (.8, .6) and "##usion" (0, 1): patch 0 has (.8 + 0) / 2, patch 1 (.6 + 1) / 2 = .8. The token "no" is patch 0 itself."""
    text = "No effusion."
    found = words(
        [[0.0, 0.0], [1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]],
        [(0, 0), (0, 2), (3, 6), (6, 11), (11, 12), (0, 0)],
        [False, True, True, True, True, False],
    )
    evidence = word_evidence(PATCHES, found, 0, text)
    assert [(e.text, e.start, e.end, e.patch) for e in evidence] == [("No", 0, 2, 0), ("effusion", 3, 11, 1)]
    assert [e.score for e in evidence] == pytest.approx([1.0, 0.8])


def test_masked_tokens_belong_to_no_word():
    """The first word starts at character 0, where the spans of special tokens lie as well."""
    found = words([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], [(0, 0), (0, 5), (0, 0)], [False, True, False])
    (evidence,) = word_evidence(PATCHES, found, 0, "Clear")
    assert (evidence.patch, evidence.score) == (0, 1.0)


def test_words_beyond_the_context_are_left_out():
    found = words([[1.0, 0.0]], [(0, 5)], [True])
    assert [e.text for e in word_evidence(PATCHES, found, 0, "Clear lungs today")] == ["Clear"]


def test_a_hyphen_or_apostrophe_stays_inside_its_word():
    text = "air-space patient's x_y"
    found = words([[1.0, 0.0]], [(0, len(text))], [True])
    assert [e.text for e in word_evidence(PATCHES, found, 0, text)] == ["air-space", "patient's", "x", "y"]


def test_a_cosine_stays_a_cosine():
    """A unit vector in float32 may have a product with itself of 1 + 1e-7, which the schema of a result refuses."""
    long = torch.tensor([[1.0 + 1e-6, 0.0]])
    found = words([[1.0, 0.0], [-1.0, 0.0]], [(0, 1), (2, 3)], [True, True])
    assert [e.score for e in word_evidence(long, found, 0, "a b")] == [1.0, -1.0]


def test_the_support_of_a_text_by_hand():
    """Tokens (1, 0) and (.6, -.8) find 1 and .6: the mean is .8; the masked one finds nothing."""
    features = torch.tensor([[[1.0, 0.0], [0.6, -0.8], [0.0, 1.0]], [[-1.0, -1.0], [0.0, 1.0], [0.0, 1.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    torch.testing.assert_close(sentence_support(PATCHES, features, mask), torch.tensor([0.8, -1.0]))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_support_is_text_to_image_similarity(c: int, k: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    patches, features = torch.randn(5, 3, generator=generator), torch.randn(c, k, 3, generator=generator)
    mask = torch.rand(c, k, generator=generator) > 0.3
    mask[:, 0] = True
    found = sentence_support(patches, features, mask)
    torch.testing.assert_close(found, maxsim(patches[None], features, mask)[1][0])
