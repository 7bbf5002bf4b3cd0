"""MS-CXR's boxes as they are published, CSV or COCO JSON -> phrases with their boxes on MIMIC-CXR-JPG's films; knows no pixel and no model.

Source: Boecking et al., MS-CXR: Making the Most of Text Semantics, PhysioNet 2022. Its boxes are left, top, width and height in pixels of
the film as MIMIC-CXR-JPG holds it; a phrase may have several on one film.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import read_json
from cyclicxr.data.tables import read_table
from cyclicxr.types import InputError, PixelBox

_COLUMNS = ("category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height")
_GRACE = 1.0  # pixels by which a rounded box may leave its film


@dataclass(frozen=True)
class GroundedPhrase:
    """A phrase of a report and where it is on the film.

    Args:
        image: absolute path.
        category: one of eight findings.
        phrase: the words of the report.
        boxes: one or more, in pixels of the film.
        width: of the film that the boxes were drawn on, pixels.
        height: likewise.
    """

    image: Path
    category: str
    phrase: str
    boxes: tuple[PixelBox, ...]
    width: int
    height: int


def read_mscxr(table: Path, images: Path | None = None) -> list[GroundedPhrase]:
    """The phrases of `MS_CXR_Local_Alignment_v*.csv` or `.json`, in its order; boxes of one phrase on one film are put together.

    Args:
        table: as it was downloaded.
        images: folder that its paths ("files/p10/...") start in; None is the table's own.

    Raises:
        InputError: a column or key is missing, a box has no area, is no number or leaves its film, an image is unknown or not there.
    """
    root = images or table.parent
    found: dict[tuple[Path, str, str], GroundedPhrase] = {}
    for where, row in _json_rows(table) if table.suffix.lower() == ".json" else _csv_rows(table):
        phrase = _phrase(row, where, root)
        key = (phrase.image, phrase.category, phrase.phrase)
        boxes = found[key].boxes if key in found else ()
        if key in found and (found[key].width, found[key].height) != (phrase.width, phrase.height):
            raise InputError(
                f"{where}: the film is {phrase.width} x {phrase.height} pixels here and another size before; download it again"
            )
        found[key] = GroundedPhrase(*key, (*boxes, *phrase.boxes), phrase.width, phrase.height)
    if not found:
        raise InputError(f"{table}: holds no box; download it again")
    return list(found.values())


def _csv_rows(table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    columns, rows = read_table(table)
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise InputError(f"{table}: no column `{missing[0]}`; give MS-CXR's table as it was downloaded")
    return ((f"{table}, row {number}", row) for number, row in rows)


def _json_rows(table: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each annotation as a row of the CSV."""
    whole = read_json(table)
    images, categories = (_by_id(table, whole, name) for name in ("images", "categories"))
    for number, annotation in enumerate(_part(table, whole, "annotations")):
        where = f"{table}, annotation {number}"
        image, category = images.get(annotation.get("image_id")), categories.get(annotation.get("category_id"))
        if image is None or category is None:
            raise InputError(f"{where}: its image or category is not in the file; download it again")
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise InputError(f"{where}: `bbox` is {box}, not [x, y, w, h]; download it again")
        yield (
            where,
            {
                "category_name": category.get("name"),
                "label_text": annotation.get("label_text"),
                "path": image.get("path") or image.get("file_name"),
                "image_width": image.get("width"),
                "image_height": image.get("height"),
                **dict(zip("xywh", box, strict=True)),
            },
        )


def _by_id(table: Path, whole: Any, name: str) -> dict[Any, dict[str, Any]]:
    return {entry.get("id"): entry for entry in _part(table, whole, name)}


def _part(table: Path, whole: Any, name: str) -> Iterable[dict[str, Any]]:
    part = whole.get(name) if isinstance(whole, dict) else None
    if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
        raise InputError(f"{table}: no list `{name}`; give MS-CXR's JSON (COCO) as it was downloaded")
    return part


def _phrase(row: Mapping[str, Any], where: str, root: Path) -> GroundedPhrase:
    text = " ".join(str(row["label_text"] or "").split())
    path = root / str(row["path"] or "")
    if not text or not row["path"]:
        raise InputError(f"{where}: no {'phrase' if row['path'] else 'path'}; download it again")
    if not path.is_file():
        raise InputError(f"{where}: there is no film {path}; give the folder of MIMIC-CXR-JPG that holds files/")
    width, height = (int(_number(row, name, where)) for name in ("image_width", "image_height"))
    left, top, across, down = (_number(row, name, where) for name in "xywh")
    box = (left, top, left + across, top + down)
    if across <= 0 or down <= 0:
        raise InputError(f"{where}: box {left:g}, {top:g}, {across:g}, {down:g} (x, y, w, h) has no area")
    if left < -_GRACE or top < -_GRACE or box[2] > width + _GRACE or box[3] > height + _GRACE:
        raise InputError(f"{where}: box {left:g}, {top:g}, {across:g}, {down:g} (x, y, w, h) leaves its film of {width} x {height}")
    inside = (max(left, 0.0), max(top, 0.0), min(box[2], float(width)), min(box[3], float(height)))
    return GroundedPhrase(path, str(row["category_name"]), text, (inside,), width, height)


def _number(row: Mapping[str, Any], name: str, where: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: `{name}` is '{row[name]}', no number")
    return value
