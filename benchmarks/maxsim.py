"""MaxSim's forward and backward pass beside the plain einsum, time and memory, and the share of the machine's best product of matrices.

python benchmarks/maxsim.py

The plain way is FILIP's: all b x c x n x k similarities in one tensor, and a maximum along each of two axes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from machine import beyond, matmul_speed, rounds, save_result, seconds
from torch import Tensor
from torch.nn.functional import normalize

from cyclicxr.match.maxsim import maxsim

N, K, D = 196, 90, 256


def plainly(patches: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """By `max`, whose gradient goes to one place."""
    similarity = torch.einsum("bnd,ckd->bcnk", patches, words)
    to_text = similarity.masked_fill(~mask[None, :, None, :], -torch.inf).max(dim=3).values.mean(dim=2)
    return to_text, similarity.max(dim=2).values.masked_fill(~mask, 0).sum(dim=2) / mask.sum(dim=1)


def plainly_shared(patches: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """By `amax`, whose gradient is shared among equals: a faster forward pass, a slower backward pass."""
    similarity = torch.einsum("bnd,ckd->bcnk", patches, words)
    to_text = similarity.masked_fill(~mask[None, :, None, :], -torch.inf).amax(dim=3).mean(dim=2)
    return to_text, similarity.amax(dim=2).masked_fill(~mask, 0).sum(dim=2) / mask.sum(dim=1)


WAYS = {"ours": maxsim, "einsum, max": plainly, "einsum, amax": plainly_shared}


def draw(pairs: int, is_full: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors that are to be learned; reports of K words each, or of 8 to K."""
    generator = torch.Generator().manual_seed(0)
    patches, words = (normalize(torch.randn(pairs, count, D, generator=generator), dim=-1).requires_grad_() for count in (N, K))
    lengths = torch.full((pairs,), K) if is_full else torch.randint(8, K + 1, (pairs,), generator=generator)
    return patches, words, torch.arange(K) < lengths[:, None]


def step(way: Callable[..., tuple[Tensor, Tensor]], patches: Tensor, words: Tensor, mask: Tensor) -> list[Tensor]:
    """Both similarities and both gradients of a sum in which each similarity counts differently."""
    patches.grad = words.grad = None
    to_text, to_image = way(patches, words, mask)
    weights = torch.linspace(-1, 1, to_text.numel(), device=to_text.device).view_as(to_text)
    ((to_text + 2 * to_image) * weights).sum().backward()
    assert patches.grad is not None and words.grad is not None
    return [to_text.detach(), to_image.detach(), patches.grad, words.grad]


def child(way: str, pairs: int) -> None:
    """MB that both passes take at most beyond their inputs; in a process of its own."""
    inputs = draw(pairs, is_full=True)
    step(WAYS[way], *draw(2, is_full=True))
    print(json.dumps(beyond(lambda: step(WAYS[way], *inputs))))


def peak(way: str, pairs: int) -> float:
    command = [sys.executable, __file__, "--child", way, str(pairs)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def measure(pairs: int, times: int, is_full: bool) -> dict[str, Any]:
    """Seconds of each way, one after another, the ratio within each round, and how far the results differ."""
    inputs = draw(pairs, is_full)
    taken = rounds({way: partial(step, work, *inputs) for way, work in WAYS.items()}, times)
    median = {way: statistics.median(one[way] for one in taken) for way in WAYS}
    best = min((way for way in WAYS if way != "ours"), key=lambda way: median[way])
    with torch.no_grad():
        forward = statistics.median(seconds(lambda: maxsim(*inputs)) for _ in range(times))
    differences = [
        float((ours - theirs).abs().max()) for ours, theirs in zip(*(step(WAYS[way], *inputs) for way in ("ours", best)), strict=True)
    ]
    return {
        "words": int(inputs[2].sum()),
        "seconds": median,
        "forward alone": forward,
        "best plain way": best,
        "times as fast": statistics.median(one[best] / one["ours"] for one in taken),
        "largest difference": max(differences),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=112, help="films, and reports")
    parser.add_argument("--times", type=int, default=7, help="rounds of all ways")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], int(asked.child[1]))
        return
    speed = matmul_speed()
    full = measure(asked.pairs, asked.times, is_full=True)
    mixed = measure(asked.pairs, asked.times, is_full=False)
    speed = max(speed, matmul_speed())
    memory = {way: peak(way, asked.pairs) for way in WAYS}
    bound = 2 * asked.pairs**2 * N * K * D / speed / 1e9
    result = {
        "pairs": asked.pairs,
        "n": N,
        "k": K,
        "d": D,
        "times": asked.times,
        "lengths": {f"{K} words each": full, f"8 to {K} words": mixed},
        "MB": memory,
        "times less memory": min(memory[way] for way in WAYS if way != "ours") / memory["ours"],
        "GFLOP/s": speed,
        "bound, seconds": bound,
        "share of the bound": bound / full["seconds"]["ours"],
    }
    print(save_result("maxsim", result))


if __name__ == "__main__":
    main()
