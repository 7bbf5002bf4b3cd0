"""The one place that says in which numbers a training step multiplies; knows no stage."""

from __future__ import annotations

import torch

from cyclicxr import processes

_NATIVE = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # of x86 and of ARM


def multiplies_bfloat16(device: str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 by itself. A processor that has to emulate it takes several times as long as in float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and any(torch.cpu.get_capabilities().get(name, False) for name in _NATIVE)


def mixed_precision() -> torch.autocast:
    """Multiplications in bfloat16 where this process's device has it, all in float32 elsewhere; weights and reductions stay float32."""
    device = processes.device().type
    return torch.autocast(device, torch.bfloat16, enabled=multiplies_bfloat16(device))
