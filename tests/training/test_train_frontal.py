"""The gate's training: what each film becomes and is called, and a whole run on drawn films that resumes to the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclicxr.checkpoint import load_tensors, load_weights
from cyclicxr.data.frontal import REASONS, SIZE, FrontalNet
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.data.tables import write_table
from cyclicxr.training import train_frontal
from cyclicxr.training.train_frontal import FRONTAL, INVERTED, LATERAL, OTHER, ROTATED, STORED, train, vary
from cyclicxr.types import InputError


def table(folder: Path, name: str, splits: tuple[str, ...]) -> Path:
    rows = []
    for number, split in enumerate(splits):
        Image.fromarray(np.roll(draw_phantom(number, size=64).pixels, number, axis=1)).save(folder / f"{name}{number}.png")
        row = {"id": f"{name}{number}", "patient": f"{name}{number}", "image": f"{name}{number}.png", "report": "The lungs are clear."}
        rows.append(row | {"split": split, "view": "PA"})
    write_table(folder / f"{name}.csv", rows)
    return folder / f"{name}.csv"


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    splits = ("train",) * 4 + ("val",) * 2
    return table(tmp_path, "frontals", splits), table(tmp_path, "laterals", splits)


def test_the_classes_are_the_reasons_in_order():
    assert [REASONS[kind] for kind in (FRONTAL, LATERAL, INVERTED, ROTATED, OTHER)] == [*REASONS]


def test_a_film_is_called_what_was_done_to_it():
    torch.manual_seed(0)
    kinds = torch.tensor([FRONTAL, LATERAL, OTHER]).repeat(300)
    films, truth = vary(torch.rand(900, 1, STORED, STORED), kinds)
    assert films.shape == (900, 1, SIZE, SIZE) and films.min() >= 0 and films.max() <= 1
    assert set(truth[kinds == FRONTAL].tolist()) == {FRONTAL, INVERTED, ROTATED, OTHER}
    assert set(truth[kinds == LATERAL].tolist()) == {LATERAL, OTHER}
    assert set(truth[kinds == OTHER].tolist()) == {OTHER}
    shares = [(truth[kinds == FRONTAL] == kind).float().mean() for kind in (FRONTAL, INVERTED, ROTATED)]
    assert shares == pytest.approx(train_frontal.FATES["frontal"], abs=0.09)  # three standard deviations of 300 throws


def test_a_negative_is_one(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    monkeypatch.setattr(train_frontal.spoil, "frame", lambda films: films)
    monkeypatch.setattr(train_frontal.spoil, "develop", lambda films: films.clone())
    films, truth = vary(torch.full((200, 1, STORED, STORED), 0.9), torch.full((200,), FRONTAL))
    assert films[truth == INVERTED].flatten().tolist() == pytest.approx([0.1] * films[truth == INVERTED].numel())
    assert (films[truth == ROTATED] == 0.9).all() and (films[truth == FRONTAL] == 0.9).all()


def test_a_run_writes_weights_that_the_gate_opens_and_resumes_to_the_same(
    tables: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {"PHANTOMS": 3, "OTHERS": 7, "HELD_OUT": 14, "EPOCHS": 2, "BATCH": 8}.items():
        monkeypatch.setattr(train_frontal, name, value)
    weights = train(*tables, tmp_path / "run")
    load_weights(FrontalNet(), weights)
    assert (tmp_path / "run" / "record.json").exists()
    again = train(*tables, tmp_path / "run", resume=True)
    other = train(*tables, tmp_path / "other")
    for path in (again, other):
        assert all(torch.equal(tensor, load_tensors(path)[name]) for name, tensor in load_tensors(weights).items())


def test_a_table_without_validation_films_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no row of split 'val'"):
        train(table(tmp_path, "frontals", ("train",)), table(tmp_path, "laterals", ("train",)), tmp_path / "run")
