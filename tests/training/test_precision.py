"""Mixed precision is used where the processor has it."""

from __future__ import annotations

import pytest
import torch

from cyclicxr.training.precision import mixed_precision, multiplies_bfloat16


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [({"avx2": True}, False), ({"avx512_f": True, "avx512_bf16": False}, False), ({"avx512_bf16": True}, True), ({"bf16": True}, True)],
)
def test_bfloat16_only_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], native: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16() is native
    with mixed_precision():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if native else torch.float32)


def test_a_device_without_either_stays_in_float32() -> None:
    assert not multiplies_bfloat16("mps")
