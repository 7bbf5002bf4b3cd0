"""The plots that an evaluation's numbers and the files beside them allow; knows which file holds what, and no drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cyclicxr.checkpoint import load_tensors, read_json
from cyclicxr.evaluate.figures import Plot, calibration, finding_bars, retrieval_curves, tsne
from cyclicxr.evaluate.verdicts import CONSTANT, DRAWN, DRAWN_SHUFFLED, OURS, SHUFFLED

_FEWEST = 4  # films of either kind below which a t-SNE shows nothing


def plots_of(metrics: Mapping[str, Any], out: Path) -> Iterator[Plot]:
    """Retrieval curves, calibration, t-SNE, and bars by finding; what was not measured is left out.

    Args:
        metrics: tables and "about".
        out: the evaluation's folder, with `ranks.json`, `consistency.json` and `drawn_features.safetensors`.
    """
    if (out / "ranks.json").exists() and metrics.get("retrieval"):
        pools = {direction: int(numbers["pool"]["value"]) for direction, numbers in metrics["retrieval"].items() if "pool" in numbers}
        yield retrieval_curves(read_json(out / "ranks.json"), pools)
    if (out / "consistency.json").exists() and any(name.startswith("cycle") for name in metrics):
        found = read_json(out / "consistency.json")
        yield calibration(found["score"], [bool(true) for true in found["true"]])
    if metrics.get("draw"):
        yield from tsne_of(out, metrics["about"]["seed"])
    if metrics.get("report by finding"):
        shown = [OURS, SHUFFLED, CONSTANT]
        yield finding_bars(
            "report-findings", "Findings that the reports name, against the film's labels.", metrics["report by finding"], shown, "F1"
        )
    if metrics.get("draw by finding"):
        shown = [DRAWN, DRAWN_SHUFFLED, "the real film"]
        yield finding_bars("drawn-findings", "Findings that our classifier reads in drawn films.", metrics["draw by finding"], shown, "AUC")


def tsne_of(out: Path, seed: int) -> Iterator[Plot]:
    """The t-SNE of real and drawn films, where their features were kept and are enough."""
    path = out / "drawn_features.safetensors"
    if path.exists():
        features = {name: np.asarray(vectors.float().numpy()) for name, vectors in load_tensors(path).items()}
        if len(features["real"]) >= _FEWEST:
            yield tsne(features["real"], features["drawn"], seed)
