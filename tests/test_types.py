"""The JSON of a result, and what crosses a border."""

from __future__ import annotations

import dataclasses
import json

from cyclicxr import types
from cyclicxr.types import InputError, PatchRecord, Result


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
