"""Films from PNG, JPEG and TIFF: every pixel format to [0, 1], and each bad file refused in one line."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cyclicxr.data.images import LIMITS, decode_film, network_pixels, read_film
from cyclicxr.types import Film, Geometry, InputError

RAMP = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))  # (48, 64), black to 252


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(picture: Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    return decode_film(encoded(picture, kind, **options), f"film.{kind.lower()}").pixels


def test_a_film_has_its_pixels_geometry_hash_and_name(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(encoded(Image.fromarray(RAMP)))
    film = read_film(str(path))
    assert film.pixels.dtype == np.float32
    np.testing.assert_allclose(film.pixels, RAMP / 255, atol=1e-7)
    assert film.geometry == Geometry(width=64, height=48)
    assert (film.path, film.view) == (str(path), "unknown")
    assert film.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "L"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "LA"),
        ("TIFF", "L"),
        ("TIFF", "CMYK"),
        ("JPEG", "L"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
    ],
)
def test_every_colour_mode_is_the_same_grey(kind: str, mode: str) -> None:
    np.testing.assert_allclose(decoded(Image.fromarray(RAMP).convert(mode), kind), RAMP / 255, atol=3 / 255)


def test_a_palette_is_looked_up() -> None:
    picture = Image.new("P", (64, 40), 0)
    picture.putpalette([200, 200, 200, 10, 10, 10])
    picture.paste(1, (32, 0, 64, 40))
    grey = decoded(picture)
    assert grey[0, 0] == pytest.approx(200 / 255) and grey[0, 63] == pytest.approx(10 / 255)


def test_what_is_transparent_is_black() -> None:
    colour = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    colour.paste((255, 255, 255, 255), (20, 0, 40, 40))
    grey = decoded(colour)
    assert grey[0, 0] == 0 and grey[0, 39] == 1


@pytest.mark.parametrize(("brightest", "white"), [(65535, 65535), (4095, 4095), (4000, 4095), (1023, 1023), (255, 255), (256, 1023)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_by_the_depth_that_holds_them_and_never_wrap(kind: str, brightest: int, white: int) -> None:
    ramp = np.tile(np.linspace(0, brightest, 64).astype(np.uint16), (48, 1))
    grey = decoded(Image.fromarray(ramp), kind)
    np.testing.assert_allclose(grey, ramp / white, atol=1e-6)
    assert (np.diff(grey[0]) > 0).all()


def test_a_tiff_with_white_as_zero_comes_out_bone_bright() -> None:
    deep = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))
    np.testing.assert_allclose(decoded(Image.fromarray(deep), "TIFF", tiffinfo={262: 0}), 1 - deep / 65535, atol=1e-6)
    stored = bytearray(encoded(Image.fromarray(RAMP), "TIFF"))
    entry = stored.index(struct.pack("<HHIH", 262, 3, 1, 1))  # PhotometricInterpretation: black is zero
    stored[entry : entry + 10] = struct.pack("<HHIH", 262, 3, 1, 0)
    np.testing.assert_allclose(decode_film(bytes(stored), "film.tiff").pixels, 1 - RAMP / 255, atol=1e-6)


def test_real_pixels_in_the_unit_range_stay_and_others_are_stretched() -> None:
    unit = np.tile(np.linspace(0, 0.5, 64, dtype=np.float32), (48, 1))
    np.testing.assert_array_equal(decoded(Image.fromarray(unit), "TIFF"), unit)
    np.testing.assert_allclose(decoded(Image.fromarray(unit * 4 - 1), "TIFF"), unit * 2, atol=1e-6)
    with pytest.raises(InputError, match="no numbers"):
        decoded(Image.fromarray(np.full((48, 64), np.nan, np.float32)), "TIFF")


# what each EXIF orientation does to the upright film when it is stored
STORED = {
    1: lambda film: film,
    2: np.fliplr,
    3: lambda film: np.rot90(film, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda film: np.rot90(film, 1),
    7: lambda film: np.rot90(film, 2).T,
    8: lambda film: np.rot90(film, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_an_exif_rotation_turns_film_and_geometry_upright(orientation: int, kind: str) -> None:
    upright = RAMP.copy()
    upright[:24] //= 2  # darker above, so that no turn looks like another
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    film = decode_film(encoded(stored, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {})), "phone")
    assert film.pixels.shape == (48, 64) and film.geometry == Geometry(width=64, height=48)
    np.testing.assert_allclose(film.pixels, upright / 255, atol=0.08 if kind == "JPEG" else 1e-6)


def test_a_deep_film_is_turned_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))
    np.testing.assert_allclose(decoded(Image.fromarray(np.rot90(deep, 1).copy()), exif=exif), deep / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "stored", "grey"),
    [
        ("1", 1, 1.0),
        ("L", 51, 0.2),
        ("RGB", (255, 0, 0), 76 / 255),  # luminance of ITU-R 601: 0.299 red, 0.587 green, 0.114 blue
        ("RGB", (0, 255, 0), 150 / 255),
        ("RGB", (0, 0, 255), 29 / 255),
        ("RGBA", (200, 200, 200, 255), 200 / 255),
        ("RGBA", (200, 200, 200, 51), 40 / 255),  # a fifth of 200 over black
        ("LA", (200, 51), 40 / 255),
        ("CMYK", (0, 0, 0, 55), 200 / 255),
        ("I;16", 13107, 13107 / 16383),
        ("I;16", 65535, 1.0),
        ("I", 100_000, 100_000 / (2**24 - 1)),
        ("I", 2**31 - 1, (2**31 - 1) / (2**32 - 1)),
        ("F", 0.25, 0.25),
    ],
)
def test_one_grey_by_hand(mode: str, stored: object, grey: float) -> None:
    kind = "TIFF" if mode in {"CMYK", "I", "F"} else "PNG"
    np.testing.assert_allclose(decoded(Image.new(mode, (40, 40), stored), kind), grey, atol=1e-6)


def test_a_palette_with_transparency_is_looked_up_over_black() -> None:
    picture = Image.new("P", (64, 40), 0)
    picture.putpalette([200, 200, 200, 100, 100, 100])
    picture.paste(1, (32, 0, 64, 40))
    one, each = decoded(picture, transparency=0), decoded(picture, transparency=bytes([51, 255]))
    assert (one[0, 0], one[0, 63]) == pytest.approx((0, 100 / 255))
    assert (each[0, 0], each[0, 63]) == pytest.approx((40 / 255, 100 / 255))


def test_cmyk_is_the_same_grey_whether_adobe_inverted_it_or_not() -> None:
    """Pillow writes CMYK as Adobe does, inverted and marked so; without the mark the same bytes are no longer inverted."""
    marked = encoded(Image.new("CMYK", (40, 40), (0, 0, 0, 55)), "JPEG", quality=100)
    np.testing.assert_allclose(decode_film(marked, "adobe.jpg").pixels, 200 / 255, atol=2 / 255)
    plain = bytearray(encoded(Image.new("CMYK", (40, 40), (255, 255, 255, 200)), "JPEG", quality=100))  # stored as 0, 0, 0, 55
    start = plain.index(b"\xff\xee")
    del plain[start : start + 2 + int.from_bytes(plain[start + 2 : start + 4])]  # the Adobe mark
    np.testing.assert_allclose(decode_film(bytes(plain), "plain.jpg").pixels, 200 / 255, atol=2 / 255)


def tiff_of(values: np.ndarray, order: str = "<", *, photometric: int = 1, kind: int = 1) -> bytes:
    """One uncompressed strip, little or big endian; `kind` is the SampleFormat: 1 unsigned, 2 signed, 3 real."""
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width = values.shape
    tags = {
        256: width,
        257: height,
        258: 8 * values.itemsize,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: height,
        279: len(body),
        339: kind,
    }
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    mark = b"MM\0*" if order == ">" else b"II*\0"
    return mark + struct.pack(f"{order}I", 8 + len(body)) + body + struct.pack(f"{order}H", len(tags)) + entries + b"\0\0\0\0"


def test_the_byte_order_of_a_tiff_is_followed() -> None:
    deep = np.tile(np.linspace(0, 65535, 64), (48, 1)).astype(np.uint16)
    np.testing.assert_allclose(decode_film(tiff_of(deep, ">"), "big.tiff").pixels, deep / 65535, atol=1e-6)
    real = np.tile(np.linspace(0, 1, 64), (48, 1)).astype(np.float32)
    np.testing.assert_array_equal(decode_film(tiff_of(real, ">", kind=3), "big.tiff").pixels, real)


@pytest.mark.parametrize(("bits", "kind"), [(8, 1), (16, 1), (32, 3)])
def test_white_is_zero_at_every_depth(bits: int, kind: int) -> None:
    whites = {8: 255, 16: 65535, 32: 1}
    values = np.tile(np.linspace(0, whites[bits], 64), (48, 1)).astype({8: np.uint8, 16: np.uint16, 32: np.float32}[bits])
    pixels = decode_film(tiff_of(values, photometric=0, kind=kind), "film.tiff").pixels
    np.testing.assert_allclose(pixels, 1 - values / whites[bits], atol=1e-6)


def test_a_tiff_of_a_kind_that_is_not_read_says_so() -> None:
    with pytest.raises(InputError, match="a TIFF of a kind that is not read; save the film as PNG"):
        decode_film(tiff_of(np.zeros((48, 64), np.uint32), ">"), "film.tiff")


def test_signed_pixels_start_at_their_darkest() -> None:
    signed = np.tile(np.arange(-1000, -1000 + 64), (48, 1)).astype(np.int16)
    np.testing.assert_allclose(decode_film(tiff_of(signed, kind=2), "ct.tiff").pixels, (signed + 1000) / 255, atol=1e-6)


def test_unsigned_32_bits_do_not_wrap() -> None:
    values = np.tile(np.linspace(0, 2**32 - 1, 64), (48, 1)).astype(np.uint32)
    np.testing.assert_allclose(decode_film(tiff_of(values), "film.tiff").pixels, values / (2**32 - 1), atol=1e-6)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_colour_is_read_by_its_upper_byte_and_refused_where_that_is_nearly_empty(colour: int, channels: int) -> None:
    """Pillow keeps the upper byte alone: of a 12-bit film in it 16 greys would be left."""

    def film(value: int) -> bytes:
        pixel = [value] * (channels - 1 + channels % 2) + [65535] * (1 - channels % 2)
        return png_of(40, 40, 16, colour, (b"\0" + struct.pack(f">{channels}H", *pixel) * 40) * 40)

    np.testing.assert_allclose(decode_film(film(0xC8FF), "film.png").pixels, 200 / 255, atol=1e-6)
    with pytest.raises(InputError, match="upper bits empty; save the film as 16-bit grey"):
        decode_film(film(4095), "film.png")


@given(st.integers(32, 70), st.integers(32, 70), st.sampled_from([8, 16]), st.sampled_from(["PNG", "TIFF"]), st.integers(0, 2**32 - 1))
def test_what_was_written_without_loss_is_read(width: int, height: int, bits: int, kind: str, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 2**bits, (height, width)).astype(np.uint8 if bits == 8 else np.uint16)
    pixels[0, 0] = 2**bits - 1
    np.testing.assert_array_equal(np.rint(decoded(Image.fromarray(pixels), kind) * (2.0**bits - 1)), pixels)


@given(st.integers(1, 65535))
def test_the_brightest_pixel_of_any_depth_is_never_above_white_nor_in_the_darkest_quarter(brightest: int) -> None:
    pixels = np.zeros((40, 40), np.uint16)
    pixels[5, 5] = brightest
    grey = decoded(Image.fromarray(pixels))
    assert grey[5, 5] <= 1 and grey.max() == grey[5, 5]
    assert grey[5, 5] >= 0.24 or brightest < 64


def png_of(width: int, height: int, bits: int = 8, colour: int = 0, rows: bytes = b"\0" * 100) -> bytes:
    """A PNG of any header and rows; without rows it holds no pixels for its size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


GOOD = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)))
GOOD_JPEG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)), "JPEG")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.png", b"", "empty"),
        ("notes.txt", b"Heart size is normal.", "not a PNG, JPEG, TIFF or DICOM film"),
        ("page.gif", encoded(Image.fromarray(RAMP), "GIF"), "not a PNG, JPEG, TIFF or DICOM film"),
        ("cut.png", GOOD[: len(GOOD) // 2], "truncated or damaged"),
        ("cut.jpg", GOOD_JPEG[: len(GOOD_JPEG) // 2], "truncated or damaged"),
        ("cut.tiff", encoded(Image.fromarray(RAMP), "TIFF")[:1500], "damaged"),
        ("bomb.png", png_of(9000, 9000), "64 megapixels"),
        ("huge_bomb.png", png_of(60000, 60000), "64 megapixels"),
        ("dot.png", encoded(Image.new("L", (8, 8))), "show no chest"),
        ("no_pixels.png", png_of(64, 64), "truncated or damaged"),
    ],
)
def test_a_bad_film_is_refused_in_one_line_that_names_it(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_film(tmp_path / name)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / name}: ") and said in message and ";" in message and "\n" not in message


def test_pages_are_refused(tmp_path: Path) -> None:
    pages = encoded(Image.fromarray(RAMP), "TIFF", save_all=True, append_images=[Image.fromarray(RAMP)])
    with pytest.raises(InputError, match="several pages"):
        decode_film(pages, "pages.tiff")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, said in [
        (tmp_path, "is a folder"),
        (tmp_path / "none.png", "no such file"),
        (Path("x" * 300), "cannot be read"),
        (Path("/dev/null"), "device"),
    ]:
        with pytest.raises(InputError, match=said):
            read_film(path)


def test_an_absurdly_large_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(LIMITS.bytes + 1)  # sparse: takes no room
    with pytest.raises(InputError, match="268,435,457 bytes are more than the 256 MiB"):
        read_film(tmp_path / "huge.png")


@given(st.binary(max_size=300), st.sampled_from([b"", GOOD[:60], GOOD_JPEG[:200], b"II*\0\x08\0\0\0", b"\0" * 128 + b"DICM"]))
def test_garbage_is_refused_and_never_crashes(tail: bytes, head: bytes) -> None:
    with pytest.raises(InputError):
        decode_film(head + tail, "garbage")


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_read_or_refused(place: int, change: int) -> None:
    broken = bytearray(GOOD)
    broken[place] ^= change
    try:
        pixels = decode_film(bytes(broken), "flipped.png").pixels
    except InputError:
        return
    assert pixels.min() >= 0 and pixels.max() <= 1


def film_of(pixels: np.ndarray) -> Film:
    return Film(pixels.astype(np.float32), Geometry(pixels.shape[1], pixels.shape[0]), "", "")


def test_network_pixels_of_the_same_size_are_the_file_s_own() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    np.testing.assert_array_equal(network_pixels(film_of(pixels / 255), 64), pixels)


def test_network_pixels_squash_and_average() -> None:
    stripes = np.tile(np.array([0.0, 1.0]), (50, 200))  # (50, 400): finer than the network sees
    squashed = network_pixels(film_of(stripes), 32)
    assert squashed.shape == (32, 32) and squashed.dtype == np.uint8
    np.testing.assert_allclose(squashed[:, 2:-2], 127.5, atol=8)


@given(st.integers(33, 90), st.integers(33, 90), st.sampled_from([32, 64]))
def test_network_pixels_keep_a_flat_grey(width: int, height: int, size: int) -> None:
    np.testing.assert_array_equal(network_pixels(film_of(np.full((height, width), 0.5)), size), np.full((size, size), 128))
