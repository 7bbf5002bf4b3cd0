"""Matrices of whole numbers in [-127, 127] with one scale an output channel, for reading and writing with a model too large otherwise.

Own lines in place of a library's: torchao's weight-only matrices took three times as long a token on a CPU
(docs/decisions/0038-one-large-language-model.md).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

ROWS = 96  # [ours] more are multiplied faster by the matrix in bfloat16, made anew each time
BLOCK = 32  # the kernel reads beyond matrices whose sides are no multiples of it


class Int8Linear(nn.Module):
    """A linear layer for inference in bfloat16, its matrix held as whole numbers times a scale a row.

    Args:
        linear: of any floating type; is not changed.
    """

    weight: Int8[Tensor, "o i"]
    scale: Float[Tensor, " o"]
    bias: Float[Tensor, " o"] | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        matrix = linear.weight.detach()
        # In bfloat16 before it divides, so that the product below knows the exact scale.
        scale = (matrix.abs().amax(dim=1).float() / 127).clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
        self.register_buffer("weight", (matrix.float() / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().bfloat16())
        self.in_blocks = all(side % BLOCK == 0 for side in matrix.shape)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """x (bfloat16) times the matrix, plus the bias."""
        rows = x.reshape(-1, x.shape[-1])
        if self.in_blocks and x.device.type == "cpu" and len(rows) <= ROWS:
            product = torch._weight_int8pack_mm(rows, self.weight, self.scale)
        else:
            product = nn.functional.linear(rows, self.weight.to(x.dtype)) * self.scale
        product = product if self.bias is None else product + self.bias
        return product.view(*x.shape[:-1], -1)


def quantize(module: nn.Module) -> None:
    """Put an `Int8Linear` in the place of every linear layer inside, one after the other. Nothing in it can be trained afterwards."""
    module.requires_grad_(False)
    names = [name for name, child in module.named_modules() if isinstance(child, nn.Linear)]  # a list of layers would keep them all
    for name in names:
        layer = module.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        module.set_submodule(name, Int8Linear(layer))
