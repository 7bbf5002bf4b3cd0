"""PNG, JPEG, TIFF or DICOM file -> grey film in [0, 1] with the geometry back to its pixels; knows nothing about what a film shows.

A file is refused by its size before it is read, and by its header before it is decoded.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from cyclicxr.data.dicom import decode_dicom, is_dicom
from cyclicxr.data.limits import LIMITS
from cyclicxr.types import Film, Geometry, InputError

__all__ = ["LIMITS", "SUFFIXES", "decode_film", "network_pixels", "read_film"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
_FORMATS = ("PNG", "JPEG", "TIFF")
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)  # bits that detectors and converters store
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # a TIFF's tag and value


def read_film(path: str | Path) -> Film:
    """Read one film.

    Args:
        path: PNG, JPEG, TIFF or DICOM, told by its content and not by its name.

    Returns:
        The film at its own resolution, float32 (h, w) in [0, 1], bone bright, upright (an EXIF rotation is applied, and the
        geometry is of the upright film). Colour becomes luminance; what is transparent becomes black.

    Raises:
        InputError: missing, empty, too large, truncated, a folder, or no film.
    """
    return decode_film(_bytes_of(Path(path)), str(path))


def decode_film(data: bytes, name: str) -> Film:
    """Decode the bytes of a film that is no file on disk (an upload); as `read_film`.

    Args:
        data: of a PNG, JPEG, TIFF or DICOM file.
        name: how messages and results call it.

    Raises:
        InputError: empty, too large, truncated, or no film.
    """
    LIMITS.check_bytes(name, len(data))
    pixels, view = decode_dicom(data, name) if is_dicom(data, name) else (_decode_picture(data, name), "unknown")
    height, width = pixels.shape
    return Film(pixels, Geometry(width, height), name, hashlib.sha256(data).hexdigest(), view)


def network_pixels(film: Film, size: int) -> UInt8[np.ndarray, "s s"]:
    """The film squashed to the network's square ("all resized to 256 x 256", 4.1), antialiased.

    Args:
        film: of any size.
        size: pixels along a side, > 0.

    Returns:
        8-bit pixels; a film of that size comes back unchanged.
    """
    picture = Image.fromarray(film.pixels)
    squashed = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
    return np.asarray(np.floor(np.clip(squashed, 0, 1) * 255 + 0.5), dtype=np.uint8)


def _bytes_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a film; name the files in it")
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError(f"{path}: is a device or a pipe, not a file; save the film first")
        LIMITS.check_bytes(str(path), path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from None


def _decode_picture(data: bytes, name: str) -> Float32[np.ndarray, "h w"]:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            LIMITS.check_pixels(name, *picture.size)
            if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:
                raise InputError(f"{name}: holds several pages; save the film alone")
            inverted = _is_inverted(picture)
            grey = _grey(ImageOps.exif_transpose(picture), name)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name}: not a PNG, JPEG, TIFF or DICOM film; give one of these") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{name}: more than the {LIMITS.megapixels} megapixels that are read; export a smaller film") from None
    except Exception as error:  # Pillow's decoders raise anything on a damaged file
        raise InputError(f"{name}: truncated or damaged ({' '.join(str(error).split())}); copy or export the film again") from error
    return np.subtract(1, grey) if inverted else grey


def _grey(picture: Image.Image, name: str) -> Float32[np.ndarray, "h w"]:
    """Luminance in [0, 1]. More than 8 bits are scaled by the smallest usual depth that holds them, never wrapped."""
    if picture.mode.startswith("I"):
        return _deep(np.asarray(picture).astype(np.int64))
    if picture.mode == "F":
        return _real(np.asarray(picture, dtype=np.float32), name)
    if picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info:
        colour = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour)
    if picture.mode not in {"1", "L"}:
        picture = picture.convert("RGB")
    return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)


def _deep(values: np.ndarray) -> Float32[np.ndarray, "h w"]:
    values = values - min(int(values.min()), 0)
    brightest = int(values.max())
    white = next(2**bits - 1 for bits in _DEPTHS if brightest < 2**bits) if brightest < 2 ** _DEPTHS[-1] else brightest
    return (values / white).astype(np.float32)


def _real(values: np.ndarray, name: str) -> Float32[np.ndarray, "h w"]:
    if not np.isfinite(values).all():
        raise InputError(f"{name}: holds pixels that are no numbers; export the film again")
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return values
    return ((values - low) / (high - low or 1)).astype(np.float32)


def _is_inverted(picture: Any) -> bool:
    """A TIFF with white as zero and more than 8 bits: Pillow turns only those of up to 8 bits."""
    return bool(picture.format == "TIFF" and picture.mode.startswith("I") and picture.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
