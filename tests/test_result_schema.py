"""The published schema of a result is exactly what `Result.to_json` gives: nothing missing, nothing more."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from cyclicxr import types
from cyclicxr.data.frontal import REASONS
from cyclicxr.types import Result

SCHEMA = json.loads(files("cyclicxr").joinpath("result.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)

number = st.floats(-1e5, 1e5)
share = st.floats(0, 1)
cosine = st.floats(-1, 1)
box = st.tuples(number, number, number, number)
unit_box = st.tuples(share, share, share, share)
point = st.tuples(number, number)
index = st.integers(0, 5000)
sha = st.text("0123456789abcdef", min_size=64, max_size=64) | st.just("")


def record(kind: type, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What to make a record of; made in the test, as the type checks of records draw random numbers that hypothesis minds in a strategy."""
    return st.tuples(*parts).map(lambda values: (kind, values))


def few(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(part, max_size=2).map(tuple)


def made(node: Any) -> Any:
    if not isinstance(node, tuple):
        return node
    return node[0](*map(made, node[1])) if node and isinstance(node[0], type) else tuple(map(made, node))


frontal = st.none() | record(types.FrontalRecord, share, st.sampled_from(REASONS))
results = record(
    Result,
    st.none() | record(types.ImageRecord, st.text(), sha, st.integers(1, 20000), st.integers(1, 20000), st.text(), frontal),
    st.fixed_dictionaries({"name": st.text(), "revision": st.text()}),
    st.text(),
    few(record(types.SentenceRecord, st.text(), index, index, few(box), st.none() | share, st.booleans())),
    few(record(types.KeywordRecord, st.text(), st.text(), number, index, box)),
    few(record(types.PatchRecord, box, point, point)),
    few(record(types.WordRecord, st.text(), index, index, cosine, index, box)),
    few(
        record(types.KeypatchRecord, st.text(), unit_box, index, st.text(), cosine, st.sampled_from(["", "data:image/png;base64,iVBORw0="]))
    ),
    st.none() | record(types.SyntheticRecord, st.text(), few(index)),
    st.dictionaries(st.text(), st.floats(0, 1e4), max_size=2),
)

FULL = Result(
    image=types.ImageRecord("film.png", "a" * 64, 100, 200, "PA", types.FrontalRecord(0.98, "")),
    model={"name": "small", "revision": "1"},
    report="No effusion.",
    sentences=(types.SentenceRecord("No effusion.", 0, 12, ((0.0, 0.0, 1.0, 1.0),), 0.5),),
    keywords=(types.KeywordRecord("effusion", "disease disorder", 1.5, 0, (0.0, 0.0, 1.0, 1.0)),),
    patches=(types.PatchRecord((0.0, 0.0, 1.0, 1.0), (0.5, 0.5), (0.1, 0.0)),),
    words=(types.WordRecord("effusion", 3, 11, 0.4, 0, (0.0, 0.0, 1.0, 1.0)),),
    keypatches=(types.KeypatchRecord("s1", (0.0, 0.0, 1.0, 1.0), 3, "effusion", 0.4),),
    synthetic=types.SyntheticRecord("film.drawn.png", (1, 2)),
    timings={"report": 1.0},
)


def on_disk(result: Result) -> dict[str, Any]:
    return dict(json.loads(json.dumps(result.to_json(), allow_nan=False)))


def objects(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the objects of a JSON value are."""
    if isinstance(node, dict):
        yield path
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from objects(child, (*path, key))


OBJECTS = sorted(objects(on_disk(FULL)), key=str)
RECORDS = [path for path in OBJECTS if path not in {("model",), ("timings",)}]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@given(results)
def test_every_result_is_valid(result: Any) -> None:
    VALIDATOR.validate(on_disk(made(result)))


def test_every_kind_of_record_is_tried() -> None:
    assert len(OBJECTS) == 11  # the result, model, timings, and one of each of the eight records
    assert {"image", "sentences", "keywords", "patches", "words", "keypatches", "synthetic"} <= {path[0] for path in RECORDS if path}


@pytest.mark.parametrize("path", RECORDS, ids=str)
def test_a_field_too_many_is_refused(path: tuple[str | int, ...]) -> None:
    stored = on_disk(FULL)
    at(stored, path)["surprise"] = 1
    with pytest.raises(ValidationError, match="surprise"):
        VALIDATOR.validate(stored)


@pytest.mark.parametrize("path", RECORDS, ids=str)
def test_each_missing_field_is_refused(path: tuple[str | int, ...]) -> None:
    for name in at(on_disk(FULL), path):
        stored = on_disk(FULL)
        del at(stored, path)[name]
        assert not VALIDATOR.is_valid(stored), name


def test_the_fields_are_those_of_the_dataclass_with_schema_first() -> None:
    assert list(SCHEMA["properties"]) == list(Result(None, {}, "").to_json())
    assert set(SCHEMA["properties"]) == {field.name for field in dataclasses.fields(Result)}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "cyclicxr.result/2"),
        (("notice",), ""),
        (("sentences", 0, "consistency"), 1.01),
        (("words", 0, "score"), -1.5),
        (("words", 0, "patch"), -1),
        (("keypatches", 0, "box"), [0, 0, 1, 1.2]),
        (("keypatches", 0, "thumbnail"), "https://example.org/x.png"),
        (("patches", 0, "box"), [0, 0, 1]),
        (("image", "sha256"), "abc"),
        (("image", "width"), 0),
        (("timings", "report"), "fast"),
        (("model",), {"name": "small"}),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(path: tuple[str | int, ...], value: object) -> None:
    stored = copy.deepcopy(on_disk(FULL))
    VALIDATOR.validate(stored)
    at(stored, path[:-1])[path[-1]] = value
    assert not VALIDATOR.is_valid(stored)
