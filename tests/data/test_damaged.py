"""Damaged files: hundreds of them, made here, each read or refused by one line, in a child process with its memory and time bounded."""

from __future__ import annotations

import importlib.util
import json
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from cyclicxr.types import InputError

ROOT = Path(__file__).parents[2]
MEMORY = 2 * 2**30  # bytes of address space that the child may take
SECONDS = 10  # for one file, far more than any takes
HUGE, NONE = struct.pack(">I", 60_000), struct.pack(">I", 0)

CHILD = """
import json, resource, sys, time
from pathlib import Path
from cyclicxr.data.images import decode_film
from cyclicxr.types import InputError
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
for path in sorted(Path(sys.argv[1]).iterdir()):
    began = time.perf_counter()
    try:
        said = "read %d x %d" % decode_film(path.read_bytes(), path.name).pixels.shape
    except InputError as error:
        said = str(error)
    print(json.dumps([path.name, said, time.perf_counter() - began]), flush=True)
print(json.dumps(["", "", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def films_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("films", ROOT / "fuzz" / "films.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILMS = films_module()
WHOLE: dict[str, bytes] = FILMS.films()


def damaged() -> Iterator[tuple[str, bytes]]:
    """File name -> bytes; the kind of damage is the first word of the name."""
    for name, data in WHOLE.items():
        yield from ((f"cut-{share:03d}-{name}", data[: len(data) * share // 100]) for share in (1, 10, 30, 50, 70, 90, 99))
        dice = random.Random(name)
        for number in range(8):
            flipped = bytearray(data)
            for _ in range(dice.choice([1, 2, 8])):
                start = dice.choice([0, len(data) // 2])
                flipped[dice.randrange(start, len(data))] = dice.choice([0, 255, dice.randrange(256)])
            yield f"flipped-{number}-{name}", bytes(flipped)
    whole = set(WHOLE.values())
    yield from ((name, data) for name, data in (*crafted_dicoms(), *crafted_pictures()) if data not in whole)


def crafted_dicoms() -> Iterator[tuple[str, bytes]]:
    deep = FILMS.drawn()
    for rows, columns in ((0, 0), (0, 48), (40, 0), (65535, 65535), (65535, 1), (8000, 8000), (41, 48), (39, 48)):
        for syntax in ("window.dcm", "rle.dcm", "lossless.dcm", "jpegls.dcm", "jpeg2000.dcm"):
            data = WHOLE[syntax].replace(b"\x28\0\x10\0US\2\0" + struct.pack("<H", 40), b"\x28\0\x10\0US\2\0" + struct.pack("<H", rows))
            data = data.replace(b"\x28\0\x11\0US\2\0" + struct.pack("<H", 48), b"\x28\0\x11\0US\2\0" + struct.pack("<H", columns))
            yield f"size-{rows}x{columns}-{syntax}", data
    for name in ("lossless.dcm", "jpegls.dcm", "baseline.dcm", "extended.dcm"):  # the frame's own size
        for size in ((65535, 65535), (0, 0), (1, 65535)):
            yield f"frame-{size[0]}x{size[1]}-{name}", WHOLE[name].replace(struct.pack(">HH", 40, 48), struct.pack(">HH", *size))
    for number, size in enumerate(((2**31, 2**31), (0, 0), (60_000, 60_000))):
        yield f"frame-{number}-jpeg2000.dcm", WHOLE["jpeg2000.dcm"].replace(struct.pack(">II", 48, 40), struct.pack(">II", *size))
    syntaxes = {b"1.2.840.10008.1.2.4.70": b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.80": b"1.2.840.10008.1.2.4.90"}
    for name in ("lossless.dcm", "jpegls.dcm"):
        for true, false in syntaxes.items():
            yield f"syntax-{false[-2:].decode()}-{name}", WHOLE[name].replace(true, false)
    for false in (b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.9\0", b"1.2.840.10008.1.2\0\0\0"):
        yield f"syntax-{false[-3:].strip(bytes(1)).decode()}-window.dcm", WHOLE["window.dcm"].replace(b"1.2.840.10008.1.2.1\0", false)
    start = WHOLE["window.dcm"][: WHOLE["window.dcm"].index(b"\x08\0\x16\0")]
    for depth in (10, 300, 5_000, 100_000):
        nested = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
        yield f"nested-{depth}.dcm", start + nested * depth
    yield "long-elements.dcm", start + b"\x08\0\x08\0CS\0\0" * 1_000_000 + WHOLE["window.dcm"][len(start) :]
    items = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0" * 1_000_000 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    yield "long-items.dcm", start + items + WHOLE["window.dcm"][len(start) :]
    for length in (0, 7, 2**31, 2**32 - 2, 2**32 - 1):
        yield f"length-{length}.dcm", start + b"\x08\0\x60\0UN\0\0" + struct.pack("<I", length) + WHOLE["window.dcm"][len(start) :]
    run_length_bomb = struct.pack("<16I", 2, 64, 64 + 500_000, *[0] * 13) + b"\x81\x07" * 500_000
    yield "bomb-rle.dcm", FILMS.stored(FILMS.compressed(FILMS.radiograph(deep), FILMS.RLELossless, run_length_bomb))
    deflated = FILMS.radiograph(deep)
    deflated.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    yield "bomb-deflated.dcm", FILMS.stored(deflated)


def crafted_pictures() -> Iterator[tuple[str, bytes]]:
    for width, height in ((0, 0), (2**31 - 1, 2**31 - 1), (60_000, 60_000), (8_000, 8_000), (1, 2**31 - 1)):
        header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        pixels = zlib.compress(bytes(1_000_000), 9)
        chunks = b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
        )
        yield f"bomb-{width}x{height}.png", b"\x89PNG\r\n\x1a\n" + chunks
    note = zlib.compress(bytes(200_000_000), 9)
    body = b"note\0\0" + note
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    yield "bomb-text.png", WHOLE["grey.png"][:33] + chunk + WHOLE["grey.png"][33:]
    for height, width in ((65535, 65535), (0, 48), (1, 1)):
        yield f"size-{height}x{width}.jpg", WHOLE["grey.jpg"].replace(struct.pack(">HH", 40, 48), struct.pack(">HH", height, width))
    for tag in (256, 257, 258, 259, 262, 273, 277, 278, 279):  # each number of a TIFF's header made huge
        at = WHOLE["deep.tif"].rindex(struct.pack("<H", tag), 0)
        yield f"huge-{tag}.tif", WHOLE["deep.tif"][: at + 8] + b"\xff\xff\xff\x7f" + WHOLE["deep.tif"][at + 12 :]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    folder = tmp_path_factory.mktemp("damaged")
    for name, data in damaged():
        (folder / name).write_bytes(data)
    command = [sys.executable, "-c", CHILD, str(folder), str(MEMORY)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    after = lines[-1][0] if lines else "nothing"
    assert ended.returncode == 0, f"the process ended with {ended.returncode} after {after}: {ended.stderr[-2000:]}"
    return {name: (said, number) for name, said, number in lines}


def test_there_are_two_hundred_and_every_one_is_answered(outcomes: dict[str, tuple[str, float]]) -> None:
    assert len(outcomes) - 1 >= 200
    assert {name for name, _ in damaged()} == set(outcomes) - {""}


def test_each_is_read_or_refused_by_one_line_that_names_it(outcomes: dict[str, tuple[str, float]]) -> None:
    for name, (said, _) in outcomes.items():
        assert not name or said.startswith("read ") or (said.startswith(f"{name}: ") and "\n" not in said and len(said) < 400), said


def test_none_takes_much_memory_or_time(outcomes: dict[str, tuple[str, float]]) -> None:
    assert outcomes[""][1] < MEMORY
    slowest = max((seconds, name) for name, (_, seconds) in outcomes.items() if name)
    assert slowest[0] < SECONDS, slowest


def test_what_is_certainly_no_film_is_refused(outcomes: dict[str, tuple[str, float]]) -> None:
    """Not only answered: a film with half its bytes missing, or of another size than it says, is never shown."""
    certain = ("cut-001", "cut-010", "cut-030", "cut-050", "bomb-", "nested-", "long-", "size-0x", "size-65535", "frame-")
    shown = [
        name for name, (said, _) in outcomes.items() if name.startswith(certain) and said.startswith("read ") and name != "bomb-text.png"
    ]
    assert not shown


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_damaged_here_is_whole_before(name: str) -> None:
    from cyclicxr.data.images import decode_film

    try:
        assert decode_film(WHOLE[name], name).pixels.shape == (FILMS.HEIGHT, FILMS.WIDTH)
    except InputError as error:
        pytest.fail(str(error))
