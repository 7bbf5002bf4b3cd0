"""Weighted and scattered sums by hand, and against a loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.patches.sums import products, scattered_sums, weighted_sums

VECTORS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])


def test_weighted_sums_by_hand():
    """2 (1, 0) + 1 (2, 3) = (4, 3); -1 (0, 1) + 0 (1, 0) = (0, -1)."""
    found = weighted_sums(VECTORS, torch.tensor([[0, 2], [1, 0]]), torch.tensor([[2.0, 1.0], [-1.0, 0.0]]))
    assert found.tolist() == [[4.0, 3.0], [0.0, -1.0]]


def test_products_by_hand():
    """(4, 1) with (1, 0) is 4, with (2, 3) 11; (-1, 2) with (0, 1) is 2, with (1, 0) -1. No gradient is wanted of anything."""
    with torch.no_grad():
        found = products(VECTORS, torch.tensor([[0, 2], [1, 0]]), torch.tensor([[4.0, 1.0], [-1.0, 2.0]]))
    assert found.tolist() == [[4.0, 11.0], [2.0, -1.0]]
    assert not found.requires_grad


@pytest.mark.parametrize("integer", [torch.int32, torch.int64])
def test_scattered_sums_by_hand(integer: torch.dtype):
    """Sum 2 gets 2 (1, 0) and 1 (2, 3), sum 0 gets -1 (0, 1); nothing goes to sums 1 and 3."""
    rows, targets = torch.tensor([0, 1, 2], dtype=integer), torch.tensor([2, 0, 2], dtype=integer)
    found = scattered_sums(VECTORS, rows, torch.tensor([2.0, -1.0, 1.0]), targets, 4)
    assert found.tolist() == [[0.0, -1.0], [0.0, 0.0], [4.0, 3.0], [0.0, 0.0]]


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 20), st.integers(0, 2**31))
def test_scattered_sums_equal_adding_one_by_one(vectors: int, count: int, n: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    table, weights = (
        torch.randn(vectors, 3, generator=generator, dtype=torch.float64),
        torch.randn(n, generator=generator, dtype=torch.float64),
    )
    rows, targets = (torch.randint(most, (n,), generator=generator, dtype=torch.int32) for most in (vectors, count))
    expected = torch.zeros(count, 3, dtype=torch.float64)
    for row, weight, target in zip(rows.tolist(), weights, targets.tolist(), strict=True):
        expected[target] += weight * table[row]
    torch.testing.assert_close(scattered_sums(table, rows, weights, targets, count), expected)
