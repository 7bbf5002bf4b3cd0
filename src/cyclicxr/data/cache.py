"""Films decoded once to the network's square and kept in one memory-mapped file; knows no studies table and no split.

A cache is a folder: `films.u8` holds the films one after another, `blocks.jsonl` a line for each block of paths, written when its films are
safely on disk: how many there are, their SHA-256, and which paths were left out and why. What no line speaks for is not there, so a cache
that was cut off at any moment goes on from its last whole block, and one that was damaged from the block before the damage (decision 0029).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import mmap
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import joblib
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from cyclicxr.data.images import network_pixels, read_film
from cyclicxr.types import InputError, Progress

log = logging.getLogger(__name__)


FILMS, JOURNAL = "films.u8", "blocks.jsonl"
DECODING = 1  # raise it when the same file comes to give other pixels: caches made before are then left alone
BLOCK = 256  # [ours] paths a block: what a kill can cost, and what is held in memory
_FEW = 64  # [ours] films that this process decodes itself
_TOGETHER = 16  # paths a worker is given at once
_LOG_SECONDS = 30.0


@dataclass(frozen=True)
class Block:
    """A line of the journal: `films` of its paths were kept, with `sha256` over their pixels; `left_out` is [place in the block, why]."""

    films: int
    sha256: str
    left_out: list[tuple[int, str]]


@dataclass(frozen=True)
class CachedFilms:
    """Films on disk, read as they are asked for.

    Args:
        pixels: uint8 (n, size, size), mapped from the file: memory is taken as pages are read, and given back when it is short.
        rows: the n places of the films in the list of paths, ascending.
    """

    pixels: UInt8[Tensor, "n s s"]
    rows: list[int]


def cached_films(
    paths: Sequence[str], size: int, fit: str, folder: Path, progress: Progress = lambda what, done, total: None
) -> CachedFilms:
    """Films in the network's square: those of the cache as they are, the others decoded by all cores.

    Every block is checked by its hash. Each film that can't be read is logged with its reason, and all are counted by reason.

    Args:
        paths: of the films.
        size: pixels along a side.
        fit: one of `types.FITS`.
        folder: where caches are kept; the one for these films is named by size, fit and a hash of all paths, sizes and times of change.
        progress: told what is done, how many of it, and of how many.
    """
    home = folder / f"films-{size}-{fit}-{_fingerprint(paths)}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / JOURNAL).open("a+", encoding="utf-8") as journal, (home / FILMS).open("ab") as films:
        fcntl.flock(journal, fcntl.LOCK_EX)  # another process may be filling it; given back when the file is closed
        blocks = _whole_blocks(journal, home / FILMS, size)
        _go_on(paths, size, fit, blocks, journal, films, progress)
    _say_left_out(paths, blocks)
    rows = [
        start * BLOCK + place
        for start, block in enumerate(blocks)
        for place in sorted(set(range(len(paths[start * BLOCK :][:BLOCK]))) - {place for place, _ in block.left_out})
    ]
    return CachedFilms(_mapped(home / FILMS, size), rows)


def network_film(path: str, size: int, fit: str) -> np.ndarray | str:
    """One film in the network's square, or why there is none. Runs in worker processes."""
    try:
        return network_pixels(read_film(path, fit), size)
    except InputError as error:
        return str(error)


def _go_on(paths: Sequence[str], size: int, fit: str, blocks: list[Block], journal: IO[str], films: IO[bytes], progress: Progress) -> None:
    """Decode what no block speaks for, and append it block by block."""
    done, started, told = len(blocks) * BLOCK, time.monotonic(), time.monotonic()
    first = done
    decoded = _decoded(paths[done:], size, fit)
    while done < len(paths):
        kept, left_out, digest = 0, [], hashlib.sha256()
        count = min(BLOCK, len(paths) - done)
        for place in range(count):
            found = next(decoded)
            if isinstance(found, str):
                left_out.append((place, found))
            else:
                films.write(found.tobytes())
                digest.update(found.tobytes())
                kept += 1
        films.flush()
        os.fsync(films.fileno())
        blocks.append(Block(kept, digest.hexdigest(), left_out))
        journal.write(json.dumps(asdict(blocks[-1]), ensure_ascii=False) + "\n")
        journal.flush()
        os.fsync(journal.fileno())
        done += count
        progress("films", done, len(paths))
        if time.monotonic() - told > _LOG_SECONDS:
            told = time.monotonic()
            left = (told - started) / (done - first) * (len(paths) - done)
            log.info("films %d/%d  %.0f films/s  %.1f min left", done, len(paths), (done - first) / (told - started), left / 60)


def _decoded(paths: Sequence[str], size: int, fit: str) -> Iterator[np.ndarray | str]:
    """Films in order; of a few the start of other processes would cost more than it brings."""
    if len(paths) <= _FEW:
        return (network_film(path, size, fit) for path in paths)
    chunks = (paths[start : start + _TOGETHER] for start in range(0, len(paths), _TOGETHER))
    work = joblib.Parallel(n_jobs=-1, return_as="generator", pre_dispatch="4*n_jobs", batch_size=1)
    return (film for films in work(joblib.delayed(_network_films)(chunk, size, fit) for chunk in chunks) for film in films)


def _network_films(paths: Sequence[str], size: int, fit: str) -> list[np.ndarray | str]:
    return [network_film(path, size, fit) for path in paths]


def _whole_blocks(journal: IO[str], films: Path, size: int) -> list[Block]:
    """The leading blocks whose pixels are as they were written; both files are cut off behind them."""
    blocks: list[Block] = []
    kept_text, kept_bytes = 0, 0
    journal.seek(0)
    with films.open("rb") as file:
        for line in journal:
            block = _block(line)
            if block is None or hashlib.sha256(file.read(block.films * size**2)).hexdigest() != block.sha256:
                log.warning("%s: cut off or damaged after %d blocks; its films from there on are decoded anew", films, len(blocks))
                break
            blocks.append(block)
            kept_text += len(line.encode())
            kept_bytes += block.films * size**2
    journal.truncate(kept_text)
    os.truncate(films, kept_bytes)
    return blocks


def _block(line: str) -> Block | None:
    try:
        fields = json.loads(line)
        return Block(int(fields["films"]), fields["sha256"], [(int(place), str(why)) for place, why in fields["left_out"]])
    except (ValueError, KeyError, TypeError):  # cut off by a kill
        return None


def _say_left_out(paths: Sequence[str], blocks: Sequence[Block]) -> None:
    reasons: Counter[str] = Counter()
    for start, block in enumerate(blocks):
        for place, why in block.left_out:
            log.warning("left out: %s", why)
            said = why.removeprefix(f"{paths[start * BLOCK + place]}: ").split(";")[0]
            reasons[re.sub(r"\d[\d,]*", "n", re.sub(r" ?\(.*\)", "", said))] += 1
    if reasons:
        counted = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        log.warning("left out: %d of %d films: %s", reasons.total(), len(paths), counted)


def _mapped(films: Path, size: int) -> UInt8[Tensor, "n s s"]:
    """The file as a tensor that can only be read."""
    if not films.stat().st_size:
        return torch.empty(0, size, size, dtype=torch.uint8)
    with films.open("rb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # nor is it meant to be
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return torch.frombuffer(view, dtype=torch.uint8).view(-1, size, size)


def _fingerprint(paths: Sequence[str]) -> str:
    digest = hashlib.sha256(f"{DECODING}\n".encode())
    for path in paths:
        try:
            stat = Path(path).stat()
            digest.update(f"{path}\t{stat.st_size}\t{stat.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path}\t\t\n".encode())
    return digest.hexdigest()[:16]
