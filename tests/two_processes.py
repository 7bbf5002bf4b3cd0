"""What `test_processes.py` lets two processes do, and does itself with one: `torchrun --nproc-per-node 2 tests/two_processes.py FOLDER`.

Nothing in it is random once it has begun (no dropout, no augmentation, no batch norm), so that two processes must give what one gives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from cyclicxr import processes
from cyclicxr.checkpoint import save_tensors
from cyclicxr.config import EncoderConfig, LanguageConfig, MatchConfig, Preset, WordsConfig
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.tokens.quantize import Quantizer
from cyclicxr.training import loop, train_llm, train_match
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.llm_material import Material
from cyclicxr.training.loop import RunDirectory, Trainable, run_loop
from cyclicxr.training.optim import Lamb, decayed
from cyclicxr.types import Study

T = TypeVar("T")
EPOCHS, DIES_AT = 2, 3
ENCODER = EncoderConfig(
    size=64, stem="patch", widths=(8, 8, 16, 16), convolutions=(0, 0, 0, 0), attentions=(0, 1, 1, 0), heads=(1, 1, 2, 2), dropout=0.0
)
WORDS = WordsConfig(vocabulary=120, width=16, layers=1, heads=2, max_tokens=32, dropout=0.0)
REPORTS = ("Moderate cardiomegaly.", "A left pleural effusion is seen, and nothing else.", "Clear lungs.", "A nodule in the right lung.")
EPS = 0.01  # of the optimisers: with the usual 1e-6 a gradient that is rounding noise would make a step of full length
LANGUAGE = LanguageConfig(
    vocabulary=300, width=32, layers=2, heads=2, context=96, dropout=0.0, epochs=EPOCHS, learning_rate=5e-3, drawing_repeats=1, batch=16,
    film_variants=1, film_share=1.0, keyword_dropout=0.0, guidance_dropout=0.0, max_report_tokens=24,
)  # fmt: skip


class Killed(BaseException):
    """As a signal, it is nobody's to catch."""


def matcher(batch: int) -> train_match.MatchTraining:
    """A matcher without batch norm and dropout on 16 films."""
    films = torch.stack([torch.from_numpy(draw_phantom(i, size=64).pixels.copy()) for i in range(16)])
    studies = [Study(f"s{i}", f"p{i}", "", f"{REPORTS[i % 4]} Film {i % 7}.", "train") for i in range(16)]
    preset = Preset(
        encoder=ENCODER,
        words=WORDS,
        match=MatchConfig(width=16, epochs=EPOCHS, batch=batch, frozen_stages=0, image_rate=1.0, aligned_start=False),
    )
    corpus = Corpus(studies, films)
    torch.manual_seed(0)
    classifier = FilmClassifier(ENCODER, ["normal"])
    with torch.no_grad():
        for stage in classifier.encoder.stages[1:]:
            stage.patches.heads.weight.normal_(std=0.05)  # patches that move
    training = train_match.MatchTraining(corpus, corpus, preset, classifier)
    training.batches = lambda epoch: [list(range(8))]  # the same start whatever the batch
    training.start()
    del training.batches
    return calmed(training)


def writer(batch: int) -> train_llm.LanguageTrainer:
    """A language model without dropout on 16 films; by two processes it is split."""
    generator = torch.Generator().manual_seed(0)
    reports = [REPORTS[i % 4] + " Seen." * (i % 3) for i in range(16)]
    codes = torch.randint(8, (1, 16, 6), generator=generator)
    hints = [["heart"]] * 16
    material = Material(codes, [hints], hints, [[i % 8] for i in range(16)], reports, [f"s{i}" for i in range(16)])
    preset = Preset(language=LanguageConfig(**{**vars(LANGUAGE), "batch": batch}))
    torch.manual_seed(0)
    return calmed(train_llm.LanguageTrainer(train_llm.new_model(material, preset.language, 8, 6, None), material, material, preset))


def calmed(training: T) -> T:
    """With another eps in its optimiser."""
    for group in training.optimizer.param_groups:  # type: ignore[attr-defined]
        group["eps"] = EPS
    return training


@contextmanager
def exactly(*, dies_at: int = 0) -> Iterator[None]:
    """No augmentation, no bf16, a checkpoint after each step, any model split; dies before a step, if asked."""
    kept = train_match.augment, train_match.mixed_precision, train_llm.mixed_precision, loop.CHECKPOINT_SECONDS, loop._seeded_step
    small = processes.SHARD_ABOVE

    def step(stage: str, trainable: Trainable, batch: list[int], number: int, *rest: object) -> dict[str, float]:
        if number == dies_at:
            raise Killed
        return kept[-1](stage, trainable, batch, number, *rest)

    train_match.augment, train_match.mixed_precision, train_llm.mixed_precision = (lambda films: films), nullcontext, nullcontext
    loop.CHECKPOINT_SECONDS, loop._seeded_step, processes.SHARD_ABOVE = -1e9, step, 0
    try:
        yield
    finally:
        train_match.augment, train_match.mixed_precision, train_llm.mixed_precision, loop.CHECKPOINT_SECONDS, loop._seeded_step = kept
        processes.SHARD_ABOVE = small


def go(stage: str, make: Callable[[int], Trainable], batch: int, folder: Path, *, dies_at: int = 0, resume: bool = False) -> Trainable:
    """One run of a stage, to its end or its death."""
    with exactly(dies_at=dies_at):
        training = make(batch)
        try:
            run_loop(stage, training, RunDirectory(folder), epochs=EPOCHS, seed=0, resume=resume)
        except Killed:
            processes.wait()
    return training


def contrast() -> dict[str, Tensor]:
    """Loss and gradients of one batch of 8, shared by all processes; their films, reports and lengths differ."""
    with exactly():
        training = matcher(8)
        mine = processes.share(list(range(8)), processes.rank(), processes.count())
        features = training.encoded(training.films(mine), training.model.tokens([training.reports[i] for i in mine]))
        loss = training.loss(features[0], features[3], features[4], training.groups[mine])
        loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in training.model.named_parameters() if p.grad is not None}}


def follow() -> dict[str, Tensor]:
    """A codebook after three steps, one of its codes out of use."""
    torch.manual_seed(0)
    quantizer = Quantizer(8, 4, 0.25).train()
    vectors = torch.randn(3, 4, 4, 2, 2)
    quantizer.started.fill_(True)
    for z in vectors:
        quantizer(z[processes.rank() :: processes.count()])
    return {"counts": quantizer.counts, "sums": quantizer.sums, "codes": quantizer.embedding.weight.detach()}


def lamb(*, split: bool) -> dict[str, Tensor]:
    """A small network after three steps of LAMB, its tensors split over the processes or not."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    if split:
        fully_shard(network, mesh=init_device_mesh("cpu", (processes.count(),)))
    optimizer = Lamb(decayed(network, 0.1), lr=0.1)
    for inputs in torch.randn(3, 6, 3):
        optimizer.zero_grad()
        network(inputs).square().mean().backward()
        optimizer.step()
    return {name: processes.whole(p.detach()) for name, p in network.named_parameters()}


def saved(training: train_llm.LanguageTrainer, folder: Path) -> None:
    """A model directory of a model that may be split."""
    weights = training.weights()
    if processes.is_first():
        training.model.save(folder, half=False, weights=weights)
    processes.wait()


def main(folder: Path) -> None:
    """All that needs two processes; the first one writes what came of it."""
    torch.set_num_threads(1)
    with processes.joined():
        found = {
            "contrast": contrast(),
            "follow": follow(),
            "lamb": lamb(split=True),
            "validate": {name: torch.tensor(value) for name, value in matcher(4).validate().items()},
        }
        for stage, make in (("match", matcher), ("llm", writer)):
            go(stage, make, 4, folder / "whole of two")
            go(stage, make, 4, folder / "begun by two", dies_at=DIES_AT)
            go(stage, make, 8, folder / "begun by one", resume=True)
        split = go("llm", writer, 4, folder / "saved by two")
        assert isinstance(split, train_llm.LanguageTrainer)
        saved(split, folder / "model")
        found["split"] = {"parts": torch.tensor([type(p).__name__ == "DTensor" for p in split.model.parameters()])}
        if processes.is_first():
            save_tensors(folder / "found.safetensors", {f"{what} {name}": x for what, of in found.items() for name, x in of.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
