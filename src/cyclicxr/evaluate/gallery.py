"""Best, median and worst cases of an evaluation, chosen by rank and by nothing else, with their evidence; knows no metric."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from urllib.parse import quote

from PIL import Image

from cyclicxr.checkpoint import read_json
from cyclicxr.cycle import Outcome
from cyclicxr.evaluate.system import Case
from cyclicxr.explain.templates import data_uri
from cyclicxr.types import PixelBox, Result

EACH = 3  # cases of each kind
KINDS = ("best", "median", "worst")
REPORT_SCORE, DRAWN_SCORE = "ROUGE-L", "likeness to the real film"
_SIDE = 384  # pixels along the longer side of a film on the page
_KEYWORDS = 6  # keywords whose patches are shown


@runtime_checkable
class Explains(Protocol):
    """A model that shows its evidence for a text on a film: `cycle.Model` does."""

    def outcome_explain(self, image: str | Path, text: str, *, force: bool = False) -> Outcome:
        """The words of a text with their patches on a film."""


class Ranked(NamedTuple):
    """A case with its place, from 1 for the best."""

    kind: str
    rank: int
    case: Mapping[str, Any]


class Patch(NamedTuple):
    """A keyword's box in pixels of its film."""

    text: str
    box: PixelBox


@dataclass(frozen=True)
class Shown:
    """One case as the page shows it; pictures are data URIs, "" where there is none.

    Args:
        kind: of `KINDS`.
        rank: from 1.
        of: how many were ranked.
        id: of the study.
        score: what it is ranked by.
        film: the real film.
        reference: its report.
        written: the model's report; "" where films are shown.
        drawn: the film drawn from the reference.
        facts: anything else that is known of the case, such as findings missed.
        keywords: found on the film, with their patches.
        size: width and height that their boxes count in.
        evidence: of the written report; None where the model shows none.
    """

    kind: str
    rank: int
    of: int
    id: str
    score: float
    film: str
    reference: str
    written: str = ""
    drawn: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    keywords: tuple[Patch, ...] = ()
    size: tuple[int, int] = (1, 1)
    evidence: Result | None = None


def ranked(cases: Sequence[Mapping[str, Any]], score: str, *, each: int = EACH) -> list[Ranked]:
    """The first, the middle and the last cases by a score, ties by id; a case is in one kind alone.

    Args:
        cases: with "id" and the score.
        score: which of their numbers; more is better.
        each: cases of each kind; fewer where there are not enough.
    """
    order = sorted(cases, key=lambda case: (-case[score], case["id"]))
    each = min(each, -(-len(order) // 3))
    middle = (len(order) - each) // 2
    places = {"best": range(each), "median": range(middle, middle + each), "worst": range(max(len(order) - each, 0), len(order))}
    taken: set[int] = set()
    found = []
    for kind in KINDS:
        for place in places[kind]:
            if place not in taken:
                taken.add(place)
                found.append(Ranked(kind, place + 1, order[place]))
    return found


def shown_reports(out: Path, case: Case, model: object, each: int = EACH) -> list[Shown]:
    """Reports by rank of their ROUGE-L beside the true ones, with the model's keywords and patches; none without the task."""
    scores, written = out / "report_cases.json", written_reports(out / "reports.jsonl")
    studies = {study.id: place for place, study in enumerate(case.cases.studies)}
    cases = [found for found in read_json(scores) if found["id"] in studies and found["id"] in written] if scores.exists() else []
    shown = []
    for kind, rank, found in ranked(cases, REPORT_SCORE, each=each):
        study = case.cases.studies[studies[found["id"]]]
        outcome = _explained(model, study.image, written[study.id])
        result = outcome.result if outcome else None
        keywords, size = keywords_of(result), (result.image.width, result.image.height) if result and result.image else (1, 1)
        film, score, text = film_uri(case.cases.pixels[studies[study.id]].numpy()), found[REPORT_SCORE], written[study.id]
        facts, reference = _facts(found), case.raw[study.id]
        shown.append(Shown(kind, rank, len(cases), study.id, score, film, reference, text, "", facts, keywords, size, result))
    return shown


def shown_drawings(out: Path, case: Case, each: int = EACH) -> list[Shown]:
    """Drawn films by rank of their likeness to the real one in the film classifier's features; none without the task."""
    scores = out / "drawn_cases.json"
    studies = {study.id: place for place, study in enumerate(case.cases.studies)}
    cases = read_json(scores) if scores.exists() else []
    cases = [found for found in cases if found["id"] in studies and found.get(DRAWN_SCORE) is not None]
    shown = []
    for kind, rank, found in ranked(cases, DRAWN_SCORE, each=each):
        path = drawn_path(out, found["id"])
        if path.exists():
            film = film_uri(case.cases.pixels[studies[found["id"]]].numpy())
            drawn = film_uri(Image.open(path))
            facts = _facts({name: value for name, value in found.items() if name != DRAWN_SCORE})
            shown.append(Shown(kind, rank, len(cases), found["id"], found[DRAWN_SCORE], film, case.raw[found["id"]], "", drawn, facts))
    return shown


def written_reports(path: Path) -> dict[str, str]:
    """The reports that task "report" wrote, by study id; empty where it has not."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["id"]: line["hypothesis"] for line in lines if "hypothesis" in line}


def drawn_path(out: Path, study: str) -> Path:
    """Where task "draw" kept the film of a study."""
    return out / "drawn" / f"{quote(study, safe='')}.png"


def keywords_of(result: Result | None, most: int = _KEYWORDS) -> tuple[Patch, ...]:
    """A result's best keywords with their boxes."""
    best = sorted(result.keywords, key=lambda keyword: -keyword.score)[:most] if result else []
    return tuple(Patch(keyword.text, keyword.box) for keyword in best)


def film_uri(film: Any) -> str:
    """A film, grey pixels (h, w) of 8 bits or a picture, as a PNG data URI of at most `_SIDE` pixels along a side."""
    picture = film if isinstance(film, Image.Image) else Image.fromarray(film)
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.convert("L").save(buffer, "PNG")
    return data_uri(buffer.getvalue())


def _explained(model: object, image: str, text: str) -> Outcome | None:
    if not isinstance(model, Explains) or not any(letter.isalpha() for letter in text):
        return None
    return model.outcome_explain(image, text, force=True)  # a film of the table is evaluated whatever the gate says of it


def _facts(case: Mapping[str, Any]) -> dict[str, str]:
    """What is known of a case but its id and score: numbers, names and lists of names, as text."""
    facts = {}
    for name, value in case.items():
        if name in {"id", "film", REPORT_SCORE} or value is None or value in ([], {}, ""):
            continue
        if isinstance(value, (list, tuple)):
            facts[name] = ", ".join(str(part) for part in value)
        else:
            facts[name] = f"{value:.3f}" if isinstance(value, float) else str(value)
    return facts
