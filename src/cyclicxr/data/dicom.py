"""DICOM file -> grey film in [0, 1]: modality LUT, then VOI LUT or window, then inversion of MONOCHROME1; knows no patient and no codec.

The steps are pydicom's own, in the order of the standard (PS3.4 N.2). Every one of them looks at one pixel alone, so each is computed
once for each stored value and looked up. Only the elements of `_ELEMENTS` are read, and messages quote nothing but words of the
standard: names, numbers and dates of a patient cannot get out (decision 0025).
"""

from __future__ import annotations

import io
import logging
import math
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float32, Integer
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing, get_decoder
from pydicom.uid import RLELossless, UID_dictionary

from cyclicxr.data.codecs import FrameError, decode_frame, is_readable
from cyclicxr.data.limits import LIMITS
from cyclicxr.types import InputError

_OVERLAY_BITS = tuple(0x60000102 + 0x20000 * plane for plane in range(16))  # where in the pixels an overlay is (retired)
_ELEMENTS = (
    *("SOPClassUID", "Modality", "ConversionType", "ViewPosition", "ViewCodeSequence"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"),
    "PixelData",
    *_OVERLAY_BITS,
)
_RADIOGRAPHY = {"CR", "DX", "RG"}  # computed, digital, conventional
_OTHERS = set("CT DOC ECG ES IO KO MG MR NM OCT OP OT PR PT PX RF RTDOSE RTIMAGE RTPLAN RTSTRUCT SEG SM SR US XA XC".split())
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_DOCUMENTS = {"SD", "DRW"}  # conversion types of a secondary capture: a scanned document, a drawing
_FRONTAL = {"PA", "AP", "AP AXIAL", "LLD", "RLD", "AP LLD", "AP RLD", "PA LLD", "PA RLD"}  # lying on a side is frontal
_LATERAL = {"LL", "RL", "LAT", "LATERAL", "LEFT LATERAL", "RIGHT LATERAL", "XTABLE LATERAL", "SWIMMERS"}
_OBLIQUE = {"LLO", "RLO", "LAO", "RAO", "LPO", "RPO"}
_MEANINGS = {"POSTERO-ANTERIOR": "PA", "ANTERO-POSTERIOR": "AP", "FRONTAL": "AP"}  # of a coded view
_GREY = {"MONOCHROME1", "MONOCHROME2"}
_COLOURS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "PALETTE COLOR", "XYB"}
_MAGIC_AT, _MAGIC = 128, b"DICM"
_PICTURES = (b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*")
_META = 0x0002  # the group of elements that come first
_DEFLATED = "1.2.840.10008.1.2.1.99"  # its size is not known before it is inflated
_ITEMS = (b"\xfe\xff\0\xe0", b"\xff\xfe\xe0\0")  # how an item of a sequence begins, in either order of bytes
_MOST_ITEMS, _MOST_PIECES, _MOST_HEADER = 10_000, 400_000, 8 * 2**20  # [ours] a radiograph has some hundreds, and kilobytes
_NORMAL = "NORMAL"  # how a window or VOI LUT is explained that is the usual one
_MOST_STRETCHED = 4.0  # [ours] a pixel of another aspect ratio is a mistake of the header

_pydicom_log = logging.getLogger("pydicom")
_one_at_a_time = threading.RLock()


@dataclass(frozen=True)
class Radiograph:
    """One decoded radiograph.

    Args:
        pixels: float32 (h, w) in [0, 1], bone bright, as stored: not made square.
        view: View Position ("PA", "AP", ...), "unknown" where none is stated. Not to be trusted: OpenI's headers say PA for 1,367 laterals.
        aspect: height of a pixel over its width; 1 where nothing is stated.
        spacing: millimetres from row to row and from column to column, at the detector where nothing else is stated; None where unknown.
    """

    pixels: Float32[np.ndarray, "h w"]
    view: str = "unknown"
    aspect: float = 1.0
    spacing: tuple[float, float] | None = None


def is_dicom(data: bytes, name: str) -> bool:
    """By its magic word; or by its name, where neither that nor another picture's is there."""
    if data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC:
        return True
    return Path(name).suffix.lower() in {".dcm", ".dicom"} and not data.startswith(_PICTURES)


def decode_dicom(data: bytes, name: str) -> Radiograph:
    """Decode one radiograph.

    Of several VOI LUTs and windows the first is taken that shows more than one grey: VOI LUTs before windows, those explained as
    "NORMAL" before others, then in the order of the file; black and white are the ends of its output. Without any, the film's own
    darkest and brightest pixel are black and white. Padding is black.

    Args:
        data: of a DICOM file.
        name: how messages call it.

    Raises:
        InputError: damaged, without pixels, no radiograph (another modality, a secondary capture that does not say it is one, colour,
            several frames), a lateral or oblique view by its header, too large, or compressed in a way that is not read.
    """
    try:
        with _quietly():
            dataset = _header(data, name)
            _check(dataset, name)
            spacing, aspect = _spacing(dataset)
            return Radiograph(_presented(_stored(dataset, name), dataset), _view(dataset, name), aspect, spacing)
    except InputError:
        raise
    except InvalidDicomError:
        raise InputError(f"{name}: not a DICOM file (no DICM mark); export it again as DICOM Part 10") from None
    except FrameError as error:
        raise InputError(f"{name}: its compressed image {error}; export it again") from None
    except Exception:  # noqa: BLE001  pydicom and the decoders raise anything on a damaged file, and may quote it
        raise InputError(f"{name}: truncated, damaged or not decodable; copy or export it again") from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what pydicom warns and logs: it quotes values of the header. One thread at a time, as Python's warnings are global."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, _pydicom_log.disabled = _pydicom_log.disabled, True
        try:
            yield
        finally:
            _pydicom_log.disabled = before


def _header(data: bytes, name: str) -> Any:
    if any(data.count(item) > _MOST_ITEMS for item in _ITEMS):
        raise InputError(f"{name}: its header holds more items than any radiograph has; export it again")
    file = _Bounded(data)
    read_preamble(file, force=False)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag >> 16 != _META)
    if str(meta.get("TransferSyntaxUID")) == _DEFLATED:
        raise InputError(f"{name}: a deflated DICOM, whose size cannot be checked; export it uncompressed, or as JPEG 2000 or RLE")
    dataset = pydicom.dcmread(_Bounded(data), specific_tags=list(_ELEMENTS))
    if "PixelData" in dataset and len(data) - len(dataset.get_item("PixelData").value or b"") > _MOST_HEADER:
        raise InputError(f"{name}: its header is larger than {_MOST_HEADER // 2**20} MiB; export it again")
    return dataset


class _Bounded(io.BytesIO):
    """A file that may be read in so many pieces and no more: pydicom reads twice an element, and a crafted file has millions."""

    pieces = 0

    def read(self, size: int | None = -1) -> bytes:
        self.pieces += 1
        if self.pieces > _MOST_PIECES:
            raise OSError("too many elements")
        return super().read(size)


def _check(dataset: Any, name: str) -> None:
    modality = str(dataset.get("Modality") or "").strip()
    kind = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "").strip()
    if "PixelData" not in dataset:
        cut = ", or is cut off before it" if "Rows" in dataset else ""
        raise InputError(f"{name}: this DICOM holds no image{cut} ({_class_name(kind)}); give a whole radiograph")
    if modality and modality not in _RADIOGRAPHY:
        said = f"modality {modality}" if modality in _OTHERS else "its modality"
        raise InputError(f"{name}: {said} is no radiograph; give a chest film of modality CR or DX")
    is_captured = kind == _SECONDARY_CAPTURE or kind.startswith(f"{_SECONDARY_CAPTURE}.")
    if is_captured and (not modality or str(dataset.get("ConversionType") or "").strip() in _DOCUMENTS):
        raise InputError(f"{name}: a secondary capture, which may show anything; give the original film of modality CR or DX")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise InputError(f"{name}: holds several frames; give a single film")
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip()
    if photometric not in _GREY:
        said = photometric if photometric in _COLOURS else "of no known kind"
        raise InputError(f"{name}: its pixels are {said}, so no radiograph; give the original grey film")
    LIMITS.check_pixels(name, int(dataset.Columns), int(dataset.Rows))
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not 8 <= int(dataset.BitsStored) <= int(dataset.BitsAllocated) <= 16:
        raise InputError(f"{name}: its pixels are not grey values of 8 to 16 bits; give the original film")


def _class_name(uid: str) -> str:
    return UID_dictionary[uid][0] if uid in UID_dictionary else "of unknown class"


def _view(dataset: Any, name: str) -> str:
    """By View Position, and by the coded view where there is none; only words that are known come back."""
    position = " ".join(str(dataset.get("ViewPosition") or "").upper().split())
    coded = [str(item.get("CodeMeaning") or "").strip().upper() for item in dataset.get("ViewCodeSequence") or ()]
    views = [position, *(_MEANINGS.get(meaning, meaning) for meaning in coded)]
    for view in views:
        if view in _LATERAL | _OBLIQUE:
            kind = "a lateral" if view in _LATERAL else "an oblique"
            raise InputError(f"{name}: {kind} film by its header (view {view}); give the frontal film of the study")
    return next((view for view in views if view in _FRONTAL), "unknown")


def _spacing(dataset: Any) -> tuple[tuple[float, float] | None, float]:
    """Millimetres between rows and between columns, and height over width of a pixel."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        found = dataset.get(name)
        try:
            rows, columns = (float(value) for value in found)
        except (TypeError, ValueError):
            continue
        is_plausible = min(rows, columns) > 0 and math.isfinite(rows) and 1 / _MOST_STRETCHED <= rows / columns <= _MOST_STRETCHED
        if is_plausible:
            return (None if name == "PixelAspectRatio" else (rows, columns)), rows / columns
    return None, 1.0


def _stored(dataset: Any, name: str) -> Integer[np.ndarray, "h w"]:
    """The stored values, whatever they are compressed by."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise InputError(f"{name}: does not say how it is encoded (no Transfer Syntax); export it again")
    if not syntax.is_encapsulated:
        values = get_decoder(syntax).as_array(dataset, index=0, raw=True, correct_unused_bits=False)[0]
    elif not is_readable(syntax):
        said = f"as {_class_name(str(syntax))}" if str(syntax) in UID_dictionary else "in an unknown way"
        raise InputError(f"{name}: compressed {said}, which is not read; export it uncompressed, or as JPEG 2000 or RLE")
    else:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        values = decode_frame(frame, syntax, int(dataset.Columns), int(dataset.Rows), int(dataset.BitsAllocated) // 8)
    return _integers(values, dataset, is_shifted=not syntax.is_encapsulated or syntax == RLELossless)


def _integers(values: Integer[np.ndarray, "h w"], dataset: Any, *, is_shifted: bool) -> Integer[np.ndarray, "h w"]:
    """What the bits stand for. Headers are wrong about Bits Stored and High Bit, so that the pixels are asked.

    A High Bit above the highest stored bit (`is_shifted`: a codec that knows bits leaves no room for it) is believed if all bits below
    are 0. Bits above those stored are dropped where an overlay is said to be there; otherwise they belong to the pixels.
    """
    bits, container = int(dataset.BitsStored), 8 * values.dtype.itemsize
    plain = values.view(f"{values.dtype.byteorder}u{values.dtype.itemsize}")
    below = int(dataset.get("HighBit") or 0) + 1 - bits
    if is_shifted and 0 < below <= container - bits and not np.any(plain & ((1 << below) - 1)):
        plain = plain >> below
    if any(tag in dataset and int(dataset[tag].value or 0) >= bits for tag in _OVERLAY_BITS):
        plain = plain & ((1 << bits) - 1)
    if not int(dataset.get("PixelRepresentation") or 0):
        return plain
    signed = plain.astype(plain.dtype.newbyteorder("=")).view(f"i{values.dtype.itemsize}")
    has_no_sign_yet = int(plain.max()) >> bits == 0
    return (signed << (container - bits)) >> (container - bits) if has_no_sign_yet else signed


def _presented(stored: Integer[np.ndarray, "h w"], dataset: Any) -> Float32[np.ndarray, "h w"]:
    """In the standard's order, each stored value once, then looked up."""
    lowest, highest = int(stored.min()), int(stored.max())
    values = np.arange(lowest, highest + 1)
    padding = _padding(values, dataset)
    counted = np.zeros(len(values), dtype=bool)
    counted[np.asarray(stored, dtype=np.int32).ravel() - lowest] = True
    counted &= ~padding
    output = apply_modality_lut(values, dataset)
    shown, (low, high) = _windowed(output, dataset, counted if counted.any() else ~counted)
    unit = np.clip((shown.astype(np.float64) - low) / (high - low or 1), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        unit = 1 - unit
    unit[padding] = 0
    return unit.astype(np.float32)[stored.astype(np.int32) - lowest]


def _padding(values: np.ndarray, dataset: Any) -> np.ndarray:
    """Which stored values are padding (PS3.3 C.7.5.1.1.2)."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(len(values), dtype=bool)
    last = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((first, last if isinstance(last, int) else first))
    return np.asarray((values >= ends[0]) & (values <= ends[1]))


def _windowed(output: np.ndarray, dataset: Any, counted: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Through the VOI LUT or window of `decode_dicom`'s rule, with black and white of its output."""
    own = output[counted]
    for apply, index in _choices(dataset):
        try:
            shown, ends = apply(output, dataset, index)
        except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError, struct.error):
            continue  # a window of width 0, a table cut short: as if it were not there
        if np.ptp(shown[counted]) > 0 or np.ptp(own) == 0:
            return shown, ends
    return output, (float(own.min()), float(own.max()))


def _choices(dataset: Any) -> Iterator[tuple[Any, int]]:
    """VOI LUTs, then windows, the normal one of each first."""
    tables = list(dataset.get("VOILUTSequence") or ())
    explained = [str(item.get("LUTExplanation") or "") for item in tables]
    yield from ((_through_table, index) for index in _normal_first(explained))
    if "WindowCenter" in dataset and "WindowWidth" in dataset:
        count = min(dataset["WindowCenter"].VM, dataset["WindowWidth"].VM)
        said = dataset.get("WindowCenterWidthExplanation") or ""
        explained = [said] if isinstance(said, str) else [str(words) for words in said]
        yield from ((_through_window, index) for index in _normal_first([*explained, *[""] * count][:count]))


def _normal_first(explained: list[str]) -> list[int]:
    return sorted(range(len(explained)), key=lambda index: explained[index].strip().upper() != _NORMAL)


def _through_table(output: np.ndarray, dataset: Any, index: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Black and white are the table's darkest and brightest entry: the number of bits it names is often wrong."""
    whole = np.rint(output).astype(np.int64)
    first, count = int(dataset.VOILUTSequence[index].LUTDescriptor[1]), int(dataset.VOILUTSequence[index].LUTDescriptor[0]) or 2**16
    entries = apply_voi(np.arange(first, first + count), dataset, index)
    return apply_voi(whole, dataset, index), (float(entries.min()), float(entries.max()))


def _through_window(output: np.ndarray, dataset: Any, index: int) -> tuple[np.ndarray, tuple[float, float]]:
    with np.errstate(over="ignore"):  # a sigmoid's ends
        black, white = apply_windowing(np.array([-1e9, 1e9]), dataset, index)
        return apply_windowing(output, dataset, index), (float(black), float(white))
