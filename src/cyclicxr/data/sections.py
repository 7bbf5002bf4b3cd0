"""A whole report as it was dictated -> its findings, impression and indication; knows no data set and no film.

What counts as a heading, and what is done with reports that have none, several or an addendum, is decision 0028. Beside the parser that
MIMIC-CXR's authors give: "ndication" is an indication, headings are found in any case and in the middle of a line, and "LUNGS:" within the
findings does not end them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple

from cyclicxr.data.reports import normalise

# Which section a heading begins. "views" (CHEST, PA AND LATERAL) is read as findings where nothing else is.
_KINDS = {
    "findings": ("findings", "finding", "report findings", "radiographic findings"),
    "impression": (
        "impression",
        "impressions",
        "conclusion",
        "conclusions",
        "findings and impression",
        "impression and findings",
        "opinion",
    ),
    "indication": (
        *("indication", "indications", "clinical indication", "reason for exam", "reason for examination", "reason for study", "history"),
        *("clinical history", "clinical information", "clinical data", "patient history", "indication and history", "pfi"),
    ),
    "addendum": ("addendum", "addenda", "final addendum"),
    "other": (
        *("comparison", "comparisons", "technique", "examination", "exam", "procedure", "type of examination", "study", "notification"),
        *(
            "recommendation",
            "recommendations",
            "recommendation s",
            "wet read",
            "wetread",
            "preliminary report",
            "final report",
            "report",
            "date",
        ),
        *(
            "comment",
            "comparison film",
            "comparison exam",
            "reference exam",
            "dictated by",
            "signed by",
            "electronically signed by",
            "attestation",
        ),
    ),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}
_OWN_LINE = (
    _KINDS["findings"] + _KINDS["impression"] + _KINDS["indication"] + _KINDS["addendum"] + ("final report", "comparison", "technique")
)
_LONG = [name for name in _KIND_OF if len(name) >= 7]  # that a slip of a letter leaves recognisable
_LIKENESS = 0.87  # [ours] share of letters in common; "finidngs" .88, "compression" and "impression" .86
_VIEWS = re.compile(r"\b(chest|portable|views?|pa and lat\w*|ap and lat\w*|lateral and [ap]{2}|frontal|ribs)\b")
_ANATOMY = re.compile(
    r"\b(lungs?|heart|cardi\w+|pleura\w*|mediastin\w+|hil\w+|bones?|osseous|skelet\w+|musculoskeletal|soft tissues?|chest wall|abdomen"
    r"|diaphragms?|airways?|aorta|vascul\w+|lines|tubes|catheters|devices|hardware|spine|ribs|other|additional|support \w+)\b"
)

_REST = r"[A-Za-z ()/,&'-]{1,58}"
_NAME = rf"[A-Za-z]{_REST}"
# At the start of a line in any case ("Findings:"), anywhere in capitals ("... are clear IMPRESSION: Normal"), behind a sentence with a
# capital ("... are clear. Impression: Normal"), or on a line of its own ("Findings").
_HEADING = re.compile(
    rf"^[ \t*#]*(?P<line>{_NAME}?)[ \t]*\*{{0,2}}:\*{{0,2}}|(?P<inner>(?<![A-Za-z/,&-])[A-Z][A-Z ()/&'-]{{2,58}}?)[ ]?:"
    rf"|(?<=[.!?] )(?P<behind>[A-Z]{_REST}?):|^[ \t*#]*(?P<own>{_NAME}?)[ \t*]*$",
    re.MULTILINE,
)
_PARAGRAPH = re.compile(r"\n[ \t\r\f\v_-]*\n")


@dataclass(frozen=True)
class Sections:
    """The parts of one report, each normalised and "" where it is missing.

    Args:
        findings: of the last section of this name that holds words.
        impression: likewise; also "CONCLUSION" and "FINDINGS AND IMPRESSION".
        indication: likewise.
        text: the whole report.
        found: whether findings or impression stood under a heading.
        notes: what the rules of decision 0028 passed over or put together, such as "addendum left aside".
    """

    findings: str
    impression: str
    indication: str
    text: str
    found: bool
    notes: tuple[str, ...] = ()


class _Part(NamedTuple):
    kind: str
    text: str


def split_report(text: str) -> Sections:
    """Find the sections of a report; any text is one, and nothing is raised.

    Args:
        text: with its line breaks where it has any.

    >>> found = split_report("INDICATION: Cough. FINDINGS: Lungs are clear. IMPRESSION: Normal chest.")
    >>> found.indication, found.findings, found.impression
    ('Cough.', 'Lungs are clear.', 'Normal chest.')
    """
    parts = [part for part in _parts(text.replace("\r\n", "\n").replace("\r", "\n")) if part.text]
    notes = {f"{kind} left aside" for kind in ("addendum",) if any(part.kind == kind for part in parts)}
    notes |= {f"earlier {kind} left aside" for kind in ("findings", "impression") if sum(part.kind == kind for part in parts) > 1}
    last = {part.kind: part.text for part in parts}
    findings = last.get("findings", "")
    if not findings and "views" in last:
        findings = last["views"]
        notes.add("findings under the name of the views")
    return Sections(
        findings,
        last.get("impression", ""),
        last.get("indication", ""),
        normalise(text),
        bool(findings or last.get("impression")),
        tuple(sorted(notes)),
    )


def last_paragraph(text: str) -> str:
    """What stands after the first empty line of a report's last section: the text of a MIMIC-CXR report without findings and impression.

    Returns:
        Normalised; "" where there is no such line.
    """
    sections = list(_raw_parts(text.replace("\r\n", "\n").replace("\r", "\n")))
    pieces = _PARAGRAPH.split(sections[-1][1].lstrip("\n"), maxsplit=1)
    return normalise(pieces[1]) if len(pieces) > 1 else ""


def _parts(text: str) -> Iterator[_Part]:
    for kind, raw in _raw_parts(text):
        yield _Part(kind, normalise(raw))


def _raw_parts(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each section, in order; the first is "preamble", what stands before any heading."""
    kind, start, at = "preamble", 0, 0
    while match := _HEADING.search(text, at):
        found = _kind(match, kind)
        at = match.end() if found else match.start() + 1  # of "No change, IMPRESSION:" the first two words are no part of the heading
        if found:
            yield kind, text[start : match.start()]
            kind, start = found, match.end()
    yield kind, text[start:]


def _kind(match: re.Match[str], within: str) -> str:
    """The kind of section that a heading begins, "" where it is none and belongs to the text."""
    name = next(filter(None, match.groups()))
    words = " ".join(re.sub(r"[()/,&'-]", lambda mark: " and " if mark[0] in "/&" else " ", name.lower()).split())
    if match["own"]:
        return _KIND_OF.get(words, "") if words in _OWN_LINE else ""
    known = _KIND_OF.get(words) or _misspelt(words)
    if known or not match["line"] or not name.isupper():
        return known
    if within in {"findings", "impression", "views"} and _ANATOMY.search(words):
        return ""  # "LUNGS: clear."
    return "views" if _VIEWS.search(words) else "other"


@lru_cache(4096)
def _misspelt(words: str) -> str:
    close = get_close_matches(words, _LONG, n=1, cutoff=_LIKENESS)
    return _KIND_OF[close[0]] if close else ""
