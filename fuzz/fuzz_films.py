"""The fuzz target: whatever bytes come in, a film or one line of refusal comes out. `make fuzz` runs it with atheris for FUZZ_SECONDS.

python fuzz/fuzz_films.py CORPUS -max_total_time=60
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["cyclicxr.data", "pydicom", "PIL"]):
    from cyclicxr.data.images import decode_film
    from cyclicxr.types import InputError


def one_input(data: bytes) -> None:
    """Decode; anything but a film in [0, 1] or an `InputError` of one line is a finding."""
    try:
        film = decode_film(data, "fuzzed.dcm")
    except InputError as refused:
        message = str(refused)
        assert message.startswith("fuzzed.dcm: ") and "\n" not in message, message
        return
    assert film.pixels.min() >= 0 and film.pixels.max() <= 1


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
