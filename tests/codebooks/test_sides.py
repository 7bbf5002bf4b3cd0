"""Left or right: what reports claim, and the regression that reads it off the halves of a film."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.checkpoint import save_tensors
from cyclicxr.codebooks.entities import FINDINGS
from cyclicxr.codebooks.sides import WEIGHTS, SideReader, claimed, claims
from cyclicxr.types import Entity, InputError

EFFUSION, NO_EFFUSION = (Entity("effusion", FINDINGS[0], negated, 0, 8) for negated in (False, True))


def findings_in(sentence: str) -> list[Entity]:
    return [NO_EFFUSION if sentence.startswith("No") else EFFUSION] if "effusion" in sentence else []


def test_a_side_is_claimed_for_what_is_affirmed():
    assert claimed("Left effusion.", [EFFUSION]) == 1
    assert claimed("Small right effusion.", [NO_EFFUSION, EFFUSION]) == -1
    assert claimed("No left effusion.", [NO_EFFUSION]) == claimed("The left lung is clear.", []) == 0
    assert claimed("Left and right effusion.", [EFFUSION]) == claimed("Bilateral effusion, left more.", [EFFUSION]) == 0


def test_a_report_claims_the_side_that_all_its_claims_share():
    reports = [
        "Left effusion. The right lung is clear.",
        "Right effusion. Right effusion is small. No left effusion.",
        "Left effusion. Right effusion.",
        "No effusion.",
    ]
    assert claims(reports, findings_in) == [1, -1, 0, 0]


def test_the_reader_learns_which_difference_is_left():
    """Films differ in two numbers; where the first is positive reports say left, the second says nothing."""
    generator = torch.Generator().manual_seed(0)
    films = torch.randn(400, 2, generator=generator)
    sides = [0 if abs(x) < 0.5 else (1 if x > 0 else -1) for x in films[:, 0].tolist()]
    reader = SideReader.learn(films, sides)
    assert float(reader.weights[0]) > 5 * abs(float(reader.weights[1]))
    left = reader.left(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]))
    assert float(left[0]) > 0.5 > float(left[1])


def test_the_chance_by_hand():
    """Difference 3 of mean 1 and deviation 2 is 1 standardised; log 4 times it and log-odds 0 beforehand: 4 to 1."""
    reader = SideReader(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([math.log(4)]), torch.zeros(1))
    torch.testing.assert_close(reader.left(torch.tensor([[3.0], [1.0], [-1.0]])), torch.tensor([0.8, 0.5, 0.2]))


@given(st.lists(st.sampled_from([0, 1]), min_size=2, max_size=6), st.sampled_from([1, -1]))
def test_where_all_claim_the_same_side_it_says_nothing(claimed_at: list[int], side: int):
    films = torch.randn(len(claimed_at), 3)
    reader = SideReader.learn(films, [side * at for at in claimed_at])
    assert reader.left(films).tolist() == [0.5] * len(films)


def test_what_is_saved_is_loaded(tmp_path):
    reader = SideReader.learn(torch.randn(20, 6), [1, -1] * 10)
    reader.save(tmp_path)
    films = torch.randn(4, 6)
    assert torch.equal(SideReader.load(tmp_path).left(films), reader.left(films))


def test_another_file_is_refused(tmp_path):
    save_tensors(tmp_path / WEIGHTS, {"weights": torch.zeros(2)})
    with pytest.raises(InputError, match="no reader of sides; restore the file or train the codebooks again"):
        SideReader.load(tmp_path)
