"""LAMB against Algorithm 2 of You et al. (2020), worked out step by step in float64; the cosine schedule at its ends."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cyclicxr.training.optim import Lamb, cosine, decayed, set_rate


def test_the_first_step_by_hand():
    """x = (3, 4), g = (1, -2), wd 0.1, lr 0.5. The bias-corrected moments of step 1 are g and g²: r = g / (|g| + eps) = (1, -1).

    u = (1 + .3, -1 + .4) = (1.3, -.6); |x| = 5, |u| = sqrt(1.69 + .36) = sqrt(2.05); x - .5 (5 / sqrt(2.05)) u.
    """
    x = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    x.grad = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    Lamb([x], lr=0.5, eps=0.0, weight_decay=0.1).step()
    ratio = 0.5 * 5 / math.sqrt(2.05)
    assert x.flatten().tolist() == pytest.approx([3 - ratio * 1.3, 4 + ratio * 0.6], rel=1e-12)


def algorithm_2(x: list[float], gradients: list[list[float]], lr: float, b1: float, b2: float, eps: float, wd: float) -> list[float]:
    """The paper's lines, a number at a time."""
    m, v = [0.0] * len(x), [0.0] * len(x)
    for t, g in enumerate(gradients, start=1):
        m = [b1 * mi + (1 - b1) * gi for mi, gi in zip(m, g, strict=True)]
        v = [b2 * vi + (1 - b2) * gi * gi for vi, gi in zip(v, g, strict=True)]
        r = [(mi / (1 - b1**t)) / (math.sqrt(vi / (1 - b2**t)) + eps) for mi, vi in zip(m, v, strict=True)]
        u = [ri + wd * xi for ri, xi in zip(r, x, strict=True)]
        ratio = math.hypot(*x) / math.hypot(*u)
        x = [xi - lr * ratio * ui for xi, ui in zip(x, u, strict=True)]
    return x


numbers = st.floats(-2, 2).filter(lambda value: abs(value) > 0.01)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=2, max_size=6), st.floats(1e-3, 0.3), st.floats(0.001, 0.5))
def test_lamb_is_algorithm_2_in_float64(rows: list[tuple[float, ...]], lr: float, wd: float):
    start, *gradients = [list(row) for row in rows]
    x = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = Lamb([x], lr=lr, betas=(0.8, 0.95), eps=1e-6, weight_decay=wd)
    for gradient in gradients:
        x.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    assert x.flatten().tolist() == pytest.approx(algorithm_2(start, gradients, lr, 0.8, 0.95, 1e-6, wd), rel=1e-9, abs=1e-12)


def test_tensors_that_start_at_0_still_move():
    """|x| = 0: the ratio is 1, with weight decay and without."""
    for wd in (0.0, 0.1):
        x = nn.Parameter(torch.zeros(2, 2))
        x.grad = torch.ones(2, 2)
        Lamb([x], lr=0.25, weight_decay=wd).step()
        torch.testing.assert_close(x.detach(), torch.full((2, 2), -0.25))


def test_without_weight_decay_the_step_is_adams():
    """Biases and norms: the ratio is left out."""
    ours, theirs = (nn.Parameter(torch.tensor([100.0, -3.0])) for _ in range(2))
    lamb, adam = Lamb([ours], lr=0.1, eps=1e-8), torch.optim.Adam([theirs], lr=0.1, eps=1e-8)
    for seed in range(4):
        torch.manual_seed(seed)
        ours.grad = theirs.grad = torch.randn(2)
        lamb.step()
        adam.step()
    torch.testing.assert_close(ours.detach(), theirs.detach())


def test_tensors_without_a_gradient_stay():
    x = nn.Parameter(torch.ones(2, 2))
    Lamb([x], lr=1.0, weight_decay=0.1).step()
    assert torch.equal(x.detach(), torch.ones(2, 2))


def test_the_cosine_schedule_by_hand():
    assert cosine(0.0, 0.1) == 0.0
    assert cosine(0.05, 0.1) == pytest.approx(0.5)
    assert cosine(0.1, 0.1) == pytest.approx(1.0)
    assert cosine(0.55, 0.1) == pytest.approx(0.5)
    assert cosine(1.0, 0.1) == pytest.approx(0.0)
    assert cosine(0.0, 0.0) == 1.0  # no warm-up, no division by it


@given(st.floats(0, 1), st.floats(0, 0.9))
def test_the_factor_is_a_share(progress: float, warmup: float):
    assert 0 <= cosine(progress, warmup) <= 1


def test_the_rate_is_set_in_every_group():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    optimizer = Lamb(decayed(model, 0.3), lr=1.0)
    set_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]


def test_matrices_alone_decay():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm(2), nn.Linear(2, 2))
    model[2].weight.requires_grad_(False)
    matrices, others = decayed(model, 0.3)
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert [tuple(p.shape) for p in matrices["params"]] == [(2, 1, 3, 3)]
    assert len(others["params"]) == 4
