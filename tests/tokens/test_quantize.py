"""The codebook, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.tokens.quantize import DEAD, DECAY, Quantizer, perplexity, usage


def quantizer(codes: list[list[float]], commitment: float = 0.25) -> Quantizer:
    """With given codes, each chosen by four vectors a step so far, training mode, k-means done."""
    made = Quantizer(len(codes), len(codes[0]), commitment)
    made.embedding.weight.copy_(torch.tensor(codes))
    made.counts.fill_(4.0)
    made.sums.copy_(made.embedding.weight * 4)
    made.started.fill_(True)
    return made.train()


def grid(vectors: list[list[float]]) -> torch.Tensor:
    """Vectors as one film's row of positions, (1, d, 1, n)."""
    return torch.tensor(vectors).T[None, :, None]


def test_nearest_code_by_distance_and_the_first_of_equals():
    made = quantizer([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]).eval()
    codes, loss, ids = made(grid([[0.4, 0.0], [0.9, 0.1], [0.0, 1.6], [0.5, 0.0]]))
    assert ids.tolist() == [[[0, 1, 2, 0]]]
    assert torch.allclose(codes, grid([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 0.0]]), atol=1e-6)
    # squared errors .16 + 0, .01 + .01, 0 + 1.96, .25 + 0 over eight numbers, a quarter of it
    assert math.isclose(float(loss), 0.25 * (0.16 + 0.02 + 1.96 + 0.25) / 8, rel_tol=1e-5)


def test_a_long_code_does_not_win_by_its_length():
    # by inner product the code (10, 0) would win; by distance it is far away
    assert quantizer([[10.0, 0.0], [0.9, 0.0]]).nearest(torch.tensor([[1.0, 0.0]])).tolist() == [1]


def test_the_gradient_passes_straight_through():
    made = quantizer([[0.0, 0.0], [1.0, 0.0]], commitment=0.0)
    z = grid([[0.4, 0.2], [0.9, -0.3]]).requires_grad_()
    codes, _, _ = made(z)
    slope = grid([[1.0, 2.0], [3.0, 4.0]])
    (codes * slope).sum().backward()
    assert torch.equal(z.grad, slope)


def test_the_commitment_pulls_vectors_to_their_codes():
    z = grid([[0.4, 0.0]]).requires_grad_()
    quantizer([[0.0, 0.0], [1.0, 0.0]], commitment=0.5)(z)[1].backward()
    assert torch.allclose(z.grad, grid([[0.5 * 2 * 0.4 / 2, 0.0]]))  # commitment * 2 (z - code) / two numbers


def test_codes_are_running_means_of_their_vectors():
    made = quantizer([[0.0], [10.0]])
    made(grid([[1.0], [3.0], [8.0]]))
    assert torch.allclose(made.counts, torch.tensor([4 * DECAY + 2 * (1 - DECAY), 4 * DECAY + 1 - DECAY]))
    first = (0.0 * DECAY + (1.0 + 3.0) * (1 - DECAY)) / (4 * DECAY + 2 * (1 - DECAY))
    second = (40.0 * DECAY + 8.0 * (1 - DECAY)) / (4 * DECAY + 1 - DECAY)
    assert torch.allclose(made.embedding.weight[:, 0], torch.tensor([first, second]))


def test_evaluation_changes_nothing():
    made = quantizer([[0.0], [10.0]]).eval()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made(grid([[1.0], [3.0], [8.0]]))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_a_dead_code_moves_onto_a_vector_of_the_batch():
    made = quantizer([[0.0], [1000.0]])
    made.counts[1] = DEAD  # one step without a vector takes it below
    made(grid([[1.0], [2.0], [3.0]]))
    assert float(made.embedding.weight[1]) in (1.0, 2.0, 3.0)
    assert float(made.counts[1]) == 1.0
    assert float(made.embedding.weight[0]) not in (1.0, 2.0, 3.0), "a living code stays a running mean"


def test_before_the_codes_start_vectors_pass_as_they_are():
    made = Quantizer(4, 2, 0.25).train()
    before = made.embedding.weight.clone()
    z = grid([[0.4, 0.2], [0.9, -0.3]]).requires_grad_()
    passed, loss, ids = made(z)
    (passed.sum() + loss).backward()
    assert torch.equal(passed, z)
    assert float(loss.detach()) == 0.0
    assert torch.equal(z.grad, torch.ones_like(z))
    assert ids.shape == (1, 1, 2)
    assert torch.equal(made.embedding.weight, before)


def test_the_codes_start_as_means_of_clusters():
    """Four far clusters and eight codes: each code is the mean of the vectors nearest to it, and nearly all of the spread is explained."""
    torch.manual_seed(0)
    made = Quantizer(8, 2, 1.0).train()
    centres = torch.tensor([[5.0, 5.0], [-5.0, 5.0], [5.0, -5.0], [-5.0, -5.0]])
    vectors = centres.repeat(64, 1) + 0.1 * torch.randn(256, 2)
    made.start(vectors)
    assert bool(made.started)
    ids = made.nearest(vectors)
    for code in ids.unique().tolist():
        assert torch.allclose(made.embedding.weight[code], vectors[ids == code].mean(dim=0), atol=1e-5)
    assert float((vectors - made.embedding.weight[ids]).square().mean()) < 0.02


def test_unused_codes_come_to_life():
    """Codes that all start in one place spread over vectors they never saw."""
    torch.manual_seed(0)
    made = quantizer([[0.0, 0.0]] * 32)
    for _ in range(300):
        made(torch.randn(1, 2, 16, 16))
    made.eval()
    ids = made(torch.randn(1, 2, 64, 64))[2]
    assert usage(ids, 32) == 1.0
    assert perplexity(ids, 32) > 20


def test_all_that_a_step_changes_is_in_the_state():
    """A second quantizer that takes the state goes on as the first, bit for bit."""
    torch.manual_seed(0)
    first = Quantizer(16, 3, 0.25).train()
    first.start(torch.randn(64, 3))
    first(torch.randn(2, 3, 4, 4))
    second = Quantizer(16, 3, 0.25).train()
    second.load_state_dict(first.state_dict())
    vectors = torch.randn(2, 3, 4, 4)
    for made in (first, second):
        torch.manual_seed(1)
        for _ in range(30):
            made(vectors)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_distances_are_float32_even_under_autocast():
    made = quantizer([[1.0], [1.001]]).eval()  # one number in bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        codes, _, ids = made(grid([[1.0], [1.001]]))
    assert ids.tolist() == [[[0, 1]]]
    assert codes.dtype == torch.float32


def test_perplexity_and_usage_by_hand():
    assert perplexity(torch.tensor([0, 1, 2, 3]), 8) == pytest.approx(4.0)
    assert perplexity(torch.tensor([5, 5, 5]), 8) == pytest.approx(1.0)
    # shares 3/4 and 1/4: exp(.75 ln(4/3) + .25 ln 4)
    assert perplexity(torch.tensor([0, 0, 0, 1]), 8) == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))
    assert usage(torch.tensor([[0, 0], [0, 1]]), 8) == 0.25


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_perplexity_lies_between_one_and_the_codes_in_use(ids: list[int]):
    used = len(set(ids))
    assert 1 - 1e-9 <= perplexity(torch.tensor(ids), 10) <= used + 1e-9
