"""DICOM file -> grey film in [0, 1]: modality LUT, then VOI LUT or window, then inversion of MONOCHROME1; knows no other format.

The three steps are pydicom's own, in the order of the standard (PS3.4 N.2).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float32
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from cyclicxr.data.limits import LIMITS
from cyclicxr.types import InputError

_RADIOGRAPHY = {"CR": "computed", "DX": "digital", "RG": "conventional", "": "unstated"}
_MAGIC_AT, _MAGIC = 128, b"DICM"


def is_dicom(data: bytes, name: str) -> bool:
    """By its magic word, or by its name where an old file has none."""
    return data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC or Path(name).suffix.lower() in {".dcm", ".dicom"}


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
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), force=False)
        _check(dataset, name)
        return _presented(dataset), str(dataset.get("ViewPosition") or "unknown").strip().upper() or "unknown"
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
        raise InputError(f"{name}: this DICOM holds no image ({said}); give the radiograph itself")
    if modality not in _RADIOGRAPHY:
        raise InputError(f"{name}: modality {modality} is no radiograph; give a chest film of modality CR or DX")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise InputError(f"{name}: holds {dataset.NumberOfFrames} frames; give a single film")
    if int(dataset.get("SamplesPerPixel") or 1) > 1:
        raise InputError(f"{name}: is in colour ({dataset.get('PhotometricInterpretation')}), so no radiograph; give the original film")
    LIMITS.check_pixels(name, int(dataset.Columns), int(dataset.Rows))


def _presented(dataset: Any) -> Float32[np.ndarray, "h w"]:
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    unit = (values - low) / (high - low or 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        unit = 1 - unit
    return np.asarray(unit, dtype=np.float32)
