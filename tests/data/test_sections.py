"""Sections of a report: headings wherever and however they stand, and the traps that other parsers fell into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.data.reports import normalise
from cyclicxr.data.sections import last_paragraph, split_report

MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with new ascites  // eval for infection

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  None.

 FINDINGS:

 There is no focal consolidation.  Nodular
 opacities may represent nipple shadows.

 IMPRESSION:

 No acute process.
"""


def test_a_report_of_mimic_s_form() -> None:
    found = split_report(MIMIC)
    assert found.findings == "There is no focal consolidation. Nodular opacities may represent nipple shadows."
    assert found.impression == "No acute process."
    assert found.indication == "___F with new ascites // eval for infection"
    assert found.found and not found.notes and found.text.startswith("FINAL REPORT EXAMINATION: CHEST (PA AND LAT) INDICATION")


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        ("IMPRESSION: Normal.\nFINDINGS: Clear lungs.", "Clear lungs.", "Normal."),  # any order
        ("findings:\nclear lungs\nimpression:\nnormal", "clear lungs", "normal"),  # any case
        ("Findings\nClear lungs.\nImpression\nNormal.", "Clear lungs.", "Normal."),  # a line of its own
        ("**FINDINGS**: Clear.\n**IMPRESSION:** Normal.", "Clear.", "Normal."),
        ("FINDINGS AND IMPRESSION: Clear lungs.", "", "Clear lungs."),
        ("Findings/Impression: Clear lungs.", "", "Clear lungs."),
        ("CONCLUSION: Clear lungs.", "", "Clear lungs."),
        ("FINDINGS: IMPRESSION: Normal.", "", "Normal."),  # a heading right behind a heading
        ("FINDINGS: Clear lungs. IMPRESSION: Normal.", "Clear lungs.", "Normal."),  # in the middle of a line
        ("Findings: Clear lungs. Impression: Normal.", "Clear lungs.", "Normal."),
        ("No change, IMPRESSION: Normal.", "", "Normal."),
        ("The impression: normal.", "", ""),  # not a heading
        ("FINDINGS: Clear lungs; the final impression: none.", "Clear lungs; the final impression: none.", ""),
        ("NDICATION: Cough.\nIMPRESSION: Normal.", "", "Normal."),  # MIMIC-CXR's own parser takes the first for the impression
        ("NDICATION: Cough.", "", ""),
        ("FINDNGS: Clear lungs.\nIMPRESSON: Normal.", "Clear lungs.", "Normal."),
        ("COMPRESSION: None.", "", ""),
        ("FINDINGS:\n LUNGS: Clear.\n HEART: Normal.\nNOTIFICATION: Dr. ___ was called.", "LUNGS: Clear. HEART: Normal.", ""),
        ("FINDINGS: Clear.\nDICTATED IN THE NIGHT: yes", "Clear.", ""),
        ("PORTABLE CHEST, ONE VIEW:\n Clear lungs.\n IMPRESSION: Normal.", "Clear lungs.", "Normal."),
        ("CHEST, PA AND LATERAL:\n\n FINDINGS: Clear lungs.", "Clear lungs.", ""),  # a title, not a section
        ("FINDINGS: Old.\nIMPRESSION: Old.\nFINAL REPORT\nFINDINGS: New.\nIMPRESSION: New too.", "New.", "New too."),
        ("ADDENDUM: Discussed by telephone.\nFINAL REPORT\nIMPRESSION: Normal.", "", "Normal."),
        ("IMPRESSION: At 3:14 PM the tube was moved.", "", "At 3:14 PM the tube was moved."),
        ("FINDINGS:\r\nClear lungs.\r\nIMPRESSION:\r\nNormal.", "Clear lungs.", "Normal."),
        ("Clear lungs.", "", ""),
        ("", "", ""),
    ],
)
def test_headings_are_found(text: str, findings: str, impression: str) -> None:
    found = split_report(text)
    assert (found.findings, found.impression) == (findings, impression)
    assert found.found == bool(findings or impression)


def test_what_is_passed_over_is_noted() -> None:
    text = "ADDENDUM: Called.\nFINDINGS: Old.\nFINDINGS: New.\nIMPRESSION: One.\nIMPRESSION: Two."
    assert split_report(text).notes == ("addendum left aside", "earlier findings left aside", "earlier impression left aside")
    assert split_report("CHEST:\nClear lungs.").notes == ("findings under the name of the views",)


@pytest.mark.parametrize(
    ("text", "paragraph"),
    [
        ("INDICATION: Cough.\n \n The lungs are clear.\n \n No effusion.", "The lungs are clear. No effusion."),
        ("INDICATION: Cough.", ""),
        ("COMPARISON: None.\n ___________\n Clear lungs.", "Clear lungs."),
        ("Chest film of ___.\n\nClear lungs.", "Clear lungs."),
        ("", ""),
    ],
)
def test_the_last_paragraph_stands_for_an_impression(text: str, paragraph: str) -> None:
    assert last_paragraph(text) == paragraph


PIECES = st.lists(
    st.sampled_from(
        (
            *("FINDINGS:", "Findings", "IMPRESSION:", "Impression:", "ADDENDUM:", "LUNGS:", "FINDINGS AND IMPRESSION:", "NDICATION:", "No"),
            *("clear lungs.", "\n", "\n\n", " ", "___", "CHEST, PA:", "\r\n", "1.", "“a”", "½", "3:14", "-", "A B C", "**"),
        )
    ),
    max_size=20,
).map("".join)


@given(PIECES | st.text(max_size=80))
def test_any_text_is_a_report_and_no_word_is_invented(text: str) -> None:
    found = split_report(text)
    assert found.text == normalise(text)
    for part in (found.findings, found.impression, found.indication, last_paragraph(text)):
        assert part == normalise(part)
        assert set(part) <= set(found.text)
        assert all(word in found.text for word in part.split())
