"""Presets, overrides, and errors that name the setting."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cyclicxr.config import (
    OPENI_SMALL,
    PAPER,
    PRESETS,
    EncoderConfig,
    MatchConfig,
    Preset,
    VQGANConfig,
    from_json,
    override,
    preset,
)
from cyclicxr.types import InputError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_goes_through_json_and_back(name: str):
    assert from_json(Preset, json.loads(json.dumps(preset(name).to_json()))) == preset(name)


def test_presets_are_known_by_their_names():
    assert {name: each.name for name, each in PRESETS.items()} == {"openi-small": "openi-small", "paper": "paper"}
    with pytest.raises(InputError, match=r"'large' is unknown; there are openi-small, paper"):
        preset("large")


def test_the_paper_preset_has_the_papers_numbers():
    """Section 4.1: LAMB 6e-3, 15 epochs, 112 a GPU; AdamW 5e-6, 5 epochs, 24; 1,024 codes and 256 tokens of 256 pixels."""
    assert (PAPER.match.learning_rate, PAPER.match.epochs, PAPER.match.batch) == (6e-3, 15, 112)
    assert (PAPER.language.learning_rate, PAPER.language.batch) == (5e-6, 24)
    assert PAPER.language.epochs + PAPER.language.generated_epochs == 5
    assert (PAPER.encoder.size, PAPER.vqgan.codes, PAPER.vqgan.downsampling, PAPER.image_tokens) == (256, 1024, 16, 256)
    assert not PAPER.match.group_identical
    assert PAPER.encoder.offset_scale == PAPER.encoder.size_scale == 1.0  # Eqs. 1 and 2 to the letter
    assert PAPER.encoder.size_floor == 0.0


def test_downsampling_by_hand():
    assert OPENI_SMALL.vqgan.downsampling == 16
    assert VQGANConfig(unshuffle=4, multipliers=(1, 2, 3)).downsampling == 4 * 2 * 2
    assert VQGANConfig(unshuffle=1, multipliers=(1, 1, 2, 2, 4)).downsampling == 16


def test_an_override_changes_one_number_and_no_other():
    changed = override(OPENI_SMALL, {"match.epochs": 2})
    assert changed.match == dataclasses.replace(OPENI_SMALL.match, epochs=2)
    assert dataclasses.replace(changed, match=OPENI_SMALL.match) == OPENI_SMALL
    assert OPENI_SMALL.match.epochs != 2


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        ("seed", 3, 3),
        ("match.learning_rate", 1, 1),
        ("encoder.widths", [8, 8, 8, 8], (8, 8, 8, 8)),
        ("encoder.adaptive", False, False),
        ("words.pretrained", "somewhere", "somewhere"),
    ],
)
def test_an_override_takes_what_the_setting_is(path: str, given: object, expected: object):
    node: Any = override(OPENI_SMALL, {path: given})
    for name in path.split("."):
        node = getattr(node, name)
    assert node == expected


@pytest.mark.parametrize(
    "path", ["epochs", "match.epoch", "matches.epochs", "match", "match.epochs.more", "encoder.widths.0", "name.small", "name.openi", ""]
)
def test_a_setting_that_does_not_exist_is_named(path: str):
    with pytest.raises(InputError, match=rf"setting '{path}' does not exist"):
        override(OPENI_SMALL, {path: 1})


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("match.epochs", "two", "int"),
        ("match.epochs", 2.5, "int"),
        ("match.epochs", True, "int"),
        ("match.learning_rate", "fast", "float"),
        ("match.learning_rate", True, "float"),
        ("encoder.adaptive", 1, "bool"),
        ("encoder.widths", 8, "tuple"),
        ("encoder.widths", ["8", 8, 8, 8], "tuple of int"),
        ("words.pretrained", None, "str"),
    ],
)
def test_a_value_of_another_type_is_named(path: str, value: object, kind: str):
    with pytest.raises(InputError, match=rf"'{path}'.* is not a {kind}"):
        override(OPENI_SMALL, {path: value})
    *_, stage, name = ["", *path.split(".")]
    values = OPENI_SMALL.to_json()
    values[stage][name] = value
    with pytest.raises(InputError, match=rf"'{path}'.* is not a {kind}"):  # the same from a config.json that was edited
        from_json(Preset, values)


@pytest.mark.parametrize("values", [[], 3, "openi-small", None])
def test_a_config_that_is_no_object_is_refused(values: Any):
    with pytest.raises(InputError, match="not an object"):
        from_json(Preset, values)
    with pytest.raises(InputError, match=r"'match'.*not an object"):
        from_json(Preset, {"match": values})


def test_an_unknown_key_is_named():
    with pytest.raises(InputError, match="MatchConfig has no 'epoch'"):
        from_json(Preset, {"match": {"epoch": 3}})
    with pytest.raises(InputError, match="Preset has no 'matcher'"):
        from_json(Preset, {"matcher": {}})


def test_a_key_that_an_older_version_lacked_takes_its_default():
    values = OPENI_SMALL.to_json()
    del values["match"]["group_identical"]
    assert from_json(Preset, values) == OPENI_SMALL


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: EncoderConfig(stem="pool"), "encoder.stem: 'pool'"),
        (lambda: EncoderConfig(size=100), "encoder.size: 100"),
        (lambda: EncoderConfig(size=0), "encoder.size: 0"),
        (lambda: EncoderConfig(widths=(1, 2, 3)), r"encoder.widths: .*\(1, 2, 3\)"),
        (lambda: EncoderConfig(mlp_ratios=(4,)), "encoder.mlp_ratios"),
        (lambda: MatchConfig(stage=1), "match.stage: 1"),
        (lambda: VQGANConfig(codes=1), "vqgan.codes: 1"),
        (
            lambda: Preset(encoder=EncoderConfig(size=96), vqgan=VQGANConfig(unshuffle=8, multipliers=(1, 1, 1, 1))),
            "encoder.size 96 .* f = 64",
        ),
        (lambda: VQGANConfig(unshuffle=3), "vqgan.unshuffle: 3"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_where_they_are_made(make: Any, setting: str):
    with pytest.raises(InputError, match=setting):
        make()
