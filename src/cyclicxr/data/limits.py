"""How large a file may be before it is refused unread, so that no crafted file can fill the memory; knows no format."""

from __future__ import annotations

from dataclasses import dataclass

from cyclicxr.types import InputError


@dataclass(frozen=True)
class Limits:
    """Sizes of a film that are read; the largest detectors give some 20 megapixels."""

    bytes: int = 256 * 2**20  # [ours] of the file
    megapixels: int = 64  # [ours] width x height, in 10^6
    smallest_side: int = 32  # [ours] pixels

    def check_bytes(self, name: str, size: int) -> None:
        """Refuse an empty or absurdly large file before it is read.

        Raises:
            InputError: 0 bytes, or more than `bytes`.
        """
        if size == 0:
            raise InputError(f"{name}: the file is empty (0 bytes); copy or export the film again")
        if size > self.bytes:
            raise InputError(f"{name}: {size:,} bytes are more than the {self.bytes // 2**20} MiB that are read; export a smaller film")

    def check_pixels(self, name: str, width: int, height: int) -> None:
        """Refuse a film by its size in pixels, as its header gives it, before it is decoded.

        Raises:
            InputError: a side under `smallest_side`, or more than `megapixels`.
        """
        if min(width, height) < self.smallest_side:
            raise InputError(f"{name}: {width} x {height} pixels show no chest; give a film of {self.smallest_side} pixels a side or more")
        if width * height > self.megapixels * 10**6:
            raise InputError(
                f"{name}: {width} x {height} pixels are more than the {self.megapixels} megapixels that are read; export a smaller film"
            )


LIMITS = Limits()
