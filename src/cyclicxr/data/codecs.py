"""Compressed frame -> stored values, refused by its own header before it is decoded; knows no DICOM element.

The decoders are libjpeg-turbo, CharLS and OpenJPEG, through imagecodecs (decision 0025). What a frame says of its own size is compared
with what is expected of it first: a decoder makes room for whatever the frame says.
"""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
from jaxtyping import Integer
from pydicom.uid import (
    HTJ2K,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

_JPEG = {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1}
_JPEG_LS = set(JPEGLSTransferSyntaxes)
_JPEG_2000 = {*JPEG2000TransferSyntaxes, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL}
_SEQUENTIAL = {0xC0, 0xC1, 0xC3}  # frames of baseline, extended and lossless JPEG; a progressive one has no transfer syntax
_LS = 0xF7
_START_2000 = b"\xff\x4f\xff\x51"  # SOC and SIZ
_END = b"\xff\xd9"
_BOXES = 4096  # bytes of JP2 boxes that may come before a JPEG 2000 codestream
_MOST_TILES = 4096  # [ours] of one film


class FrameError(ValueError):
    """What is wrong with a compressed frame, in a few words of our own."""


def is_readable(syntax: UID) -> bool:
    """Whether there is a decoder for a compressed transfer syntax."""
    return syntax in {*_JPEG, *_JPEG_LS, *_JPEG_2000, RLELossless}


def decode_frame(frame: bytes, syntax: UID, width: int, height: int, item_bytes: int) -> Integer[np.ndarray, "h w"]:
    """Decode one grey frame.

    Args:
        frame: compressed.
        syntax: a transfer syntax that `is_readable`.
        width: pixels that the frame must have.
        height: likewise.
        item_bytes: 1 or 2, of a stored value; only RLE does not say it itself.

    Returns:
        Stored values (h, w) as the codec has them: uint8 or uint16, or signed where a JPEG 2000 codestream says so.

    Raises:
        FrameError: of another size, colour, cut off, or of a kind that the syntax does not allow.
        RuntimeError, ValueError: of the decoder, on a damaged frame.
    """
    if syntax == RLELossless:
        return _run_lengths(frame, width, height, item_bytes)
    if syntax in _JPEG_2000:
        at = frame.find(_START_2000, 0, _BOXES)
        if at < 0:
            raise FrameError("holds no JPEG 2000 codestream")
        frame = frame[at:]
        _expect(_size_2000(frame), width, height)
        values = imagecodecs.jpeg2k_decode(frame)
    else:
        frame = frame.rstrip(b"\0\xff")  # padding to an even length
        _expect(_size_jpeg(frame, {_LS} if syntax in _JPEG_LS else _SEQUENTIAL), width, height)
        if not frame.endswith(_END):  # libjpeg would fill up with grey
            raise FrameError("is cut off before its end")
        values = (imagecodecs.jpegls_decode if syntax in _JPEG_LS else imagecodecs.jpeg8_decode)(frame)
    if values.shape != (height, width) or values.dtype.itemsize > 2:
        raise FrameError("does not decode to grey values of 8 to 16 bits")
    return np.asarray(values)


def _expect(found: tuple[int, int, int], width: int, height: int) -> None:
    coded_width, coded_height, components = found
    if components != 1:
        raise FrameError("is compressed as colour")
    if (coded_width, coded_height) != (width, height):
        raise FrameError("is not of the size that its header says")


def _size_jpeg(frame: bytes, frames: set[int]) -> tuple[int, int, int]:
    """Width, height and components of a JPEG or JPEG-LS, from the first start-of-frame segment (ITU T.81 B.2.2)."""
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
        elif marker in frames:
            height, width, components = struct.unpack(">HHB", frame[at + 5 : at + 10])
            return width, height, components
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            raise FrameError("is a kind of JPEG that its transfer syntax does not allow")
        else:
            at += 2 + length
    raise FrameError("holds no JPEG")


def _size_2000(frame: bytes) -> tuple[int, int, int]:
    """Width, height and components of a JPEG 2000 codestream, from its SIZ segment (ITU T.800 A.5.1)."""
    if len(frame) < 42:
        raise FrameError("is cut off before its end")
    x1, y1, x0, y0, tile_width, tile_height, tile_x0, tile_y0, components = struct.unpack(">8IH", frame[8:42])
    if not (tile_width and tile_height) or -(-x1 // tile_width) * -(-y1 // tile_height) > _MOST_TILES:
        raise FrameError("is cut into too many tiles")
    if (x0, y0, tile_x0, tile_y0) != (0, 0, 0, 0):
        raise FrameError("does not begin at its corner")
    return x1, y1, components


def _run_lengths(frame: bytes, width: int, height: int, item_bytes: int) -> Integer[np.ndarray, "h w"]:
    """RLE (PS3.5 annex G) into a buffer of the size it must have: two bytes may stand for 128, so that a small file could fill the memory.

    What no run has written keeps what the buffer was made with, and shows as a difference between two of them.
    """
    if int.from_bytes(frame[:4], "little") != item_bytes:
        raise FrameError("has another number of bytes a pixel than its header says")
    dtype = f"<u{item_bytes}"
    dark, bright = (bytearray([fill]) * (height * width * item_bytes) for fill in (0, 255))
    for buffer in (dark, bright):
        imagecodecs.dicomrle_decode(frame, dtype, out=buffer)
    if dark != bright:
        raise FrameError("is cut off before its end")
    return np.frombuffer(dark, dtype).reshape(height, width)
