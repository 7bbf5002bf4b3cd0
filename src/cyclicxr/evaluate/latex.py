"""Grids -> LaTeX tables that a paper can `\\input`; knows no metric. It is written for `booktabs`; nothing here runs LaTeX."""

from __future__ import annotations

from collections.abc import Iterator

from cyclicxr.evaluate.tables import Cell, Grid, Line

MOST_COLUMNS = 5  # of one table; more are spread evenly over several, one below another
_HEADER = "% Written by cyclicxr evaluate. The document needs \\usepackage{booktabs}."
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "–": "--",
    "—": "---", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "±": r"$\pm$", "−": "$-$", "’": "'", "‘": "`", "↓": r"$\downarrow$",
    "[": "{[}", "]": "{]}", "\n": " ", "\r": " ", "\t": " ",
}  # fmt: skip


def latex_page(grids: list[Grid]) -> str:
    """All grids, one after another."""
    return "\n".join([_HEADER, *(latex_grid(grid) for grid in grids)])


def latex_grid(grid: Grid) -> str:
    """A grid as `table` environments of at most `MOST_COLUMNS` columns; printed rows stand below a rule, in italics."""
    parts = max(1, -(-len(grid.columns) // MOST_COLUMNS))
    each = max(1, -(-len(grid.columns) // parts))
    return "\n".join(_part(grid, slice(each * part, each * (part + 1)), continued=part > 0) for part in range(parts))


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is; what pdfLaTeX has no letter for becomes a question mark."""
    return "".join(_SPECIAL.get(letter) or (letter if letter.isprintable() and ord(letter) < 0x180 else "?") for letter in text)


def _part(grid: Grid, part: slice, *, continued: bool) -> str:
    columns = grid.columns[part]
    caption = grid.title.rstrip(".") + (" (continued)" if continued else "")
    lines = [
        r"\begin{table}[ht]",
        r"\centering\small",
        rf"\caption{{{escaped(' '.join([caption + '.', *grid.notes]) if grid.notes else caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        _row(["", *map(escaped, columns)]),
        r"\midrule",
        *_body(grid, part),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _body(grid: Grid, part: slice) -> Iterator[str]:
    before: Line | None = None
    for line in grid.lines:
        if before is not None and line.printed and not before.printed:
            yield r"\midrule"
        label = escaped(line.label)
        yield _row([rf"\emph{{{label}}}" if line.printed else label, *map(_cell, line.cells[part])])
        before = line


def _cell(cell: Cell) -> str:
    interval = rf" {{\scriptsize {escaped(cell.interval)}}}" if cell.interval else ""
    return escaped(cell.value) + interval


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
