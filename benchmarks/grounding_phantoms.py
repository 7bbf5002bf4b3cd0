"""Drawn chests for the grounding benchmark: films, reports, and each finding's phrase with its box; knows no model."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.data.phantom_report import sentence_of
from cyclicxr.training.corpus import Corpus
from cyclicxr.types import Study, UnitBox

VAL, TEST = 200, 400  # drawn chests beside those for training, at most
SPREAD = 0.05  # of nodules and opacities about the middle of their zone, in widths of the film: more than elsewhere, so words tell less
LEAST_CHEST = 0.7  # side of a drawn chest, in widths of the film


@dataclass(frozen=True)
class Place:
    """A finding's phrase and box on a drawn film, and another film that does not show the finding."""

    film: int
    finding: str
    phrase: str
    box: UnitBox
    without: int


def drawn(films: int, size: int, out: Path, jobs: int) -> Corpus:
    """Drawn chests of all splits, kept under `out`; film i is always the same one."""
    folder, splits = out / f"phantoms-{films}-{size}", _splits(films)
    if not (folder / "studies.json").exists():
        if jobs > 1:
            with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
                found = list(pool.map(partial(_draw, size), range(len(splits)), chunksize=8))
        else:
            found = [_draw(size, number) for number in range(len(splits))]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "pixels.npy", np.stack([pixels for pixels, _ in found]), allow_pickle=False)
        write_json(folder / "studies.json", [about for _, about in found])
    pixels = torch.from_numpy(np.load(folder / "pixels.npy", allow_pickle=False))
    studies = [
        Study(str(i), str(i), "", about["report"], split, mesh=tuple(about["mesh"]))
        for i, (about, split) in enumerate(zip(read_json(folder / "studies.json"), splits, strict=True))
    ]
    return Corpus(studies, pixels)


def places_of(corpus: Corpus, split: str, out: Path) -> list[Place]:
    """Each finding of a split's films, its film counted from the split's first."""
    boxes = [about["boxes"] for about in read_json(out / f"phantoms-{_count(corpus)}-{corpus.pixels.shape[-1]}" / "studies.json")]
    rows = [i for i, study in enumerate(corpus.studies) if study.split == split]
    found = []
    for film, row in enumerate(rows):
        for finding, box in boxes[row].items():
            without = next(k % len(rows) for k in range(film + 1, film + len(rows)) if finding not in boxes[rows[k % len(rows)]])
            found.append(Place(film, finding, sentence_of(corpus.studies[row].report, finding), tuple(box), without))
    return found


def _count(corpus: Corpus) -> int:
    return sum(study.split == "train" for study in corpus.studies)


def _splits(films: int) -> list[str]:
    return ["train"] * films + ["val"] * min(VAL, films // 5) + ["test"] * min(TEST, films // 3)


def _draw(size: int, number: int) -> tuple[np.ndarray, dict[str, Any]]:
    """A chest that fills a part of the film, somewhere on it: else hearts and devices would always be at the same place."""
    phantom, rng = draw_phantom(number, size=size, spread=SPREAD), np.random.default_rng(number)
    side = int(size * rng.uniform(LEAST_CHEST, 1))
    left, top = (int(edge) for edge in rng.integers(0, size - side + 1, 2))
    film = np.zeros((size, size), dtype=np.uint8)
    film[top : top + side, left : left + side] = Image.fromarray(phantom.pixels).resize((side, side), Image.Resampling.BOX)
    scale, corner = side / size, (left / size, top / size) * 2
    boxes = {finding: [scale * edge + begin for edge, begin in zip(box, corner, strict=True)] for finding, box in phantom.boxes.items()}
    return film, {"report": phantom.report, "mesh": phantom.mesh, "boxes": boxes}
