"""Who a checkpoint belongs to, and what examples are called."""

from __future__ import annotations

import dataclasses

import torch

from cyclicxr.config import OPENI_SMALL, override
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.stateful import OnStudies, Stateful, identity
from cyclicxr.types import Study


class Toy(OnStudies):
    parts = ("model",)

    def __init__(self, reports: list[str]) -> None:
        studies = [Study(f"CXR{i}", f"p{i}", "", report, "train") for i, report in enumerate(reports)]
        self.train, self.preset = Corpus(studies, torch.full((len(reports), 4, 4), 51, dtype=torch.uint8)), OPENI_SMALL
        self.model = torch.nn.Linear(2, 1)


def test_settings_and_studies_make_the_identity():
    toy, same, other = Toy(["Clear.", "Effusion."]), Toy(["Clear.", "Effusion."]), Toy(["Clear.", "Nodule."])
    assert toy.identity() == same.identity()
    assert toy.identity()["settings"] == other.identity()["settings"] and toy.identity()["examples"] != other.identity()["examples"]
    same.preset = override(OPENI_SMALL, {"match.batch": 63})
    assert toy.identity()["settings"] != same.identity()["settings"]
    assert identity(OPENI_SMALL, [1]) == identity(dataclasses.replace(OPENI_SMALL), [1])


def test_an_example_is_called_by_its_studys_id_or_its_number():
    assert Toy(["Clear.", "Effusion."]).name(1) == "CXR1" and Stateful().name(1) == "1"
    assert Stateful().identity() == {}


def test_films_are_floats_on_the_device():
    torch.testing.assert_close(Toy(["Clear."]).films([0, 0]), torch.full((2, 1, 4, 4), 0.2))


def test_a_state_comes_back():
    one, other = Toy(["Clear."]), Toy(["Clear."])
    other.restore(one.state())
    assert torch.equal(one.model.weight, other.model.weight)
