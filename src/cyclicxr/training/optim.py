"""LAMB ([51], the paper's optimiser for AdaMatch) and the cosine schedule ([29]); knows nothing about stages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cyclicxr.processes import whole


class Lamb(Optimizer):
    """Layer-wise adaptive moments, Algorithm 2 of You et al. (2020), phi the identity, decoupled weight decay, no bias correction left out.

    For each tensor x with gradient g: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; r = m̂ / (sqrt(v̂) + eps); u = r + wd x;
    x = x - lr (|x| / |u|) u, the ratio being 1 where either norm is 0.

    Args:
        params: tensors or groups of them.
        lr: learning rate, > 0.
        betas: b1 and b2.
        eps: added to the root of v.
        weight_decay: wd. A group with 0 (biases, norms) is also spared the ratio: it would freeze tensors that start at 0.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 6e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As PyTorch's, with each moment laid out in memory as its tensor is: the order of a sum decides its last bits."""
        super().load_state_dict(state_dict)
        for x, state in self.state.items():
            state.update({name: torch.empty_like(x).copy_(state[name]) for name in ("m", "v")})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step over all tensors that have a gradient, many at a time."""
        for group in self.param_groups:
            tensors = [x for x in group["params"] if x.grad is not None]
            if tensors:
                self._update(tensors, [x.grad for x in tensors], group)

    def _update(self, tensors: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        states = [self.state[x] for x in tensors]
        for x, state in zip(tensors, states, strict=True):
            if not state:
                state.update(step=0, m=torch.zeros_like(x), v=torch.zeros_like(x))
            state["step"] += 1
        b1, b2 = group["betas"]
        m, v = [state["m"] for state in states], [state["v"] for state in states]
        torch._foreach_lerp_(m, gradients, 1 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, gradients, gradients, value=1 - b2)
        updates = list(torch._foreach_div(m, [1 - b1 ** state["step"] for state in states]))  # m̂, then r, then u
        roots = torch._foreach_div(v, [1 - b2 ** state["step"] for state in states])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_div_(updates, roots)
        if group["weight_decay"] == 0:
            torch._foreach_add_(tensors, updates, alpha=-group["lr"])
            return
        torch._foreach_add_(updates, tensors, alpha=group["weight_decay"])
        torch._foreach_mul_(updates, [-group["lr"] * ratio for ratio in _trust(tensors, updates)])
        torch._foreach_add_(tensors, updates)


def cosine(progress: float, warmup: float) -> float:
    """Factor of the learning rate: linear up over the first `warmup` share, then half a cosine down to 0. `progress` in [0, 1]."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every group, times the group's own `share` where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def decayed(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of a module's trainable tensors: matrices with weight decay; biases, norms and single numbers without."""
    tensors = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in tensors if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in tensors if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _trust(tensors: list[Tensor], updates: list[Tensor]) -> list[float]:
    """|x| / |u| of each whole tensor, of which this process may hold a part; 1 where either is 0. One look at the device for all."""
    sizes, changes = (torch.stack([whole(norm).double() for norm in torch._foreach_norm(each)]) for each in (tensors, updates))
    ratios: list[float] = torch.where((sizes > 0) & (changes > 0), sizes / changes, 1.0).tolist()
    return ratios
