"""A result on disk: its JSON, its page and its drawn film, each written whole or not at all; and the index of a folder of results."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from cyclicxr.checkpoint import write_atomically, write_json
from cyclicxr.explain.page import IndexEntry, index_page, page
from cyclicxr.types import Result

PAGE_SIDE = 1280  # pixels along the longer side of a film inside a page; larger films are made smaller
THUMBNAIL_SIDE = 240
THUMBNAILS = "thumbnails"
DRAWN = ".drawn.png"


@dataclass(frozen=True)
class ResultPaths:
    """Where one result was written; `drawn` is None where nothing was drawn."""

    json: Path
    page: Path
    drawn: Path | None


def write_result(out_dir: Path, name: str, result: Result, film: Image.Image | None, synthetic: Image.Image | None) -> ResultPaths:
    """Write `NAME.json`, `NAME.html` and, for a drawn film, `NAME.drawn.png` (`NAME.png` where there is no other film).

    The JSON is written last: a folder that holds it holds the whole result.

    Args:
        out_dir: made where it is missing.
        name: of the files, without a suffix.
        result: what to write; the path of its drawn film is filled in, relative to the JSON.
        film: the original film, mode "L", at any resolution of its aspect ratio; or None.
        synthetic: the drawn film, mode "L"; or None.

    Returns:
        The paths written.
    """
    drawn_path = None
    if synthetic is not None:
        drawn_path = out_dir / (f"{name}{DRAWN}" if film else f"{name}.png")
        _write_bytes(drawn_path, _png(synthetic))
        if result.synthetic is not None:
            result = replace(result, synthetic=replace(result.synthetic, path=drawn_path.name))
    html = page(result, _png(_within(film, PAGE_SIDE)) if film else None, _png(synthetic) if synthetic else None)
    _write_bytes(out_dir / f"{name}.html", html.encode("utf-8"))
    write_json(out_dir / f"{name}.json", result.to_json())
    return ResultPaths(out_dir / f"{name}.json", out_dir / f"{name}.html", drawn_path)


def write_thumbnail(out_dir: Path, name: str, picture: Image.Image | None) -> None:
    """Write the small picture that the index shows of a result, where there is one."""
    if picture is not None:
        buffer = io.BytesIO()
        _within(picture, THUMBNAIL_SIDE).save(buffer, "JPEG", quality=82)
        _write_bytes(out_dir / THUMBNAILS / f"{name}.jpg", buffer.getvalue())


def write_index(out_dir: Path) -> Path:
    """Write `index.html` over all results of a folder, by name."""
    entries = sorted(_entries(out_dir), key=lambda entry: entry.name)
    path = out_dir / "index.html"
    _write_bytes(path, index_page(entries).encode("utf-8"))
    return path


def _entries(out_dir: Path) -> Iterator[IndexEntry]:
    for path in out_dir.glob("*.json"):
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue  # not one of ours: a result is never half written
        if not isinstance(stored, dict) or stored.get("schema") != Result.schema:
            continue
        thumbnail = f"{THUMBNAILS}/{path.stem}.jpg"
        sentences = stored["sentences"]
        first = sentences[0]["text"] if sentences else stored["report"][:160]
        flags = sum(sentence["flagged"] for sentence in sentences)
        yield IndexEntry(path.stem, f"{path.stem}.html", thumbnail if (out_dir / thumbnail).exists() else "", first, flags)


def _within(film: Image.Image, side: int) -> Image.Image:
    """A copy of the film, no side longer than `side`."""
    small = film.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def _png(image: Image.Image) -> bytes:
    if image.mode != "L":
        raise ValueError(f"a film is shown in 8-bit grey, mode 'L', not '{image.mode}'")  # Pillow would cut 16 bits off at 255
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _write_bytes(path: Path, data: bytes) -> None:
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)
