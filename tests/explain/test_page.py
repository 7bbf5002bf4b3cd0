"""The page as text: self-contained, inert, whole for every kind of result."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from cyclicxr.explain import IndexEntry, index_page, page
from cyclicxr.types import NOTICE, FrontalRecord, ImageRecord, KeypatchRecord, KeywordRecord, Result, SentenceRecord, WordRecord

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }}"


class Outline(HTMLParser):
    """Tags with their attributes, and the text outside script and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in {"script", "style"} else self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.text.append(data)

    def words(self) -> str:
        return " ".join("".join(self.text).split())


def minimal(**fields: object) -> Result:
    return replace(Result(ImageRecord("a/film.png", "0" * 64, 100, 50, "PA"), {"name": "m", "revision": "r"}, "Heart normal."), **fields)  # type: ignore[arg-type]


def poisoned() -> Result:
    box = (0.0, 0.0, 1.0, 1.0)
    return Result(
        image=ImageRecord(EVIL, EVIL, 100, 100, EVIL),
        model={EVIL: EVIL},
        report=EVIL,
        sentences=(SentenceRecord(EVIL, 0, len(EVIL), (box,), 0.5, True),),
        keywords=(KeywordRecord(EVIL, EVIL, 1.0, 0, box),),
        words=(WordRecord(EVIL, 0, 12, 0.5, 0, box),),
        keypatches=(KeypatchRecord(EVIL, box, 1, EVIL, 0.5, EVIL),),
        timings={EVIL: 1.0},
        notice=EVIL,
    )


def test_a_report_that_holds_a_script_is_inert() -> None:
    html = page(poisoned(), PNG, PNG)
    outline = Outline(html)
    assert [tag for tag, _ in outline.tags].count("script") == 1
    assert not [attrs for _, attrs in outline.tags if any(name.startswith("on") for name in attrs)]
    assert "alert(1)" in outline.words()  # shown, as text
    assert "{{ 7*7 }}" in outline.words()  # and no template of its own


def test_only_our_own_script_may_run() -> None:
    html = page(minimal(), PNG)
    policy = next(attrs["content"] for tag, attrs in Outline(html).tags if tag == "meta" and "http-equiv" in attrs)
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert policy is not None
    assert script is not None
    assert base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode() in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_the_page_fetches_nothing() -> None:
    html = page(minimal(keypatches=(KeypatchRecord("s", (0.0, 0.0, 1.0, 1.0), 1, "w", 0.5, "https://example.org/x.png"),)), PNG, PNG)
    addresses = [attrs[name] for _, attrs in Outline(html).tags for name in ("src", "href", "srcset", "action") if attrs.get(name)]
    assert addresses
    assert all(str(address).startswith("data:") for address in addresses)
    assert "url(" not in html
    assert "@import" not in html
    assert "example.org" not in html


@pytest.mark.parametrize(
    ("film", "drawn", "pictures"), [(PNG, PNG, 3), (PNG, None, 1), (None, PNG, 1), (None, None, 0)], ids=["cycle", "report", "draw", "bare"]
)
def test_the_page_adapts_to_what_there_is(film: bytes | None, drawn: bytes | None, pictures: int) -> None:
    result = minimal() if film else minimal(image=None)
    outline = Outline(page(result, film, drawn))
    assert [tag for tag, _ in outline.tags].count("img") == pictures
    assert ("There and back" in outline.words()) == (film is not None and drawn is not None)
    assert NOTICE in outline.words()


def test_the_film_keeps_its_aspect_ratio() -> None:
    assert "--ratio:2.0" in page(minimal(), PNG)  # 100 x 50 pixels
    assert 'viewBox="0 0 1000 500.0"' in page(minimal(), PNG)
    assert "--ratio:1.0" in page(minimal(image=None), None, PNG)


def test_boxes_of_a_drawing_count_in_its_own_pixels() -> None:
    box = (0.0, 0.0, 0.5, 1.0)  # the left half of a film of one pixel
    html = page(minimal(image=None, words=(WordRecord("Heart", 0, 5, 0.5, 0, box),)), None, PNG)
    assert '<rect class="box" x="0.0" y="0.0" width="500.0" height="1000.0"' in html


def test_consistency_is_a_meter_or_not_measured() -> None:
    sentences = (SentenceRecord("Heart", 0, 5, (), 0.214, True), SentenceRecord("normal.", 6, 13, (), None))
    outline = Outline(page(minimal(sentences=sentences), PNG))
    (meter,) = [attrs for tag, attrs in outline.tags if attrs.get("role") == "meter"]
    assert meter["aria-valuenow"] == "0.21"
    assert outline.words().count("not measured") == 1
    assert outline.words().count("not supported by the film") == 1


def test_a_drawing_without_film_has_no_consistency() -> None:
    sentences = (SentenceRecord("Heart normal.", 0, 13, ()),)
    assert "not measured" not in Outline(page(minimal(image=None, sentences=sentences), None, PNG)).words()


def test_the_title_is_the_file_name() -> None:
    assert "<title>film.png · CyclicXR</title>" in page(minimal(), PNG)
    assert "<title>Drawn from text · CyclicXR</title>" in page(minimal(image=None), None, PNG)


def test_the_index_links_each_result_and_is_inert() -> None:
    entries = [IndexEntry("a b", "a b.html", "thumbnails/a b.jpg", EVIL, 2), IndexEntry("c", "c.html", "", "Clear.", 0)]
    outline = Outline(index_page(entries))
    assert [attrs["href"] for tag, attrs in outline.tags if tag == "a"] == ["a%20b.html", "c.html"]
    assert [tag for tag, _ in outline.tags].count("script") == 0
    assert "2 not supported by the film" in outline.words()
    assert NOTICE in outline.words()


def test_the_gate_is_one_line_and_a_forced_film_is_flagged_on_top() -> None:
    image = minimal().image
    assert image is not None
    passed = Outline(page(minimal(image=replace(image, frontal=FrontalRecord(0.98, ""))), PNG)).words()
    forced = Outline(page(minimal(image=replace(image, frontal=FrontalRecord(0.03, "lateral"))), PNG)).words()
    assert "frontal chest filmscore 0.98" in passed and "forced" not in passed
    assert "100 × 50 pxlooks lateral" in forced and "frontal chest filmscore 0.03: looks lateral, forced" in forced
    assert "frontal chest film" not in Outline(page(minimal(), PNG)).words()
