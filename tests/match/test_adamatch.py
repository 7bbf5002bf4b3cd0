"""AdaMatch: what it gives for films and texts, its temperature, and its two files."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from cyclicxr.checkpoint import write_preset
from cyclicxr.config import EncoderConfig, MatchConfig, Preset, WordsConfig
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.maxsim import maxsim
from cyclicxr.types import InputError
from cyclicxr.words.encoder import build_tokenizer

REPORTS = ["The heart is normal in size. The lungs are clear.", "Small left pleural effusion. No pneumothorax."]
TOY = Preset(
    encoder=EncoderConfig(
        size=64, widths=(4, 8, 8, 12), convolutions=(1, 1, 1, 0), attentions=(0, 0, 1, 1), heads=(1, 2, 2, 3), size_scale=1.0
    ),
    words=WordsConfig(vocabulary=150, width=16, layers=1, heads=2, max_tokens=32),
    match=MatchConfig(width=16),
)


def build(preset: Preset = TOY) -> AdaMatch:
    torch.manual_seed(0)
    model = AdaMatch.build(preset.encoder, preset.words, preset.match, build_tokenizer(preset.words, REPORTS)).eval()
    for stage in list(model.image.stages)[1:]:  # as if it had learned to move its patches
        torch.nn.init.normal_(stage.patches.heads.weight, std=3.0)
    return model


@pytest.fixture
def model() -> AdaMatch:
    return build()


@torch.no_grad()
def test_patches_and_words_are_unit_vectors_of_one_space(model: AdaMatch):
    patches, words = model.encode_films(torch.rand(3, 1, 64, 64)), model.encode_texts(REPORTS)
    assert patches.features.shape == (3, 16, 16) and words.features.shape == (2, words.mask.shape[1], 16)
    for features in (patches.features, words.features):
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(features.shape[:2]))
    to_text, to_image = maxsim(patches.features, words.features, words.mask)
    assert to_text.shape == to_image.shape == (3, 2)


@torch.no_grad()
def test_a_shift_leads_from_the_fixed_centre_to_the_middle_of_the_box(model: AdaMatch):
    found = model.encode_films(torch.rand(2, 1, 64, 64))
    assert found.shifts.abs().max() > 0.01
    torch.testing.assert_close(found.anchors + found.shifts, (found.boxes[..., :2] + found.boxes[..., 2:]) / 2)


@pytest.mark.parametrize(("stage", "patches"), [(2, 64), (3, 16), (4, 4)])
@torch.no_grad()
def test_the_stage_that_is_matched_is_a_setting(stage: int, patches: int):
    model = build(dataclasses.replace(TOY, match=MatchConfig(width=16, stage=stage)))
    assert model.encode_films(torch.rand(1, 1, 64, 64)).features.shape == (1, patches, 16)


@torch.no_grad()
def test_words_of_a_text_do_not_depend_on_its_neighbours(model: AdaMatch):
    alone, beside = model.encode_texts(REPORTS[1:]), model.encode_texts(REPORTS)
    torch.testing.assert_close(beside.features[1][beside.mask[1]], alone.features[0][alone.mask[0]], atol=1e-5, rtol=1e-4)
    assert [REPORTS[1][start:end] for start, end in alone.spans[0] if end][:2] == ["S", "mall"] or alone.spans[0][1][0] == 0


def test_the_temperature_begins_as_set_and_is_clamped(model: AdaMatch):
    assert float(model.temperature.detach()) == pytest.approx(0.07)
    model.log_temperature.data.fill_(math.log(1e-4))
    assert float(model.temperature.detach()) == pytest.approx(0.01)


@torch.no_grad()
def test_a_saved_matcher_comes_back_frozen(model: AdaMatch, tmp_path: Path):
    write_preset(tmp_path, TOY)
    model.save(tmp_path)
    again = AdaMatch.load(tmp_path)
    assert not again.training and not any(tensor.requires_grad for tensor in again.parameters())
    films = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(again.encode_films(films).features, model.encode_films(films).features, atol=0.02, rtol=0)  # float16 on disk
    words, found = model.encode_texts(REPORTS), again.encode_texts(REPORTS)
    assert found.spans == words.spans and torch.equal(found.mask, words.mask)
    torch.testing.assert_close(found.features, words.features, atol=0.02, rtol=0)
    again.save(tmp_path / "again")  # nothing more is lost the second time
    assert (tmp_path / "again" / "match.safetensors").read_bytes() == (tmp_path / "match.safetensors").read_bytes()


def test_a_text_of_no_words_is_refused(model: AdaMatch):
    with pytest.raises(InputError, match="no words"):
        model.encode_texts(["  "])


@pytest.mark.parametrize(
    "missing", ["config.json", "match.safetensors", "text_tokenizer/tokenizer.json", "text_tokenizer/text_config.json"]
)
def test_a_directory_that_is_not_whole_is_one_clear_line(model: AdaMatch, tmp_path: Path, missing: str):
    write_preset(tmp_path, TOY)
    model.save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=missing.split("/")[0]) as caught:
        AdaMatch.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_config_are_one_clear_line(model: AdaMatch, tmp_path: Path):
    model.save(tmp_path)
    write_preset(tmp_path, dataclasses.replace(TOY, match=MatchConfig(width=24)))
    with pytest.raises(InputError, match=r"match\.safetensors.*config\.json") as caught:
        AdaMatch.load(tmp_path)
    assert "\n" not in str(caught.value)
