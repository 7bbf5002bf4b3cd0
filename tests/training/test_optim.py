"""LAMB is Algorithm 2 of You et al. (2020), and the schedule a cosine after a linear rise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cyclicxr.training.optim import Lamb, cosine, decayed, set_rate

B1, B2, EPS, RATE, DECAY = 0.9, 0.999, 1e-6, 0.1, 0.01


def algorithm_2(x: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """The paper's lines 5 to 11 for one layer, phi the identity."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gradients, start=1):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        r = (m / (1 - B1**t)) / (np.sqrt(v / (1 - B2**t)) + EPS)
        u = r + DECAY * x
        x = x - RATE * np.linalg.norm(x) / np.linalg.norm(u) * u
    return x


def stepped(x: torch.Tensor, gradients: list[torch.Tensor], **settings: float) -> torch.Tensor:
    weight = nn.Parameter(x.clone())
    optimizer = Lamb([weight], lr=RATE, betas=(B1, B2), **settings)
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    return weight.detach()


def test_one_step_by_hand() -> None:
    """r = sign(g) = (1, -1), u = r + 0.01 (3, 4) = (1.03, -0.96), |x| = 5, |u| = 1.40801."""
    found = stepped(
        torch.tensor([3.0, 4.0], dtype=torch.float64), [torch.tensor([1.0, -2.0], dtype=torch.float64)], eps=0.0, weight_decay=DECAY
    )
    assert found.tolist() == pytest.approx([3 - 0.1 * 5 / 1.408013 * 1.03, 4 + 0.1 * 5 / 1.408013 * 0.96], abs=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_lamb_is_algorithm_2_in_float64(seed: int, steps: int) -> None:
    random = np.random.default_rng(seed)
    x, gradients = random.normal(size=(3, 4)), [random.normal(size=(3, 4)) for _ in range(steps)]
    found = stepped(torch.from_numpy(x), [torch.from_numpy(g) for g in gradients], eps=EPS, weight_decay=DECAY)
    assert np.allclose(found.numpy(), algorithm_2(x, gradients), rtol=1e-12, atol=1e-12)


def test_what_starts_at_zero_or_has_no_decay_is_spared_the_ratio() -> None:
    """Without the ratio the first step is the rate times the sign of the gradient."""
    gradient = torch.tensor([1.0, -2.0])
    assert stepped(torch.zeros(2), [gradient], weight_decay=DECAY).tolist() == pytest.approx([-RATE, RATE], abs=1e-6)
    assert stepped(torch.tensor([3.0, 4.0]), [gradient]).tolist() == pytest.approx([3 - RATE, 4 + RATE], abs=1e-6)


def test_a_tensor_without_gradient_stays() -> None:
    weight = nn.Parameter(torch.ones(2))
    Lamb([weight]).step()
    assert weight.tolist() == [1, 1]


def test_biases_and_norms_have_no_decay() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    module[1].bias.requires_grad_(False)
    matrices, others = decayed(module, DECAY)
    assert (matrices["weight_decay"], others["weight_decay"]) == (DECAY, 0)
    assert [tuple(p.shape) for p in matrices["params"]] == [(2, 3)]
    assert [tuple(p.shape) for p in others["params"]] == [(2,), (2,)]


def test_the_cosine_schedule_by_hand() -> None:
    assert [cosine(p, 0.2) for p in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-12)
    assert cosine(0.4, 0.2) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert cosine(0.0, 0.0) == 1


def test_the_rate_is_set_in_every_group() -> None:
    optimizer = Lamb(decayed(nn.Linear(3, 2), DECAY))
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
