"""The page of an evaluation: shortcomings first, outside text stays text, nothing is fetched; no error and no sideways scroll."""

import re
from shutil import which

import numpy as np
import pytest

from cyclicxr.evaluate.figures import retrieval_curves
from cyclicxr.evaluate.gallery import Patch, Shown, film_uri
from cyclicxr.evaluate.page import grid_page, html_page
from cyclicxr.evaluate.tables import Cell, Grid, Line

CHROMIUM = which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def number(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 9}


@pytest.fixture(scope="module")
def page():
    metrics = {f"metric {i}": number(i / 20) for i in range(14)} | {"BLEU-1": number(0.3)}
    about = {
        "model": {"name": "<toy>"},
        "split": "test",
        "n": 9,
        "seed": 0,
        "protocol": ["how & why"],
        "cannot": ["It does not look."],
        "can": [],
    }
    numbers = {"about": about, "report": {"this model": metrics, "<b>theirs</b>": metrics}, "draw": {}}
    film = film_uri(np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1)))
    keywords = tuple(Patch(f"<i>keyword {i}</i>", (8.0 * i, 8.0, 8.0 * i + 8, 24.0)) for i in range(6))
    written = "The heart is <script>alert(1)</script> large. " * 8
    cases = [
        Shown(kind, i + 1, 3, f"s{i}", 0.5, film, "true " * 40, written, "", {"missed": "mass"}, keywords, (64, 64))
        for i, kind in enumerate(("best", "median", "worst"))
    ]
    plots = [retrieval_curves({"this model": {"CXR-to-report": [1, 2, 9]}}, {"CXR-to-report": 9})]
    return html_page(numbers, plots, cases, [Shown("best", 1, 1, "s0", 0.9, film, "true", "", film)])


def test_what_it_cannot_do_comes_first_and_what_is_outside_stays_text(page):
    assert page.index("It does not look.") < page.index("how &amp; why") < page.index("<table>")
    assert "What its numbers hold up" not in page
    assert "&lt;toy&gt;" in page
    assert not re.search(r"<script|<b>theirs|<i>keyword", page)
    assert "R2Gen (2020), OpenI, as printed, other protocol" in page
    assert "belongs where the studies table belongs" in page


def test_nothing_is_fetched(page):
    assert set(re.findall(r'(?:src|href)="([a-z]+):', page)) == {"data"}
    assert "default-src 'none'" in page


def test_without_films_nothing_is_said_of_patients():
    about = {"model": {"name": "toy"}, "split": "test", "n": 9, "seed": 0, "protocol": [], "cannot": [], "can": []}
    assert "patients" not in html_page({"about": about})
    assert "<em>" not in grid_page("Table 1", Grid("<em>", ("a",), (Line("r", (Cell("1"),)),)), about)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(page, tmp_path, width):
    from playwright.sync_api import sync_playwright

    (tmp_path / "metrics.html").write_text(page, encoding="utf-8")
    complaints, requests = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_page(viewport={"width": width, "height": 900})
        shown.set_default_timeout(60_000)
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("request", lambda request: requests.append(request.url))
        shown.goto((tmp_path / "metrics.html").as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        film, box = shown.locator(".film").first.bounding_box(), shown.locator(".film rect").first.bounding_box()
        assert box["x"] == pytest.approx(film["x"], abs=3)  # the first patch lies at the film's left edge, an eighth of it wide
        assert box["width"] == pytest.approx(film["width"] / 8, abs=4)
        assert box["y"] == pytest.approx(film["y"] + film["width"] / 8, abs=3)  # the film is square, whatever stands beside it
        assert box["height"] == pytest.approx(film["width"] / 4, abs=4)
        browser.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
