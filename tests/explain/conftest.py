"""A result made by hand over a chest drawn by hand: what the page, the files and the browser tests look at."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from cyclicxr.types import (
    ImageRecord,
    KeypatchRecord,
    KeywordRecord,
    PatchRecord,
    Point,
    Result,
    SentenceRecord,
    SyntheticRecord,
    WordRecord,
)

WIDTH, HEIGHT, GRID = 606, 732, 16


def draw_chest(width: int, height: int, effusion: float, blur: float = 1.0) -> Image.Image:
    """A cartoon of a chest film, drawn at 400 px and enlarged; `effusion` in [0, 1] fills the film's right lower lung."""
    side = 400
    body = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(body)
    pen.rounded_rectangle((30, 20, 370, 430), 90, fill=120)
    pen.ellipse((-20, 70, 420, 330), fill=128)
    for x0, x1 in ((62, 188), (214, 338)):
        pen.chord((x0, 40, x1, 480), 180, 360, fill=34)
        pen.rectangle((x0, 258, x1, 312), fill=34)
    for rib in range(9):
        y = 52 + 30 * rib
        for x0, x1, start, end in ((50, 196, 180, 330), (206, 352, 210, 360)):
            pen.arc((x0, y, x1, y + 80), start, end, fill=88, width=7)
    pen.rectangle((188, 10, 214, 400), fill=165)
    for bone in range(14):
        pen.line((190, 18 + 28 * bone, 212, 18 + 28 * bone), fill=130, width=3)
    pen.ellipse((152, 170, 292, 318), fill=178)
    pen.pieslice((30, 268, 200, 420), 180, 360, fill=165)
    pen.pieslice((205, 280, 372, 420), 180, 360, fill=160)
    if effusion > 0:
        level = int(318 - 60 * effusion)
        pen.polygon([(250, 330), (338, 330), (340, level - 30), (318, level), (262, level + 14)], fill=170)
    pen.line((45, 62, 185, 40), fill=150, width=9)
    pen.line((215, 40, 355, 62), fill=150, width=9)
    soft = np.asarray(body.filter(ImageFilter.GaussianBlur(4.2 * blur)), dtype=np.float32)
    noise = np.random.default_rng(3).normal(0, 3.0, soft.shape)
    rows, columns = np.mgrid[0:side, 0:side] / side
    shade = 1.0 - 0.5 * ((columns - 0.5) ** 2 + (rows - 0.55) ** 2)
    pixels = np.clip((soft * shade + noise) * 1.15, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Drawn:
    """A result with both its pictures."""

    result: Result
    film: Image.Image
    synthetic: Image.Image


def make_patches() -> tuple[PatchRecord, ...]:
    records = []
    for index in range(GRID * GRID):
        row, column = divmod(index, GRID)
        anchor: Point = ((column + 0.5) / GRID * WIDTH, (row + 0.5) / GRID * HEIGHT)
        shift = (21 * math.sin(1.7 * row + 0.6 * column), 18 * math.cos(0.9 * row - 1.3 * column))
        half = (21 + 12 * math.sin(index), 24 + 13.5 * math.cos(1.3 * index))
        x, y = anchor[0] + shift[0], anchor[1] + shift[1]
        box = (max(x - half[0], 0.0), max(y - half[1], 0.0), min(x + half[0], float(WIDTH)), min(y + half[1], float(HEIGHT)))
        records.append(PatchRecord(box, anchor, shift))
    return tuple(records)


SENTENCES = (
    ("The cardiac silhouette is mildly enlarged.", (136, 137, 153), 0.82, False),
    ("There is a small left pleural effusion with adjacent atelectasis.", (187, 188, 203, 204), 0.74, False),
    ("A nodule is seen in the right upper lobe.", (51, 52), 0.21, True),
    ("No pneumothorax.", (28, 67), 0.63, False),
    ("Degenerative changes are present in the thoracic spine.", (103,), None, False),
)
PATCH_OF = {
    "cardiac": 136, "silhouette": 137, "enlarged": 153, "small": 187, "left": 188, "pleural": 203, "effusion": 204, "atelectasis": 187,
    "nodule": 52, "right": 51, "upper": 51, "lobe": 52, "pneumothorax": 28, "thoracic": 103, "spine": 119,
}  # fmt: skip
KEYWORDS = (
    ("pleural effusion", "disease disorder", 3.1, 204),
    ("enlarged", "detailed description", 2.4, 136),
    ("atelectasis", "disease disorder", 1.9, 187),
    ("cardiac silhouette", "biological structure", 1.6, 137),
    ("opacity", "sign symptom", 1.2, 203),
    ("thoracic spine", "biological structure", 0.9, 103),
)


def make_words(report: str, patches: tuple[PatchRecord, ...]) -> tuple[WordRecord, ...]:
    words, at = [], 0
    for order, token in enumerate(report.split()):
        text = token.strip(".")
        start = report.index(token, at)
        at = start + len(token)
        patch = PATCH_OF.get(text, (order * 37) % len(patches))
        score = 0.52 + 0.01 * order if text in PATCH_OF else 0.11
        words.append(WordRecord(text, start, start + len(text), score, patch, patches[patch].box))
    return tuple(words)


def make_keypatches(film: Image.Image) -> tuple[KeypatchRecord, ...]:
    records = []
    small = film.resize((256, 256))
    for order, (word, box) in enumerate(
        (("effusion", (0.66, 0.7, 0.86, 0.88)), ("silhouette", (0.36, 0.42, 0.66, 0.72)), ("spine", (0.44, 0.3, 0.56, 0.5)))
    ):
        crop = small.crop(tuple(int(256 * corner) for corner in box)).resize((64, 64))
        uri = "data:image/png;base64," + base64.b64encode(png(crop)).decode()
        records.append(KeypatchRecord(f"train_{1204 + 377 * order}", box, 301 + 97 * order, word, 0.61 - 0.05 * order, uri))
    return tuple(records)


def make_result(film: Image.Image) -> Result:
    report = " ".join(text for text, *_ in SENTENCES)
    patches = make_patches()
    sentences, at = [], 0
    for text, indices, consistency, flagged in SENTENCES:
        start = report.index(text, at)
        at = start + len(text)
        sentences.append(SentenceRecord(text, start, at, tuple(patches[i].box for i in indices), consistency, flagged))
    return Result(
        image=ImageRecord(
            "films/ward 3/chest_0412.png", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", WIDTH, HEIGHT, "PA"
        ),
        model={"name": "openi-small", "revision": "2f6a1c9"},
        report=report,
        sentences=tuple(sentences),
        keywords=tuple(KeywordRecord(text, group, score, patch, patches[patch].box) for text, group, score, patch in KEYWORDS),
        patches=patches,
        words=make_words(report, patches),
        keypatches=make_keypatches(film),
        synthetic=SyntheticRecord("", tuple((7 * i) % 1024 for i in range(256))),
        timings={"read": 0.04, "match": 0.21, "report": 1.32, "draw": 2.71, "check": 0.18, "total": 4.46},
    )


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    """A cycle with everything in it."""
    film = draw_chest(WIDTH, HEIGHT, effusion=1.0)
    return Drawn(make_result(film), film, draw_chest(256, 256, effusion=0.5, blur=1.6))
