"""Films -> 16-bit PNG files without any header, and a JSON beside each that says where text may be burnt in; knows no model.

A new file is numbered, as names of files tell who is on them; which one came from which is told to the caller and written nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cyclicxr.checkpoint import write_atomically, write_json
from cyclicxr.data.burnt_in import text_regions
from cyclicxr.data.images import read_film
from cyclicxr.types import InputError, PixelBox


@dataclass(frozen=True)
class Deidentified:
    """A film that was written, or why it was not. `regions` are in pixels, the same in the source and in the PNG."""

    source: Path
    written: Path | None = None
    regions: tuple[PixelBox, ...] = ()
    refused: str = ""


def deidentify(sources: Sequence[Path], out: Path) -> Iterator[Deidentified]:
    """Write each film as `0001.png`, `0002.png`, ... in the order given, with `0001.json`, ... beside it. Text is reported, never blanked.

    Args:
        sources: PNG, JPEG, TIFF or DICOM files.
        out: a folder that is there, without such files yet.

    Raises:
        InputError: `out` holds a numbered PNG already.
    """
    taken = next(iter(sorted(out.glob("[0-9][0-9][0-9][0-9]*.png"))), None)
    if taken is not None:
        raise InputError(f"--out {out}: holds {taken.name} already; give an empty folder")
    for number, source in enumerate(sources, start=1):
        try:
            film = read_film(source)
        except InputError as error:
            yield Deidentified(source, refused=str(error))
            continue
        path = out / f"{number:04d}.png"
        regions = tuple(text_regions(film.pixels))
        picture = Image.fromarray(np.rint(film.pixels * 65535).astype(np.uint16))
        with write_atomically(path) as temporary:
            picture.save(temporary, "PNG")
        about = {"image": path.name, "width": film.geometry.width, "height": film.geometry.height, "view": film.view}
        write_json(path.with_suffix(".json"), {**about, "text_regions": [list(region) for region in regions]})
        yield Deidentified(source, path, regions)
