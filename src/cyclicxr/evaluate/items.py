"""One table or figure of the paper by one call: the tasks it needs are run, and it is written in every form; knows no metric.

A row or column that needs a model or an output nobody gave is said to be missing, with the way to give it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from cyclicxr.checkpoint import write_atomically, write_json
from cyclicxr.evaluate.figures import Plot
from cyclicxr.evaluate.latex import latex_page
from cyclicxr.evaluate.page import grid_page
from cyclicxr.evaluate.paper import PRINTED, caption, printed, printed_across, printed_lines
from cyclicxr.evaluate.plots import tsne_of
from cyclicxr.evaluate.run import Request, measured
from cyclicxr.evaluate.sketches import drawn_sketch, patch_sketch, report_sketch
from cyclicxr.evaluate.system import Case, Evaluated
from cyclicxr.evaluate.tables import Cell, Grid, Line, cell_of, markdown_grid
from cyclicxr.evaluate.verdicts import OURS
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.patches.adapatch import AdaPatch
from cyclicxr.types import InputError

SAMPLE = 50  # [paper Table 2] cases
PER_CENT = 100.0
_SYSTEMS = "Other methods are scored on these studies with --system NAME=TABLE; their printed rows are of the paper's data and protocol."
Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """What an item needs, and who makes it.

    Args:
        tasks: that are run.
        grid: makes a table; None for a figure.
        plot: makes a figure; None for a table.
    """

    tasks: tuple[str, ...]
    grid: Callable[[Metrics, Mapping[str, AdaMatch]], Grid] | None = None
    plot: Callable[[Metrics, Case, Evaluated, Path], Plot] | None = None


def reproduce(item: str, model: Evaluated, studies: Path, *, out: Path, **asked: Any) -> list[Path]:
    """Write one table (`ITEM.md`, `.html`, `.tex`, `.json`) or figure (`ITEM.png`, `.svg`, `.json`) of the paper, for a model.

    Args:
        item: of `ITEMS`.
        model: what is evaluated.
        studies: studies table.
        out: folder; what an evaluation left there is used.
        asked: anything else of `Request`, but its tasks.

    Returns:
        The files written.

    Raises:
        InputError: an unknown item, a figure whose task left nothing to show, or as `evaluate`.
    """
    if item not in ITEMS:
        raise InputError(f"'{item}' is unknown; there are {', '.join(ITEMS)}")
    made = ITEMS[item]
    request = Request(studies, out, tasks=made.tasks, **asked)
    if item == "table2":
        request = _sampled(request)
    metrics, case = measured(model, request)
    if made.grid is not None:
        return list(_write_grid(out, item, made.grid(metrics, {OURS: model.matcher, **request.compare}), metrics))
    assert made.plot is not None
    return list(_write_plot(out, item, made.plot(metrics, case, model, request.out), metrics))


def _sampled(request: Request) -> Request:
    """Table 2's cases in a folder of their own, with the reports that are written already."""
    folder = request.out / "table2"
    written = request.out / "reports.jsonl"
    if written.exists() and not (folder / written.name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(written, folder / written.name)
    return replace(request, out=folder, cases=request.cases or SAMPLE, cache=request.cache or request.out / "cache")


# ---- tables


def _words(item: str, metrics: Metrics) -> Grid:
    """Tables 1 and 2: systems by scores of words."""
    columns = list(printed()["tables"][item]["metrics"])
    rows = metrics["report"]
    if "METEOR" in columns:
        columns = [*columns, *dict.fromkeys(metric for found in rows.values() for metric in found if metric.startswith("METEOR ("))]
        columns = [column for column in columns if column != "METEOR" or any("METEOR" in found for found in rows.values())] or columns
    lines = _ours(rows, columns)
    about = metrics["about"]
    sample = f"{about['n']} cases of split '{about['split']}'" + (f", sampled by seed {about['seed']}." if about["cases"] else ".")
    return Grid(caption(item), tuple(columns), (*lines, *printed_lines(item, columns)), (sample, _SYSTEMS))


def _films(metrics: Metrics, matchers: Mapping[str, AdaMatch]) -> Grid:
    """Table 3: systems by FID and NIQE."""
    columns = list(printed()["tables"]["table3"]["metrics"])
    fid = "FID is on the features of our own film classifier unless a --backbone is named: the paper's backbone is not said."
    absent = [column for column in columns if not any(column in found for found in metrics["draw"].values())]
    notes = (fid, _SYSTEMS, *(f"{column} was not measured here." for column in absent))
    return Grid(caption("table3"), tuple(columns), (*_ours(metrics["draw"], columns), *printed_lines("table3", columns)), notes)


def _retrieval(metrics: Metrics, matchers: Mapping[str, AdaMatch]) -> Grid:
    """Table 4: matchers and pools by R@K both ways, in per cent."""
    columns, lines = printed_across("table4")
    ours = [*_ways("retrieval", f"{OURS}, whole split", metrics, columns), *_chance(metrics, columns)]
    for name in metrics:
        if name.startswith("retrieval, ") and name != "retrieval, paired":
            ours += _ways(name, name.removeprefix("retrieval, "), metrics, columns)
    note = f"Per cent. The paper does not say the pool that it ranks in; ours are named. Chance is of the whole split. {_SYSTEMS_MATCH}"
    return Grid(caption("table4"), columns, (*ours, *lines), (note,))


_SYSTEMS_MATCH = "Another matcher stands beside with --compare NAME=MODEL."


def _adaptive(metrics: Metrics, matchers: Mapping[str, AdaMatch]) -> Grid:
    """Table 5: matchers with and without AdaPatch."""
    kinds = {name: "with AdaPatch" if is_adaptive(matcher) else "without AdaPatch" for name, matcher in matchers.items()}
    way = "train one with `--set encoder.adaptive=false` and give `--compare fixed=RUN/model`"
    return _ablation("table5", metrics, kinds, {"without AdaPatch": way, "with AdaPatch": "give `--compare NAME=MODEL`"})


def _stages(metrics: Metrics, matchers: Mapping[str, AdaMatch]) -> Grid:
    """Table 6: matchers by the stage whose patches they match."""
    kinds = {name: f"stage {getattr(matcher, 'stage', '?')}" for name, matcher in matchers.items()}
    wanted = {
        f"stage {stage}": f"train one with `--set match.stage={stage}` and give `--compare stage{stage}=RUN/model`" for stage in (2, 3, 4)
    }
    return _ablation("table6", metrics, kinds, wanted)


def _ablation(item: str, metrics: Metrics, kinds: Mapping[str, str], wanted: Mapping[str, str]) -> Grid:
    columns, lines = printed_across(item)
    ours: list[Line] = []
    for name, kind in kinds.items():
        ours += _ways("retrieval" if name == OURS else f"retrieval, {name}", f"{name} ({kind})", metrics, columns)
    missing = [f"Missing: a matcher {kind}; {way}." for kind, way in wanted.items() if kind not in kinds.values()]
    return Grid(caption(item), columns, (*ours, *_chance(metrics, columns), *lines), ("Per cent, in the whole split.", *missing))


def is_adaptive(matcher: nn.Module) -> bool:
    """Whether a matcher's patches move (AdaPatch), or stay on the grid."""
    return any(isinstance(part, AdaPatch) and part.adaptive for part in matcher.modules())


def _ours(rows: Mapping[str, Mapping[str, Any]], columns: list[str]) -> list[Line]:
    return [
        Line(row, tuple(cell_of(found.get(column), column) for column in columns))
        for row, found in rows.items()
        if any(column in found for column in columns)
    ]


def _ways(table: str, label: str, metrics: Metrics, columns: tuple[str, ...]) -> list[Line]:
    """A retrieval table's two directions as one row, in per cent."""
    rows = metrics.get(table, {})
    cells = [_way(rows, column, lambda metric: metric) for column in columns]
    return [Line(label, tuple(cells))] if any(cell.value != "–" for cell in cells) else []


def _chance(metrics: Metrics, columns: tuple[str, ...]) -> list[Line]:
    rows = metrics.get("retrieval", {})
    return [Line("chance", tuple(_way(rows, column, lambda metric: metric.replace("R@", "chance@")) for column in columns))]


def _way(rows: Mapping[str, Mapping[str, Any]], column: str, named: Callable[[str], str]) -> Cell:
    direction, metric = column.rsplit(" ", 1)
    return cell_of(rows.get(direction, {}).get(named(metric)), metric, PER_CENT)


# ---- figures


def _tsne(metrics: Metrics, case: Case, model: Evaluated, out: Path) -> Plot:
    """Fig. 6."""
    plot = next(tsne_of(out, case.seed), None)
    if plot is None:
        raise InputError(f"{out}: no features of drawn films; a t-SNE needs a model with a classifier, and 4 films or more")
    return plot


ITEMS: dict[str, Item] = {
    "table1": Item(("report",), lambda metrics, matchers: _words("table1", metrics)),
    "table2": Item(("report",), lambda metrics, matchers: _words("table2", metrics)),
    "table3": Item(("draw",), _films),
    "table4": Item(("retrieval",), _retrieval),
    "table5": Item(("retrieval",), _adaptive),
    "table6": Item(("retrieval",), _stages),
    "figure5": Item(("report",), plot=lambda metrics, case, model, out: report_sketch(out, case, model)),
    "figure6": Item(("draw",), plot=_tsne),
    "figure7": Item(("draw",), plot=lambda metrics, case, model, out: drawn_sketch(out, case, model)),
    "figure8": Item((), plot=lambda metrics, case, model, out: patch_sketch(out, case, model)),
}


# ---- files


def _write_grid(out: Path, item: str, grid: Grid, metrics: Metrics) -> Iterator[Path]:
    notes = "\n".join(f"- {note}" for note in grid.notes)
    protocol = "\n".join(f"- {line}" for line in metrics["about"]["protocol"])
    texts = {
        "md": f"# {_name(item)}: {grid.title}\n\n{markdown_grid(grid)}\nRows '{PRINTED}' are the paper's.\n\n{notes}\n{protocol}\n",
        "html": grid_page(_name(item), grid, metrics["about"]),
        "tex": latex_page([grid]),
    }
    for suffix, text in texts.items():
        yield _written(out / f"{item}.{suffix}", text.encode("utf-8"))
    rows = [
        {"row": line.label, PRINTED: line.printed, **{c: cell._asdict() for c, cell in zip(grid.columns, line.cells, strict=True)}}
        for line in grid.lines
    ]
    write_json(out / f"{item}.json", {"title": grid.title, "rows": rows, "notes": list(grid.notes), "about": metrics["about"]})
    yield out / f"{item}.json"


def _write_plot(out: Path, item: str, plot: Plot, metrics: Metrics) -> Iterator[Path]:
    for suffix, data in (("png", plot.png), ("svg", plot.svg)):
        yield _written(out / f"{item}.{suffix}", data)
    write_json(out / f"{item}.json", {"title": caption(item), "shown": plot.caption, "numbers": plot.numbers, "about": metrics["about"]})
    yield out / f"{item}.json"


def _written(path: Path, data: bytes) -> Path:
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)
    return path


def _name(item: str) -> str:
    return f"{item[:-1].capitalize()} {item[-1]}"
