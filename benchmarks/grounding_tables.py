"""The section of results/grounding_trained.json for BENCHMARKS.md; knows no model, so that the page is written without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sections import load, made_by, plain_table

USUAL, OTHER = "pointing game, less the usual map", "pointing game, another finding's phrase"
SCORES = {  # metric -> column
    "pointing game": "best patch inside",
    "top 5 inside": "of the best five",
    "CNR": "contrast",
    "mIoU, map stretched to 0..1": "mIoU",
    USUAL: "best patch, less the usual map",
    "CNR, less the usual map": "contrast, less the usual map",
    OTHER: "best patch of another finding's phrase",
}
SHARED = "by the global alignment's shares"
SHARES = {
    f"pointing game, {SHARED}": "best patch inside",
    f"pointing game, before moving, {SHARED}": "best patch inside, before moving",
    f"top 5 inside, {SHARED}": "of the best five",
    f"CNR, {SHARED}": "contrast",
    f"mIoU, map stretched to 0..1, {SHARED}": "mIoU",
    f"pointing game, {SHARED}, another finding's phrase": "best patch of another finding's phrase",
}
MOVES = {
    "moved towards it, patch widths": "towards it, patch widths",
    "the same on a film without it": "the same, a film without it",
    "pointing game, before moving": "best patch inside, before",
    "pointing game": "after",
    "chosen patches' area inside, before moving": "area of the best five inside, before",
    "chosen patches' area inside": "after ",
    "all patches' area inside, before moving": "area of all inside, before",
    "all patches' area inside": "after  ",
    "all patches' area inside, on a film without it": "after, a film without it",
}


def grounding_trained(results: Path) -> Iterator[str]:
    """Whether words find their place, and patches move there, where matcher and films are of one kind; nothing until it was measured."""
    found = load("grounding_trained", results)
    if found is None:
        return
    rows = found["rows"]
    yield "## Do words find their place? A matcher trained on drawn chests\n"
    yield f"{made_by(found)}\n{', '.join(f'{name} {value}' for name, value in found['about'].items())}.\n"
    yield (
        "The chests fill 70 to 100 % of the film and lie anywhere on it; nodules and opacities lie anywhere in their zone. A best patch is "
        "the one whose best word is nearest it; 'less the usual map': nearness to the phrase's mean word, less its mean over other films. "
        "[95 % interval over films]; scores are means over the seeds. The place that the words say is the mean place, in training, of the "
        "same finding with the same side and zone.\n"
    )
    yield "![Seven phrases: the finding's box, the best patches before and after they move, and two maps](docs/images/grounding.png)\n"
    yield _table(rows, SCORES, learned=True)
    yield "### Where the global alignment's reading of a phrase comes from\n"
    yield (
        "What each patch adds to it, less what the same patch adds on the mean of other films (`match/shares.py`), in place of nearness to "
        "a word; decision 33.\n"
    )
    yield _table({name: row for name, row in rows.items() if "settings" in row}, SHARES)
    yield "### Do patches move onto what they are about?\n"
    yield _table({name: row for name, row in rows.items() if "settings" in row}, MOVES)
    yield "### Best patch inside, finding by finding\n"
    yield _by_finding(rows, found["places"])
    yield "### Differences on the same films\n"
    columns = ("pointing game", "top 5 inside", "CNR", "mIoU, map stretched to 0..1")
    named = {metric: SCORES[metric] for metric in columns} | {f"{metric}, {SHARED}": f"{SCORES[metric]}, {SHARED}" for metric in columns}
    lines = [[name, *(_cell(of.get(metric)) for metric in named)] for name, of in _said(found["paired"], rows)]
    yield plain_table(["", *named.values()], lines)


def _table(rows: Mapping[str, Any], columns: Mapping[str, str], learned: bool = False) -> str:
    more = ["seeds", "R@10, validation"] if learned else []
    lines = []
    for row in rows.values():
        about = [str(len(row["seeds"])), f"{_mean(row['learned']['R@10']):.2f}"] if "seeds" in row else ["–", "–"]
        lines.append([row["label"], *(about if learned else []), *(_cell(row["scores"].get(metric)) for metric in columns)])
    return plain_table(["", *more, *columns.values()], lines)


def _by_finding(rows: Mapping[str, Any], places: Mapping[str, Any]) -> str:
    shown = {name: row for name, row in rows.items() if not row.get("settings") or list(row["settings"]) == ["encoder.adaptive"]}
    lines = [
        [
            f"{finding} ({of['phrases']})",
            f"{of['area']:.3f}",
            *(f"{row['by finding'][finding]['pointing game']:.2f}" for row in shown.values()),
        ]
        for finding, of in places.items()
    ]
    return plain_table(["", "area of the box", *(row["label"] for row in shown.values())], lines)


def _said(differences: Mapping[str, Any], rows: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, of in differences.items():
        yield " less ".join(rows[side]["label"] for side in name.split(" less ")), of


def _cell(number: Mapping[str, Any] | None) -> str:
    return "–" if number is None else f"{number['value']:.3f} [{number['low']:.3f}, {number['high']:.3f}]"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
