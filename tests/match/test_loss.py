"""The contrastive losses (Eqs. 7-9) with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy

from cyclicxr.match.loss import adamatch_loss, contrastive_loss

ONE = torch.tensor(1.0)


def test_equation_7_by_hand():
    """Rows (1, 0) and (2, 3), tau = 1: log(1 + e^-1) for both, however the row is shifted."""
    found = contrastive_loss(torch.tensor([[1.0, 0.0], [2.0, 3.0]]), ONE, torch.arange(2))
    assert float(found) == pytest.approx(math.log(1 + math.exp(-1)))


def test_the_temperature_divides():
    """tau = 1/2 doubles the difference: log(1 + e^-2)."""
    found = contrastive_loss(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor(0.5), torch.arange(2))
    assert float(found) == pytest.approx(math.log(1 + math.exp(-2)))


def test_equations_8_and_9_by_hand():
    """s^I = [[1, 0], [0, 1]]; s^T = [[1, 0], [2, 1]]: film i, report j.

    Eq. 7 runs along the rows of s^I: log(1 + e^-1) = .3133 twice. Eq. 8 runs down the columns of s^T, over the films: column 0 is (1, 2),
    log(1 + e) = 1.3133; column 1 is (0, 1), .3133. Eq. 9, with the 1/b of both: (.3133 + (1.3133 + .3133) / 2) / 2.
    """
    to_text, to_image = torch.eye(2), torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    low, high = math.log(1 + math.exp(-1)), math.log(1 + math.e)
    found = adamatch_loss(to_text, to_image, ONE, torch.arange(2))
    assert float(found) == pytest.approx(0.5 * (low + (high + low) / 2))


def test_identical_reports_are_not_each_others_negatives():
    """Reports 0 and 1 are the same: of row 0 = (1, 5, 0) the 5 is left out: log(1 + e^-1); row 2 keeps all its columns."""
    similarity = torch.tensor([[1.0, 5.0, 0.0], [5.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = contrastive_loss(similarity, ONE, torch.tensor([4, 4, 9]))
    assert float(found) == pytest.approx((2 * math.log(1 + math.exp(-1)) + math.log(1 + 2 * math.exp(-1))) / 3)


def test_with_one_report_for_all_there_is_nothing_to_tell_apart():
    similarity = torch.randn(4, 4, requires_grad=True)
    found = contrastive_loss(similarity, ONE, torch.zeros(4, dtype=torch.long))
    found.backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-6)
    assert similarity.grad is not None and similarity.grad.abs().max() < 1e-6


def test_left_out_pairs_have_no_gradient():
    similarity = torch.randn(3, 3, requires_grad=True)
    contrastive_loss(similarity, ONE, torch.tensor([0, 0, 1])).backward()
    assert similarity.grad is not None and similarity.grad[0, 1] == similarity.grad[1, 0] == 0
    assert similarity.grad[0, 2] > 0 > similarity.grad[0, 0]


def test_a_single_pair_has_nothing_to_be_told_from():
    """-log(e^s / e^s) = 0 whatever s and tau are, and no gradient is NaN: such a batch moves nothing but what weight decay moves."""
    to_text, to_image, tau = torch.tensor([[0.3]], requires_grad=True), torch.tensor([[-0.9]], requires_grad=True), torch.tensor(0.01)
    tau.requires_grad_()
    found = adamatch_loss(to_text, to_image, tau, torch.tensor([7]))
    found.backward()
    assert float(found.detach()) == 0
    assert [float(part.grad) for part in (to_text, to_image, tau) if part.grad is not None] == [0, 0, 0]


def test_gradients_are_right():
    """Of both similarities and the temperature, with two identical reports among four."""
    generator = torch.Generator().manual_seed(0)
    to_text, to_image = (torch.rand(4, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    groups = torch.tensor([0, 1, 0, 2])
    assert gradcheck(lambda s, t: contrastive_loss(s, t, groups), (to_text, tau))
    assert gradcheck(lambda s, z, t: adamatch_loss(s, z, t, groups), (to_text, to_image, tau))


@given(st.integers(1, 6), st.integers(0, 2**31), st.floats(0.01, 2))
def test_with_all_reports_different_it_is_cross_entropy(b: int, seed: int, tau: float):
    generator = torch.Generator().manual_seed(seed)
    to_text, to_image = (torch.rand(b, b, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(2))
    temperature = torch.tensor(tau, dtype=torch.float64)
    target = torch.arange(b)
    expected = (cross_entropy(to_text / tau, target) + cross_entropy(to_image.t() / tau, target)) / 2
    torch.testing.assert_close(adamatch_loss(to_text, to_image, temperature, target), expected)
