"""What training `paper` would take on 8 x A100-40GB and on 64 x H100: memory of a GPU and seconds a step. Computed, not measured: every
operation of a step is counted on tensors without contents (operations, bytes, live memory), and a GPU's data sheet does the rest.

python benchmarks/scaling.py
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from unittest import mock

import torch
from machine import save_result
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from transformers import BertConfig, BertModel, GPTNeoXConfig, GPTNeoXForCausalLM

from cyclicxr.config import PAPER
from cyclicxr.language.decoding import hidden_states
from cyclicxr.patches.encoder import ImageEncoder
from cyclicxr.processes import SHARD_ABOVE
from cyclicxr.tokens.losses import PatchDiscriminator, discriminator_loss, generator_loss, perceptual_distance
from cyclicxr.tokens.vqgan import VQGAN

GIB = 2**30
FILMS = 270_790  # of MIMIC-CXR's training split, as the paper's peers use it
REPORT = 128  # assumed tokens that the longest report of a batch is padded to
EXAMPLE = 448  # assumed tokens of an example of the language model: template, 256 tokens of a film, hints, report
RESPONSES = (100, 257)  # assumed tokens of a report, and those of a film with its end
DOLLY = {"hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 10240}  # dolly-v2-3b's shape
TEXT_TOKENS = 50_281  # of dolly-v2-3b's tokenizer


@dataclass(frozen=True)
class Machine:
    """A GPU and its place: data sheet numbers, and what share of them an operation is assumed to reach."""

    name: str
    gpus: int
    memory: float  # GiB of a GPU
    half: float  # 1e12 operations a second, bf16 with dense tensor cores
    single: float  # float32
    bandwidth: float  # GB/s of its memory
    inside: float  # GB/s one way to the other GPUs of its node
    between: float  # GB/s one way to other nodes
    node: int = 8
    share_of_peak: float = 0.5
    share_of_bandwidth: float = 0.75
    share_of_links: float = 0.7
    launch: float = 5e-6  # seconds, the least that an operation takes
    context: float = 1.5  # GiB of CUDA, NCCL and fragments

    def link(self) -> float:
        """Bytes a second that reach a GPU when all of them join what they have."""
        return (self.inside if self.gpus <= self.node else self.between) * 1e9 * self.share_of_links


MACHINES = (
    Machine("8 x A100-40GB", 8, 39.6, 312.0, 19.5, 1555.0, 300.0, 25.0),
    Machine("64 x H100", 64, 79.6, 989.0, 67.0, 3350.0, 450.0, 50.0),
)


@dataclass
class Counted(TorchDispatchMode):
    """Counts what runs inside: operations, bytes read and written, seconds on each machine, and most bytes alive at once."""

    flops: float = 0.0
    bytes: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys([machine.name for machine in MACHINES], 0.0))
    alive: int = 0
    peak: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        if not func.is_view and tensors:
            count = flop_registry.get(func._overloadpacket)
            flops = float(count(*args, **kwargs, out_val=out)) if count else 0.0
            moved = sum(t.numel() * t.element_size() for t in tensors)
            self.flops += flops
            self.bytes += moved
            for machine in MACHINES:
                rate = machine.half if tensors[0].element_size() == 2 else machine.single
                reached = flops / (rate * 1e12 * machine.share_of_peak), moved / (machine.bandwidth * 1e9 * machine.share_of_bandwidth)
                self.seconds[machine.name] += max(machine.launch, *reached)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._hold(leaf.untyped_storage())
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.seen:
            return
        self.seen.add(key)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, key, storage.nbytes())

    def _release(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.alive -= size


@contextmanager
def without_contents() -> Iterator[None]:
    """Modules made inside have shapes and no contents."""
    with torch.device("meta"), mock.patch.object(nn.init, "trunc_normal_", lambda tensor, *rest, **named: tensor):
        yield


def given_memory(module: nn.Module) -> nn.Module:
    """The same module with tensors that `FakeTensorMode`, inside which this is called, takes for real ones; a gradient is freed at once."""
    for part in module.modules():
        for name, tensor in list(part._parameters.items()):
            if tensor is not None:
                weight = nn.Parameter(torch.empty(tensor.shape), tensor.requires_grad)
                if weight.requires_grad:
                    weight.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
                part._parameters[name] = weight
        for name, tensor in list(part._buffers.items()):
            if tensor is not None:
                part._buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype)
    return module


def half() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def matcher(pairs: int) -> tuple[nn.Module, Callable[[], Tensor]]:
    """PVT-medium with AdaPatch, BioClinicalBERT and both projections, without what compares patches and words."""
    with without_contents():
        width = PAPER.match.width
        parts = nn.ModuleList([ImageEncoder(PAPER.encoder), nn.Linear(PAPER.encoder.widths[2], width)])
        parts += [BertModel(BertConfig(vocab_size=28_996), add_pooling_layer=False), nn.Linear(768, width)]

    def loss() -> Tensor:
        with half():
            patches = parts[1](parts[0](torch.zeros(pairs, 1, 256, 256))[2].features)
            words = parts[3](parts[2](input_ids=torch.zeros(pairs, REPORT, dtype=torch.long)).last_hidden_state)
        return functional.normalize(patches.float(), dim=-1).sum() + functional.normalize(words.float(), dim=-1).sum()

    return parts, loss


def vqgan(films: int) -> tuple[nn.Module, Callable[[], Tensor]]:
    """The VQ-GAN at taming's widths with its discriminator, and the frozen features of the perceptual loss."""
    with without_contents():
        model, judge = VQGAN(PAPER.vqgan), PatchDiscriminator(PAPER.vqgan.discriminator_channels)
        features = ImageEncoder(PAPER.encoder).requires_grad_(False)
        model.quantize.eval()  # what moves the codes is small beside the rest

    def loss() -> Tensor:
        real, side = torch.zeros(films, 1, 256, 256), PAPER.vqgan.discriminator_crop
        with half():
            redrawn, commitment, _ = model(real)
            with torch.no_grad():
                maps = [stage.as_map() for stage in features(real)[:3]]
            distance = perceptual_distance(maps, [stage.as_map() for stage in features(redrawn.float())[:3]])
            crop = redrawn[..., :side, :side].float()
            judged = discriminator_loss(judge(real[..., :side, :side]), judge(crop.detach()))
            fooled = generator_loss(judge(crop))
        return functional.l1_loss(redrawn.float(), real) + commitment + distance + judged + fooled

    return nn.ModuleList([model, judge, features]), loss


def language(examples: int) -> tuple[nn.Module, Callable[[], Tensor]]:
    """A GPT-NeoX of dolly-v2-3b's shape with the image tokens, its layers computed again for the backward pass."""
    tokens = TEXT_TOKENS + PAPER.vqgan.codes
    with without_contents():
        model = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=tokens, attn_implementation="sdpa", **DOLLY))
    model.activation_checkpointing_enable({"use_reentrant": False})

    def loss() -> Tensor:
        total = torch.zeros(())
        for response in RESPONSES:
            ids = torch.zeros(examples // 2, EXAMPLE, dtype=torch.long)
            with half():
                hidden = hidden_states(model, ids, torch.zeros_like(ids))[:, -response:]
                logits = model.get_output_embeddings()(hidden)
            total = total + functional.cross_entropy(logits.float().flatten(0, 1), ids[:, -response:].flatten())
        return total

    return model.train(), loss


def count(make: Callable[[int], tuple[nn.Module, Callable[[], Tensor]]], batch: int) -> dict[str, Any]:
    """Trained weights, operations, bytes, seconds and activations of forward and backward pass of one GPU's batch."""
    module, loss = make(batch)
    with FakeTensorMode():
        given_memory(module)
        with Counted() as counted:
            loss().backward()
    trained = [p.numel() for p in module.parameters() if p.requires_grad]
    layers = [sum(p.numel() for p in layer.parameters()) for layer in getattr(getattr(module, "gpt_neox", None), "layers", [])]
    return {
        "batch": batch, "weights": sum(trained), "frozen": sum(p.numel() for p in module.parameters()) - sum(trained),
        "layer": max(layers, default=0), "outside layers": sum(trained) - sum(layers), "TFLOP": counted.flops / 1e12,
        "GB moved": counted.bytes / 1e9, "activations": counted.peak / GIB, "seconds": counted.seconds,
    }  # fmt: skip


def row(part: str, found: dict[str, Any], machine: Machine, films: int, epochs: int) -> dict[str, Any]:
    """Memory of one GPU in GiB and seconds of one step."""
    gpus, weights = machine.gpus, found["weights"]
    ring = (gpus - 1) / gpus * 4 * weights / machine.link()
    split = weights > SHARD_ABOVE and found["layer"] > 0
    whole = 16 * weights / GIB  # float32 weights, gradients and two moments
    copied = 4 * (weights + found["frozen"]) / GIB  # the buckets that gradients are sent in, and what is not trained
    if split:
        memory = whole / gpus + 8 * (found["outside layers"] + 2 * found["layer"]) / GIB
        sent = 3 * ring  # weights for either pass, gradients after them
    else:
        memory = whole + copied
        sent = 2 * ring
    compute, alone, activations = found["seconds"][machine.name], 0.0, found["activations"]
    if part == "matcher":
        extra, alone, saved = compared(found["batch"], machine)
        compute, activations = compute + extra, activations + saved
    update = 26 * 4 * weights / (gpus if split else 1) / (machine.bandwidth * 1e9 * machine.share_of_bandwidth)
    step = max(compute, sent) + alone + update
    needed = memory + max(activations, 8 * weights / (gpus if split else 1) / GIB) + machine.context
    return {
        "part": part, "machine": machine.name, "way": "FSDP2" if split else "DDP", "batch": found["batch"] * gpus, "GiB": needed,
        "fits": needed <= machine.memory,
        "GiB if copied": whole + copied + max(activations, 8 * weights / GIB) + machine.context,
        "compute s": compute, "sent s": sent, "not hidden s": alone, "update s": update, "step s": step,
        "hours": films * epochs / (found["batch"] * gpus) * step / 3600,
    }  # fmt: skip


def compared(pairs: int, machine: Machine) -> tuple[float, float, float]:
    """Of comparing a GPU's films with the reports of all: seconds of the products, seconds of what is sent, GiB that is kept."""
    patches, width, reports = 256, PAPER.match.width, pairs * machine.gpus
    products = 2 * pairs * patches * reports * REPORT * width / (machine.single * 1e12 * machine.share_of_peak)
    words, rows = 4 * reports * REPORT * width, 8 * reports * reports
    kept = 4 * pairs * reports * (patches + REPORT) + words
    return products, 2 * (words + rows) / machine.link(), kept / GIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    makers = {"matcher": (matcher, PAPER.match), "VQ-GAN": (vqgan, PAPER.vqgan), "language model": (language, PAPER.language)}
    parts, rows = {}, []
    for part, (make, config) in makers.items():
        parts[part] = count(make, config.batch)
        films = FILMS * (2 if part == "language model" else 1)  # each film is drawn and reported
        rows += [row(part, parts[part], machine, films, config.epochs) for machine in MACHINES]
    assumed = {"films": FILMS, "tokens of a report": REPORT, "tokens of an example": EXAMPLE}
    save_result("scaling", {"machines": [asdict(machine) for machine in MACHINES], "assumed": assumed, "parts": parts, "rows": rows})


if __name__ == "__main__":
    main()
