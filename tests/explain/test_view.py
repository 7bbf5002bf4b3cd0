"""The layout of a result: numbers by hand, and a report that comes back letter by letter whatever the spans."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.explain.view import Line, View, view_of
from cyclicxr.types import KeypatchRecord, KeywordRecord, PatchRecord, Result, SentenceRecord, WordRecord

BOX = (50.0, 100.0, 150.0, 300.0)
PATCHES = (PatchRecord(BOX, (100.0, 230.0), (0.0, -30.0)), PatchRecord((9.0, 9.0, 9.0, 9.0), (9.0, 9.0), (0.0, 0.0)))


def result_with(**fields: Any) -> Result:
    return Result(**{"image": None, "model": {}, "report": "", "patches": PATCHES, **fields})


def seen(**fields: Any) -> View:
    return view_of(result_with(**fields), 500, 1000)


def test_boxes_are_in_thousandths_of_the_width() -> None:
    drawing = seen().drawing
    mark = drawing.patches[0]
    assert drawing.units_high == 2000
    assert (mark.x, mark.y, mark.width, mark.height) == (100, 200, 200, 400)
    assert (mark.anchor, mark.centre) == ((200, 460), (200, 400))
    assert mark.note == "patch 0, 30 px up"


def test_the_arrow_points_from_the_fixed_to_the_shifted_centre() -> None:
    head = seen().drawing.patches[0].head
    tip = head.split("L")[1]
    assert tip == "200.0 400.0"
    feet = [float(foot.split()[1]) for foot in (head.split("L")[0][1:], head.split("L")[2])]
    assert min(feet) > 400  # below the tip: the arrow goes up


def test_a_dead_patch_that_did_not_move_has_no_box_and_no_arrow() -> None:
    mark = seen().drawing.patches[1]
    assert mark.dead
    assert mark.head == ""
    assert mark.note == "patch 1, not shifted"


def test_a_sentence_box_that_is_a_patch_is_that_patch() -> None:
    other = (1.0, 2.0, 3.0, 4.0)
    sentence = SentenceRecord("All.", 0, 4, (BOX, other, BOX))
    view = seen(report="All.", sentences=(sentence,))
    assert view.lines[0].marks == ("0", "x0")
    assert view.drawing.extras[0].anchor is None


def test_a_record_that_names_a_patch_lights_that_patch() -> None:
    word = WordRecord("All", 0, 3, 0.5, 1, BOX)
    keyword = KeywordRecord("heart", "biological structure", 1.0, 0, BOX)
    view = seen(report="All.", words=(word,), keywords=(keyword,))
    assert view.lines[0].pieces[0].mark == "1"
    assert (view.keywords[0].mark, view.keywords[0].left, view.keywords[0].top) == ("0", 10, 10)


def test_without_patches_words_keep_their_boxes() -> None:
    view = seen(report="All.", patches=(), words=(WordRecord("All", 0, 3, 0.5, 7, BOX),))
    assert view.lines[0].pieces[0].mark == "x0"


def test_sentences_are_numbered_and_what_stands_between_them_is_kept() -> None:
    report = "FINDINGS: Clear. Heart normal."
    sentences = (SentenceRecord("Heart normal.", 17, 30, ()), SentenceRecord("Clear.", 10, 16, ()))
    lines = seen(report=report, sentences=sentences).lines
    assert [(line.number, line.text) for line in lines] == [(0, "FINDINGS: "), (1, "Clear."), (2, "Heart normal.")]


def test_the_ninth_sentence_has_the_first_colour() -> None:
    assert [Line(number, "", ()).colour for number in (1, 8, 9)] == [1, 8, 1]


def test_word_strength_ranks_the_words() -> None:
    words = tuple(WordRecord(t, i, i + 1, score, 0, BOX) for i, (t, score) in enumerate((("a", 0.2), ("b", 0.6), ("c", 0.3))))
    pieces = seen(report="abc", words=words).lines[0].pieces
    assert [piece.strength for piece in pieces] == [0.0, 1.0, 0.25]


@pytest.mark.parametrize("thumbnail", ["https://example.org/x.png", "data:text/html;base64,AAAA", 'data:image/png;base64,AA" onload="x'])
def test_a_thumbnail_that_is_no_png_in_the_page_is_left_out(thumbnail: str) -> None:
    keypatch = KeypatchRecord("s", (0.0, 0.0, 1.0, 1.0), 1, "w", 0.5, thumbnail)
    assert seen(keypatches=(keypatch,)).keypatches[0].thumbnail == ""


def test_times_are_shares_of_the_longest_stage() -> None:
    shares = {t.name: t.share for t in seen(timings={"match": 1.0, "draw": 4.0, "total": 5.0}).timings}
    assert shares == {"match": 0.25, "draw": 1.0, "total": 1.0}


spans = st.lists(st.tuples(st.integers(-3, 60), st.integers(-3, 60)), max_size=6)


@given(st.text(max_size=40), spans, spans)
def test_no_letter_of_the_report_is_lost_or_doubled(
    report: str, sentence_spans: list[tuple[int, int]], word_spans: list[tuple[int, int]]
) -> None:
    result = result_with(
        report=report,
        sentences=tuple(SentenceRecord("", start, end, ()) for start, end in sentence_spans),
        words=tuple(WordRecord("", start, end, 0.0, 0, BOX) for start, end in word_spans),
    )
    lines = view_of(result, 500, 1000).lines
    assert all("".join(piece.text for piece in line.pieces) == line.text for line in lines)
    assert "".join("".join(line.text for line in lines).split()) == "".join(report.split())
