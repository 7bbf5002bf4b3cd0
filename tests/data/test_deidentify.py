"""De-identified films: the same pixels in 16 bits, no header, a number for a name, and text reported where it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from cyclicxr import cli
from cyclicxr.data.deidentify import deidentify
from cyclicxr.data.images import read_film
from cyclicxr.types import InputError


def write_films(folder: Path) -> list[Path]:
    """A 16-bit film that carries a name in its header, one with text burnt in, and one that is no film."""
    ramp = np.tile(np.linspace(0, 65535, 300).astype(np.uint16), (200, 1))
    header = PngImagePlugin.PngInfo()
    header.add_text("Patient", "DOE^JANE")
    Image.fromarray(ramp).save(folder / "doe_jane.png", pnginfo=header)
    marked = Image.fromarray((ramp // 1024).astype(np.uint8))
    ImageDraw.Draw(marked).text((20, 100), "DOE JANE 1961", fill=255, font=ImageFont.load_default(16))
    marked.save(folder / "marked.png")
    (folder / "none.png").write_bytes(b"no film")
    return [folder / name for name in ("doe_jane.png", "none.png", "marked.png")]


def test_pixels_stay_and_the_header_goes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    sources = write_films(tmp_path)
    whole, refused, marked = deidentify(sources, out)
    assert [film.written and film.written.name for film in (whole, refused, marked)] == ["0001.png", None, "0003.png"]
    assert refused.refused.startswith(str(sources[1]))
    with Image.open(out / "0001.png") as picture:
        assert picture.mode == "I;16" and not picture.info
    np.testing.assert_allclose(read_film(out / "0001.png").pixels, read_film(sources[0]).pixels, atol=1e-4)
    about = json.loads((out / "0003.json").read_text())
    assert about["text_regions"] == [list(region) for region in marked.regions] and marked.regions
    assert {path.name for path in out.iterdir()} == {"0001.png", "0001.json", "0003.png", "0003.json"}
    assert not any(b"DOE" in path.read_bytes().upper() for path in out.iterdir())


def test_a_folder_that_holds_some_already_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds 0001\.png already"):
        next(deidentify([tmp_path / "film.png"], tmp_path))


def test_the_command_says_what_became_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [str(path) for path in write_films(tmp_path)]
    assert cli.main(["data", "deidentify", *sources, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "0001.png: no burnt-in text found" in said.out and "0003.png: text may be burnt in at x " in said.out
    assert "none.png: not a PNG, JPEG, TIFF or DICOM film" in said.err
