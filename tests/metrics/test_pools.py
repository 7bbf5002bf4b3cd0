"""Ranks inside batches by hand, chance against random orders, and pools that are what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.metrics.pools import batches, pooled_ranks, sample
from cyclicxr.metrics.retrieval import TO_FILM, TO_REPORT, retrieval_ranks

SIMILARITY = np.array([[0.9, 0.1, 0.8, 0.95], [0.2, 0.3, 0.1, 0.4], [0.7, 0.1, 0.6, 0.2], [0.5, 0.5, 0.5, 0.1]])


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 9))
def test_batches_hold_each_film_once_at_most(n, size, seed):
    drawn = batches(n, size, seed)
    together = np.concatenate(drawn).tolist() if drawn else []
    assert len(set(together)) == len(together) == n // size * size
    assert all(len(pool) == size for pool in drawn)
    assert [len(pool) for pool in sample(n, size, seed)] == ([size] if n >= size else [])


def test_ranks_in_two_batches_by_hand():
    """Films 0 and 2 against each other: film 0 prefers its own (.9 > .8), film 2 the other's (.7 > .6); likewise 1 and 3."""
    pools = [[np.array([0, 2]), np.array([1, 3])]]
    found = pooled_ranks(SIMILARITY, SIMILARITY, ["a", "b", "c", "d"], pools)
    assert found[TO_REPORT].ranks.tolist() == [[1, 2, 2, 2]]
    assert found[TO_FILM].ranks.tolist() == [[1, 2, 2, 2]]  # text a: .9 > .7; b: .3 < .5; c: .8 > .6; d: .4 > .1
    assert found[TO_REPORT].chance == {"chance@1": 0.5, "chance@5": 1.0, "chance@10": 1.0}
    assert found[TO_REPORT].scores(np.ones((1, 4)))["R@1"].tolist() == [0.25]
    assert (found[TO_REPORT].pool, found[TO_REPORT].duplicate_rate) == (2, 0)


def test_identical_reports_of_a_pool_are_one_text_and_asked_once():
    found = pooled_ranks(SIMILARITY, SIMILARITY, ["a", "b", "a", "d"], [[np.array([2, 0, 1])]])
    assert found[TO_REPORT].ranks.tolist() == [[1, 1, 1, 0]]
    assert found[TO_FILM].ranks.tolist() == [[0, 1, 1, 0]]  # "a" is asked as film 2's, which stands first in the pool
    assert found[TO_FILM].pool == 3 and found[TO_REPORT].pool == 2
    assert found[TO_FILM].duplicate_rate == pytest.approx(1 / 3)


def test_one_pool_of_all_films_is_the_whole_split():
    rng = np.random.default_rng(0)
    similarity, groups = rng.normal(size=(30, 30)), [i // 2 for i in range(30)]
    similarity[:, 1::2] = similarity[:, ::2]
    found = pooled_ranks(similarity, similarity, groups, [[np.arange(30)]])
    whole = retrieval_ranks(similarity, groups)
    assert found[TO_REPORT].ranks[0].tolist() == whole[TO_REPORT].tolist()
    assert found[TO_FILM].ranks[0, ::2].tolist() == whole[TO_FILM].tolist()


def test_random_similarities_score_chance_and_the_spread_is_that_of_seeds():
    rng = np.random.default_rng(0)
    similarity, groups = rng.normal(size=(240, 240)), [i if i > 40 else i // 4 for i in range(240)]
    found = pooled_ranks(similarity, similarity, groups, [batches(240, 24, seed) for seed in range(60)])
    one = np.ones((1, 240))
    for way in (TO_FILM, TO_REPORT):
        for k in (1, 5, 10):
            assert found[way].scores(one)[f"R@{k}"][0] == pytest.approx(found[way].chance[f"chance@{k}"], abs=0.035)
        by_seed = [pooled_ranks(similarity, similarity, groups, [batches(240, 24, seed)])[way].scores(one)["R@5"][0] for seed in range(60)]
        assert found[way].spread()["R@5 sd of seeds"] == pytest.approx(np.std(by_seed))
