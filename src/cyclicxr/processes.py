"""Which process of how many this is, where its tensors live, and how processes join what each of them has; knows no stage and no model.

The one file that asks `torch.distributed`. Under `torchrun` there are several processes, which `joined` lets find one another; without it
there is one, every function gives back what it was given, and nothing is sent.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

E = TypeVar("E")

PATIENCE = timedelta(hours=24)  # [ours] the others wait as long for the first one, which builds codebooks and encodes all films alone
SHARD_ABOVE = 500_000_000  # [ours] trained weights: more are split over the processes (FSDP2), fewer are copied to each (DDP)


def count() -> int:
    """How many processes train together, 1 or more."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, in [0, count)."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the process that writes files and speaks."""
    return rank() == 0


def device() -> torch.device:
    """Where this process trains: the GPU that `torchrun` gave it, the only GPU, or the CPU."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")


def device_name() -> str:
    """What `device` is called: the GPU's name, or CPU."""
    where = device()
    return torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU"


@contextmanager
def joined() -> Iterator[None]:
    """Find the other processes that `torchrun` started, and part from them at the end; all but the first keep silent below warnings."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    if device().type == "cuda":
        torch.cuda.set_device(device())
        distributed.init_process_group("nccl", timeout=PATIENCE, device_id=device())
    else:
        distributed.init_process_group("gloo", timeout=PATIENCE)
    speaker = logging.getLogger("cyclicxr")
    level = speaker.level
    if not is_first():
        speaker.setLevel(logging.WARNING)
    try:
        yield
        wait()  # none parts while another still speaks to it
    finally:
        speaker.setLevel(level)
        distributed.destroy_process_group()


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        distributed.barrier()


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The first process does what is inside while the others wait; then they do it and find its files."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def share(examples: Sequence[E], number: int, of: int) -> list[E]:
    """The examples of one process: every `of`-th, all processes the same number of them; what is left over is left out.

    Args:
        examples: of all processes.
        number: of the process, in [0, of).
        of: how many processes there are.

    >>> share([10, 11, 12, 13, 14], 1, 2)
    [11, 13]
    """
    return list(examples[: len(examples) - len(examples) % of][number::of])


class _Gather(torch.autograd.Function):
    """Rows of all processes, one process after the other; backwards the sum of what every process wants of this one's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(count())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        parts = [part.contiguous() for part in gradient.chunk(count())]
        own = torch.empty_like(parts[0])
        distributed.reduce_scatter(own, parts)
        return own


def gather(rows: Shaped[Tensor, "b ..."]) -> Shaped[Tensor, "c ..."]:
    """Rows (b, ...) of each process -> rows (count b, ...) of all, the first process's first, with their gradient.

    Every process has the same number of rows. The gradient that comes back is the *sum* over the processes: where each of them computes
    the whole loss L from what was gathered, it is `count` times dL/drows; `parallel` then takes the mean over the processes of the weights'
    gradients, so that each weight gets dL/dw once (docs/decisions/0036-from-one-machine-to-many.md).
    """
    if count() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def gather_words(features: Float[Tensor, "b k d"], mask: Bool[Tensor, "b k"]) -> tuple[Float[Tensor, "c _ d"], Bool[Tensor, "c _"]]:
    """Words and mask of each process -> of all, padded to the longest of all, with the words' gradient."""
    more = int(largest(torch.tensor(mask.shape[1], device=mask.device))) - mask.shape[1]
    padded = nn.functional.pad(features, (0, 0, 0, more)), nn.functional.pad(mask, (0, more))
    return gather(padded[0]), gather(padded[1].to(torch.uint8)).bool()


def total(x: Shaped[Tensor, "*axes"]) -> Shaped[Tensor, "*axes"]:
    """Sum over the processes, the same on each; no gradient."""
    return _reduced(x, distributed.ReduceOp.SUM)


def mean(x: Shaped[Tensor, "*axes"]) -> Shaped[Tensor, "*axes"]:
    """Mean over the processes, the same on each; no gradient."""
    return total(x) / count()


def largest(x: Shaped[Tensor, "*axes"]) -> Shaped[Tensor, "*axes"]:
    """Maximum over the processes, the same on each; no gradient."""
    return _reduced(x, distributed.ReduceOp.MAX)


def take_from_first(x: Shaped[Tensor, "*axes"]) -> Shaped[Tensor, "*axes"]:
    """The first process's values, written into `x` on every process."""
    if count() > 1:
        distributed.broadcast(x.detach(), src=0)
    return x


def whole(x: Shaped[Tensor, "*axes"]) -> Shaped[Tensor, "*axes"]:
    """A tensor of which each process holds a part -> all of it; another as it is. All processes call it."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def parallel(module: nn.Module, run: Callable[..., Any], *, layers: Iterable[nn.Module] = (), partly: bool = False) -> Callable[..., Any]:
    """Put a module on the device, and let what `run` does with it give every process the mean gradient of all.

    Args:
        module: holds the weights, the same on all processes.
        run: reads them; gives tensors, or tuples of tensors.
        layers: parts that a module of more than `SHARD_ABOVE` trained weights is split along; without any it is never split. A module that
            is split holds only a part of each weight between two calls: everything that reads its weights goes through what is given back.
        partly: some weights get no gradient, the same ones in every step.

    Returns:
        `run`, to be called in its place.
    """
    if count() == 1:
        module.to(device())
        return run
    step = _Step(module, run)
    layers = list(layers)
    if layers and sum(p.numel() for p in module.parameters() if p.requires_grad) > SHARD_ABOVE:
        mesh = init_device_mesh(device().type, (count(),))
        for layer in layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(step, mesh=mesh)
        return step
    module.to(device())
    return DistributedDataParallel(step, static_graph=partly)


class _Step(nn.Module):
    """What PyTorch's wrappers ask for: a module whose `forward` is all that is done with the weights."""

    def __init__(self, module: nn.Module, run: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.run = module, run

    def forward(self, *given: Any) -> Any:
        return self.run(*given)


def _reduced(x: Tensor, operation: Any) -> Tensor:
    if count() == 1:
        return x
    joint = x.detach().clone()
    distributed.all_reduce(joint, operation)
    return joint
