"""How much drawn text `data/burnt_in.py` finds, on phantoms and on OpenI's validation films, and how often it finds some where none is.

python benchmarks/burnt_in_text.py [../shared/data/openi/studies.csv]
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

import numpy as np
from machine import save_result
from PIL import Image, ImageDraw, ImageFont

from cyclicxr.data.burnt_in import text_regions
from cyclicxr.data.images import read_film
from cyclicxr.data.phantom import write_phantom_studies
from cyclicxr.data.studies import read_studies
from cyclicxr.types import PixelBox

WORDS = ("DOE^JANE", "MRN 0012345", "1961-04-23", "St. Mary Hospital", "PORTABLE AP", "12:45 PM", "Acc 998877", "ERECT")
SIZES = (12, 16, 24)  # pixels of the font, on films whose smaller side has 512 pixels or more
COUNT = 200


def with_text(pixels: np.ndarray, dice: random.Random) -> tuple[np.ndarray, PixelBox]:
    """A word in white or black at a random place of a film, and its box."""
    picture = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(dice.choice(SIZES))
    word = dice.choice(WORDS)
    left, top, right, bottom = draw.textbbox((0, 0), word, font=font)
    x, y = dice.randrange(max(1, picture.width - int(right))), dice.randrange(max(1, picture.height - int(bottom)))
    box = (x + left, y + top, x + right, y + bottom)
    under = np.asarray(picture.crop(tuple(int(side) for side in box)), dtype=float).mean()
    draw.text((x, y), word, fill=255 if under < 128 else 0, font=font)
    return np.asarray(picture, dtype=np.float32) / np.float32(255), box


def is_found(box: PixelBox, regions: list[PixelBox]) -> bool:
    """Half of the word's width lies under boxes that touch it."""
    covered = sum(max(0.0, min(box[2], found[2]) - max(box[0], found[0])) for found in regions if found[1] < box[3] and found[3] > box[1])
    return covered >= (box[2] - box[0]) / 2


def measure(films: list[np.ndarray]) -> dict[str, float]:
    dice = random.Random(0)
    found = touched = extra = 0
    for pixels in films:
        plain = text_regions(pixels)
        marked, box = with_text(pixels, dice)
        regions = text_regions(marked)
        found += is_found(box, regions)
        touched += bool(plain)
        extra += len(plain)
    return {
        "films": len(films),
        "text found": found / len(films),
        "films flagged without text": touched / len(films),
        "boxes without text": extra,
    }


def scaled(pixels: np.ndarray, side: int = 512) -> np.ndarray:
    """Enlarged so that the smaller side has `side` pixels, as text is drawn on films and not on thumbnails."""
    factor = max(1.0, side / min(pixels.shape))
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    return np.clip(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)), 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="?", type=Path, help="studies table of real films; its validation split is used")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = write_phantom_studies(Path(folder), count=COUNT, seed=1, size=512)
        measured = {"phantoms": measure([read_film(study.image).pixels for study in read_studies(table)])}
    if arguments.studies:
        chosen = [study for study in read_studies(arguments.studies) if study.split == "val"][:COUNT]
        measured["OpenI, validation films"] = measure([scaled(read_film(study.image).pixels) for study in chosen])
    save_result("burnt_in_text", {"measured": measured})


if __name__ == "__main__":
    main()
