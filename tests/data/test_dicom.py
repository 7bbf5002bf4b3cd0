"""DICOM films: the standard's three steps in their order, and what is no radiograph refused by its reason."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from cyclicxr.data.dicom import decode_dicom, read_dicom
from cyclicxr.data.images import read_film
from cyclicxr.types import InputError

RAMP = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (40, 1))  # (40, 64), 12 bits stored


def dataset(**tags: object) -> Dataset:
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID = DigitalXRayImageStorageForPresentation
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = generate_uid(entropy_srcs=["film"])
    film.Modality, film.PhotometricInterpretation, film.SamplesPerPixel = "DX", "MONOCHROME2", 1
    film.Rows, film.Columns = RAMP.shape
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.PixelData = RAMP.tobytes()
    for name, value in tags.items():
        setattr(film, name, value)
    return film


def stored(film: Dataset) -> bytes:
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def pixels(**tags: object) -> np.ndarray:
    return decode_dicom(stored(dataset(**tags)), "film.dcm")[0]


def test_without_tables_the_film_s_own_range_is_shown() -> None:
    np.testing.assert_allclose(pixels(), RAMP / 4095, atol=1e-6)


def test_monochrome1_is_inverted_after_the_window() -> None:
    window = {"WindowCenter": 1024, "WindowWidth": 1024}  # from 512 to 1535, to the left of the middle
    plain = pixels(**window)
    np.testing.assert_allclose(pixels(PhotometricInterpretation="MONOCHROME1", **window), 1 - plain, atol=1e-6)
    expected = np.clip((RAMP - 1023.5) / 1023 + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    np.testing.assert_allclose(plain, expected, atol=1e-4)


def test_a_film_that_does_not_fill_its_window_is_not_stretched() -> None:
    np.testing.assert_allclose(pixels(WindowCenter=4096, WindowWidth=8192).max(), 4095.5 / 8191, atol=1e-3)


def test_the_modality_table_comes_before_the_window() -> None:
    shown = pixels(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1000, WindowWidth=2000)
    np.testing.assert_allclose(shown, np.clip((RAMP * 2.0 - 1000 - 999.5) / 1999 + 0.5, 0, 1), atol=1e-4)


def test_a_voi_table_is_looked_up() -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (np.arange(4096) ** 2 // 4096).astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    shown = pixels(VOILUTSequence=Sequence([table]))
    np.testing.assert_allclose(shown, (RAMP / 4095.0) ** 2, atol=2e-3)


def test_a_window_that_shows_nothing_is_left_out() -> None:
    np.testing.assert_allclose(pixels(WindowCenter=60000, WindowWidth=1), RAMP / 4095, atol=1e-6)


def test_a_sigmoid_window_has_its_own_ends() -> None:
    shown = pixels(WindowCenter=2048, WindowWidth=1000, VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(shown, 1 / (1 + np.exp(-4 * (RAMP - 2048.0) / 1000)), atol=1e-3)


def test_signed_and_compressed_films_read_alike() -> None:
    signed = (RAMP.astype(np.int32) - 2048).astype(np.int16)
    np.testing.assert_allclose(pixels(PixelRepresentation=1, PixelData=signed.tobytes()), RAMP / 4095, atol=1e-6)
    film = dataset()
    film.compress(RLELossless)
    np.testing.assert_allclose(decode_dicom(stored(film), "film.dcm")[0], RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize(("position", "view"), [("PA", "PA"), ("AP ", "AP"), ("LL", "LL"), ("", "unknown"), (None, "unknown")])
def test_the_view_is_the_header_s(tmp_path: Path, position: str | None, view: str) -> None:
    film = dataset() if position is None else dataset(ViewPosition=position)
    (tmp_path / "film").write_bytes(stored(film))  # known by its content
    assert read_dicom(tmp_path / "film")[1] == view
    read = read_film(tmp_path / "film")
    assert read.view == view and (read.geometry.width, read.geometry.height) == (64, 40)


def without(name: str) -> Dataset:
    film = dataset()
    delattr(film, name)
    return film


def changed(**tags: object) -> bytes:
    return stored(dataset(**tags))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (stored(without("PixelData")), "cut off before it (Digital X-Ray Image Storage - For Presentation)"),
        (changed(Modality="CT"), "modality CT is no radiograph"),
        (changed(NumberOfFrames=2, PixelData=RAMP.tobytes() * 2), "holds 2 frames"),
        (changed(PhotometricInterpretation="RGB", SamplesPerPixel=3), "its pixels are RGB"),
        (changed(Rows=20000, Columns=20000), "more than the 64 megapixels"),
        (changed(PixelData=RAMP.tobytes()[:1000]), "truncated, damaged or not decodable"),
        (stored(without("Rows")), "truncated, damaged or not decodable"),
        (stored(dataset())[:200], "holds no image, or is cut off before it"),
        (b"\0" * 300, "not a DICOM file"),
    ],
)
def test_what_is_no_whole_radiograph_is_refused_by_its_reason(data: bytes, said: str) -> None:
    with pytest.raises(InputError) as refused:
        decode_dicom(data, "film.dcm")
    message = str(refused.value)
    assert message.startswith("film.dcm: ") and said in message and "\n" not in message


def test_a_deflated_file_is_refused_before_it_is_inflated() -> None:
    film = dataset()
    film.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(InputError, match="deflated DICOM"):
        decode_dicom(stored(film), "film.dcm")


def test_a_missing_dicom_and_a_png_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_dicom(tmp_path / "none.dcm")
    Image.fromarray(np.full((40, 40), 128, np.uint8)).save(tmp_path / "really.dcm", "PNG")
    assert read_film(tmp_path / "really.dcm").pixels.shape == (40, 40)


GOOD = stored(dataset())


@given(st.integers(132, len(GOOD) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_read_or_refused(place: int, change: int) -> None:
    broken = bytearray(GOOD)
    broken[place] ^= change
    try:
        shown = decode_dicom(bytes(broken), "flipped.dcm")[0]
    except InputError:
        return
    assert shown.min() >= 0 and shown.max() <= 1
