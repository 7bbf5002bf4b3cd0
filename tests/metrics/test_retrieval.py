"""Ranks, ties, duplicates and chance by hand; chance against random orders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.metrics.retrieval import (
    TO_FILM,
    TO_REPORT,
    positive_chance,
    positive_ranks,
    rank_metrics,
    retrieval_chance,
    retrieval_ranks,
    score_retrieval,
)
from cyclicxr.types import InputError


def test_ranks_by_hand():
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.5], [0.1, 0.2, 0.4]])
    ranks = retrieval_ranks(similarity, ["a", "b", "c"])
    assert ranks[TO_REPORT].tolist() == [1, 3, 1]
    assert ranks[TO_FILM].tolist() == [1, 1, 2]
    scores = score_retrieval(similarity, ["a", "b", "c"])[TO_REPORT]
    assert scores["R@1"] == pytest.approx(2 / 3)
    assert scores["R@5"] == 1
    assert scores["median rank"] == 1
    assert scores["pool"] == 3


def test_identical_reports_are_one_positive():
    similarity = np.array([[0.5, 0.1, 0.5], [0.9, 0.8, 0.9], [0.4, 0.1, 0.4]])
    scores = score_retrieval(similarity, ["normal", "b", "normal"])
    assert scores[TO_REPORT]["pool"] == 2
    assert scores[TO_REPORT]["R@1"] == pytest.approx(2 / 3)  # the second film prefers "normal"
    assert scores[TO_FILM]["queries"] == 2
    assert scores[TO_FILM]["R@1"] == pytest.approx(1 / 2)  # "normal" prefers the second film
    assert scores[TO_REPORT]["duplicate rate"] == pytest.approx(1 / 3)
    assert score_retrieval(np.eye(3), ["normal", "b", "normal"])[TO_REPORT]["R@1"] == 1


def test_a_model_that_says_nothing_ranks_last():
    scores = score_retrieval(np.zeros((20, 20)), list(range(20)))
    for direction in (TO_REPORT, TO_FILM):
        assert scores[direction]["R@10"] == 0
        assert scores[direction]["median rank"] == 20
        assert scores[direction]["chance@10"] == pytest.approx(1 / 2)


def test_chance_by_hand():
    chance = retrieval_chance(["a", "a", "b", "c"])
    assert chance[TO_REPORT]["chance@1"] == pytest.approx(1 / 3)
    assert chance[TO_REPORT]["chance@5"] == 1
    assert chance[TO_FILM]["chance@1"] == pytest.approx((2 / 4 + 1 / 4 + 1 / 4) / 3)


def test_chance_is_what_random_similarities_score():
    groups = [i // 3 if i < 30 else i for i in range(60)]
    rng = np.random.default_rng(0)
    runs = [score_retrieval(rng.random((60, 50))[:, [(groups[i]) % 50 for i in range(60)]], groups) for _ in range(200)]
    for direction in (TO_REPORT, TO_FILM):
        for k in (1, 5, 10):
            reached = np.mean([run[direction][f"R@{k}"] for run in runs])
            assert reached == pytest.approx(retrieval_chance(groups)[direction][f"chance@{k}"], abs=0.02)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(0, 99))
def test_any_grouping_has_ranks_within_its_pool(groups, seed):
    similarity = np.random.default_rng(seed).integers(0, 3, size=(len(groups), len(groups))).astype(float)
    ranks = retrieval_ranks(similarity, groups)
    assert ranks[TO_REPORT].shape == (len(groups),)
    assert ranks[TO_FILM].shape == (len(set(groups)),)
    assert ranks[TO_REPORT].min() >= 1
    assert ranks[TO_REPORT].max() <= len(set(groups))
    assert ranks[TO_FILM].max() <= len(groups)


def test_weights_count_queries():
    metrics = rank_metrics(np.array([1, 7, 30]), np.array([[1.0, 1, 1], [3, 0, 0], [0, 1, 2]]))
    assert metrics["R@5"].tolist() == pytest.approx([1 / 3, 1, 0])
    assert metrics["median rank"].tolist() == [7, 1, 30]


def test_bad_similarities_are_refused():
    with pytest.raises(InputError, match="4 films"):
        score_retrieval(np.zeros((4, 3)), ["a"] * 4)
    with pytest.raises(InputError, match="NaN"):
        score_retrieval(np.full((2, 2), np.nan), ["a", "b"])


def test_any_positive_counts_and_chance_knows_how_many_there_are():
    similarity = np.array([[0.1, 0.9, 0.5, 0.5], [0.9, 0.2, 0.1, 0.3]])
    positive = np.array([[True, False, True, False], [False, False, True, True]])
    assert positive_ranks(similarity, positive).tolist() == [3, 2]  # best positives .5 (a tie before it) and .3
    assert positive_chance(np.array([2, 2]), 4)["chance@1"] == pytest.approx(1 / 2)
    assert positive_chance(np.array([1, 3]), 12)["chance@5"] == pytest.approx((5 / 12 + 1 - (7 * 6 * 5) / (12 * 11 * 10)) / 2)
    assert positive_chance(np.array([1, 3]), 3)["chance@5"] == 1


@pytest.mark.parametrize(
    ("similarity", "positive", "said"),
    [
        (np.full((1, 2), np.nan), np.ones((1, 2), bool), "NaN"),
        (np.ones((2, 2)), np.array([[True, False], [False, False]]), "query 1 has no positive"),
        (np.ones((0, 2)), np.ones((0, 2), bool), "empty"),
    ],
)
def test_positives_that_cannot_be_ranked_are_refused(similarity, positive, said):
    with pytest.raises(InputError, match=said):
        positive_ranks(similarity, positive)
