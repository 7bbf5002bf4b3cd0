"""Some sentences of a report: each whole, none twice, at least one, and nothing that the report does not say."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.data.reports import sentences
from cyclicxr.training.augment_text import some_sentences

REPORT = "The heart is large. No effusion! 2. Clear lungs. A 4.5 mm nodule, right upper lobe. Impression: nodule."


def said(report: str) -> list[str]:
    return [sentence for sentence, _, _ in sentences(report)]


def test_a_share_of_1_is_the_report_as_it_is():
    assert some_sentences(REPORT, 1.0) == REPORT


@given(st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_so_many_sentences_are_kept_and_each_as_it_was_written(share: float, seed: int):
    torch.manual_seed(seed)
    kept = said(some_sentences(REPORT, share))
    assert len(kept) == len(set(kept)) == math.ceil(share * 5)
    assert set(kept) <= set(said(REPORT))


def test_every_sentence_has_its_turn_at_every_place():
    torch.manual_seed(0)
    first = {said(some_sentences(REPORT, 0.4))[0] for _ in range(200)}
    assert first == set(said(REPORT))


@pytest.mark.parametrize("report", ["Clear lungs.", "clear"])
def test_a_report_of_one_sentence_stays(report: str):
    assert some_sentences(report, 0.1) == report


def test_the_seed_says_which():
    torch.manual_seed(5)
    first = some_sentences(REPORT, 0.5)
    torch.manual_seed(5)
    assert some_sentences(REPORT, 0.5) == first
