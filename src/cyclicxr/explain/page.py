"""One result -> one self-contained HTML page; a batch of results -> an index of them. Knows templates and bytes, no model and no files."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from markupsafe import Markup

from cyclicxr.explain.templates import asset, data_uri, environment
from cyclicxr.explain.view import view_of
from cyclicxr.types import NOTICE, Result

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class IndexEntry:
    """One result of the index. `page` and `thumbnail` are relative to it ("" for no picture); `flags` counts flagged sentences."""

    name: str
    page: str
    thumbnail: str
    text: str
    flags: int


def page(result: Result, film_png: bytes | None, synthetic_png: bytes | None = None) -> str:
    """The page of one result: no network, pictures as data URIs, everything that comes from the result escaped.

    Args:
        result: what to show; what it lacks (a film, a drawn film, a report) is left out. Boxes are in pixels of the original film, or of
            the drawn one where there is no other.
        film_png: the film as PNG at any resolution, of the original's aspect ratio; None where there is none.
        synthetic_png: the drawn film as PNG; None where there is none.

    Returns:
        HTML.
    """
    film = data_uri(film_png) if film_png else ""
    drawn = data_uri(synthetic_png) if synthetic_png else ""
    view = view_of(result, *_size(result, synthetic_png))
    script = asset(_HERE / "page.js")
    return (
        environment(_HERE)
        .get_template("page.html.j2")
        .render(
            result=result,
            view=view,
            hinted={keyword.mark for keyword in view.keywords},
            measured=any(line.consistency is not None for line in view.lines),
            title=_title(result, bool(film)),
            ratio=round(view.drawing.width / view.drawing.height, 4),
            film=film,
            drawn=drawn,
            stage=film or drawn,
            css=asset(_HERE / "page.css"),
            script=script,
            script_hash=_hash(script),
        )
    )


def index_page(entries: Sequence[IndexEntry]) -> str:
    """The page of many results: thumbnail, first sentence and link of each, in the order given."""
    return environment(_HERE).get_template("index.html.j2").render(entries=entries, css=asset(_HERE / "page.css"), notice=NOTICE)


def _size(result: Result, synthetic_png: bytes | None) -> tuple[int, int]:
    """Width and height that boxes count in: of the original film, else of the drawn one (from its PNG's header)."""
    if result.image:
        return result.image.width, result.image.height
    width, height = struct.unpack(">II", synthetic_png[16:24]) if synthetic_png else (1, 1)
    return width, height


def _title(result: Result, has_film: bool) -> str:
    if not has_film:
        return "Drawn from text"
    return PurePath(result.image.path).name if result.image and result.image.path else "Chest X-ray"


def _hash(script: Markup) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
