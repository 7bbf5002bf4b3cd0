"""Where a training step of the matcher goes: data, both encoders, similarities, optimiser; seconds, and the speed of each one's products.

python benchmarks/match_step.py

Drawn chests with their made-up reports. The graph is cut behind the encoders, so that each part's backward pass is timed by itself.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from machine import matmul_speed, rounds, save_result
from torch.utils.flop_counter import FlopCounterMode

from cyclicxr.config import OPENI_SMALL
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.augment import augment
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.optim import set_rate
from cyclicxr.training.precision import mixed_precision
from cyclicxr.training.train_match import MatchTraining
from cyclicxr.types import Study

DRAWN = 64


class Step:
    """A training step of `MatchTraining`, part by part."""

    def __init__(self, training: MatchTraining, indices: list[int]) -> None:
        self.training, self.model, self.indices = training, training.model, indices
        set_rate(training.optimizer, training.config.learning_rate)
        self.model.train()
        self.model.image.stages[: training.config.frozen_stages].eval()

    def parts(self) -> dict[str, Callable[[], None]]:
        """In their order; each needs those before it."""
        return {
            "films and tokens": self.read,
            "image encoder, forward": self.films,
            "text encoder, forward": self.texts,
            "similarities and loss, forward": self.compare,
            "similarities and loss, backward": self.compare_back,
            "image encoder, backward": lambda: self.patches.backward(self.leaves[0].grad),
            "text encoder, backward": lambda: self.words.features.backward(self.leaves[1].grad),
            "optimiser": self.learn,
        }

    def read(self) -> None:
        self.training.optimizer.zero_grad()
        self.pixels = augment(self.training.films(self.indices))
        self.tokens = self.model.tokens([self.training.reports[i] for i in self.indices])

    def films(self) -> None:
        with mixed_precision():
            self.patches = self.model.encode_films(self.pixels).features

    def texts(self) -> None:
        with mixed_precision():
            self.words = self.model.encode_tokens(self.tokens)

    def compare(self) -> None:
        self.leaves = [features.detach().requires_grad_() for features in (self.patches, self.words.features)]
        groups = self.training.groups[self.indices].to(self.words.mask.device)
        self.loss = self.training.loss(*self.leaves, self.words.mask, groups)

    def compare_back(self) -> None:
        self.loss.backward()  # type: ignore[no-untyped-call]

    def learn(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.training.optimizer.step()


def phantoms(split: str, count: int, size: int) -> Corpus:
    drawn = [draw_phantom(seed, size=size) for seed in range(count)]
    studies = [Study(f"{split}{i}", f"{split}{i}", "", phantom.report, split) for i, phantom in enumerate(drawn)]
    return Corpus(studies, torch.stack([torch.from_numpy(phantom.pixels.copy()) for phantom in drawn]))


def billions(part: Callable[[], None]) -> float:
    """Multiplications and additions of the products of matrices and the convolutions in a part."""
    with FlopCounterMode(display=False) as counter:
        part()
    return counter.get_total_flops() / 1e9


def measure(batch: int, times: int) -> dict[str, Any]:
    torch.manual_seed(0)
    corpus = phantoms("train", DRAWN, OPENI_SMALL.encoder.size)
    training = MatchTraining(corpus, corpus, OPENI_SMALL, FilmClassifier(OPENI_SMALL.encoder, ["normal"], 0.0))
    step = Step(training, [i % DRAWN for i in range(batch)])
    work = {name: billions(part) for name, part in step.parts().items()}
    taken = rounds(step.parts(), times)
    median = {name: statistics.median(one[name] for one in taken) for name in work}
    whole = sum(median.values())
    return {
        "batch": batch,
        "times": times,
        "tokens": int(step.words.mask.sum()) / batch,
        "seconds": whole,
        "GFLOP/s": matmul_speed(),
        "parts": {name: {"seconds": taken, "share": taken / whole, "GFLOP": work[name]} for name, taken in median.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=OPENI_SMALL.match.batch)
    parser.add_argument("--times", type=int, default=7)
    asked = parser.parse_args()
    print(save_result("match_step", measure(asked.batch, asked.times)))


if __name__ == "__main__":
    main()
