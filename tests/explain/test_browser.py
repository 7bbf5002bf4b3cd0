"""The page in a real browser: pointing, selecting, switching, keys; no error, no request, no sideways scroll."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from cyclicxr.explain import write_index, write_result
from cyclicxr.explain.files import write_thumbnail

CHROMIUM = which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> Path:
    """Pages of a cycle, of a report alone, of a drawing alone, and their index."""
    out = tmp_path_factory.mktemp("pages")
    write_result(out, "cycle", drawn.result, drawn.film, drawn.synthetic)
    write_result(out, "report", replace(drawn.result, synthetic=None, keypatches=()), drawn.film, None)
    bare = replace(drawn.result, image=None, patches=(), words=(), keywords=(), sentences=())
    write_result(out, "draw", bare, None, drawn.synthetic)
    write_thumbnail(out, "cycle", drawn.film)
    write_index(out)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


class Visit:
    """One open page, with what it complained of and what it asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, height: int = 820, scheme: str = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page.set_default_timeout(60_000)  # of a busy machine
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def word(self, text: str) -> Any:
        return self.page.locator(".word", has_text=text).first

    def shown(self, state: str) -> set[str]:
        """Keys of the boxes of the large film in that state ("on" or "lit") that can really be seen."""
        script = """state => [...document.querySelectorAll('#film .mark.' + state)]
            .filter(g => getComputedStyle(g).visibility === 'visible').map(g => g.dataset.mark)"""
        return set(self.page.evaluate(script, state))


@pytest.fixture
def visit(browser: Any, folder: Path) -> Iterator[Visit]:
    opened = Visit(browser, folder / "cycle.html")
    yield opened
    assert opened.complaints == []
    opened.page.close()


def test_at_first_the_keywords_patches_are_shown_and_no_other(visit: Visit) -> None:
    assert visit.shown("on") == {"204", "136", "187", "137", "203", "103"}
    assert visit.shown("lit") == set()
    assert set(visit.page.locator("#film .tag").all_text_contents()) == {
        "pleural effusion +3.1", "enlarged +2.4", "atelectasis +1.9", "cardiac silhouette +1.6", "opacity +1.2", "thoracic spine +0.9",
    }  # fmt: skip


def test_tags_do_not_cover_one_another(visit: Visit) -> None:
    boxes = [tag.bounding_box() for tag in visit.page.locator("#film .tag").all()]
    assert len(boxes) == 6
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart_across = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
            apart_down = a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]
            assert apart_across or apart_down


def test_a_word_lights_its_patch_on_every_film(visit: Visit) -> None:
    visit.word("nodule").hover()
    assert visit.shown("lit") == {"52"}
    assert visit.page.locator(".mark.lit").count() == 3  # the large film, the original and the drawn one
    assert visit.page.locator(".readout").inner_text().startswith("nodule\ncosine")
    assert visit.page.locator(".loupe").is_visible()
    visit.page.mouse.move(2, 300)
    assert visit.shown("lit") == set()


def test_the_box_is_where_the_patch_is(visit: Visit, drawn: Any) -> None:
    visit.word("nodule").hover()
    film = visit.page.locator("#film").bounding_box()
    box = visit.page.locator("#film .mark.lit .box").bounding_box()
    x0, y0, x1, y1 = drawn.result.patches[52].box
    width, height = drawn.result.image.width, drawn.result.image.height
    assert box["x"] - film["x"] == pytest.approx(film["width"] * x0 / width, abs=2.5)  # a line is up to 3 pixels wide
    assert box["y"] - film["y"] == pytest.approx(film["height"] * y0 / height, abs=2.5)
    assert box["width"] == pytest.approx(film["width"] * (x1 - x0) / width, abs=4)
    assert film["width"] / film["height"] == pytest.approx(width / height, rel=0.01)
    assert box["height"] == pytest.approx(film["height"] * (y1 - y0) / height, abs=4)


def test_a_selected_sentence_keeps_its_boxes(visit: Visit) -> None:
    visit.page.locator(".pick").nth(1).click()
    visit.page.mouse.move(2, 300)
    assert visit.shown("on") == {"187", "188", "203", "204"}
    assert visit.page.locator(".pick").nth(1).get_attribute("aria-pressed") == "true"
    visit.page.keyboard.press("Escape")
    assert visit.shown("on") == {"204", "136", "187", "137", "203", "103"}


def test_all_patches_can_be_shown(visit: Visit) -> None:
    count = "() => [...document.querySelectorAll('#film .mark.patch')].filter(g => getComputedStyle(g).visibility === 'visible').length"
    assert visit.page.evaluate(count) == 6
    visit.page.locator(".switch").click()
    assert visit.page.evaluate(count) == 256
    visit.page.locator("#all").uncheck(force=True)
    assert visit.page.evaluate(count) == 6


def test_a_box_lights_its_words(visit: Visit) -> None:
    visit.page.locator("#film .mark[data-mark='103'] .box").hover()
    assert visit.page.locator(".word.lit").all_text_contents() == ["thoracic"]


def test_a_chip_lights_its_patch(visit: Visit) -> None:
    visit.page.locator(".chip", has_text="opacity").hover()
    assert visit.shown("lit") == {"203"}


def test_everything_is_reached_with_the_keyboard(visit: Visit) -> None:
    visit.word("The").focus()
    assert visit.word("The").get_attribute("tabindex") == "0"
    for key, word in (("ArrowRight", "cardiac"), ("ArrowDown", "There"), ("ArrowRight", "is"), ("ArrowUp", "The"), ("End", "spine")):
        visit.page.keyboard.press(key)
        assert visit.page.evaluate("document.activeElement.textContent") == word
        assert visit.page.locator(".word.lit").all_text_contents() == [word]
    visit.page.keyboard.press("Enter")
    assert visit.page.locator(".line.pinned").get_attribute("data-number") == "5"
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className").startswith("chip")
    assert visit.shown("lit") == {"204"}
    visit.page.locator("#all").focus()
    visit.page.keyboard.press("Space")
    assert visit.page.locator("#film.all").count() == 1


def test_the_two_films_can_be_wiped(visit: Visit) -> None:
    figures = visit.page.locator("#compare figure")
    beside = [figures.nth(i).bounding_box()["x"] for i in range(2)]
    assert beside[1] - beside[0] > 300
    visit.page.locator("[value=wipe]").check()
    wiped = [figures.nth(i).bounding_box()["x"] for i in range(2)]
    assert wiped[0] == wiped[1]
    visit.page.locator("#wipe").fill("20")
    assert visit.page.locator(".drawn img").evaluate("e => getComputedStyle(e).clipPath") == "inset(0px 0px 0px 20%)"


@pytest.mark.parametrize("name", ["cycle", "report", "draw", "index"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (800, 600), (1600, 1000)])
def test_every_page_fits_and_is_quiet(browser: Any, folder: Path, name: str, width: int, height: int) -> None:
    opened = Visit(browser, folder / f"{name}.html", width, height, scheme="dark")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.locator(".notice").is_visible()
    opened.page.mouse.wheel(0, 5000)
    opened.page.wait_for_timeout(50)
    notice = opened.page.locator(".notice").bounding_box()
    assert notice["y"] >= 0
    assert notice["y"] + notice["height"] <= height  # however far one scrolls
    assert opened.complaints == []
    outside = [url for url in opened.requests if not url.startswith(("data:", folder.as_uri()))]
    assert outside == []
    opened.page.close()


def test_on_a_narrow_screen_pointing_does_not_move_the_page(browser: Any, folder: Path) -> None:
    opened = Visit(browser, folder / "cycle.html", 390, 844)
    word = opened.word("effusion")
    before = word.bounding_box()
    word.hover()
    assert word.bounding_box() == before
    assert opened.shown("lit") == {"204"}
    opened.page.close()


def test_a_report_with_a_script_runs_nothing(browser: Any, folder: Path, drawn: Any) -> None:
    report = "Clear.<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    write_result(folder, "evil", replace(drawn.result, report=report, sentences=(), words=()), drawn.film, None)
    opened = Visit(browser, folder / "evil.html")
    assert opened.page.title() == "chest_0412.png · CyclicXR"
    assert "<script>" in opened.page.locator(".report").inner_text()
    assert opened.complaints == []
    opened.page.close()
