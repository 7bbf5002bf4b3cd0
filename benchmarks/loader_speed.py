"""Films a second from disk to 256 x 256 pixels, this loader beside pydicom and Pillow used plainly, interleaved in one run.

python benchmarks/loader_speed.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import joblib
import numpy as np
import pydicom
from machine import RESULTS, save_result
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1, generate_uid
from write import load

from cyclicxr.config import OPENI_SMALL
from cyclicxr.data.cache import cached_films
from cyclicxr.data.images import network_pixels, read_film
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.training.corpus import Corpus
from cyclicxr.types import Study

SIZE, SIDE, BATCH = 256, 2000, 32
DIGITAL_XRAY = "1.2.840.10008.5.1.4.1.1.1.1"


def write_dicom(path: Path, number: int) -> None:
    """A drawn chest of 2,000 x 2,000 pixels and 12 bits with a detector's noise, JPEG lossless."""
    drawn = np.asarray(Image.fromarray(draw_phantom(number, size=512).pixels).convert("F").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(number).normal(0, 8, drawn.shape)
    stored = np.clip(drawn * (4000 / 255) + noise, 0, 4095).astype(np.uint16)
    film = pydicom.Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID = DIGITAL_XRAY
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = generate_uid(entropy_srcs=[f"loader speed {number}"])
    film.Modality, film.PhotometricInterpretation, film.SamplesPerPixel = "DX", "MONOCHROME2", 1
    film.Rows, film.Columns = stored.shape
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.WindowCenter, film.WindowWidth = 2048, 4096
    film.PixelData = encapsulate([imagecodecs.ljpeg_encode(stored, bitspersample=12)])
    film["PixelData"].is_undefined_length = True
    film.save_as(path, enforce_file_format=True)
    check(path, stored)


def check(path: Path, stored: np.ndarray) -> None:
    """The file holds what was drawn, by pydicom's own decoder."""
    if not np.array_equal(pydicom.dcmread(path).pixel_array, stored):
        raise SystemExit(f"{path}: encoded wrongly")


def write_jpeg(path: Path, number: int) -> None:
    Image.fromarray(draw_phantom(number, size=SIZE).pixels).save(path, quality=90)


def plainly(path: str) -> np.ndarray:
    """What a short script does: pixel_array or Pillow, as floats of the film's own range, resized."""
    stored = pydicom.dcmread(path).pixel_array if path.endswith(".dcm") else np.asarray(Image.open(path).convert("L"))
    pixels = stored.astype(np.float32)
    pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    small = Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(np.asarray(small) * 255 + 0.5).clip(0, 255).astype(np.uint8)


def rate(films: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return films / (time.perf_counter() - started)


def measure(paths: list[str], times: int, folder: Path) -> dict[str, list[float]]:
    """Films a second of each way, one after another, so many times."""
    rates: dict[str, list[float]] = {name: [] for name in ("plainly, one by one", "ours, one by one", "ours, cold", "ours, warm")}
    joblib.Parallel(n_jobs=-1)(joblib.delayed(abs)(1) for _ in range(64))  # start the workers
    for number in range(times):
        home = folder / f"cache{number}"
        rates["plainly, one by one"].append(rate(len(paths), lambda: [plainly(path) for path in paths]))
        rates["ours, one by one"].append(rate(len(paths), lambda: [network_pixels(read_film(path), SIZE) for path in paths]))
        rates["ours, cold"].append(rate(len(paths), lambda home=home: cached_films(paths, SIZE, "squash", home)))
        rates["ours, warm"].append(warm_rate(paths, home))
    return rates


def warm_rate(paths: list[str], home: Path) -> float:
    """Shuffled batches as training takes them, floats in [0, 1], three passes over the films."""
    found = cached_films(paths, SIZE, "squash", home)
    studies = [Study(id=path, patient=path, image=path, report="") for path in paths]
    corpus = Corpus(studies, found.pixels)
    order = np.concatenate([np.random.default_rng(seed).permutation(len(paths)) for seed in range(3)]).tolist()
    return rate(len(order), lambda: [corpus.films(order[start : start + BATCH]) for start in range(0, len(order), BATCH)])


def eaten(films: int) -> float | None:
    """Films a second that training the classifier took, the stage that takes them fastest, by the seconds in results/training.json."""
    found = load("training", RESULTS)
    return films * OPENI_SMALL.classifier.epochs / found["stages"]["classifier"]["seconds"] if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicoms", type=int, default=72)
    parser.add_argument("--jpegs", type=int, default=1024)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument(
        "--trained", type=int, default=2765, help="films of an epoch of the training in results/training.json (OpenI: 2765)"
    )
    asked = parser.parse_args()
    films = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, count, suffix, write in (
            (f"{SIDE} px 12-bit JPEG-lossless DICOM", asked.dicoms, "dcm", write_dicom),
            (f"{SIZE} px JPEG", asked.jpegs, "jpg", write_jpeg),
        ):
            paths = [folder / f"{number}.{suffix}" for number in range(count)]
            for number, path in enumerate(paths):
                write(path, number)
            rates = measure([str(path) for path in paths], asked.times, folder / suffix)
            films[kind] = {"films": count, "rates": {way: summary(found) for way, found in rates.items()}}
    print(save_result("loader_speed", {"times": asked.times, "workers": joblib.cpu_count(), "films": films, "eaten": eaten(asked.trained)}))


def summary(rates: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(rates), 1), "slowest": round(min(rates), 1), "fastest": round(max(rates), 1)}


if __name__ == "__main__":
    main()
