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


def test_an_exif_rotation_turns_film_and_geometry_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    film = decode_film(encoded(Image.fromarray(RAMP), "JPEG", exif=exif, quality=95), "phone.jpg")
    assert film.pixels.shape == (64, 48) and film.geometry == Geometry(width=48, height=64)
    assert film.pixels[0].mean() < 0.1 and film.pixels[-1].mean() > 0.9


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels for it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


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
