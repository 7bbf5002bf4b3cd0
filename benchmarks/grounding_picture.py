"""A figure of drawn chests: where a finding is, the patches that its phrase chose and where they began, and the map of the phrase."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from grounding_phantoms import Place
from grounding_scores import TOP, Looked, look, patches_of
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from cyclicxr.checkpoint import write_atomically
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.metrics.grounding import spread_patches
from cyclicxr.processes import device
from cyclicxr.training.corpus import Corpus

SHOWN = ("cardiomegaly", "right effusion", "left upper opacity", "right lower opacity", "nodule", "pneumothorax", "pacemaker")
ROWS = ("the finding's box", "fixed patches of\nthe best scores", "the same patches,\nmoved", "map of the phrase", "less its usual map")
BOX, FIXED, MOVED = "#ffd23f", "#c9d3de", "#3ec1f3"
_ARROW: dict[str, Any] = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6, "color": MOVED, "linewidth": 0.9}
_WIDE = 26  # letters of a line of a phrase
_DPI, _COLOURS = 100, 128


def draw(model: Path, corpus: Corpus, places: Sequence[Place], path: Path) -> None:
    """Write the figure of a trained matcher, as PNG: of each kind of finding the first phrase of the test films, chosen by nothing else."""
    matcher = AdaMatch.load(model).to(device())
    films = corpus.split("test").pixels
    shown = [next(place for place in places if place.finding == finding) for finding in SHOWN]
    patches = patches_of(matcher, films[[place.film for place in shown]])
    mean = patches_of(matcher, corpus.split("val").pixels).features.mean(0)
    figure = Figure(figsize=(1.6 * len(shown) + 0.3, 1.6 * len(ROWS) + 0.5), layout="constrained")
    panels = figure.subplots(len(ROWS), len(shown), squeeze=False)
    for row, said in zip(panels, ROWS, strict=True):
        row[0].set_ylabel(said, fontsize=7)
    for number, place in enumerate(shown):
        seen, film = look(matcher, patches, mean, number, place.phrase), films[place.film].numpy()
        panels[0, number].set_title("\n".join(textwrap.wrap(place.phrase, _WIDE)), fontsize=6.5)
        _column(list(panels[:, number]), film, seen, place)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    with write_atomically(path) as temporary:  # few colours: a third of the bytes
        Image.open(buffer).convert("RGB").quantize(_COLOURS).save(temporary, "PNG", optimize=True)


def _column(panels: Sequence[Axes], film: UInt8[np.ndarray, "s s"], seen: Looked, place: Place) -> None:
    chosen = np.argsort(-seen.scores, kind="stable")[:TOP]
    for panel in panels:
        panel.imshow(film, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0))
        panel.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(1, 0))
        panel.spines[:].set_visible(False)
        _rectangle(panel, place.box, BOX, 1.2)
    for patch in chosen:
        for panel in panels[1:3]:
            _rectangle(panel, seen.grid[patch], FIXED, 0.7)
        _rectangle(panels[2], seen.boxes[patch], MOVED, 1.0)
        panels[2].annotate("", xy=seen.centres[patch], xytext=seen.anchors[patch], arrowprops=_ARROW)
    for panel, scores in ((panels[3], seen.scores), (panels[4], seen.unusual)):
        panel.imshow(spread_patches(scores, seen.boxes), cmap="inferno", extent=(0, 1, 1, 0), alpha=0.65)


def _rectangle(panel: Axes, box: Sequence[float] | Float[np.ndarray, 4], colour: str, width: float) -> None:
    x0, y0, x1, y1 = box
    panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width))
