"""LaTeX checked by hand: each row has as many cells as its table, nothing is left unescaped, printed rows are set off."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.evaluate.latex import MOST_COLUMNS, escaped, latex_grid, latex_page
from cyclicxr.evaluate.tables import Cell, Grid, Line

GRID = Grid(
    "Reports & more",
    ("BLEU-4", "R@1 / chance"),
    (
        Line("this_model", (Cell("0.123", "[0.100, 0.150]"), Cell("–"))),
        Line("R2Gen, as printed", (Cell("0.1038"), Cell("–")), printed=True),
    ),
    ("100 % of it",),
)


def test_a_table_by_hand():
    assert latex_grid(GRID).splitlines() == [
        r"\begin{table}[ht]",
        r"\centering\small",
        r"\caption{Reports \& more. 100 \% of it}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r" & BLEU-4 & R@1 / chance \\",
        r"\midrule",
        r"this\_model & 0.123 {\scriptsize {[}0.100, 0.150{]}} & -- \\",
        r"\midrule",
        r"\emph{R2Gen, as printed} & 0.1038 & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_many_columns_are_split_over_tables():
    columns = tuple(f"m{i}" for i in range(2 * MOST_COLUMNS + 1))
    text = latex_page([Grid("wide", columns, (Line("a", tuple(Cell(str(i)) for i in range(len(columns)))),))])
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert text.count("(continued)") == 2
    widths = [len(found) for found in re.findall(r"\\begin\{tabular\}\{l(r*)\}", text)]
    assert widths == [4, 4, 3]  # 11 columns, 5 at most
    assert [row.count("&") for row in text.splitlines() if row.startswith("a ")] == widths
    assert r"\usepackage{booktabs}" in text.splitlines()[0]


@given(st.text(max_size=30))
def test_no_text_breaks_out(text):
    found = escaped(text)
    plain = re.sub(r"\\(?:text\w+\{\}|[&%$#_{}])|\$\\\w+\$|\$-\$|\{\[\}|\{\]\}", "", found)
    assert not set(plain) & set("\\&%$#_{}~^<>[]\n")
    assert all(ord(letter) < 0x180 and letter.isprintable() for letter in found)
