"""RadGraph F1 by hand on annotations in the form that RadGraph's package writes."""

import json

import pytest

from cyclicxr.metrics.radgraph import LEVELS, radgraph_f1, read_annotations
from cyclicxr.types import InputError


def entity(tokens, label, relations=()):
    return {"tokens": tokens, "label": label, "start_ix": 0, "end_ix": 0, "relations": [list(relation) for relation in relations]}


TRUE = {
    "text": "small left effusion .",
    "entities": {
        "1": entity("small", "OBS-DP", [("modify", "3")]),
        "2": entity("left", "ANAT-DP"),
        "3": entity("Effusion", "OBS-DP", [("located_at", "2")]),
    },
}
SAID = {
    "text": "left effusion",
    "entities": {"1": entity("left", "ANAT-DP"), "2": entity("Effusion", "OBS-DP")},
}


@pytest.fixture
def annotations(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"0": TRUE, "1": SAID}))
    return read_annotations(tmp_path / "a.json")


def test_f1_by_hand(annotations):
    found = radgraph_f1(annotations, ["small left effusion."], ["left effusion"])
    # entities: 3 true, 2 said, 2 shared. With "is related": only "left". With relations: 3 true, 2 said, only "left".
    assert [found[f"RadGraph F1 ({level})"][0] for level in LEVELS] == pytest.approx([4 / 5, 2 / 5, 2 / 5])
    same = radgraph_f1(annotations, ["small left effusion ."], ["small left effusion."])
    assert all(values[0] == 1 for values in same.values())


def test_an_empty_hypothesis_scores_zero_and_a_text_without_annotation_is_refused(annotations):
    assert all(values[0] == 0 for values in radgraph_f1(annotations, ["left effusion"], [" "]).values())
    with pytest.raises(InputError, match="1 of 2 texts lack an annotation, first 'no edema'"):
        radgraph_f1(annotations, ["left effusion"], ["no edema"])


@pytest.mark.parametrize("held", [[1], {"0": {"text": "x"}}, {"0": {"text": "x", "entities": {"1": entity("a", "b", [("modify", "9")])}}}])
def test_what_is_no_annotation_is_refused(tmp_path, held):
    (tmp_path / "a.json").write_text(json.dumps(held))
    with pytest.raises(InputError, match=r"a\.json"):
        read_annotations(tmp_path / "a.json")
