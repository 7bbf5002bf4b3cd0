"""DICOM file -> grey film in [0, 1]: modality LUT, then VOI LUT or window, then inversion of MONOCHROME1; knows no other format.

The three steps are pydicom's own, in the order of the standard (PS3.4 N.2).
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float32
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from cyclicxr.data.limits import LIMITS
from cyclicxr.types import InputError

log = logging.getLogger(__name__)

_RADIOGRAPHY = {"CR", "DX", "RG", ""}  # computed, digital, conventional, unstated
_GREY = {"MONOCHROME1", "MONOCHROME2"}
_MAGIC_AT, _MAGIC = 128, b"DICM"
_PICTURES = (b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*")
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # its size is not known before it is inflated


def is_dicom(data: bytes, name: str) -> bool:
    """By its magic word; or by its name, where neither that nor another picture's is there."""
    if data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC:
        return True
    return Path(name).suffix.lower() in {".dcm", ".dicom"} and not data.startswith(_PICTURES)


def read_dicom(path: str | Path) -> tuple[Float32[np.ndarray, "h w"], str]:
    """Read one radiograph; `decode_dicom` says what comes back and what is refused."""
    file = Path(path)
    try:
        LIMITS.check_bytes(str(path), file.stat().st_size)
        return decode_dicom(file.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from None


def decode_dicom(data: bytes, name: str) -> tuple[Float32[np.ndarray, "h w"], str]:
    """Decode one radiograph.

    Args:
        data: of a DICOM file.
        name: how messages call it.

    Returns:
        Pixels float32 (h, w) in [0, 1], bone bright; and the View Position as it stands there ("PA", "AP", "LL", ...), "unknown"
        where there is none. The view is not to be trusted: OpenI's headers say PA for 1,367 laterals.

    Raises:
        InputError: damaged, without pixels, of another modality, several frames, colour, too large, or compressed in a way that no
            installed decoder reads.
    """
    if _DEFLATED in data[:4096]:
        raise InputError(f"{name}: a deflated DICOM, whose size cannot be checked; export it uncompressed, or as JPEG 2000 or RLE")
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        _check(dataset, name)
        return _presented(dataset), str(dataset.get("ViewPosition") or "").strip().upper() or "unknown"
    except InputError:
        raise
    except InvalidDicomError:
        raise InputError(f"{name}: not a DICOM file (no DICM mark); export it again as DICOM Part 10") from None
    except Exception as error:  # pydicom and its decoders raise anything on a damaged file
        raise InputError(f"{name}: truncated, damaged or not decodable ({' '.join(str(error).split())[:200]}); export it again") from error


def _check(dataset: Any, name: str) -> None:
    modality = str(dataset.get("Modality") or "")
    if "PixelData" not in dataset:
        kind = dataset.get("SOPClassUID")
        said = getattr(kind, "name", "") or "unknown class"
        raise InputError(f"{name}: this DICOM holds no image, or is cut off before it ({said}); give the whole radiograph")
    if modality not in _RADIOGRAPHY:
        raise InputError(f"{name}: modality {modality} is no radiograph; give a chest film of modality CR or DX")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise InputError(f"{name}: holds {dataset.NumberOfFrames} frames; give a single film")
    photometric = str(dataset.get("PhotometricInterpretation") or "unstated")
    if photometric not in _GREY:
        raise InputError(f"{name}: its pixels are {photometric}, so no radiograph; give the original grey film")
    LIMITS.check_pixels(name, int(dataset.Columns), int(dataset.Rows))


def _presented(dataset: Any) -> Float32[np.ndarray, "h w"]:
    """In the standard's order; the range is the window's where there is one, else the film's own."""
    stored = apply_modality_lut(dataset.pixel_array, dataset)
    if "VOILUTSequence" in dataset:
        shown = apply_voi_lut(np.rint(stored).astype(np.int64), dataset)
        low, high = float(shown.min()), float(shown.max())
    else:
        shown, (low, high) = _windowed(stored, dataset)
    unit = np.clip((shown.astype(np.float64) - low) / (high - low or 1), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        unit = 1 - unit
    return np.asarray(unit, dtype=np.float32)


def _windowed(stored: np.ndarray, dataset: Any) -> tuple[np.ndarray, tuple[float, float]]:
    """Through the window, and black and white of its output; without one, or where it leaves one grey only, as stored."""
    own = float(stored.min()), float(stored.max())
    if "WindowCenter" not in dataset or "WindowWidth" not in dataset:
        return stored, own
    shown = apply_voi_lut(stored, dataset)
    if shown.min() == shown.max() and own[0] < own[1]:
        log.warning("the window leaves one grey only, and is not applied")
        return stored, own
    with np.errstate(over="ignore"):  # a sigmoid's ends
        black, white = apply_voi_lut(np.array([[-1e9, 1e9]]), dataset)[0]
    return shown, (float(black), float(white))
