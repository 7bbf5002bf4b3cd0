"""Support and consistency of a sentence, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.codebooks.entities import FINDINGS
from cyclicxr.codebooks.support import Support, consistency, evidence, excess, odds
from cyclicxr.match.adamatch import TextWords
from cyclicxr.types import Entity, InputError


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


EFFUSION, NO_EDEMA = Entity("effusion", FINDINGS[0], False, 0, 8), Entity("edema", FINDINGS[0], True, 10, 18)
UNHEARD_OF = Entity("hernia", FINDINGS[0], False, 20, 26)


def test_odds_by_hand():
    """Chance .8 of an effusion: log 4 where it is affirmed; of an edema .2: log 4 where it is denied, -log 4 where it is affirmed."""
    chances = {"effusion": 0.8, "edema": 0.2}
    assert odds(chances, [EFFUSION]) == pytest.approx(math.log(4))
    assert odds(chances, [NO_EDEMA]) == pytest.approx(math.log(4))
    assert odds({"effusion": 0.8, "edema": 0.5}, [EFFUSION, NO_EDEMA]) == pytest.approx(math.log(4) / 2)
    assert odds({"edema": 0.8}, [NO_EDEMA]) == pytest.approx(-math.log(4))


def test_odds_of_what_nothing_is_known_of_are_even():
    assert odds({"effusion": 0.8}, []) == odds({"effusion": 0.8}, [UNHEARD_OF]) == 0
    assert odds({"effusion": 0.8}, [EFFUSION, UNHEARD_OF]) == pytest.approx(math.log(4))


@given(st.floats(0, 1), st.booleans())
def test_odds_are_finite_and_of_the_other_sign_where_it_is_denied(chance: float, denied: bool):
    found = [odds({"effusion": chance}, [replace(EFFUSION, negated=negated)]) for negated in (denied, not denied)]
    assert abs(found[0]) < 10 and found[0] == pytest.approx(-found[1])


def test_evidence_is_excess_and_odds():
    film, codebook = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0]])
    found = evidence(film, {"effusion": 0.8}, codebook, Axes(), ["a", "b"], lambda text: [EFFUSION] if text == "b" else [])
    torch.testing.assert_close(found, torch.tensor([[-0.4, 0.0], [0.8, math.log(4)]]))


def test_no_curve_is_so_steep_that_a_sentence_is_impossible_or_certain():
    found = Support(excess=1e4, odds=0.0, intercept=0.0, auc=1.0).probability(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([1e-4, 1 - 1e-4]))


def test_the_probability_is_a_logistic():
    """At excess 0 and even odds it is e^intercept = 1 : 1, at excess 1 e^2 : 1, and at odds of 3 : 1 with a slope of 2 it is 9 : 1."""
    found = Support(excess=2.0, odds=2.0, intercept=0.0, auc=0.8).probability(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, math.log(3)]]))
    torch.testing.assert_close(found, torch.tensor([0.5, 1 / (1 + math.exp(-2)), 0.9]))


def two_columns(generator: np.random.Generator, means: tuple[float, float], n: int) -> np.ndarray:
    """n rows, the first column of deviation .05 and the second of 1."""
    return np.stack([generator.normal(mean, deviation, n) for mean, deviation in zip(means, (0.05, 1), strict=True)], axis=1)


def test_the_fit_tells_true_sentences_from_false_ones():
    generator = np.random.default_rng(0)
    support = Support.fit(two_columns(generator, (-0.15, 1), 4000), two_columns(generator, (-0.25, -1), 4000))
    # equal spreads s: a slope is the distance of the means / s^2, .1 / .0025 = 40 and 2 / 1; half way between them nothing is known
    assert support.excess == pytest.approx(40, rel=0.15) and support.odds == pytest.approx(2, rel=0.15)
    assert float(support.probability(torch.tensor([[-0.2, 0.0]]))[0]) == pytest.approx(0.5, abs=0.05)
    assert support.auc > 0.9


def test_unequal_numbers_do_not_bias_it():
    generator = np.random.default_rng(1)
    support = Support.fit(two_columns(generator, (0.05, 1), 2700), two_columns(generator, (-0.05, -1), 300))
    assert float(support.probability(torch.zeros(1, 2))[0]) == pytest.approx(0.5, abs=0.1)


def test_it_is_saved_and_read(tmp_path: Path):
    support = Support(1.25, 0.5, -0.5, 0.75)
    support.save(tmp_path)
    assert Support.load(tmp_path) == support


@pytest.mark.parametrize("content", [None, "{", "[]", '{"odds": 1.0}', '{"excess": 1, "odds": 1, "intercept": 0, "auc": 1, "more": 2}'])
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
