"""PNG, JPEG, TIFF or DICOM file -> grey film in [0, 1] with the geometry back to its pixels; knows nothing about what a film shows.

A file is refused by its size before it is read, and by its header before it is decoded. Depths (decision 0026): 8 bits are divided by 255;
more, by the white of the smallest usual depth that holds the film's brightest pixel, so that 12 bits in a 16-bit file are neither dark
nor wrapped; real numbers in [0, 1] stay, and others are stretched from their darkest to their brightest.
"""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from cyclicxr.data.dicom import Radiograph, decode_dicom, is_dicom
from cyclicxr.data.limits import LIMITS
from cyclicxr.types import Film, Geometry, InputError

__all__ = ["LIMITS", "SUFFIXES", "decode_film", "network_pixels", "read_film"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
_FORMATS = ("PNG", "JPEG", "TIFF")
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)  # bits that detectors and converters store
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # a TIFF's tag and value
_SAMPLE_FORMAT = 339  # a TIFF's tag: 1 unsigned, 2 signed, 3 real
_TIFF = (b"II*\0", b"MM\0*")
_HIGH_BYTE = 64  # [ours] of 16-bit colour only the upper byte is read; where none reaches this, two bits or more of its eight are lost


def read_film(path: str | Path, fit: str = "squash") -> Film:
    """Read one film.

    Args:
        path: PNG, JPEG, TIFF or DICOM, told by its content and not by its name.
        fit: how it will come into the network's square, one of `types.FITS`; stands in the film's geometry.

    Returns:
        The film at its own resolution, float32 (h, w) in [0, 1], bone bright, upright (an EXIF rotation is applied, and the
        geometry is of the upright film). Colour becomes luminance; what is transparent becomes black.

    Raises:
        InputError: missing, empty, too large, truncated, a folder, or no film.
    """
    return decode_film(_bytes_of(Path(path)), str(path), fit)


def decode_film(data: bytes, name: str, fit: str = "squash") -> Film:
    """Decode the bytes of a film that is no file on disk (an upload); as `read_film`.

    Args:
        data: of a PNG, JPEG, TIFF or DICOM file.
        name: how messages and results call it.
        fit: as in `read_film`.

    Raises:
        InputError: empty, too large, truncated, or no film.
    """
    LIMITS.check_bytes(name, len(data))
    radiograph = decode_dicom(data, name) if is_dicom(data, name) else Radiograph(_decode_picture(data, name))
    height, width = radiograph.pixels.shape
    return Film(radiograph.pixels, Geometry(width, height, fit, radiograph.aspect), name, hashlib.sha256(data).hexdigest(), radiograph.view)


def network_pixels(film: Film, size: int) -> UInt8[np.ndarray, "s s"]:
    """The film in the network's square ("all resized to 256 x 256", 4.1), antialiased, where its geometry says: squashed or padded.

    Args:
        film: of any size.
        size: pixels along a side, > 0.

    Returns:
        8-bit pixels; a film of that size comes back unchanged.
    """
    picture = Image.fromarray(film.pixels)
    x0, y0, x1, y1 = (size * edge for edge in film.geometry.to_unit((0.0, 0.0, float(picture.width), float(picture.height))))
    if x0 > 0:
        square = _between_bars(picture.resize((picture.width, size), Image.Resampling.BICUBIC), x0, x1, size)
    elif y0 > 0:
        upright = picture.resize((size, picture.height), Image.Resampling.BICUBIC).transpose(Image.Transpose.TRANSPOSE)
        square = _between_bars(upright, y0, y1, size).transpose(Image.Transpose.TRANSPOSE)
    else:
        square = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(np.floor(np.clip(np.asarray(square), 0, 1) * 255 + 0.5), dtype=np.uint8)


def _between_bars(picture: Image.Image, x0: float, x1: float, size: int) -> Image.Image:
    """A picture of the square's height, made as wide as x0 to x1 (in the square's pixels, no whole numbers) between two black bars."""
    scale = picture.width / (x1 - x0)  # its pixels in one of the square's
    margin = math.ceil(scale)
    wider = Image.new("F", (picture.width + 2 * margin, size))
    wider.paste(picture, (margin, 0))
    first, last = math.floor(x0), math.ceil(x1)
    box = (margin - (x0 - first) * scale, 0, margin + picture.width + (last - x1) * scale, size)
    square = Image.new("F", (size, size))
    square.paste(wider.resize((last - first, size), Image.Resampling.BICUBIC, box=box), (first, 0))
    return square


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
            shallow = _is_cut_to_a_byte(picture)
            ImageOps.exif_transpose(picture, in_place=True)
            grey = _grey(picture, name)
    except InputError:
        raise
    except UnidentifiedImageError:
        if data.startswith(_TIFF):
            raise InputError(f"{name}: damaged, or a TIFF of a kind that is not read; save the film as PNG") from None
        raise InputError(f"{name}: not a PNG, JPEG, TIFF or DICOM film; give one of these") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{name}: more than the {LIMITS.megapixels} megapixels that are read; export a smaller film") from None
    except Exception as error:  # Pillow's decoders raise anything on a damaged file
        raise InputError(f"{name}: truncated or damaged ({' '.join(str(error).split())}); copy or export the film again") from error
    if shallow and grey.max() < _HIGH_BYTE / 255:
        raise InputError(f"{name}: 16-bit colour that leaves its upper bits empty; save the film as 16-bit grey")
    return np.subtract(1, grey) if inverted else grey


def _grey(picture: Any, name: str) -> Float32[np.ndarray, "h w"]:
    """Luminance in [0, 1], by the rule of depths that the module's docstring gives."""
    if picture.mode.startswith("I"):
        return _deep(_whole_numbers(picture))
    if picture.mode == "F":
        return _real(np.asarray(picture, dtype=np.float32), name)
    if picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info:
        colour = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour)
    if picture.mode == "CMYK" and picture.format == "JPEG" and "adobe" not in picture.info:
        picture = ImageChops.invert(picture)  # Pillow takes every such JPEG for one of Adobe's, which are stored inverted
    if picture.mode not in {"1", "L"}:
        picture = picture.convert("RGB")
    return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)


def _whole_numbers(picture: Any) -> np.ndarray:
    values = np.asarray(picture)
    unsigned = picture.mode == "I" and picture.format == "TIFF" and picture.tag_v2.get(_SAMPLE_FORMAT, (1,)) == (1,)
    return values.view(np.uint32) if unsigned else values  # Pillow takes all 32-bit numbers for signed ones


def _deep(values: np.ndarray) -> Float32[np.ndarray, "h w"]:
    darkest, brightest = min(int(values.min()), 0), int(values.max())
    if darkest < 0:
        values, brightest = values.astype(np.int64) - darkest, brightest - darkest
    white = next(2**bits - 1 for bits in _DEPTHS if brightest < 2**bits)
    if white < 2**24:  # whole numbers that float32 holds exactly
        return np.asarray(np.divide(values, white, dtype=np.float32, casting="unsafe"))
    return np.asarray(values / white, dtype=np.float32)


def _real(values: np.ndarray, name: str) -> Float32[np.ndarray, "h w"]:
    if not np.isfinite(values).all():
        raise InputError(f"{name}: holds pixels that are no numbers; export the film again")
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return values
    return ((values - low) / (high - low or 1)).astype(np.float32)


def _is_inverted(picture: Any) -> bool:
    """A TIFF with white as zero and more than 8 bits: Pillow turns only those of up to 8 bits."""
    return bool(picture.format == "TIFF" and picture.mode[0] in "IF" and picture.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def _is_cut_to_a_byte(picture: Any) -> bool:
    """Whether Pillow reads only the upper byte of each channel: 16-bit colour, or 16-bit grey with transparency."""
    return picture.mode in {"RGB", "RGBA", "LA"} and any(";16" in str(tile.args) for tile in picture.tile)
