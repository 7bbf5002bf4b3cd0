"""Peak memory of the distances between film sets for 500 and for 5,000 pairs; FID and MS-SSIM beside torchmetrics'.

python benchmarks/image_metrics.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch
from machine import save_result, seconds
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance

from cyclicxr.cycle import Model
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.evaluate.system import over_films
from cyclicxr.metrics.frechet import frechet_distance, kernel_distance
from cyclicxr.metrics.image import likeness_of_pairs, random_pairs

SIZE, DRAWN, FEW, MANY, PAIRS = 256, 50, 500, 5000, 40


class Given(torch.nn.Module):
    """Stands where torchmetrics wants a network: features, not films."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def write_films(path: Path, count: int) -> None:
    """Phantoms with noise of their own, 8 bits, in a file that is mapped and not read: as an evaluation's films are."""
    phantoms = [draw_phantom(seed, size=SIZE).pixels.astype(np.int16) for seed in range(DRAWN)]
    films = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, SIZE, SIZE))
    for i in range(count):
        noise = np.random.default_rng(i).integers(-9, 10, (SIZE, SIZE), dtype=np.int16)
        films[i] = (phantoms[i % DRAWN] + noise).clip(0, 255)
    films.flush()


def peak(count: int, folder: Path) -> dict[str, float]:
    """MB that FID and KID of so many pairs take at most beside model and films' file; in a process of its own."""
    write_films(folder / "films.npy", 2 * count)
    found = subprocess.run([sys.executable, __file__, "--child", str(folder / "films.npy")], check=True, capture_output=True, text=True)
    numbers: dict[str, float] = json.loads(found.stdout)
    return numbers


def child(path: Path) -> None:
    """FID and KID of the first half of the films against the second, by our classifier."""
    classifier = Model.load().classifier
    if classifier is None:
        raise SystemExit("the model that ships has no classifier")
    films = torch.from_numpy(np.load(path, mmap_mode="c"))
    half, highest, done = len(films) // 2, [held()], threading.Event()
    watcher = threading.Thread(target=watch, args=(highest, done))
    before = held()
    watcher.start()
    real, drawn = (over_films(classifier.features, side) for side in (films[:half], films[half:]))
    distances = frechet_distance(real, drawn), float(kernel_distance(real, drawn)(np.ones((1, half)))["KID"][0])
    done.set()
    watcher.join()
    print(json.dumps({"MB": highest[0] - before, "FID": distances[0], "KID": distances[1]}))


def watch(highest: list[float], done: threading.Event) -> None:
    while not done.wait(0.02):
        highest[0] = max(highest[0], held())


def held() -> float:
    """The process's own memory, MB; pages of mapped films, which the system takes back as it likes, are not in it."""
    line = next(line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def theirs_fid(real: torch.Tensor, drawn: torch.Tensor) -> float:
    metric = FrechetInceptionDistance(feature=Given(real.shape[1]), normalize=True)
    metric.set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(drawn.double(), real=False)
    return float(metric.compute())


def fid_beside_theirs(n: int, d: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    real, drawn = (torch.rand(n, d, generator=generator) for _ in range(2))
    times = [(seconds(lambda: theirs_fid(real, drawn)), seconds(lambda: frechet_distance(real, drawn))) for _ in range(3)]
    ours, theirs = frechet_distance(real, drawn), theirs_fid(real, drawn)
    ratio = float(np.median([their / our for their, our in times]))
    return {"films": n, "features": d, "times as fast": ratio, "relative difference": abs(ours - theirs) / ours,
            "identical films, ours": frechet_distance(real, real), "identical films, torchmetrics": theirs_fid(real, real)}  # fmt: skip


def likeness_beside_theirs() -> dict[str, float]:
    films = torch.stack([torch.from_numpy(draw_phantom(seed, size=SIZE).pixels) for seed in range(20)])
    pairs = random_pairs(20, 0, PAIRS)
    left, right = (films[pairs[:, side]].unsqueeze(1).float() / 255 for side in (0, 1))

    def theirs() -> torch.Tensor:
        return multiscale_structural_similarity_index_measure(left, right, data_range=1.0, reduction="none")

    times = [(seconds(theirs), seconds(lambda: likeness_of_pairs(films, pairs))) for _ in range(3)]
    difference = float(np.abs(theirs().reshape(-1).numpy() - likeness_of_pairs(films, pairs)).max())
    return {"pairs": PAIRS, "times as fast": float(np.median([their / our for their, our in times])), "largest difference": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child)
        return
    with tempfile.TemporaryDirectory() as name:
        sets = {str(count): peak(count, Path(name)) for count in (asked.few, asked.many)}
    few, many = sets.values()
    memory = {
        "pairs": sets,
        "MB times": many["MB"] / few["MB"],
        "MB of the films as floats": 2 * asked.many * SIZE * SIZE * 4 / 2**20,
    }
    fid = [fid_beside_theirs(*shape) for shape in ((400, 320), (100, 320), (200, 1024))]
    save_result("image_metrics", {"memory": memory, "fid": fid, "likeness": likeness_beside_theirs()})


if __name__ == "__main__":
    main()
