"""The tally: nothing is dropped silently, and its parts add up."""

from __future__ import annotations

import pytest

from cyclicxr.data.tally import Tally
from cyclicxr.types import InputError


def a_tally() -> Tally:
    tally = Tally({"train": 1000, "test": 4})
    tally.exclude("train", "no film", 2)
    tally.exclude("test", "a lateral")
    for _ in range(3):
        tally.keep("train")
    tally.notes["addendum left aside"] += 1
    return tally


def test_what_is_considered_is_kept_or_has_a_reason() -> None:
    tally = a_tally()
    assert tally.considered == {"train": 5, "test": 1}
    assert tally.to_text().splitlines() == [
        "                   train  test    all",
        "in the data set        5     1      6",
        "- no film              2     0      2",
        "- a lateral            0     1      1",
        "in the table           3     0      3",
        "the paper's (4.1)  1,000     4  1,004",
        "of these, 1: addendum left aside",
    ]


def test_parts_add_up_and_survive_json() -> None:
    whole = Tally({"train": 1000, "test": 4})
    for _ in range(2):
        whole.add(Tally.from_json(a_tally().to_json()))
    assert whole.considered == {"train": 10, "test": 2} and whole.kept == {"train": 6} and whole.notes.total() == 2
    assert whole.excluded == {"no film": {"train": 4}, "a lateral": {"test": 2}}
    with pytest.raises(InputError, match="not a tally"):
        Tally.from_json({"paper": {}})
