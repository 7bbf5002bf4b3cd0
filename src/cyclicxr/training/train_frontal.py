"""The gate's network: is this an upright frontal chest film? Learned once, from frontals, laterals and pictures that are neither.

python -m cyclicxr.training.train_frontal STUDIES LATERALS --out RUN

It is part of the package and not of a model directory (decision 0027): no stage of `cyclicxr train` needs it.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from cyclicxr.checkpoint import save_tensors
from cyclicxr.data.frontal import ACCEPTED, REASONS, SIZE, FrontalNet, thumbnail
from cyclicxr.data.images import read_film
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.data.studies import read_studies
from cyclicxr.training import spoil
from cyclicxr.training.corpus import to_float
from cyclicxr.training.frontal_material import draw_others
from cyclicxr.training.loop import RunDirectory, run_loop, shuffled_batches
from cyclicxr.training.optim import cosine, decayed, set_rate
from cyclicxr.training.stateful import Stateful
from cyclicxr.types import InputError, Study

STORED = 2 * SIZE  # [ours] films are changed at this size, then halved
PHANTOMS, OTHERS, HELD_OUT = 300, 2800, 350  # [ours] drawn chests and other pictures to learn from, and as many of each for validation
EPOCHS, BATCH = 30, 64  # [ours]
RATE, DECAY, WARMUP = 2e-3, 0.02, 0.05  # [ours]
FRONTALS_TWICE = 2  # [ours] each frontal twice an epoch: it stands for frontals, inverted and rotated ones
FATES = {"frontal": (0.45, 0.27, 0.24), "lateral": (0.7, 0.12, 0.12)}  # [ours] as it is, inverted, rotated; the rest is destroyed
FRONTAL, LATERAL, INVERTED, ROTATED, OTHER = range(len(REASONS))
SEED = 0


@dataclass(frozen=True)
class Material:
    """Pictures and what each is before anything is done to it: `FRONTAL`, `LATERAL` or `OTHER`."""

    pixels: UInt8[Tensor, "n s s"]
    kinds: Int[Tensor, " n"]

    def films(self, rows: Sequence[int] | Tensor) -> Float[Tensor, "b 1 s s"]:
        """Pictures as float32 in [0, 1]."""
        return to_float(self.pixels[rows])


def gather(frontals: Sequence[Study], laterals: Sequence[Study], phantoms: int, others: int, seed: int) -> Material:
    """Read and draw the pictures to learn from, or to validate on.

    Args:
        frontals: upright frontal films.
        laterals: lateral films.
        phantoms: drawn chests, which count as frontals.
        others: drawn pictures that are no chest film.
        seed: of what is drawn.

    Raises:
        InputError: a film can't be read.
    """
    drawn = [draw_phantom(seed * 10_000 + number, size=STORED).pixels for number in range(phantoms)]
    parts = {
        FRONTAL: np.stack([*_read(frontals), *drawn]),
        LATERAL: np.stack(_read(laterals)),
        OTHER: draw_others(others, STORED, seed),
    }
    kinds = torch.cat([torch.full((len(part),), kind) for kind, part in parts.items()])
    return Material(torch.from_numpy(np.concatenate(list(parts.values()))), kinds)


def vary(films: Float[Tensor, "b 1 s s"], kinds: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b 1 t t"], Int[Tensor, " b"]]:
    """Films as users may give them, good and spoilt, at the network's size, and the class of each.

    A lateral stays one however it is turned; a frontal that is a negative is "inverted", whether it stands upright or not.
    """
    films, truth = spoil.mirror(spoil.develop(films), 0.3), kinds.clone()
    dice = torch.rand(len(films))
    for kind, name in ((FRONTAL, "frontal"), (LATERAL, "lateral")):
        keep, invert, turn = torch.tensor(FATES[name]).cumsum(0).tolist()
        of_kind = kinds == kind
        for rows, change, becomes in (
            ((dice >= keep) & (dice < invert), lambda some: 1 - some, INVERTED),
            ((dice >= invert) & (dice < turn), spoil.quarter_turns, ROTATED),
            (dice >= turn, spoil.destroy, OTHER),
        ):
            chosen = rows & of_kind
            if chosen.any():
                films[chosen] = change(films[chosen])
                truth[chosen] = becomes if kind == FRONTAL or becomes == OTHER else LATERAL
    over = (truth == INVERTED) & (torch.rand(len(films)) < 0.15)
    if over.any():
        films[over] = spoil.quarter_turns(films[over])
    return functional.avg_pool2d(spoil.frame(films), 2), truth


class FrontalTraining(Stateful):
    """Cross-entropy over `REASONS`, AdamW; keeps a running average of the weights."""

    parts = ("model", "average", "optimizer")

    def __init__(self, train: Material, val: Material) -> None:
        self.train, self.val = train, val
        frontal = (train.kinds == FRONTAL).nonzero().flatten().tolist()
        self.rows = list(range(len(train.kinds))) + frontal * (FRONTALS_TWICE - 1)
        self.model = FrontalNet()
        ema = torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)  # type: ignore[no-untyped-call]
        self.average = torch.optim.swa_utils.AveragedModel(self.model, multi_avg_fn=ema, use_buffers=True)
        self.optimizer = torch.optim.AdamW(decayed(self.model, DECAY), lr=RATE)

    def batches(self, epoch: int) -> list[list[int]]:
        """Shuffled; a frontal occurs more than once."""
        return [[self.rows[i] for i in batch] for batch in shuffled_batches(len(self.rows), BATCH, SEED, epoch)]

    def step(self, indices: list[int], progress: float) -> dict[str, float]:
        """One step of AdamW."""
        rate = RATE * cosine(progress, WARMUP)
        set_rate(self.optimizer, rate)
        self.model.train()
        films, truth = vary(self.train.films(indices), self.train.kinds[indices])
        loss = functional.cross_entropy(self.model(films), truth)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.average.update_parameters(self.model)
        return {"loss": float(loss.detach()), "rate": rate}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Shares of the validation films that are refused: as they are, and varied as in training."""
        plain = functional.avg_pool2d(self.val.films(torch.arange(len(self.val.kinds))), 2)
        frontals = plain[self.val.kinds == FRONTAL]
        found = {
            "frontals": self._refused(frontals),
            "laterals": self._refused(plain[self.val.kinds == LATERAL]),
            "inverted": self._refused(1 - frontals),
            "rotated": min(self._refused(frontals.rot90(turn, (2, 3))) for turn in (1, 2, 3)),
            "others": self._refused(plain[self.val.kinds == OTHER]),
        }
        films, truth = vary(self.val.films(torch.arange(len(self.val.kinds))), self.val.kinds)
        varied = {f"varied {REASONS[kind] or 'frontals'}": self._refused(films[truth == kind]) for kind in sorted(set(truth.tolist()))}
        return found | varied

    def _refused(self, films: Float[Tensor, "n 1 t t"]) -> float:
        scores = self.average.eval()(films).softmax(dim=1)[:, FRONTAL]
        return float((scores < ACCEPTED).float().mean())


def train(studies: Path, laterals: Path, out: Path, *, resume: bool = False) -> Path:
    """Train the gate's network on the split `train`, validate on `val`, and write its weights.

    Args:
        studies: table of frontal films with a `split` column.
        laterals: table of lateral films with a `split` column, of the same patients' splits.
        out: run folder.
        resume: go on where the run was stopped.

    Returns:
        The path of the weights, `frontal.safetensors` in `out`; the package ships them in `assets`.

    Raises:
        InputError: a table or a film can't be read, or a split has no film.
    """
    frontal, lateral = read_studies(studies), read_studies(laterals)
    run = RunDirectory(out)
    torch.manual_seed(SEED)
    training = FrontalTraining(
        gather(_split(frontal, "train"), _split(lateral, "train"), PHANTOMS, OTHERS, SEED),
        gather(_split(frontal, "val"), _split(lateral, "val"), HELD_OUT // 7, HELD_OUT, SEED + 1),
    )
    run_loop("frontal", training, run, epochs=EPOCHS, seed=SEED, resume=resume)
    averaged = training.average.module
    assert isinstance(averaged, FrontalNet)
    weights = {name: tensor for name, tensor in averaged.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_tensors(out / "frontal.safetensors", weights, half=True)
    run.record("frontal", training.validate())
    return out / "frontal.safetensors"


def _split(studies: list[Study], name: str) -> list[Study]:
    found = [study for study in studies if study.split == name]
    if not found:
        raise InputError(f"studies table: no row of split '{name}'; give a `split` column with train and val")
    return found


def _read(studies: Sequence[Study]) -> list[UInt8[np.ndarray, "s s"]]:
    return [(thumbnail(read_film(study.image), STORED) * 255).round().to(torch.uint8).numpy() for study in studies]


def main() -> None:
    """The command that made the weights of the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, metavar="STUDIES", help="studies table of frontal films")
    parser.add_argument("laterals", type=Path, metavar="LATERALS", help="studies table of lateral films")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder")
    parser.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="cyclicxr: %(levelname)s: %(message)s")
    train(asked.studies, asked.laterals, asked.out, resume=asked.resume)


if __name__ == "__main__":
    main()
