"""Tables show the metric names, the intervals, and a dash where there is no number; text from outside stays text in HTML."""

from cyclicxr.evaluate.tables import Cell, Grid, Line, cell_of, grid_of, html_grid, markdown_grid, markdown_page, markdown_table

ROWS = {
    "<ours>": {"BLEU-4": {"value": 0.1234, "low": 0.1, "high": 0.15, "n": 4}, "FID": {"value": 12.345, "low": None, "high": None, "n": 4}},
    "other": {"median rank": {"value": 7.0, "low": 5.0, "high": 9.0, "n": 4}},
}
METRICS = {"about": {"model": {"name": "toy"}, "n": 4, "split": "test", "protocol": ["how & why"]}, "report": ROWS, "draw": {}}


def test_markdown():
    lines = markdown_table(ROWS).splitlines()
    assert lines[0] == "|  | BLEU-4 | FID | median rank |"
    assert lines[2] == "| <ours> | 0.123 [0.100, 0.150] | 12.3 | – |"
    assert lines[3] == "| other | – | – | 7 [5, 9] |"
    page = markdown_page(METRICS | {"about": METRICS["about"] | {"cannot": ["It does not look."]}})
    assert "# toy on 4 films of 'test'" in page
    assert "- It does not look." in page
    assert page.index("It does not look.") < page.index("how & why")
    assert "## draw" not in page  # no numbers, no table
    assert "cannot do" not in markdown_page(METRICS)


def test_a_bar_in_a_name_makes_no_column():
    assert markdown_grid(Grid("t", ("a",), (Line("x|y", (Cell("1"),)),))).splitlines()[2] == "| x\\|y | 1 |"


def test_a_difference_shows_its_p():
    number = {"value": -0.01, "low": -0.02, "high": 0.003, "n": 4, "p": 0.0402}
    assert cell_of(number, "BLEU-4") == Cell("-0.010", "[-0.020, 0.003] p = 0.040")
    assert cell_of(number | {"p": 0.0001}, "BLEU-4").interval.endswith("p < 0.001")
    assert cell_of({"value": 0.5, "low": 0.25, "high": 0.75, "n": 4}, "R@1", times=100.0) == Cell("50.0", "[25.0, 75.0]")


def test_html_escapes_what_it_shows():
    text = html_grid(grid_of("t", ROWS))
    assert "&lt;ours&gt;" in text
    assert "<ours>" not in text
    assert "0.123 <span>[0.100, 0.150]</span>" in text
    assert '<tr class="printed">' in html_grid(Grid("t", ("a",), (Line("R2Gen", (Cell("1"),), printed=True),)))
