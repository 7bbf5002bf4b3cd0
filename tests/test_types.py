"""Geometry back to the original file, and the JSON of a result."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr import types
from cyclicxr.types import Geometry, InputError, PatchRecord, Result


def test_a_box_goes_back_to_the_pixels_of_a_film_that_is_no_square():
    assert Geometry(200, 100).to_pixels((0.25, 0.5, 0.75, 1.0)) == (50.0, 50.0, 150.0, 100.0)
    assert Geometry(200, 100).point_to_pixels((0.5, 0.25)) == (100.0, 25.0)


@given(st.integers(1, 20000), st.integers(1, 20000), st.tuples(*[st.floats(0, 1)] * 4))
def test_the_way_back_and_forth(width: int, height: int, box: tuple[float, float, float, float]):
    x0, y0, x1, y1 = Geometry(width, height).to_pixels(box)
    assert (x0 / width, y0 / height, x1 / width, y1 / height) == pytest.approx(box, rel=1e-12, abs=1e-15)
    assert 0 <= x0 <= width and 0 <= y1 <= height
    assert Geometry(width, height).point_to_pixels(box[:2]) == (x0, y0)


def test_json_of_a_result_begins_with_its_schema_and_holds_plain_lists():
    result = Result(None, {"name": "small"}, "Clear.", patches=(PatchRecord((0.0, 1.0, 2.0, 3.0), (1.0, 2.0), (0.5, 0.0)),))
    found = json.loads(json.dumps(result.to_json()))
    assert next(iter(found)) == "schema" and found["schema"] == "cyclicxr.result/1"
    assert found["patches"] == [{"box": [0.0, 1.0, 2.0, 3.0], "anchor": [1.0, 2.0], "shift": [0.5, 0.0]}]
    assert found["notice"].startswith("Research use only")


def test_what_crosses_a_border_cannot_be_changed():
    kinds = [kind for kind in vars(types).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) > 10
    assert [kind.__name__ for kind in kinds if not kind.__dataclass_params__.frozen] == []


def test_a_callers_mistake_is_a_value_error():
    assert issubclass(InputError, ValueError)
