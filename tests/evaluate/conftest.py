"""A model that reads its films and draws its reports, small enough to be evaluated in seconds, and a table of films for it."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cyclicxr.config import OPENI_SMALL, override
from cyclicxr.cycle import Outcome
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.types import ImageRecord, KeywordRecord, PatchRecord, Result, WordRecord

SIZE, TRAIN, TEST = 64, 12, 40
KINDS = {  # MeSH, brightness, report
    "Cardiomegaly/mild": (200, "The heart is enlarged. Lungs are clear"),
    "normal": (60, "The heart is normal in size. The lungs are clear. No effusion"),
}


def write_table(folder: Path, splits: dict[str, int], labelled: bool = True) -> Path:
    rows, rng = [], np.random.default_rng(0)
    for split, count in splits.items():
        for i in range(count):
            mesh, (brightness, report) = list(KINDS.items())[i % 2]
            name = f"{split}{i}"
            film = np.full((SIZE, SIZE), brightness) + rng.integers(-20, 20, size=(SIZE, SIZE))
            film[i % 8 * 8 : i % 8 * 8 + 8, i // 8 * 8 : i // 8 * 8 + 8] = 255
            Image.fromarray(film.astype(np.uint8)).save(folder / f"{name}.png")
            report = f"{report}. Film of {name}."
            rows.append([name, name, f"{name}.png", report, split, mesh if labelled else ""])
    with (folder / "studies.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "patient", "image", "report", "split", "mesh"], *rows])
    return folder / "studies.csv"


class Matcher(AdaMatch):
    """Knows which film a report is of: both get the same random vector, from the brightest place of the film and the number in the text."""

    def __init__(self):
        nn.Module.__init__(self)
        self.similarity_name = "maxsim"
        self.vectors = nn.functional.normalize(torch.randn(64, 16, generator=torch.Generator().manual_seed(0)), dim=1)

    def encode_films(self, pixels):
        places = nn.functional.avg_pool2d(pixels, 8).flatten(1).argmax(1)
        return SimpleNamespace(features=self.vectors[places][:, None].expand(-1, 3, -1), pooled=self.vectors[places])

    def encode_texts(self, texts):
        numbers = torch.tensor([int("".join(letter for letter in text if letter.isdigit())) for text in texts])
        mask = torch.tensor([[False, True, True, False]]).expand(len(texts), -1)
        return SimpleNamespace(features=self.vectors[numbers % 8 * 8 + numbers // 8][:, None].expand(-1, 4, -1), mask=mask)


class Alignment(GlobalAlignment):
    """Finds all films and texts alike."""

    def __init__(self):
        pass

    def similarity(self, films, texts):
        return torch.zeros(len(films), len(texts))

    def join(self, to_text, to_film, overall):
        return to_text + overall, to_film + overall


class Coder(nn.Module):
    """Rounds the pixels."""

    def encode(self, pixels):
        return pixels

    def decode(self, ids):
        return (ids * 32).round() / 32


class Model:
    """Writes by the brightness of the film and draws by the words of the report; dies after a number of batches."""

    def __init__(self, name="toy", lives=10**6, classifier=True):
        torch.manual_seed(0)
        self.info = {"name": name, "revision": "0"}
        self.preset = override(OPENI_SMALL, {"encoder.size": SIZE})
        self.classifier = (
            FilmClassifier(self.preset.encoder, ["normal", "cardiomegaly"]).eval().requires_grad_(False) if classifier else None
        )
        self.alignment = Alignment()
        self.matcher, self.vqgan, self.lives, self.asked = Matcher(), Coder(), lives, 0

    def write_reports(self, pixels):
        self.live(len(pixels))
        return [next(report for level, report in KINDS.values() if abs(film.float().mean() - level) < 50) for film in pixels]

    def draw_films(self, texts, seed):
        self.live(len(texts))
        noise = torch.randint(-20, 20, (len(texts), SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
        return (torch.tensor([200 if "enlarged" in text else 60 for text in texts])[:, None, None] + noise).byte()

    def live(self, asked):
        if not self.lives:
            raise KeyboardInterrupt
        self.lives -= 1
        self.asked += asked


class Showing(Model):
    """Shows a patch for each word: the first word's in the upper left corner, the next beside it."""

    def outcome_explain(self, image, text, *, force=False):
        film = Image.open(image).convert("L")
        boxes = [(8.0 * i, 0.0, 8.0 * i + 8, 8.0) for i in range(8)]
        patches = tuple(PatchRecord(box, ((box[0] + box[2]) / 2, 12.0), (0.0, -8.0)) for box in boxes)
        words, at = [], 0
        for i, word in enumerate(text.split()):
            start = text.index(word, at)
            at = start + len(word)
            words.append(WordRecord(word, start, at, 0.9 - 0.05 * i, i % 8, boxes[i % 8]))
        keywords = (KeywordRecord("cardiomegaly", "anatomy", 2.0, 0, boxes[0]), KeywordRecord("effusion", "observation", 1.0, 1, boxes[1]))
        record = ImageRecord(str(image), "0" * 64, *film.size, "PA")
        return Outcome(Result(record, self.info, text, keywords=keywords, patches=patches, words=tuple(words)), film, None)


@pytest.fixture(scope="session")
def toys():
    """The classes, the sizes and the table's maker."""
    return SimpleNamespace(Model=Model, Showing=Showing, Matcher=Matcher, write_table=write_table, SIZE=SIZE, TRAIN=TRAIN, TEST=TEST)
