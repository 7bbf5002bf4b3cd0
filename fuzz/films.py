"""Small whole films of every format and compression that is read, drawn here: what damaged files and the fuzzer start from.

python fuzz/films.py FOLDER writes them there, a file each; no patient is in them.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

HEIGHT, WIDTH = 40, 48


def drawn() -> np.ndarray:
    """A 12-bit picture (40, 48) with edges and noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).integers(0, 60, (HEIGHT, WIDTH))
    return ((x * 60 + y * 29 + 900 * ((x - 24) ** 2 + (y - 20) ** 2 < 100) + noise) % 4096).astype(np.uint16)


def radiograph(values: np.ndarray, **elements: Any) -> Dataset:
    """A DX film of 8- or 16-bit values, uncompressed, with these elements besides."""
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID = DigitalXRayImageStorageForPresentation
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = generate_uid(entropy_srcs=["film"])
    film.Modality, film.PhotometricInterpretation, film.SamplesPerPixel, film.ViewPosition = "DX", "MONOCHROME2", 1, "PA"
    film.Rows, film.Columns = values.shape
    film.BitsAllocated = 8 * values.dtype.itemsize
    film.BitsStored = min(film.BitsAllocated, 12)
    film.HighBit, film.PixelRepresentation = film.BitsStored - 1, 0
    film.PixelData = values.tobytes()
    film["PixelData"].VR = "OW"
    for name, value in elements.items():
        setattr(film, name, value)
    return film


def compressed(film: Dataset, syntax: UID, frame: bytes) -> Dataset:
    """The film with its pixels replaced by a compressed frame."""
    film.file_meta.TransferSyntaxUID = syntax
    film.PixelData = encapsulate([frame])
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    return film


def stored(film: Dataset) -> bytes:
    """The bytes of its file, in the encoding that its transfer syntax names."""
    syntax, buffer = film.file_meta.TransferSyntaxUID, io.BytesIO()
    if syntax == ExplicitVRBigEndian:
        film.PixelData = np.frombuffer(film.PixelData, "<u2").astype(">u2").tobytes()
    film.save_as(
        buffer, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian
    )
    return buffer.getvalue()


def films() -> dict[str, bytes]:
    """File name -> bytes of a whole film."""
    return {**_dicoms(), **_pictures()}


def _dicoms() -> dict[str, bytes]:
    deep = drawn()
    flat = (deep >> 4).astype(np.uint8)
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], (np.arange(4096, dtype=np.uint32) ** 2 // 4096).astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    encoded = {
        "baseline": (flat, JPEGBaseline8Bit, imagecodecs.jpeg8_encode(flat, level=95)),
        "extended": (deep, JPEGExtended12Bit, imagecodecs.jpeg8_encode(deep, level=95, bitspersample=12)),
        "lossless": (deep, JPEGLosslessSV1, imagecodecs.jpeg8_encode(deep, lossless=True, predictor=1, bitspersample=12)),
        "jpegls": (deep, JPEGLSLossless, imagecodecs.jpegls_encode(deep)),
        "jpeg2000": (deep, JPEG2000Lossless, imagecodecs.jpeg2k_encode(deep, codecformat="j2k", reversible=True)),
    }
    found = {
        f"{name}.dcm": stored(compressed(radiograph(values), syntax, bytes(frame))) for name, (values, syntax, frame) in encoded.items()
    }
    runs = radiograph(deep)
    runs.compress(RLELossless)
    found["rle.dcm"] = stored(runs)
    found["table.dcm"] = stored(radiograph(deep, VOILUTSequence=Sequence([table]), PhotometricInterpretation="MONOCHROME1"))
    found["window.dcm"] = stored(radiograph(deep, WindowCenter=[2000, 900], WindowWidth=[4000, 300], RescaleSlope=2, RescaleIntercept=-9))
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("big", ExplicitVRBigEndian)):
        film = radiograph(deep)
        film.file_meta.TransferSyntaxUID = syntax
        found[f"{name}.dcm"] = stored(film)
    return found


def _pictures() -> dict[str, bytes]:
    deep = drawn()
    flat = Image.fromarray((deep >> 4).astype(np.uint8))
    pictures = {
        "grey.png": (flat, {}),
        "deep.png": (Image.fromarray(deep), {}),
        "palette.png": (flat.convert("P"), {}),
        "grey.jpg": (flat, {}),
        "progressive.jpg": (flat, {"progressive": True}),
        "deep.tif": (Image.fromarray(deep), {}),
        "deflated.tif": (flat, {"compression": "tiff_adobe_deflate"}),
        "lzw.tif": (flat, {"compression": "tiff_lzw"}),
    }
    found = {}
    for name, (picture, options) in pictures.items():
        buffer = io.BytesIO()
        picture.save(buffer, {"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}[name.rpartition(".")[2]], **options)
        found[name] = buffer.getvalue()
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for film_name, data in films().items():
        (folder / film_name).write_bytes(data)
