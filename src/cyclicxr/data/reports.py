"""Report text as the models read it: sections joined, one spelling of each character, marks of de-identification gone, sentences found;
knows no film and no tokenizer.
"""

from __future__ import annotations

import re
import unicodedata

MIN_TOKENS = 3  # [paper 4.1] "remove the reports with less than 3 tokens"

_WORD = re.compile(r"[^\W_]+(?:[-'’.,/][^\W_]+)*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufffd\ue000]")
_INVISIBLE = re.compile(r"[\xad\u200c-\u200f\u2060\ufeff]")  # within words: soft hyphens, joiners, byte order marks
_PLAIN = str.maketrans("‘’‚‛′“”„‟″‐‑‒–−⁃⁄", "'''''\"\"\"\"\"------/")
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")  # "1½" is no "11/2"
_POWER = re.compile(r"(?<=\d)(?=[²³¹⁰⁴-⁹⁻])")  # "10³" is no "103"

# A sentence ends at . ! ? (and what closes behind it) before white space, where the next one begins with a capital, a digit or a
# bracket; or without the space between two ordinary words ("enlargement.Prominence").
_END = re.compile(r"[.!?]+[)\]\"']*(?=\s+[A-Z0-9(\[\"'.\ue000]|\s*$)|(?<=[a-z]{2})\.(?=[A-Z][a-z])|\n\s*\n")
_ABBREVIATION = re.compile(r"(?:^\s*\(?\d{1,2}|(?:^|[\s(])(?:Drs?|Mr|Mrs|Ms|St|vs|no|No|approx|e\.g|i\.e|cf|Fig|fig|[A-Z]))\.$")
_ITEM = re.compile(r"(?:\(?\d{1,2}[.)]\s+)+")

# NLM's XXXX and MIMIC's ___, with what hyphens, apostrophes or missing spaces tie to them ("x-XXXX", "XXXX-year-old", "4XXXX") and the
# digits of a date ("02/010/XXXX"). Bounded before the mark: without it, the time would go with the square of a word's length.
_MARK = re.compile(r"(?:\d{1,8}/){0,3}[\w'’-]{0,99}?(?:X{3,}|_{2,})[\w'’-]*(?:/\d+\b)*")
_STRAY = re.compile(r"(?<=[.!?])(?:\s+\.|\.(?!\.))+(?=\s|$)|\s+(?=[.,;:](?:\s|$))")  # "process.." "disease. ." "edema ."
_GAP = "\ue000"  # stands where a mark was until its sentence is mended
_GAPS = rf"{_GAP}(?:[\s/<>,]*{_GAP})*"
_BE = r"(?:is|are|was|were|has|have|had|appears?|remains?|seems?)"
# "The XXXX are intact", "XXXX is normal": the subject was taken out. "have XXXX XXXX in the interval", "is XXXX.": the predicate.
_LOST_SUBJECT = re.compile(
    rf"^(?:\d{{1,2}}[.)]\s+)?(?:(?:(?:the|visuali[sz]ed|both|all|no)\s+)*{_GAPS}\s+{_BE}\b|there\s+{_BE}\s+(?:an?\s+|no\s+)?{_GAPS}\s+\w+(?:ed|ing|seen)\b)",
    re.IGNORECASE,
)
_LOST_PREDICATE = re.compile(rf"\b{_BE}\s+{_GAPS}(?:\s+(?:in|on|at|from|since)\b[^.]*)?\s*[.!?]?\s*$", re.IGNORECASE)
_MENDING = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (rf"\b(no|any|the|a|an|without)\s+{_GAPS}\s+of\s+(?:(?:a|an|the)\s+)?", r"\1 "),  # "no XXXX of a pleural effusion"
        (rf"(?:\s*\b(?:on|of|to|from|with|at|in|by|for|and|or|versus|since|the|a|an)\b)+\s*{_GAPS}\s*(?=[.,;:!?)]|$)", ""),
        (rf"\s+(?:and|or)\s+{_GAPS}(?=\s+{_BE}\b)|^{_GAPS}\s+(?:and|or|of|in)\b", ""),
        (_GAP, ""),
        (r"[(\[]\s*[)\]]", ""),
        (r"(?:(?<=\s)|^)[/<>-]+(?=\w)|(?<=\w)[/<>]+(?=\s|[.,;:]|$)|(?<=\s)[/<>-]+(?=\s)", ""),
        (r"\s+", " "),
        (r"\s+([.,;:!?)\]])", r"\1"),
        (r"([(\[])\s+", r"\1"),
        (r"[,;:]+(?=[.!?;])|,(?=,)", ""),
        (r"^[\s.,;:)\]]+", ""),
    )
)


def report_text(findings: str, impression: str) -> str:
    """Findings, then impression, as one text (4.1: "we adopt both finding and impression sections as medical reports").

    Args:
        findings: the section, "" where there is none; a full stop is added where its last sentence has no end.
        impression: likewise.
    """
    parts = [part for part in (normalise(findings), normalise(impression)) if part]
    return " ".join(part if i == len(parts) - 1 or part[-1] in ".!?:;" else f"{part}." for i, part in enumerate(parts))


def normalise(text: str) -> str:
    """One spelling of each character: NFKC, straight quotes, plain hyphens, nothing invisible, single spaces, none at the ends.

    Case, words and numbers stay ("1½" is "1 1/2", "10³" is "10^3"). Twice is as once.
    """
    told_apart = _POWER.sub("^", _FRACTION.sub(" ", _INVISIBLE.sub("", text)))
    return " ".join(_CONTROL.sub(" ", unicodedata.normalize("NFKC", told_apart).translate(_PLAIN)).split())


def without_marks(text: str) -> str:
    """Drop the marks of de-identification (XXXX, ___), normalised otherwise; the one rule for them.

    The mark goes with what is tied to it ("x-XXXX", "XXXX-year-old"); spaces, punctuation and prepositions left dangling are
    mended; a sentence left with fewer than 2 words, or without its subject or predicate ("The XXXX are intact."), goes. Twice is as
    once.

    >>> without_marks("There are no XXXX of a pleural effusion. The XXXX are intact. Stable from prior exam on XXXX.")
    'There are no pleural effusion. Stable from prior exam.'
    """
    text = _STRAY.sub("", normalise(text))
    marked = _MARK.sub(_GAP, text)
    if _GAP not in marked:
        return text
    kept = [_mended(marked[start:end]) for start, end in _spans(marked)]
    return _STRAY.sub("", " ".join(sentence for sentence in kept if sentence))


def sentences(text: str) -> list[tuple[str, int, int]]:
    """The sentences of a report with their place in it.

    Returns:
        (sentence, start, end) in reading order, `sentence == text[start:end]`; the number of an item ("1. ") is no part of its
        sentence, and what holds no word is no sentence.
    """
    found = []
    for start, end in _spans(text):
        item = _ITEM.match(text, start, end)
        start = item.end() if item and item.end() < end else start
        if _WORD.search(text, start, end):
            found.append((text[start:end], start, end))
    return found


def count_tokens(text: str) -> int:
    """Words and numbers of a text; punctuation and marks of de-identification are none."""
    return len(_WORD.findall(_MARK.sub(" ", text)))


def _spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, its item number included, without white space at the ends."""
    spans, start = [], 0
    for match in [*_END.finditer(text), None]:
        end = match.end() if match else len(text)
        if match and _ABBREVIATION.search(text[start:end]):
            continue
        piece = text[start:end]
        if piece.strip():
            spans.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
        start = end
    return spans


def _mended(sentence: str) -> str:
    if _GAP not in sentence:
        return sentence
    if _LOST_SUBJECT.search(sentence) or _LOST_PREDICATE.search(sentence):
        return ""
    touched_start = sentence.startswith(_GAP)
    for pattern, replacement in _MENDING:
        sentence = pattern.sub(replacement, sentence)
    sentence = sentence.strip()
    if len(_WORD.findall(_ITEM.sub("", sentence))) < 2:
        return ""
    return sentence[0].upper() + sentence[1:] if touched_start else sentence
