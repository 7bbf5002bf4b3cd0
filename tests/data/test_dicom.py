"""DICOM films: the standard's three steps in their order, beside pydicom's own output, and what is no radiograph refused by its reason."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from cyclicxr.data.dicom import Radiograph, decode_dicom
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
    return decode_dicom(stored(dataset(**tags)), "film.dcm").pixels


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
    np.testing.assert_allclose(decode_dicom(stored(film), "film.dcm").pixels, RAMP / 4095, atol=1e-6)


# ---- beside pydicom's own output


def reference(film: Dataset) -> np.ndarray:
    """What pydicom itself makes of it, from its own black to its own white."""
    stored_values = film.pixel_array
    shown = apply_voi_lut(apply_modality_lut(stored_values, film), film).astype(float)
    low, high = shown.min(), shown.max()
    if "WindowCenter" in film:
        low, high = apply_voi_lut(np.array([-1e9, 1e9]), film)
    unit = np.clip((shown - low) / (high - low), 0, 1)
    return 1 - unit if film.PhotometricInterpretation == "MONOCHROME1" else unit


SHIPPED = (
    *("CT_small", "MR_small", "MR_small_implicit", "MR_small_bigendian", "MR_small_expb", "MR_small_padded", "MR_small_RLE"),
    *("MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "JPEG2000", "693_J2KI", "J2K_pixelrep_mismatch", "examples_overlay"),
)


def shipped(name: str) -> Dataset:
    """One of pydicom's own test files, declared a radiograph."""
    film = dcmread(str(get_testdata_file(f"{name}.dcm", download=False)))
    film.Modality, film.SOPClassUID = "DX", DigitalXRayImageStorageForPresentation
    return film


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("name", SHIPPED)
def test_pydicom_s_files_read_as_pydicom_reads_them(name: str, photometric: str) -> None:
    film = shipped(name)
    film.PhotometricInterpretation = photometric
    film.pop("PixelPaddingValue", None)  # pydicom counts padding as pixels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference's, of excess padding
        expected = reference(film)
    np.testing.assert_allclose(decode_dicom(stored(film), name).pixels, expected, atol=1e-5)


def test_twelve_bit_jpeg_shows_the_picture_of_its_jpeg_2000_twin() -> None:
    """No decoder of pydicom's reads JPEG Extended of 12 bits: its own tests name two values, and the same picture is there as JPEG 2000."""
    lossy, twin = (decode_dicom(stored(shipped(name)), name).pixels for name in ("JPGExtended", "JPEG2000"))
    np.testing.assert_allclose(lossy[[420, 230], [140, 120]] * 264, [244, 95], atol=1e-3)  # 264: its brightest
    assert np.corrcoef(lossy.ravel(), twin.ravel())[0, 1] > 0.95


CODECS: dict[str, tuple[UID, Callable[[np.ndarray], bytes]]] = {
    "JPEG baseline": (JPEGBaseline8Bit, lambda values: imagecodecs.jpeg8_encode(values, level=100)),
    "JPEG extended": (JPEGExtended12Bit, lambda values: imagecodecs.jpeg8_encode(values, level=100, bitspersample=12)),
    "JPEG lossless": (JPEGLossless, lambda values: imagecodecs.jpeg8_encode(values, lossless=True, predictor=4, bitspersample=12)),
    "JPEG lossless SV1": (JPEGLosslessSV1, lambda values: imagecodecs.jpeg8_encode(values, lossless=True, predictor=1, bitspersample=12)),
    "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG 2000": (JPEG2000Lossless, lambda values: imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=True, bitspersample=12)),
    "JP2 in boxes": (JPEG2000Lossless, lambda values: imagecodecs.jpeg2k_encode(values, codecformat="jp2", reversible=True)),
}


def compressed(codec: str, values: np.ndarray, **tags: object) -> bytes:
    syntax, encode = CODECS[codec]
    film = dataset(**tags)
    film.Rows, film.Columns = values.shape
    film.BitsAllocated = 8 * values.dtype.itemsize
    if film.BitsAllocated == 8:
        film.BitsStored, film.HighBit = 8, 7
    film.file_meta.TransferSyntaxUID = syntax
    film.PixelData = encapsulate([bytes(encode(values))])
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    return stored(film)


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_gives_back_what_was_compressed(codec: str) -> None:
    values = (RAMP >> 4).astype(np.uint8) if codec == "JPEG baseline" else RAMP
    shown = decode_dicom(compressed(codec, values), codec).pixels
    is_lossy = codec in {"JPEG baseline", "JPEG extended"}
    np.testing.assert_allclose(shown, values / values.max(), atol=0.02 if is_lossy else 1e-6)


@pytest.mark.parametrize("codec", ["JPEG lossless", "JPEG lossless SV1", "JPEG-LS", "JPEG 2000"])
def test_another_decoder_reads_the_same(codec: str) -> None:
    pytest.importorskip("gdcm", reason="python-gdcm, the second decoder, is not installed")
    values = np.random.default_rng(0).integers(0, 4096, (40, 64)).astype(np.uint16)
    data = compressed(codec, values, WindowCenter=2000, WindowWidth=3000)
    np.testing.assert_allclose(decode_dicom(data, codec).pixels, reference(dcmread(io.BytesIO(data))), atol=1e-6)


@pytest.mark.parametrize("codec", ["JPEG lossless SV1", "JPEG-LS"])
def test_a_codec_that_knows_no_sign_is_given_one(codec: str) -> None:
    signed = RAMP.astype(np.int32) - 2048
    data = compressed(codec, (signed & 4095).astype(np.uint16), PixelRepresentation=1)
    np.testing.assert_allclose(decode_dicom(data, codec).pixels, RAMP / 4095, atol=1e-6)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_every_byte_order_and_kind_of_integer(syntax: UID, kind: type[np.generic]) -> None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    low, bits = (-2048, 12) if kind is np.int16 else (0, 8 * np.dtype(kind).itemsize)
    values = np.linspace(low, low + 2**bits - 1, 64).astype(kind)[None].repeat(40, axis=0)
    film = dataset(BitsAllocated=8 * values.itemsize, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(low < 0))
    film.PixelData = values.astype(values.dtype.newbyteorder(order)).tobytes()
    film.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    film.save_as(
        buffer, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian
    )
    shown = decode_dicom(buffer.getvalue(), "film.dcm").pixels
    np.testing.assert_allclose(shown, (values.astype(float) - low) / (2**bits - 1), atol=1e-5)


# ---- headers that are wrong, and headers that say much


def test_values_above_the_stored_bits_are_not_wrapped() -> None:
    np.testing.assert_allclose(pixels(BitsStored=10, HighBit=9), RAMP / 4095, atol=1e-6)


def test_bits_of_an_overlay_are_dropped() -> None:
    with_overlay = (RAMP | (np.arange(64) % 2).astype(np.uint16) << 12).tobytes()
    film = dataset(PixelData=with_overlay)
    film.add_new(0x60000100, "US", 16)
    film.add_new(0x60000102, "US", 12)
    np.testing.assert_allclose(decode_dicom(stored(film), "film.dcm").pixels, RAMP / 4095, atol=1e-6)


def test_a_high_bit_is_believed_where_the_pixels_agree() -> None:
    window = {"WindowCenter": 1024, "WindowWidth": 1024}
    plain = pixels(**window)
    np.testing.assert_array_equal(pixels(HighBit=15, PixelData=(RAMP << 4).tobytes(), **window), plain)
    np.testing.assert_array_equal(pixels(HighBit=15, **window), plain)


def test_a_sign_above_the_stored_bits() -> None:
    bare = ((RAMP.astype(np.int32) - 2048) & 4095).astype(np.uint16)  # two's complement in 12 bits, nothing above
    np.testing.assert_allclose(pixels(PixelRepresentation=1, PixelData=bare.tobytes()), RAMP / 4095, atol=1e-6)
    wide = (RAMP.astype(np.int32) * 4 - 8192).astype(np.int16)  # 14 bits where 12 are stated
    np.testing.assert_allclose(pixels(PixelRepresentation=1, PixelData=wide.tobytes()), RAMP / 4095, atol=1e-3)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_is_not_counted(photometric: str) -> None:
    padded = RAMP // 2 + 100
    padded[:5] = 4000
    shown = pixels(PixelData=padded.tobytes(), PixelPaddingValue=4000, PhotometricInterpretation=photometric)
    assert not shown[:5].any()
    expected = (padded[5:] - 100) / 2047
    np.testing.assert_allclose(shown[5:], 1 - expected if photometric == "MONOCHROME1" else expected, atol=1e-6)


def test_padding_may_be_a_range() -> None:
    shown = pixels(PixelPaddingValue=3000, PixelPaddingRangeLimit=4095)
    assert not shown[RAMP >= 3000].any() and shown[RAMP < 3000].max() == 1


def table(entries: np.ndarray, explained: str = "") -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), 0, 16]
    item.LUTData = entries.astype(np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    item.LUTExplanation = explained
    return item


SQUARED, ROOTED = np.arange(4096) ** 2 // 4096, np.sqrt(np.arange(4096) * 4095)


def test_of_several_windows_the_normal_one_is_taken_else_the_first() -> None:
    windows = {"WindowCenter": [1000, 2000], "WindowWidth": [500, 3000]}
    first, second = pixels(WindowCenter=1000, WindowWidth=500), pixels(WindowCenter=2000, WindowWidth=3000)
    np.testing.assert_array_equal(pixels(**windows), first)
    np.testing.assert_array_equal(pixels(**windows, WindowCenterWidthExplanation=["HARD", "Normal"]), second)
    np.testing.assert_array_equal(pixels(**windows, WindowCenterWidthExplanation=["HARD", "SOFT"]), first)
    np.testing.assert_array_equal(pixels(WindowCenter=[60000, 2000], WindowWidth=[1, 3000]), second)
    np.testing.assert_array_equal(pixels(WindowCenter=[1000, 2000], WindowWidth=[0, 3000]), second)


def test_a_voi_table_comes_before_a_window_and_the_normal_table_first() -> None:
    both = {"WindowCenter": 1000, "WindowWidth": 500}
    squared, rooted = (RAMP / 4095.0) ** 2, np.sqrt(RAMP / 4095.0)
    tables = Sequence([table(SQUARED, "HIGH_CONTRAST"), table(ROOTED, "NORMAL")])
    np.testing.assert_allclose(pixels(VOILUTSequence=tables, **both), rooted, atol=2e-3)
    np.testing.assert_allclose(pixels(VOILUTSequence=Sequence([table(SQUARED), table(ROOTED)]), **both), squared, atol=2e-3)


def test_a_voi_table_that_is_cut_short_gives_way_to_the_window() -> None:
    broken = table(SQUARED)
    broken.LUTData = broken.LUTData[:100]
    window = {"WindowCenter": 1000, "WindowWidth": 500}
    np.testing.assert_array_equal(pixels(VOILUTSequence=Sequence([broken]), **window), pixels(**window))


def test_a_modality_table_is_looked_up() -> None:
    item = table(SQUARED)
    item.ModalityLUTType = "US"
    np.testing.assert_allclose(pixels(ModalityLUTSequence=Sequence([item])), (RAMP / 4095.0) ** 2, atol=2e-3)


def read(**tags: object) -> Radiograph:
    return decode_dicom(stored(dataset(**tags)), "film.dcm")


def test_spacing_and_the_shape_of_a_pixel() -> None:
    assert read().spacing is None and read().aspect == 1
    assert read(PixelSpacing=[0.2, 0.1]).spacing == (0.2, 0.1) and read(PixelSpacing=[0.2, 0.1]).aspect == 2
    assert read(ImagerPixelSpacing=[0.14, 0.14]).spacing == (0.14, 0.14)
    assert read(PixelAspectRatio=[4, 3]).aspect == pytest.approx(4 / 3) and read(PixelAspectRatio=[4, 3]).spacing is None
    assert read(PixelSpacing=[0, 0], PixelAspectRatio=[1, 1]).aspect == 1
    assert read(PixelSpacing=[900, 0.1]).aspect == 1


@pytest.mark.parametrize(
    ("position", "view"),
    [("PA", "PA"), ("AP ", "AP"), ("ap  lld", "AP LLD"), ("", "unknown"), (None, "unknown"), ("DOE^JANE", "unknown")],
)
def test_the_view_is_the_header_s(tmp_path: Path, position: str | None, view: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is no code
        film = dataset() if position is None else dataset(ViewPosition=position)
        (tmp_path / "film").write_bytes(stored(film))  # known by its content
    read = read_film(tmp_path / "film")
    assert read.view == view and (read.geometry.width, read.geometry.height) == (64, 40)


def coded(meaning: str) -> Sequence:
    item = Dataset()
    item.CodeMeaning = meaning
    return Sequence([item])


def test_a_coded_view_is_read_where_there_is_no_position() -> None:
    assert read(ViewCodeSequence=coded("postero-anterior")).view == "PA"
    assert read(ViewCodeSequence=coded("antero-posterior"), ViewPosition="PA").view == "PA"
    with pytest.raises(InputError, match="a lateral film by its header"):
        read(ViewCodeSequence=coded("left lateral"), ViewPosition="PA")


def without(name: str) -> Dataset:
    film = dataset()
    delattr(film, name)
    return film


def changed(**tags: object) -> bytes:
    return stored(dataset(**tags))


def document(modality: str, kind: str) -> bytes:
    film = dataset(Modality=modality, SOPClassUID=kind)
    for name in ("PixelData", "Rows", "Columns"):
        delattr(film, name)
    return stored(film)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (stored(without("PixelData")), "cut off before it (Digital X-Ray Image Storage - For Presentation)"),
        (document("SR", "1.2.840.10008.5.1.4.1.1.88.11"), "holds no image (Basic Text SR Storage)"),
        (document("DOC", EncapsulatedPDFStorage), "holds no image (Encapsulated PDF Storage)"),
        (document("PR", GrayscaleSoftcopyPresentationStateStorage), "holds no image (Grayscale Softcopy Presentation State Storage)"),
        (changed(Modality="CT"), "modality CT is no radiograph"),
        (changed(Modality="DOE"), "its modality is no radiograph"),
        (changed(ViewPosition="LL"), "a lateral film by its header (view LL)"),
        (changed(ViewPosition="RLO"), "an oblique film by its header (view RLO)"),
        (changed(SOPClassUID=SecondaryCaptureImageStorage, Modality=""), "a secondary capture"),
        (changed(SOPClassUID=SecondaryCaptureImageStorage, ConversionType="SD"), "a secondary capture"),
        (changed(NumberOfFrames=2, PixelData=RAMP.tobytes() * 2), "holds several frames"),
        (
            changed(BitsAllocated=32, BitsStored=32, HighBit=31, PixelData=RAMP.astype(np.uint32).tobytes()),
            "not grey values of 8 to 16 bits",
        ),
        (changed(PhotometricInterpretation="RGB", SamplesPerPixel=3), "its pixels are RGB"),
        (changed(Rows=20000, Columns=20000), "more than the 64 megapixels"),
        (changed(PixelData=RAMP.tobytes()[:1000]), "truncated, damaged or not decodable"),
        (stored(without("Rows")), "truncated, damaged or not decodable"),
        (stored(dataset())[:200], "holds no image"),
        (b"\0" * 300, "not a DICOM file"),
    ],
)
def test_what_is_no_whole_radiograph_is_refused_by_its_reason(data: bytes, said: str) -> None:
    with pytest.raises(InputError) as refused:
        decode_dicom(data, "film.dcm")
    message = str(refused.value)
    assert message.startswith("film.dcm: ") and said in message and "\n" not in message


def test_a_film_exported_as_secondary_capture_is_read_if_it_says_what_it_is() -> None:
    np.testing.assert_array_equal(read(SOPClassUID=SecondaryCaptureImageStorage, Modality="CR").pixels, read().pixels)


@pytest.mark.parametrize(
    ("codec", "change", "said"),
    [
        ("JPEG-LS", lambda frame: frame[:400], "is cut off before its end"),
        ("JPEG lossless SV1", lambda frame: frame[:400], "is cut off before its end"),
        ("JPEG lossless SV1", lambda frame: b"\xff\xd8\xff\xc2" + frame[4:], "a kind of JPEG that its transfer syntax does not allow"),
        ("JPEG lossless SV1", lambda frame: b"GIF89a" + frame[6:], "holds no JPEG"),
        ("JPEG 2000", lambda frame: b"\0" * 100, "holds no JPEG 2000 codestream"),
        ("JPEG 2000", lambda frame: frame[:8] + b"\0\0\xff\xff" + frame[12:], "is not of the size that its header says"),
        ("JPEG 2000", lambda frame: frame[:24] + b"\0\0\0\1\0\0\0\1" + frame[32:], "is cut into too many tiles"),
    ],
)
def test_a_damaged_frame_is_refused_before_it_is_decoded(codec: str, change: Callable[[bytes], bytes], said: str) -> None:
    tall = np.tile(RAMP, (2, 1))  # more pixels than the tiles that are allowed
    film = dcmread(io.BytesIO(compressed(codec, tall)))
    frame = bytes(CODECS[codec][1](tall))
    film.PixelData = encapsulate([change(frame)])
    film["PixelData"].is_undefined_length = True
    with pytest.raises(InputError, match=said):
        decode_dicom(stored(film), "film.dcm")


def test_a_size_that_the_frame_does_not_have_is_refused() -> None:
    film = dcmread(io.BytesIO(compressed("JPEG-LS", RAMP)))
    film.Rows = 41
    with pytest.raises(InputError, match="is not of the size that its header says"):
        decode_dicom(stored(film), "film.dcm")


def test_run_lengths_end_where_the_film_ends() -> None:
    film = dataset()
    film.compress(RLELossless)
    for frame in (film.PixelData[:-400], encapsulate([b"\2" + b"\0" * 3 + b"\x40" + b"\0" * 3 + b"\x41" + b"\0" * 55 + b"\x81\7" * 2000])):
        film.PixelData = frame
        with pytest.raises(InputError, match=r"film\.dcm: "):
            decode_dicom(stored(film), "film.dcm")


def test_an_unread_compression_is_named() -> None:
    film = dcmread(io.BytesIO(compressed("JPEG 2000", RAMP)))
    film.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(InputError, match="compressed as MPEG2 Main Profile / Main Level, which is not read"):
        decode_dicom(stored(film), "film.dcm")


def test_a_deflated_file_is_refused_before_it_is_inflated() -> None:
    film = dataset()
    film.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(InputError, match="deflated DICOM"):
        decode_dicom(stored(film), "film.dcm")


def test_a_png_of_that_name(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 128, np.uint8)).save(tmp_path / "really.dcm", "PNG")
    assert read_film(tmp_path / "really.dcm").pixels.shape == (40, 40)


GOOD = stored(dataset())


@given(st.integers(132, len(GOOD) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_read_or_refused(place: int, change: int) -> None:
    broken = bytearray(GOOD)
    broken[place] ^= change
    try:
        shown = decode_dicom(bytes(broken), "flipped.dcm").pixels
    except InputError:
        return
    assert shown.min() >= 0 and shown.max() <= 1
