"""The page of one evaluation, `metrics.html`, and its Markdown and LaTeX; knows templates and bytes, and no metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cyclicxr.checkpoint import write_atomically
from cyclicxr.evaluate.figures import Plot
from cyclicxr.evaluate.gallery import DRAWN_SCORE, EACH, REPORT_SCORE, Shown, shown_drawings, shown_reports
from cyclicxr.evaluate.latex import latex_page
from cyclicxr.evaluate.paper import TABLE_OF, printed_lines
from cyclicxr.evaluate.plots import plots_of
from cyclicxr.evaluate.system import Case
from cyclicxr.evaluate.tables import Grid, grid_of, html_grid, markdown_page, tables, title
from cyclicxr.explain.templates import asset, data_uri, environment
from cyclicxr.types import NOTICE

_HERE = Path(__file__).parent
_RULES = {
    "reports": f"Ranked by {REPORT_SCORE} against the true report, ties by id: the first {EACH}, the middle {EACH}, the last {EACH}. "
    "Keywords are those that the matcher finds on the film; the boxes are their patches.",
    "drawings": f"Ranked by the {DRAWN_SCORE} (cosine of the film classifier's features), ties by id: the first {EACH}, the middle "
    f"{EACH}, the last {EACH}.",
}


def write_pages(metrics: Mapping[str, Any], out: Path, model: object, case: Case) -> None:
    """Write `metrics.md`, `metrics.tex` and `metrics.html`.

    Args:
        metrics: tables and "about".
        out: the evaluation's folder.
        model: shows the evidence of the gallery, where it can.
        case: what was evaluated.
    """
    html = html_page(metrics, list(plots_of(metrics, out)), shown_reports(out, case, model), shown_drawings(out, case))
    grids = [grid_of(name.capitalize(), rows) for name, rows in tables(metrics)]
    for name, page in (("metrics.md", markdown_page(metrics)), ("metrics.tex", latex_page(grids)), ("metrics.html", html)):
        with write_atomically(out / name) as temporary:
            temporary.write_text(page, encoding="utf-8")


def html_page(metrics: Mapping[str, Any], plots: Sequence[Plot] = (), reports: Sequence[Shown] = (), drawings: Sequence[Shown] = ()) -> str:
    """One self-contained page: what the model cannot do, plots, tables with the paper's rows, and the gallery; no network, all escaped.

    Args:
        metrics: tables and "about".
        plots: in the order in which they are shown.
        reports: cases of the report task.
        drawings: cases of the draw task.
    """
    return (
        environment(_HERE)
        .get_template("metrics.html.j2")
        .render(
            title=title(metrics),
            about=metrics["about"],
            plots=[(plot, data_uri(plot.svg, "image/svg+xml")) for plot in plots],
            tables=[(name, Markup(html_grid(_with_paper(name, grid_of(name, rows))))) for name, rows in tables(metrics)],
            galleries=[(name, _RULES[name], shown) for name, shown in (("reports", reports), ("drawings", drawings)) if shown],
            patients=bool(reports or drawings),
            css=asset(_HERE / "metrics.css"),
            notice=NOTICE,
        )
    )


def grid_page(name: str, grid: Grid, about: Mapping[str, Any]) -> str:
    """One table of the paper as a page.

    Args:
        name: such as "Table 4".
        grid: its rows.
        about: what it was made with, as in `metrics.json`.
    """
    table = Markup(html_grid(grid))
    return (
        environment(_HERE)
        .get_template("item.html.j2")
        .render(name=name, grid=grid, table=table, about=about, css=asset(_HERE / "metrics.css"), notice=NOTICE)
    )


def _with_paper(name: str, grid: Grid) -> Grid:
    """A table with the paper's rows below, in our columns, where the paper has such a table."""
    lines = printed_lines(TABLE_OF[name], grid.columns) if name in TABLE_OF else ()
    return Grid(grid.title, grid.columns, grid.lines + lines, grid.notes)
