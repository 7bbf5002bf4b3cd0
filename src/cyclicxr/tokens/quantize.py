"""The codebook: nearest code by distance, straight-through gradient, codes that follow the encoder; knows vectors, not pixels.

The codes are running means of the vectors that chose them (van den Oord et al. 2017, appendix A.1) instead of taming's gradient
descent, because a few thousand steps are all there is. Until `start` makes the codes by k-means, vectors pass through as they are, so
that the codes begin where an encoder that has learned something puts its vectors; a code that falls out of use is moved onto a vector
of the batch. All of it is in the state dict.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from cyclicxr import processes

DECAY = 0.98  # [ours] of the running means, a step
DEAD = 0.25  # [ours] a code chosen by fewer vectors a step, in the running mean, is moved
LLOYD = 10  # [ours] rounds of k-means


class Quantizer(nn.Module):
    """Vectors -> codes.

    Args:
        codes: size of the codebook.
        width: of a code.
        commitment: weight of the commitment loss.
    """

    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, codes: int, width: int, commitment: float) -> None:
        super().__init__()
        self.commitment = commitment
        self.embedding = nn.Embedding(codes, width)
        self.embedding.weight.requires_grad_(False).uniform_(-1 / codes, 1 / codes)
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", self.embedding.weight.clone())
        self.register_buffer("started", torch.tensor(False))

    def forward(self, z: Float[Tensor, "b d h w"]) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, ""], Int[Tensor, "b h w"]]:
        """Nearest codes, the commitment loss `commitment * mean((z - code)^2)`, and the ids.

        In training before `start`: the vectors themselves, no loss, and ids that mean nothing yet.

        In training the gradient of the codes passes to z unchanged (straight-through), and the codebook takes its step: the codes
        given back are those from before it. Always float32.
        """
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            b, d, h, w = z.shape
            flat = z.permute(0, 2, 3, 1).reshape(-1, d)
            ids = self.nearest(flat)
            if self.training and not bool(self.started):
                return z, 0 * z.mean(), ids.view(b, h, w)
            codes = self.embedding(ids).view(b, h, w, d).permute(0, 3, 1, 2)
            loss = self.commitment * functional.mse_loss(z, codes)
            if self.training:
                self._follow(flat.detach(), ids)
            return z + (codes - z).detach(), loss, ids.view(b, h, w)

    @torch.no_grad()
    def nearest(self, vectors: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """Id of the code at the smallest Euclidean distance; of equals the first. Float32, so that no rounding decides."""
        codes = self.embedding.weight
        return (codes.square().sum(dim=1) - 2 * vectors @ codes.T).argmin(dim=1)

    @torch.no_grad()
    def start(self, vectors: Float[Tensor, "n d"]) -> None:
        """Make the codes by k-means (Lloyd) of the vectors, some ten times as many as codes."""
        vectors = vectors.float()
        self.embedding.weight.copy_(_sample(vectors, len(self.counts)))
        for _ in range(LLOYD):
            counts, sums = self._totals(vectors, self.nearest(vectors))
            chosen = counts > 0
            self.embedding.weight[chosen] = sums[chosen] / counts[chosen, None]
        processes.take_from_first(self.embedding.weight)  # each has its own films
        self.counts.fill_(1.0)
        self.sums.copy_(self.embedding.weight)
        self.started.fill_(True)

    @torch.no_grad()
    def _follow(self, vectors: Float[Tensor, "n d"], ids: Int[Tensor, " n"]) -> None:
        """One step of the running means over the vectors of all processes; dead codes move onto vectors of the batch, drawn at random."""
        counts, sums = (processes.total(of) for of in self._totals(vectors, ids))
        self.counts.lerp_(counts, 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        dead = self.counts < DEAD
        self.counts[dead] = 1.0
        self.sums[dead] = processes.take_from_first(_sample(vectors, int(dead.sum())))
        self.embedding.weight.copy_(self.sums / self.counts[:, None])

    def _totals(self, vectors: Float[Tensor, "n d"], ids: Int[Tensor, " n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"]]:
        """How many vectors chose each code, and their sum."""
        counts = torch.bincount(ids, minlength=len(self.counts)).to(vectors.dtype)
        return counts, torch.zeros_like(self.sums).index_add_(0, ids, vectors)


def perplexity(ids: Int[Tensor, "*axes"], codes: int) -> float:
    """exp of the entropy of the codes' frequencies: how many codes are used as if evenly; in [1, codes]."""
    share = torch.bincount(ids.flatten(), minlength=codes).double() / ids.numel()
    return float(torch.special.entr(share).sum().exp())


def usage(ids: Int[Tensor, "*axes"], codes: int) -> float:
    """Share of the codes that occur, in [0, 1]."""
    return int(torch.bincount(ids.flatten(), minlength=codes).count_nonzero()) / codes


def _sample(vectors: Float[Tensor, "n d"], count: int) -> Float[Tensor, "m d"]:
    """Vectors drawn at random, each once while there are enough."""
    order = torch.randperm(len(vectors))
    return vectors[order[torch.arange(count) % len(vectors)].to(vectors.device)]
