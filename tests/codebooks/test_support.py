"""Support and consistency of a sentence, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.codebooks.support import Support, consistency, excess
from cyclicxr.match.adamatch import TextWords
from cyclicxr.types import InputError


class Axes:
    """A matcher for texts alone: each word of a text is an axis of the space: "a" the first, "b" the second."""

    def encode_films(self, pixels):
        raise NotImplementedError

    def encode_texts(self, texts):
        k = max(len(text.split()) for text in texts)
        features, mask = torch.zeros(len(texts), k, 2), torch.zeros(len(texts), k, dtype=torch.bool)
        for c, text in enumerate(texts):
            for i, word in enumerate(text.split()):
                features[c, i, "ab".index(word)] = 1
                mask[c, i] = True
        return TextWords(features, mask, [[(0, 0)] * k] * len(texts))


def test_excess_by_hand():
    """The film's best for "a" is .6, for "b" .8; the codebook's 1 and .5. Sentence "a": .6 - 1; "a b": .7 - .75."""
    film = torch.tensor([[0.6, 0.8], [-1.0, 0.0]])
    codebook = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    torch.testing.assert_close(excess(film, codebook, Axes(), ["a", "a b"]), torch.tensor([-0.4, -0.05]))


def test_the_probability_is_a_logistic():
    """At excess 0 the odds are e^intercept = 1 : 1; at 1 they are e^2 : 1."""
    found = Support(slope=2.0, intercept=0.0, auc=0.8).probability(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(found, torch.tensor([0.5, 1 / (1 + math.exp(-2))]))


def test_the_fit_tells_own_films_from_others():
    generator = np.random.default_rng(0)
    own, other = generator.normal(-0.1, 0.05, 400), generator.normal(-0.3, 0.05, 400)
    support = Support.fit(own, other)
    assert support.slope > 0 and support.auc > 0.99
    # equal spreads s: the slope is the distance of the means / s^2 = 80, and half way between them nothing is known
    assert support.slope == pytest.approx(80, rel=0.25)
    assert float(support.probability(torch.tensor([-0.2]))[0]) == pytest.approx(0.5, abs=0.1)


def test_unequal_numbers_do_not_bias_it():
    generator = np.random.default_rng(1)
    support = Support.fit(generator.normal(0.1, 0.1, 900), generator.normal(-0.1, 0.1, 100))
    assert float(support.probability(torch.tensor([0.0]))[0]) == pytest.approx(0.5, abs=0.1)


def test_it_is_saved_and_read(tmp_path: Path):
    support = Support(1.25, -0.5, 0.75)
    support.save(tmp_path)
    assert Support.load(tmp_path) == support


@pytest.mark.parametrize("content", [None, "{", "[]", '{"slope": 1.0}', '{"slope": 1, "intercept": 0, "auc": 1, "more": 2}'])
def test_a_missing_or_broken_file_is_one_clear_line(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "support.json").write_text(content)
    with pytest.raises(InputError, match=r"support\.json") as caught:
        Support.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_consistency_by_hand():
    """.8 on the original and .9 on the redrawn film: .8 x (1 - .1) = .72; .8 and .3: .8, what the drawing lost is not held against it."""
    found = consistency(torch.tensor([0.8, 0.8, 0.2]), torch.tensor([0.9, 0.3, 1.0]))
    torch.testing.assert_close(found, torch.tensor([0.72, 0.8, 0.2 * 0.2]))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_consistency_is_a_share_and_never_rises_with_what_only_the_drawing_shows(original: float, redrawn: float, more: float):
    first, second = (float(consistency(torch.tensor([original]), torch.tensor([r]))[0]) for r in sorted((redrawn, more)))
    assert 0 <= second <= first <= 1
    assert first <= original + 1e-6
