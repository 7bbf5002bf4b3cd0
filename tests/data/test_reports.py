"""Report text: joined, normalised, mended, cut into sentences."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.data.reports import count_tokens, normalise, report_text, sentences, without_marks


@pytest.mark.parametrize(
    ("findings", "impression", "report"),
    [
        ("Lungs clear.", "Normal chest.", "Lungs clear. Normal chest."),
        ("Lungs  clear", " Normal chest.\n", "Lungs clear. Normal chest."),
        ("", "Normal chest.", "Normal chest."),
        ("Lungs clear.", "", "Lungs clear."),
        ("Findings:", "none", "Findings: none"),
        ("", "", ""),
    ],
)
def test_findings_come_before_the_impression(findings: str, impression: str, report: str) -> None:
    assert report_text(findings, impression) == report


def test_normalise_spells_each_character_one_way() -> None:
    assert normalise("5\u00a0mm ﬁne\tlines\r\nＡP \u200bview\x00 ") == "5 mm fine lines AP view"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("1½ cm, ½ inch", "1 1/2 cm, 1/2 inch"),  # not 11/2
        ("10³ per µL", "10^3 per μL"),  # not 103
        ("“left” base’s 3–5 mm", '"left" base\'s 3-5 mm'),
        ("pneumo\u00adthorax", "pneumothorax"),
        ("a\u202eb\x85c", "a b c"),
    ],
)
def test_normalise_keeps_words_and_numbers_whole(text: str, normal: str) -> None:
    assert normalise(text) == normal


@given(st.text(max_size=60) | st.text("1½³²¹⁴´‘“–…\u00ad\u200b\u0301é ﬁ", max_size=12))
def test_normalise_twice_is_as_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("marked", "mended"),
    [
        ("Heart size is XXXX normal.", "Heart size is normal."),
        ("There are no XXXX of a pleural effusion.", "There are no pleural effusion."),
        ("Normal chest x-XXXX.", "Normal chest."),
        ("XXXX-year-old male, XXXX.", ""),
        ("The XXXX are intact. No effusion.", "No effusion."),
        ("The heart and lungs have XXXX XXXX in the interval. Lungs are clear.", "Lungs are clear."),
        ("Stable from prior exam on XXXX.", "Stable from prior exam."),
        ("Compared to 02/010/XXXX, no change.", "Compared, no change."),
        ("Nodule (XXXX) in the apex.", "Nodule in the apex."),
        ("XXXX and soft tissues are unremarkable.", "Soft tissues are unremarkable."),
        ("XXXX calcified granuloma.", "Calcified granuloma."),
        ("There is a XXXX-A-XXXX terminating at the junction. No effusion.", "No effusion."),
        ("Pulmonary vasculature and XXXX are unchanged.", "Pulmonary vasculature are unchanged."),
        ("Atelectasis XXXX/fluid at the base.", "Atelectasis fluid at the base."),
        ("Patient of ___ years, seen by Dr. ___. Clear lungs.", "Patient of years, seen by Dr. Clear lungs."),
        ("1. XXXX. 2. Clear lungs.", "2. Clear lungs."),
        ("XXXX", ""),
        ("No acute process.. Clear lungs. .", "No acute process. Clear lungs."),
        ("Vertebra T12 X-ray, xx, X.", "Vertebra T12 X-ray, xx, X."),
    ],
)
def test_marks_are_dropped_and_what_they_leave_is_mended(marked: str, mended: str) -> None:
    assert without_marks(marked) == mended


REPORTS = st.lists(
    st.sampled_from(
        "XXXX ___ x-XXXX. The the is are no of on and (XXXX) , . / < > - 1. 2. Heart heart. 3.5 cm XXXX/XXXX. a\ue000b".split(" ")
    ),
    max_size=25,
).map(" ".join)


@given(REPORTS | st.text(max_size=60))
def test_no_mark_is_left_and_twice_is_as_once(text: str) -> None:
    once = without_marks(text)
    assert "XXX" not in once and "__" not in once and "\ue000" not in once
    assert without_marks(once) == once
    assert once == once.strip() and "  " not in once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heart is normal. No effusion.", ["Heart is normal.", "No effusion."]),
        ("1. A 1.7 cm nodule. 2. No effusion", ["A 1.7 cm nodule.", "No effusion"]),
        ("Mild enlargement.Prominence of the hilum.", ["Mild enlargement.", "Prominence of the hilum."]),
        ("Seen by Dr. Smith vs. Jones. Clear.", ["Seen by Dr. Smith vs. Jones.", "Clear."]),
        ("Clear lungs. .", ["Clear lungs."]),
        ("Is it new? Yes (likely). See CT.", ["Is it new?", "Yes (likely).", "See CT."]),
        ("approx. 3 mm e.g. small", ["approx. 3 mm e.g. small"]),
        ("Findings\n\nImpression", ["Findings", "Impression"]),
        ("...", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert [sentence for sentence, _, _ in sentences(text)] == expected


@given(REPORTS | st.text(max_size=60))
def test_sentences_say_where_they_stand_and_do_not_overlap(text: str) -> None:
    found = sentences(text)
    assert all(text[start:end] == sentence and sentence.strip() == sentence for sentence, start, end in found)
    assert all(before[2] <= after[1] for before, after in pairwise(found))
    assert sum(count_tokens(sentence) for sentence, _, _ in found) <= count_tokens(text) + text.count("/")


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("XXXX .", 0), ("Normal chest.", 2), ("No 1.7 cm nodule, right-sided", 5), ("___ ... !", 0)]
)
def test_tokens_are_words(text: str, count: int) -> None:
    assert count_tokens(text) == count


@pytest.mark.parametrize("unit", ["a", "1", "1/", "X", "_", "a-"])
def test_a_word_of_any_length_is_read_in_time(unit: str) -> None:
    text, started = unit * (60_000 // len(unit)), time.process_time()
    count_tokens(text)
    without_marks(f"Small effusion. {text}")
    assert time.process_time() - started < 10  # minutes where each letter looks for a mark behind all the others
