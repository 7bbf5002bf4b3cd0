"""What the gate refuses, beside what simple rules refuse: real frontals and laterals, negatives, turned films, and other pictures.

python benchmarks/frontal_gate.py OPENI [--others FOLDER]

OPENI holds studies.csv, laterals.csv and extra_frontals.csv (with a column `flag`). FOLDER holds pictures that are no chest films, in
subfolders named by kind; for the numbers shown: what lies in `skimage/data` of scikit-image 0.26's wheel, a hundred of its `lfw_subset`
faces enlarged to 100 pixels, and every fourth slice of nilearn 0.14's MNI152 T1 head. The gate's network learned from `train`; the rules'
thresholds are of `val`; `test` is only reported.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import save_result
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from scipy.stats import binomtest

import cyclicxr
from cyclicxr.data.frontal import ACCEPTED, judge
from cyclicxr.data.images import read_film
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.types import Film

REFUSED = 0.01  # of the frontals: what the rules' thresholds are set to on val
SLICES = ("CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "examples_overlay.dcm", "JPEG2000.dcm")  # of those in pydicom's package
Change = Callable[[np.ndarray], np.ndarray]


def films_of(table: Path, split: str = "", flagged: bool | None = None) -> list[Film]:
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if split in ("", row["split"])]
    wanted = [row for row in rows if flagged is None or bool(row["flag"]) == flagged]
    return [
        replace(read_film(table.parent / row["image"]), view=row.get("flag") or f"{row['orig_width']} {row['orig_height']}")
        for row in wanted
    ]


def changed(films: Sequence[Film], change: Change) -> list[Film]:
    return [replace(film, pixels=np.ascontiguousarray(change(film.pixels), dtype=np.float32)) for film in films]


def share(flags: Sequence[bool]) -> dict[str, Any]:
    """Share of true ones with Wilson's 95 % interval."""
    found = binomtest(sum(flags), len(flags)).proportion_ci(method="wilson")
    return {"value": sum(flags) / len(flags), "low": found.low, "high": found.high, "n": len(flags)}


def gate(films: Sequence[Film]) -> dict[str, Any]:
    """Share that is refused, and how often each reason was given."""
    reasons = [judge(film).reason for film in films]
    return {**share([reason != "" for reason in reasons]), "reasons": dict(Counter(reason for reason in reasons if reason).most_common())}


# ---- films that must pass


def jpeg(quality: int) -> Change:
    def change(pixels: np.ndarray) -> np.ndarray:
        held = io.BytesIO()
        Image.fromarray((pixels * 255).astype(np.uint8)).save(held, "JPEG", quality=quality)
        return np.asarray(Image.open(held), dtype=np.float32) / 255

    return change


def border(share: float, level: float, axes: tuple[int, ...] = (0, 1)) -> Change:
    def change(pixels: np.ndarray) -> np.ndarray:
        widths = [(round(share * side),) * 2 if axis in axes else (0, 0) for axis, side in enumerate(pixels.shape)]
        return np.pad(pixels, widths, constant_values=level)

    return change


def with_label(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.copy()
    pixels[8:30, -60:-10] = 1
    return pixels


def at_its_own_shape(film: Film) -> Film:
    width, height = (float(side or 1) for side in film.view.split(" ")) if " " in film.view else (1, 1)
    size = (round(256 * min(1, width / height)), round(256 * min(1, height / width)))
    return replace(film, pixels=np.asarray(Image.fromarray(film.pixels).resize(size, Image.Resampling.BICUBIC)).clip(0, 1))


HARMLESS: dict[str, Change] = {
    "JPEG of quality 20": jpeg(20),
    "window: darkest 20 % and brightest 25 % of the range cut off": lambda pixels: ((pixels - 0.2) / 0.55).clip(0, 1),
    "gamma 0.5": lambda pixels: pixels**0.5,
    "gamma 2": lambda pixels: pixels**2,
    "black border, 20 % of each side": border(0.2, 0),
    "white border, 10 % of each side": border(0.1, 1),
    "black bars left and right (padded from 3:4 to a square)": border(1 / 6, 0, (1,)),
    "10 % cropped on every side": lambda pixels: pixels[26:-26, 26:-26],
    "128 px and back": lambda pixels: pixels.reshape(128, 2, 128, 2).mean(axis=(1, 3)),
    "a white label": with_label,
    "noise of standard deviation 0.05": lambda pixels: (pixels + np.random.default_rng(0).normal(0, 0.05, pixels.shape)).clip(0, 1),
}


def must_pass(test: list[Film], extra: list[Film], drawn: int) -> dict[str, Any]:
    rows = {f"test frontals, {name}": gate(changed(test, change)) for name, change in HARMLESS.items()}
    rows["test frontals at their own aspect ratio"] = gate([at_its_own_shape(film) for film in test])
    rows["further frontals of the same patients (all splits)"] = gate(extra)
    chests = [draw_phantom(2_000_000 + number).pixels.astype(np.float32) / 255 for number in range(200)]
    rows["drawn phantom chests"] = gate([replace(test[0], pixels=pixels) for pixels in chests])
    if drawn:
        model = cyclicxr.load()
        reports = [model.draw_films([text], seed=number)[0].numpy() for number, text in enumerate(REPORTS * (drawn // len(REPORTS)))]
        rows["films drawn by the model"] = gate([replace(test[0], pixels=pixels.astype(np.float32) / 255) for pixels in reports])
    return rows


REPORTS = [
    "Small left pleural effusion.",
    "The heart is enlarged. No pneumothorax.",
    "The lungs are clear. No acute cardiopulmonary abnormality.",
    "Right lower lobe opacity, which may be pneumonia.",
]


# ---- films that must not


def must_not_pass(frontals: list[Film], laterals: list[Film]) -> dict[str, Any]:
    return {
        "laterals": gate(laterals),
        "laterals, mirrored": gate(changed(laterals, np.fliplr)),
        "laterals, inverted": gate(changed(laterals, lambda pixels: 1 - pixels)),
        "frontals, inverted": gate(changed(frontals, lambda pixels: 1 - pixels)),
        "frontals, inverted, black border": gate(changed(frontals, lambda pixels: border(0.1, 0)(1 - pixels))),
        **{
            f"frontals, turned by {90 * turns}": gate(changed(frontals, lambda pixels, k=turns: np.rot90(pixels, k))) for turns in (1, 2, 3)
        },
    }


def other_pictures(folder: Path | None, like: Film) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    slices = [replace(like, pixels=windowed(dcmread(str(get_testdata_file(name, download=False))).pixel_array)) for name in SLICES]
    noise = [replace(like, pixels=rng.random((256, 256), dtype=np.float32)) for _ in range(100)]
    rows = {"CT, MR and bone scan (pydicom's files)": slices, "white noise": noise}
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()) if folder else ():
        pictures = [read_film(path) for path in sorted(kind.iterdir())]
        rows[kind.name] = pictures
        if min(min(film.pixels.shape) for film in pictures) > 128:
            rows[f"{kind.name}, ten parts of each"] = [part_of(film, rng) for film in pictures for _ in range(10)]
    return {name: gate(films) for name, films in rows.items()}


def windowed(values: np.ndarray) -> np.ndarray:
    """A CT or MR slice as a screenshot would show it; `read_film` refuses it by its modality before any gate."""
    low, high = np.quantile(values, (0.01, 0.99))
    return ((values - low) / (high - low)).clip(0, 1).astype(np.float32)


def part_of(film: Film, rng: np.random.Generator) -> Film:
    tall, wide = (int(side * rng.uniform(0.4, 0.9)) for side in film.pixels.shape)
    top, left = (int(rng.integers(side - part)) for side, part in zip(film.pixels.shape, (tall, wide), strict=True))
    return replace(film, pixels=np.ascontiguousarray(film.pixels[top : top + tall, left : left + wide]))


# ---- rules to compare with: the larger, the more suspicious


def brighter_at_the_border(film: Film) -> float:
    """A negative has a bright border: mean grey of the outer eighth less that of the rest."""
    edge = max(1, min(film.pixels.shape) // 16)
    inner = film.pixels[edge:-edge, edge:-edge]
    outer = (film.pixels.sum() - inner.sum()) / (film.pixels.size - inner.size)
    return float(outer - inner.mean())


def asymmetry(film: Film) -> float:
    """A lateral differs from its mirror: 1 less their correlation."""
    small = np.asarray(Image.fromarray(film.pixels).resize((64, 64), Image.Resampling.BOX))
    return float(1 - np.corrcoef(small.ravel(), small[:, ::-1].ravel())[0, 1])


def rule(score: Callable[[Film], float], val: list[Film], groups: dict[str, list[Film]]) -> dict[str, Any]:
    threshold = float(np.quantile([score(film) for film in val], 1 - REFUSED))
    return {name: share([score(film) > threshold for film in films]) for name, films in groups.items()}


def milliseconds(films: Sequence[Film]) -> dict[str, float]:
    taken = []
    for film in films:
        started = time.perf_counter()
        judge(film)
        taken.append(1000 * (time.perf_counter() - started))
    return {"median": statistics.median(taken), "slowest": max(taken)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openi", type=Path, metavar="OPENI")
    parser.add_argument("--others", type=Path, metavar="FOLDER", help="subfolders of pictures that are no chest films")
    parser.add_argument("--drawn", type=int, default=0, help="films to draw with the shipped model, a multiple of four (default: 0)")
    asked = parser.parse_args()
    frontals = {split: films_of(asked.openi / "studies.csv", split) for split in ("val", "test")}
    laterals = {split: films_of(asked.openi / "laterals.csv", split) for split in ("val", "test")}
    test = frontals["test"]
    groups = {"frontals": test, "laterals": laterals["test"], "frontals, inverted": changed(test, lambda pixels: 1 - pixels)}
    rows = {split: {"frontals": gate(frontals[split]), **must_not_pass(frontals[split], laterals[split])} for split in ("val", "test")}
    large = changed(test[:20], lambda pixels: np.kron(pixels, np.ones((10, 10), dtype=np.float32)))
    flagged = films_of(asked.openi / "extra_frontals.csv", flagged=True)
    numbers = {
        "accepted": ACCEPTED,
        "gate": rows,
        "must pass": must_pass(test, films_of(asked.openi / "extra_frontals.csv", flagged=False), asked.drawn),
        "other pictures": other_pictures(asked.others, test[0]),
        "flagged films": [{"flag": film.view, **judge(film).__dict__} for film in flagged],
        "rules": {
            "border brighter than the rest": rule(brighter_at_the_border, frontals["val"], groups),
            "unlike its mirror": rule(asymmetry, frontals["val"], groups),
        },
        "milliseconds": {"256 x 256": milliseconds(test), "2560 x 2560": milliseconds(large)},
    }
    print(save_result("frontal_gate", numbers))


if __name__ == "__main__":
    main()
