"""Nothing of a patient leaves a DICOM header: identifiers planted in every element are looked for in all that commands say and write."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from cyclicxr import cli
from cyclicxr.data.phantom import draw_phantom

ROOT = Path(__file__).parents[1]
WORDS, NUMBERS = "ZQXNAME", "7391"  # planted; neither is in any output by chance
OF_THE_IMAGE = {0x0008, 0x0018, 0x0020, 0x0028, 0x0054}
PLANTED = {
    "AE": WORDS, "AS": "073Y", "CS": WORDS, "DA": "17391217", "DS": "73917391", "DT": "17391217", "IS": "73917391", "LO": WORDS,
    "LT": WORDS,    "PN": f"{WORDS}^J", "SH": WORDS, "ST": WORDS, "TM": "073917.39", "UC": WORDS, "UI": "1.2.7391.7391", "UR": f"http://{WORDS}",
    "UT": WORDS,
}  # fmt: skip
PIXELS = {
    "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "NumberOfFrames",
    "PhotometricInterpretation", "Modality", "TransferSyntaxUID",
}  # fmt: skip


def films() -> ModuleType:
    spec = importlib.util.spec_from_file_location("films", ROOT / "fuzz" / "films.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plant(film: Dataset) -> Dataset:
    """An identifier in every element of the dictionary that holds text or a date, but those that say how the pixels are stored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag, (kind, _, _, _, keyword) in DicomDictionary.items():
            if tag >> 16 in {0x0000, 0x0002, 0x0004} or keyword in PIXELS or kind not in PLANTED:
                continue
            film.add_new(tag, kind, PLANTED[kind])
        film.add_new(0x00091001, "LO", WORDS)  # private
    return film


@pytest.fixture(scope="module")
def planted() -> bytes:
    module = films()
    pixels = draw_phantom(seed=0, size=128).pixels.astype(np.uint16) * 16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bytes(module.stored(plant(module.radiograph(pixels))))


def variants(data: bytes) -> dict[str, bytes]:
    """The film, and the ways in which it can fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = {"whole.dcm": data, "cut.dcm": data[: len(data) // 2], "short.dcm": data[:3000], "headless.dcm": data[132:]}
        for name, element, value in (
            ("modality", "Modality", WORDS),
            ("lateral", "ViewPosition", "LL"),
            ("colour", "PhotometricInterpretation", WORDS),
            ("frames", "NumberOfFrames", 7391),
            ("bits", "BitsStored", 7391),
            ("rows", "Rows", 7391),
        ):
            film = dcmread(io.BytesIO(data))
            setattr(film, element, value)
            buffer = io.BytesIO()
            film.save_as(buffer)
            made[f"{name}.dcm"] = buffer.getvalue()
        document = dcmread(io.BytesIO(data))
        del document.PixelData, document.Rows
        buffer = io.BytesIO()
        document.save_as(buffer)
        made["document.dcm"] = buffer.getvalue()
    return made


def everything_written(folder: Path) -> str:
    """Every file of a folder as text, with what is in its pictures' headers."""
    said = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            said.append(data.decode("latin-1"))
            pictures = [base64.b64decode(found) for found in re.findall(rb"data:image/\w+;base64,([A-Za-z0-9+/=]+)", data)]
            pictures += [data] if path.suffix in {".png", ".jpg"} else []
            for picture in pictures:
                with Image.open(io.BytesIO(picture)) as opened:
                    said.append(repr(opened.info))
                said.append(picture.decode("latin-1"))
    return "\n".join(said)


def leaks(text: str) -> list[str]:
    found = re.findall(rf"{WORDS}|17391217|73917391|1\.2\.7391|073917\.39", text, re.IGNORECASE)
    return sorted(set(found))


COMMANDS = {
    "report": lambda films, out: ["report", *films, "--out", out, "--force", "--verbose"],
    "cycle": lambda films, out: ["cycle", *films, "--out", out, "--force", "--verbose", "--json"],
    "explain": lambda films, out: ["explain", films[0], "--text", "The heart is large.", "--out", out, "--force", "--verbose"],
    "deidentify": lambda films, out: ["data", "deidentify", *films, "--out", out, "--verbose"],
}


@pytest.mark.parametrize("command", [pytest.param(name, marks=[pytest.mark.slow] * (name in {"report", "cycle"})) for name in COMMANDS])
def test_no_command_says_or_writes_what_the_header_holds(
    command: str, planted: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    made = variants(planted) if command in {"report", "deidentify"} else {"whole.dcm": planted, "cut.dcm": planted[:3000]}
    assert all(WORDS.encode() in data for data in made.values())
    paths = []
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
        paths.append(str(tmp_path / name))
    caplog.clear()  # of what pydicom says where the variants are made
    out = tmp_path / "out"
    cli.main(COMMANDS[command](paths, str(out)))
    said = capfd.readouterr()
    written = everything_written(out)
    assert len(list(out.rglob("*.json"))) >= 1, said.err  # the whole film was read
    assert not leaks(said.out + said.err + caplog.text)
    assert not leaks(written)


def test_the_search_finds_what_is_there() -> None:
    assert leaks(f"a {WORDS.lower()} b") and leaks("born 17391217") and not leaks("nothing")
