"""The global alignment: by hand where it is arithmetic, and on films whose features say what their reports hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.config import MatchConfig
from cyclicxr.match.film_ridge import FilmRidge
from cyclicxr.match.global_alignment import TERMS, GlobalAlignment, TextSpace, words_of
from cyclicxr.types import InputError

FINDINGS = ["effusion", "nodule", "cardiomegaly", "fracture"]
CONFIG = MatchConfig(global_least=2, global_dimensions=6, global_penalty=1.0)


def by_hand(**changed: object) -> GlobalAlignment:
    """Two terms, each its own direction; a film's two features are what it calls for."""
    parts = {
        "rarity": torch.tensor([1.0, 2.0]),
        "directions": torch.eye(2),
        "usual": torch.zeros(2),
        "centre": torch.tensor([1.0, 0.0]),
        "scale": torch.tensor([2.0, 1.0]),
        "weights": torch.eye(2),
        "deviations": torch.tensor([1.0, 1.0, 1.0]),
    }
    parts |= changed
    text = TextSpace(("clear", "effusion"), *(parts[name] for name in ("rarity", "directions", "usual")))
    return GlobalAlignment(text, FilmRidge(*(parts[name] for name in ("centre", "scale", "weights"))), parts["deviations"])


def learned(n: int = 80) -> tuple[GlobalAlignment, torch.Tensor, list[str]]:
    """Film i shows finding i % 4: feature i % 4 is high, and noise stands beside it."""
    films = 0.3 * torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    films[torch.arange(n), torch.arange(n) % 4] += 2
    reports = [f"There is {FINDINGS[i % 4]}. Heart is normal." for i in range(n)]
    return GlobalAlignment.fit(films, reports, CONFIG, seed=0), films, reports


def test_a_film_is_standardised_and_mapped():
    """((3, 3) - (1, 0)) / (2, 1) = (1, 3), of length 10^.5."""
    torch.testing.assert_close(by_hand().expect(torch.tensor([[3.0, 3.0]])), torch.tensor([[1.0, 3.0]]) / 10**0.5)


def test_a_text_is_its_terms_once_each_by_their_rarity():
    """clear 1 x 1, effusion 1 x 2: (1, 2) / 5^.5, however often and however they are written."""
    found = by_hand().embed(["Clear, clear; EFFUSION", "effusion"])
    torch.testing.assert_close(found, torch.tensor([[1.0, 2.0], [0.0, 5**0.5]]) / 5**0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the heart is normal", ["the", "heart", "is", "normal"]),
        ("no large effusion, heart normal", ["no", "no-large", "no-effusion", "heart", "normal"]),
        ("heart enlarged without edema. effusion", ["heart", "enlarged", "without", "no-edema", "effusion"]),
        ("no nodule no mass: clear", ["no", "no-nodule", "no-no", "no-mass", "clear"]),
        ("normal; 2 ribs", ["normal", "ribs"]),
        ("", []),
    ],
)
def test_a_denied_word_is_another_word_up_to_the_next_stop(text: str, words: list[str]):
    assert words_of(text) == words


def test_a_text_that_denies_a_term_does_not_hold_it():
    assert by_hand().embed(["no effusion", "clear"]).tolist() == [[0, 0], [1, 0]]


def test_similarity_is_their_cosine():
    """(1, 3) / 10^.5 times (1, 2) / 5^.5 = 7 / 50^.5."""
    found = by_hand().similarity(torch.tensor([[3.0, 3.0]]), ["clear effusion"])
    assert float(found) == pytest.approx(7 / 50**0.5)


def test_the_usual_report_is_taken_away():
    """(1, 0) - (1, 1) points to (0, -1)."""
    torch.testing.assert_close(by_hand(usual=torch.ones(2)).embed(["clear"]), torch.tensor([[0.0, -1.0]]))


def test_joined_similarities_add_up_in_their_deviations():
    """.5 / .5 + .2 / .1 = 3; .4 / .2 + .2 / .1 = 4."""
    alignment = by_hand(deviations=torch.tensor([0.5, 0.2, 0.1]))
    to_text, to_film = alignment.join(torch.tensor([[0.5]]), torch.tensor([[0.4]]), torch.tensor([[0.2]]))
    assert (float(to_text), float(to_film)) == pytest.approx((3, 4))


def test_calibrating_measures_the_deviations():
    """Of -1 and 1 it is 1, of -3 and 3 it is 3, of 0 and 4 it is 2."""
    one, three, two = torch.tensor([[-1.0, 1.0]]), torch.tensor([[-3.0, 3.0]]), torch.tensor([[0.0, 4.0]])
    assert by_hand().calibrate(one, three, two).deviations.tolist() == [1, 3, 2]


def test_a_film_calls_for_the_report_of_its_finding():
    alignment, _, _ = learned()
    films = 2 * torch.eye(6)[:4]
    found = alignment.similarity(films, [f"There is {finding}." for finding in FINDINGS])
    assert found.argmax(1).tolist() == [0, 1, 2, 3]
    assert found.diagonal().min() > 0.5 > found[~torch.eye(4, dtype=torch.bool)].max()


@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_any_text_has_a_finite_vector_of_length_one_at_most(texts: list[str]):
    norms = ALIGNMENT.embed(texts).norm(dim=1)
    assert norms.isfinite().all() and (norms < 1 + 1e-5).all()


ALIGNMENT = learned()[0]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path):
    alignment, films, reports = learned()
    alignment.save(tmp_path)
    again = GlobalAlignment.load(tmp_path)
    assert again.text.terms == alignment.text.terms
    torch.testing.assert_close(again.similarity(films, reports), alignment.similarity(films, reports), atol=5e-3, rtol=0)  # float16 on disk


def test_terms_of_another_model_are_refused(tmp_path: Path):
    by_hand().save(tmp_path)
    (tmp_path / TERMS).write_text('["clear"]')
    with pytest.raises(InputError, match=r"global\.safetensors: no global alignment of the terms beside it"):
        GlobalAlignment.load(tmp_path)


def test_reports_that_share_nothing_are_refused():
    config = dataclasses.replace(CONFIG, global_least=3)
    with pytest.raises(InputError, match="fewer than two terms are in 3 of 4 reports"):
        GlobalAlignment.fit(torch.rand(4, 6), ["effusion", "nodule", "clear", "..."], config, seed=0)


def test_words_are_the_single_ones_among_the_terms():
    space = learned()[0].text
    assert {"there", "is", "heart", "normal", *FINDINGS} > space.words  # what every report holds is no term
    assert set(FINDINGS) <= space.words


def test_a_word_that_is_always_denied_is_known_all_the_same():
    assert TextSpace(("no-edema", "no no-edema"), torch.ones(2), torch.eye(2), torch.zeros(2)).words == {"edema"}
