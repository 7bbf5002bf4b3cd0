"""True reports with one sentence made false by rule: a finding swapped, negated, invented, or moved to the other side; knows no model.

Rules make some changes that are not false (a side that the film shows too) and some that no radiologist would write; a detector that does
not look at the film can smell those, which is why blind baselines stand beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cyclicxr.data.reports import sentences

SWAPPED, NEGATED, INVENTED, MOVED = KINDS = ("finding swapped", "negated", "invented", "other side")

# Findings of the lungs and the pleura, which may stand for one another in a sentence, and others; longer ones before what they hold.
_LUNG = (
    "pleural effusion", "pulmonary edema", "focal consolidation", "consolidation", "pneumothorax", "atelectasis", "pneumonia", "granuloma",
    "nodule", "effusion", "edema", "emphysema", "scarring", "opacity",
)  # fmt: skip
_FINDINGS = (*_LUNG, "cardiomegaly", "fracture", "hiatal hernia", "scoliosis")
_FINDING = re.compile(r"\b(" + "|".join(_FINDINGS) + r")\b", re.IGNORECASE)
_KIN = ({"pleural effusion", "effusion"}, {"pulmonary edema", "edema"}, {"focal consolidation", "consolidation", "opacity", "pneumonia"})
_DENIES = re.compile(
    r"\b(no|not|without|clear|normal|unremarkable|resolved|resolution|negative|free|intact|within|absent|neither|nor|rather)\b",
    re.IGNORECASE,
)
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_BOTH = re.compile(r"\b(bilateral\w*|both)\b", re.IGNORECASE)

# A denial becomes a claim and a claim a denial: the first pattern that is there.
_NEGATIONS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"^there (is|are) no (evidence of |definite )?", r"There \1 "),
        (r"^no (evidence of |definite )?", "There is "),
        (r"\bwithout (evidence of )?", "with "),
        (r"\b(is|are) not\b", r"\1"),
        (r"\b(is|are) (normal|within normal limits|unremarkable)\b", r"\1 abnormal"),
        (r"\b(is|are) clear\b", r"\1 not clear"),
        (r"^there (is|are) (an? )?", r"There \1 no "),
    )
)


@dataclass(frozen=True)
class Change:
    """One sentence made false.

    Args:
        kind: one of `KINDS`.
        film: whose report is changed.
        own: film of which `true` is true; the same one, but for an invented sentence.
        true: a true sentence, the one that was changed; for an invented one the sentence on the film that it was taken from.
        false: what the changed report says in its place.
        before: words of film `own`'s report before `true`.
        report: the changed report.
        at: where `false` begins in `report`.
    """

    kind: str
    film: int
    own: int
    true: str
    false: str
    before: str
    report: str
    at: int


def change_reports(reports: Sequence[str], seed: int) -> list[Change]:
    """At most one change of each kind for each report, of a sentence drawn by the seed; kinds that a report has no sentence for are left
    out.

    Args:
        reports: one a film, without marks of removed words.
        seed: which sentence, and what it becomes.
    """
    rng = np.random.default_rng(seed)
    lines = [sentences(report) for report in reports]
    found = []
    for film, report in enumerate(reports):
        order = [lines[film][i] for i in rng.permutation(len(lines[film]))]
        for kind, rule in ((SWAPPED, swapped), (NEGATED, negated), (MOVED, moved)):
            made = next(((text, start, end, false) for text, start, end in order if (false := rule(text, report, rng))), None)
            if made is not None:
                text, start, end, false = made
                found.append(Change(kind, film, film, text, false, report[:start], report[:start] + false + report[end:], start))
        invented = _invented(film, reports, lines, rng)
        found += [invented] if invented else []
    return found


def swapped(sentence: str, report: str, rng: np.random.Generator) -> str:
    """The finding of lungs or pleura that a sentence affirms is another one that the report does not name; "" where it affirms none."""
    match = _FINDING.search(sentence)
    if match is None or match.group().lower() not in _LUNG or _DENIES.search(sentence):
        return ""
    named = {finding.lower() for finding in _FINDING.findall(report)}
    named |= {finding for group in _KIN if group & named for finding in group}
    choices = [finding for finding in _LUNG if finding not in named]
    if not choices:
        return ""
    other = choices[int(rng.integers(len(choices)))]
    return sentence[: match.start()] + (other.capitalize() if match.group()[0].isupper() else other) + sentence[match.end() :]


def negated(sentence: str, report: str, rng: np.random.Generator) -> str:
    """ "There is no effusion." becomes "There is effusion." and the other way round; "" where no rule fits.

    >>> negated("No effusion or pneumothorax.", "", np.random.default_rng(0))
    'There is effusion and pneumothorax.'
    """
    for pattern, replacement in _NEGATIONS:
        changed, times = pattern.subn(replacement, sentence, count=1)
        if times:
            return changed if changed.lower().startswith("there are no") or " no " in changed else re.sub(r"\bor\b", "and", changed)
    return ""


def moved(sentence: str, report: str, rng: np.random.Generator) -> str:
    """Left becomes right and right left in a sentence that affirms something on one side; "" otherwise."""
    sides = {side.lower() for side in _SIDE.findall(sentence)}
    if len(sides) != 1 or _BOTH.search(sentence) or _DENIES.search(sentence):
        return ""
    return _SIDE.sub(lambda match: _like(match.group(), "right" if match.group().lower() == "left" else "left"), sentence)


def _invented(film: int, reports: Sequence[str], lines: Sequence[list[tuple[str, int, int]]], rng: np.random.Generator) -> Change | None:
    """A sentence of another report that affirms a finding which this one does not name, put before one of this report's."""
    named = {finding.lower() for finding in _FINDING.findall(reports[film])}
    for own in rng.permutation(len(reports)).tolist():
        for text, start, _ in lines[own]:
            said = {finding.lower() for finding in _FINDING.findall(text)}
            if own != film and said and not said & named and not _DENIES.search(text) and lines[film]:
                at = lines[film][int(rng.integers(len(lines[film])))][1]
                changed = f"{reports[film][:at]}{text} {reports[film][at:]}"
                return Change(INVENTED, film, own, text, text, reports[own][:start], changed, at)
    return None


def _like(written: str, word: str) -> str:
    return word.capitalize() if written[0].isupper() else word
