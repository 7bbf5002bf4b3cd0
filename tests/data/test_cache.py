"""Films on disk: the same as decoded, whole after any kill, checked by hash, and complete but for what can't be read."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cyclicxr.data import cache as module
from cyclicxr.data.cache import FILMS, JOURNAL, cached_films, network_film
from cyclicxr.data.images import network_pixels, read_film

COUNT = 11


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Eleven films of random pixels, two of them damaged and one missing."""
    folder = tmp_path_factory.mktemp("films")
    for i in range(COUNT):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "2.png").write_bytes(b"no picture")
    (folder / "7.png").write_bytes((folder / "7.png").read_bytes()[:300])
    (folder / "9.png").unlink()
    return [str(folder / f"{i}.png") for i in range(COUNT)]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 4)


def home(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_films_are_the_decoded_ones_and_those_that_cannot_be_read_are_left_out(films: list[str], tmp_path: Path, fit: str):
    found = cached_films(films, 32, fit, tmp_path)
    assert found.rows == [0, 1, 3, 4, 5, 6, 8, 10]
    assert found.pixels.shape == (8, 32, 32) and found.pixels.dtype == torch.uint8
    for row, film in zip(found.rows, found.pixels, strict=True):
        np.testing.assert_array_equal(film.numpy(), network_pixels(read_film(films[row], fit), 32))


@pytest.mark.usefixtures("small_blocks")
def test_what_is_left_out_is_logged_and_counted_by_reason_each_time(films: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for _ in range(2):
        caplog.clear()
        cached_films(films, 32, "squash", tmp_path)
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 4 and all(any(f"{i}.png" in line for line in lines) for i in (2, 7, 9))
        assert lines[-1].startswith("left out: 3 of 11 films: ")
        assert (
            "1 no such file" in lines[-1] and "1 truncated or damaged" in lines[-1] and "1 not a PNG, JPEG, TIFF or DICOM film" in lines[-1]
        )


@pytest.mark.usefixtures("small_blocks")
def test_a_second_time_nothing_is_decoded(films: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = cached_films(films, 32, "squash", tmp_path)
    monkeypatch.setattr(module, "network_film", lambda path, size, fit: pytest.fail(f"decoded {path} again"))
    again = cached_films(films, 32, "squash", tmp_path)
    assert torch.equal(again.pixels, first.pixels) and again.rows == first.rows


@pytest.mark.usefixtures("small_blocks")
def test_a_kill_costs_a_block_at_most(films: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = cached_films(films, 32, "squash", tmp_path / "whole")
    calls: list[str] = []

    def killed_at_the_tenth(path: str, size: int, fit: str) -> np.ndarray | str:
        calls.append(path)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return network_film(path, size, fit)

    monkeypatch.setattr(module, "network_film", killed_at_the_tenth)
    with pytest.raises(KeyboardInterrupt):
        cached_films(films, 32, "squash", tmp_path / "killed")
    resumed = cached_films(films, 32, "squash", tmp_path / "killed")
    assert calls[10:] == films[8:]
    assert torch.equal(resumed.pixels, whole.pixels) and resumed.rows == whole.rows


@pytest.fixture(scope="module")
def stored(films: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 4)
        cached_films(films, 32, "squash", folder)
    return {"home": home(folder).name.encode()} | {name: (home(folder) / name).read_bytes() for name in (FILMS, JOURNAL)}


@given(st.sampled_from([FILMS, JOURNAL]), st.floats(0, 1), st.booleans())
def test_whatever_is_cut_off_or_flipped_the_films_come_back(
    films: list[str], stored: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, name: str, share: float, cut: bool
):
    folder = tmp_path_factory.mktemp("broken")
    there = folder / stored["home"].decode()
    there.mkdir()
    for file in (FILMS, JOURNAL):
        (there / file).write_bytes(stored[file])
    broken = bytearray(stored[name])
    place = min(int(share * len(broken)), len(broken) - 1)
    if cut:
        del broken[place:]
    else:
        broken[place] ^= 0x55
    (there / name).write_bytes(broken)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 4)
        found = cached_films(films, 32, "squash", folder)
    assert found.pixels.numpy().tobytes() == stored[FILMS]
    assert (there / FILMS).read_bytes() == stored[FILMS]
    assert len((there / JOURNAL).read_bytes().splitlines()) == 3


def test_another_size_fit_or_film_is_another_cache(films: list[str], tmp_path: Path):
    path = tmp_path / "film.png"
    path.write_bytes(Path(films[0]).read_bytes())
    cached_films([str(path)], 32, "squash", tmp_path / "cache")
    cached_films([str(path)], 64, "squash", tmp_path / "cache")
    cached_films([str(path)], 32, "pad", tmp_path / "cache")
    path.write_bytes(Path(films[1]).read_bytes())
    os.utime(path, ns=(1, 1))
    found = cached_films([str(path)], 32, "squash", tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 4
    np.testing.assert_array_equal(found.pixels[0].numpy(), network_pixels(read_film(films[1]), 32))


def test_no_film_at_all_is_no_film(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR):
        found = cached_films([str(tmp_path / "none.png")], 32, "squash", tmp_path / "cache")
    assert found.rows == [] and found.pixels.shape == (0, 32, 32)
    assert cached_films([], 32, "squash", tmp_path / "cache").rows == []


@pytest.mark.usefixtures("small_blocks")
def test_progress_and_the_journal_are_told_of_each_block(films: list[str], tmp_path: Path):
    told: list[tuple[str, int, int]] = []
    cached_films(films, 32, "squash", tmp_path, lambda *what: told.append(what))
    assert told == [("films", 4, 11), ("films", 8, 11), ("films", 11, 11)]
    lines = [json.loads(line) for line in (home(tmp_path) / JOURNAL).read_text().splitlines()]
    assert [line["films"] for line in lines] == [3, 3, 2]


def test_worker_processes_give_the_same_films(tmp_path: Path):
    paths = []
    for i in range(80):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 33), np.uint8)).save(tmp_path / f"{i}.png")
        paths.append(str(tmp_path / f"{i}.png"))
    paths.insert(40, str(tmp_path / "none.png"))
    found = cached_films(paths, 32, "squash", tmp_path / "cache")
    assert len(found.rows) == 80 and 40 not in found.rows
    for row, film in zip(found.rows, found.pixels, strict=True):
        np.testing.assert_array_equal(film.numpy(), network_film(paths[row], 32, "squash"))


def test_films_are_mapped_and_not_held(tmp_path: Path):
    """A file of 1 GiB (sparse: it takes no room) opens in no more memory than a small one."""
    with (tmp_path / FILMS).open("wb") as file:
        file.truncate(2**30)
    before = resident()
    pixels = module._mapped(tmp_path / FILMS, 256)
    assert pixels.shape == (2**14, 256, 256) and pixels[2**13].max() == 0
    assert resident() - before < 2**26


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
