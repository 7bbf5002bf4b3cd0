"""A studies table with its films: decoded once, kept, and complete but for what can't be read."""

from __future__ import annotations

import csv
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclicxr.data import cache as module
from cyclicxr.training.corpus import Corpus, load_corpus, to_float
from cyclicxr.types import InputError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four films of one grey level each, 10, 20, 30 and 40."""
    rows = []
    for i, split in enumerate(["train", "val", "train", "test"]):
        Image.fromarray(np.full((40, 60), 10 * (i + 1), np.uint8)).save(tmp_path / f"{i}.png")
        rows.append({"id": f"s{i}", "patient": f"p{i}", "image": f"{i}.png", "report": f"The lungs are clear {i}.", "split": split})
    path = tmp_path / "studies.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_films_come_squashed_to_the_networks_size_split_by_split_in_the_tables_order(table: Path, tmp_path: Path):
    corpus = load_corpus(table, 32, tmp_path / "cache")
    assert corpus.pixels.shape == (4, 32, 32) and corpus.pixels.dtype == torch.uint8
    assert corpus.pixels.float().mean(dim=(1, 2)).tolist() == [40, 10, 30, 20]
    assert [study.id for study in corpus.studies] == ["s3", "s0", "s2", "s1"]
    assert corpus.reports[0] == "The lungs are clear 3." and len(corpus) == 4


def test_a_split_is_its_rows_alone(table: Path, tmp_path: Path):
    train = load_corpus(table, 32, tmp_path / "cache").split("train")
    assert [study.id for study in train.studies] == ["s0", "s2"]
    assert train.pixels[:, 0, 0].tolist() == [10, 30]
    assert train.pixels.untyped_storage().nbytes() == 4 * 32 * 32  # a view of all films, not a copy
    with pytest.raises(InputError, match="no row of split 'dev'"):
        train.split("dev")


def test_films_are_floats_in_0_to_1_in_the_order_asked_for(table: Path, tmp_path: Path):
    films = load_corpus(table, 32, tmp_path / "cache").films([3, 0])
    assert films.shape == (2, 1, 32, 32)
    torch.testing.assert_close(films[:, 0, 5, 5], torch.tensor([20 / 255, 40 / 255]))
    assert to_float(torch.full((1, 2, 2), 255, dtype=torch.uint8)).max() == 1.0


def test_a_second_run_decodes_nothing(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = load_corpus(table, 32, tmp_path / "cache")
    monkeypatch.setattr(module, "network_film", lambda path, size, fit: pytest.fail(f"decoded {path} again"))
    again = load_corpus(table, 32, tmp_path / "cache")
    assert torch.equal(again.pixels, first.pixels) and again.studies == first.studies


def test_another_size_or_a_changed_film_is_decoded_anew(table: Path, tmp_path: Path):
    load_corpus(table, 32, tmp_path / "cache")
    assert load_corpus(table, 64, tmp_path / "cache").pixels.shape == (4, 64, 64)
    film = tmp_path / "1.png"
    Image.fromarray(np.full((40, 60), 99, np.uint8)).save(film)
    os.utime(film, ns=(1, 1))
    assert load_corpus(table, 32, tmp_path / "cache").pixels[3, 0, 0] == 99


def test_reports_come_from_the_table_even_where_films_are_kept(table: Path, tmp_path: Path):
    load_corpus(table, 32, tmp_path / "cache")
    table.write_text(table.read_text().replace("The lungs are clear 2", "There is an effusion"))
    assert "There is an effusion." in load_corpus(table, 32, tmp_path / "cache").reports


def test_a_film_that_cannot_be_read_is_left_out_with_its_reason(table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "2.png").unlink()
    for _ in range(2):  # decoded, and kept
        with caplog.at_level(logging.WARNING):
            corpus = load_corpus(table, 32, tmp_path / "cache")
        assert [study.id for study in corpus.studies] == ["s3", "s0"]
        assert corpus.pixels[:, 0, 0].tolist() == [40, 10]
    assert "1.png" in caplog.text and "2.png" in caplog.text


def test_a_split_that_lies_scattered_is_its_rows_too(table: Path, tmp_path: Path):
    whole = load_corpus(table, 32, tmp_path / "cache")
    order = [1, 0, 3, 2]
    mixed = Corpus([whole.studies[i] for i in order], whole.pixels[order])
    assert mixed.split("train").pixels[:, 0, 0].tolist() == [10, 30]


def test_films_can_be_padded(table: Path, tmp_path: Path):
    padded = load_corpus(table, 32, tmp_path / "cache", fit="pad").pixels
    assert padded[:, 0].max() == 0 and padded[:, 16, 16].tolist() == [40, 10, 30, 20]


def test_no_film_at_all_is_one_clear_line(table: Path, tmp_path: Path):
    for film in tmp_path.glob("*.png"):
        film.unlink()
    with pytest.raises(InputError, match=r"none of its 4 films could be read"):
        load_corpus(table, 32, tmp_path / "cache")


def test_a_corpus_in_memory_needs_no_table():
    assert len(Corpus([], torch.zeros(0, 8, 8, dtype=torch.uint8))) == 0
