"""Tables show the metric names, the intervals, and a dash where there is no number; text from outside stays text in HTML."""

from cyclicxr.evaluate.tables import html_page, markdown_page, markdown_table

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
    page = markdown_page(METRICS)
    assert "# toy on 4 films of 'test'" in page
    assert "## draw" not in page  # no numbers, no table


def test_html_escapes_what_it_shows():
    page = html_page(METRICS)
    assert "&lt;ours&gt;" in page
    assert "<ours>" not in page
    assert "how &amp; why" in page
    assert "0.123 <span>[0.100, 0.150]</span>" in page
