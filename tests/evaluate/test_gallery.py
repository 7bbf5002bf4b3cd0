"""Cases are taken by rank and by nothing else; a case is shown once, and what is known of it is shown as it is."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cyclicxr.evaluate.gallery import KINDS, _facts, film_uri, keywords_of, ranked


def test_ranks_by_hand():
    cases = [{"id": f"s{i:02}", "ROUGE-L": score} for i, score in enumerate([0.5, 0.9, 0.1, 0.7, 0.3, 0.5, 0.2])]
    found = [(kind, rank, case["id"]) for kind, rank, case in ranked(cases, "ROUGE-L", each=2)]
    assert found == [
        ("best", 1, "s01"),
        ("best", 2, "s03"),
        ("median", 3, "s00"),
        ("median", 4, "s05"),
        ("worst", 6, "s06"),
        ("worst", 7, "s02"),
    ]


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(1, 4))
def test_no_case_twice_and_kinds_in_order(scores, each):
    cases = [{"id": str(i), "x": score} for i, score in enumerate(scores)]
    found = ranked(cases, "x", each=each)
    assert len({case["id"] for _, _, case in found}) == len(found) == min(len(cases), 3 * min(each, -(-len(cases) // 3)))
    ranks = [rank for _, rank, _ in found]
    assert ranks == sorted(ranks)
    assert [KINDS.index(kind) for kind, _, _ in found] == sorted(KINDS.index(kind) for kind, _, _ in found)
    if cases:
        assert found[0].case["x"] == max(scores)
        assert found[-1].case["x"] == min(scores) or len(found) < 2


def test_facts_leave_out_what_is_empty():
    case = {
        "id": "a",
        "ROUGE-L": 0.5,
        "film": "drawn/a.png",
        "findings right": [],
        "findings missed": ["effusion", "mass"],
        "BLEU-4": 0.12345,
        "n": None,
    }
    assert _facts(case) == {"findings missed": "effusion, mass", "BLEU-4": "0.123"}


@pytest.mark.parametrize("side", [64, 1000])
def test_a_film_is_made_small_for_the_page(side):
    uri = film_uri(np.full((side, side // 2), 77, np.uint8))
    picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert picture.size == (min(side, 384) // 2, min(side, 384))
    assert np.asarray(picture).mean() == 77


def test_without_a_result_there_are_no_keywords():
    assert keywords_of(None) == ()
