"""Plots of an evaluation's numbers, as SVG and PNG with the numbers that are plotted; knows no model and no metric."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from sklearn.manifold import TSNE

OURS_COLOUR, OTHER_COLOURS, GREY = "#0b6e99", ("#c2571a", "#5b7f2b", "#7a4fa3", "#b03060"), "#8792a2"
_STYLE: Any = {
    "svg.hashsalt": "cyclicxr",  # the same plot has the same bytes
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e8ee",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_BINS = 10  # of the calibration plot
MOST_POINTS = 1000  # films of either kind in a t-SNE; Fig. 6 shows as many


@dataclass(frozen=True)
class Plot:
    """A plot with its caption, and what is plotted as JSON."""

    name: str
    caption: str
    svg: bytes
    png: bytes
    numbers: Any


@mpl.rc_context(_STYLE)
def retrieval_curves(ranks: Mapping[str, Mapping[str, Sequence[int]]], pools: Mapping[str, int]) -> Plot:
    """R@K against K for each matcher, a panel a direction, beside K over the pool.

    Args:
        ranks: matcher -> direction -> rank of each query, from 1.
        pools: direction -> how many candidates there are.
    """
    figure, panels = _panels(len(pools), 3.8)
    numbers: dict[str, Any] = {}
    for panel, (direction, pool) in zip(panels, pools.items(), strict=True):
        ks = np.unique(np.geomspace(1, pool, 60).round().astype(int))
        panel.plot(ks, ks / pool, color=GREY, linestyle="--", linewidth=1, label="K / pool")
        numbers[direction] = {"K": ks.tolist(), "K / pool": (ks / pool).round(5).tolist()}
        for (matcher, of), colour in zip(ranks.items(), _colours(len(ranks)), strict=True):
            if direction in of:
                shares = (np.asarray(of[direction])[:, None] <= ks).mean(0)
                panel.plot(ks, shares, color=colour, label=matcher)
                numbers[direction][matcher] = shares.round(5).tolist()
        panel.set(xscale="log", xlabel="K", ylabel="R@K", title=direction, ylim=(0, 1))
        panel.set_xticks([k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if k <= pool])
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return saved("retrieval", "How often the right one is among the K best; dashed: a matcher that knows nothing.", figure, numbers)


@mpl.rc_context(_STYLE)
def calibration(scores: Sequence[float], true: Sequence[bool]) -> Plot:
    """Share of true sentences by their consistency, in ten bins of equally many, with 95 % Wilson intervals.

    Args:
        scores: consistency of each sentence in [0, 1].
        true: whether it is as the report had it.
    """
    figure, (panel,) = _panels(1, 3.6)
    order = np.argsort(np.asarray(scores, dtype=float), kind="stable")
    bins = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
    rows = []
    for part in bins:
        share, n = float(np.asarray(true, dtype=float)[part].mean()), len(part)
        low, high = _wilson(share, n)
        rows.append({"score": float(np.asarray(scores)[part].mean()), "true": share, "low": low, "high": high, "n": n})
    panel.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
    x, y = [row["score"] for row in rows], [row["true"] for row in rows]
    spread = [[row["true"] - row["low"] for row in rows], [row["high"] - row["true"] for row in rows]]
    panel.errorbar(x, y, yerr=spread, color=OURS_COLOUR, marker="o", markersize=4, linewidth=1, label="sentences")
    panel.set(xlabel="consistency", ylabel="share of true sentences", xlim=(0, 1), ylim=(0, 1))
    panel.legend(loc="upper left")
    return saved("calibration", "Are consistent sentences true more often? Ten groups of equally many, 95 % intervals.", figure, rows)


@mpl.rc_context(_STYLE)
def tsne(real: Float[np.ndarray, "n d"], drawn: Float[np.ndarray, "n d"], seed: int) -> Plot:
    """Real and drawn films by t-SNE of their features; at most `MOST_POINTS` of either, sampled by the seed.

    Source: Fig. 6.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(real))[:MOST_POINTS])
    both = np.concatenate([real[rows], drawn[rows]]).astype(np.float64)
    perplexity = float(min(30, max(1, (len(both) - 1) // 3)))
    places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(both)
    figure, (panel,) = _panels(1, 4.2)
    found = {"real": places[: len(rows)], "drawn": places[len(rows) :]}
    for (name, at), colour, mark in zip(found.items(), (GREY, OURS_COLOUR), ("o", "x"), strict=True):
        panel.scatter(at[:, 0], at[:, 1], s=14, color=colour, marker=mark, linewidth=0.9, label=f"{name} films")
    panel.set(xticks=[], yticks=[])
    figure.legend(loc="outside lower center", ncols=2)
    numbers = {name: np.round(at, 3).tolist() for name, at in found.items()} | {"perplexity": perplexity, "seed": seed}
    return saved("tsne", "t-SNE of the film classifier's features: films that overlap are alike to it.", figure, numbers)


@mpl.rc_context(_STYLE)
def finding_bars(name: str, caption: str, table: Mapping[str, Mapping[str, Mapping[str, Any]]], systems: Sequence[str], axis: str) -> Plot:
    """A group of bars a finding, a bar a system, with intervals where there are.

    Args:
        name: of the plot.
        caption: what it shows.
        table: finding -> system -> number.
        systems: those that are shown, in order.
        axis: what a bar's length is.
    """
    findings = list(table)
    figure = Figure(figsize=(7.2, 0.6 + 0.16 * len(findings) * (len(systems) + 1)), layout="constrained")
    panel = figure.subplots()
    height = 0.8 / len(systems)
    for place, (system, colour) in enumerate(zip(systems, _colours(len(systems)), strict=True)):
        rows = [(at, table[finding][system]) for at, finding in enumerate(findings) if system in table[finding]]
        y, values = [at + place * height for at, _ in rows], [number["value"] for _, number in rows]
        panel.barh(y, values, height=0.9 * height, color=colour, label=system)
        for where, (_, number) in zip(y, rows, strict=True):
            if number["low"] is not None:
                panel.plot([number["low"], number["high"]], [where, where], color="#1c2430", linewidth=0.8)
    panel.set(yticks=[at + 0.4 - height / 2 for at in range(len(findings))], yticklabels=findings, xlabel=axis, xlim=(0, 1))
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=2)
    numbers = {finding: {system: table[finding].get(system) for system in systems} for finding in findings}
    return saved(name, caption, figure, numbers)


def _panels(count: int, side: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(side * max(count, 1) + 0.4, side), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _colours(count: int) -> list[str]:
    return [OURS_COLOUR, *(OTHER_COLOURS[i % len(OTHER_COLOURS)] for i in range(count - 1))][:count]


def _wilson(share: float, n: int) -> tuple[float, float]:
    z = 1.959964
    middle, half = share + z * z / (2 * n), z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return min(low, share), max(high, share)  # at 0 and 1 rounding may put an end on the wrong side


def saved(name: str, caption: str, figure: Figure, numbers: Any) -> Plot:
    """A figure as both pictures, with its numbers."""
    written = {}
    with mpl.rc_context(_STYLE):
        for form, more in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 160})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, **more)
            written[form] = buffer.getvalue()
    return Plot(name, caption, written["svg"], written["png"], numbers)
