"""Matrices of whole numbers: what they hold, how far they are off, and a language model that writes and draws with them."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cyclicxr.language.int8 import ROWS, Int8Linear, quantize
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import collate, example, report_prompt, report_response
from cyclicxr.types import InputError

from .conftest import REPORTS

CODES = torch.arange(18).view(2, 9) % 16


def linear(matrix: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    made = nn.Linear(matrix.shape[1], matrix.shape[0], bias=bias is not None)
    made.weight.data = matrix
    if bias is not None:
        made.bias.data = bias
    return made


def test_a_matrix_by_hand():
    held = Int8Linear(linear(torch.tensor([[127.0, -1.0, 0.4], [0.0, 0.0, 0.0], [254.0, 3.0, -254.0]]), torch.tensor([0.0, 7.0, 0.0])))
    assert held.weight.tolist() == [[127, -1, 0], [0, 0, 0], [127, 2, -127]]
    assert held.scale[[0, 2]].tolist() == [1, 2]
    assert held(torch.ones(1, 3).bfloat16()).tolist() == [[126, 7, 4]]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([5, 32, 64, 96]), st.sampled_from([7, 32, 64]), st.sampled_from([1, 3, ROWS, ROWS + 1]), st.floats(1e-4, 1e3))
def test_no_product_is_off_by_more_than_half_a_step_a_weight(outputs, inputs, rows, size):
    """Both ways to multiply, sides that the kernel does not take among them."""
    torch.manual_seed(outputs * inputs + rows)
    plain = linear(size * torch.randn(outputs, inputs))
    held = Int8Linear(plain)
    x = torch.randn(2, rows, inputs).bfloat16()
    with torch.no_grad():
        exact, found = x.double() @ plain.weight.double().T, held(x).double()
    steps = held.scale.double() * 0.5
    allowed = x.double().abs().sum(dim=2, keepdim=True) * steps + size * inputs * 2**-8
    assert found.shape == (2, rows, outputs)
    assert ((found - exact).abs() <= allowed + 0.02 * exact.abs()).all()


def test_every_linear_layer_inside_is_replaced_and_takes_a_quarter_of_the_room():
    module = nn.Sequential(nn.Linear(64, 64), nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32)))
    quantize(module)
    assert [type(each).__name__ for each in module.modules()] == ["Sequential", "Int8Linear", "Sequential", "Int8Linear", "LayerNorm"]
    assert module[0].weight.element_size() == 1
    assert not any(p.requires_grad for p in module.parameters())
    assert {"0.weight", "0.scale", "0.bias"} <= set(module.state_dict())


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "llm", half=False)
    return tmp_path / "llm"


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_a_model_writes_draws_and_scores_with_few_bits(model, folder, weights):
    small = LanguageModel.load(folder, weights)
    assert small.model.dtype == torch.bfloat16
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}
    texts = list(small.candidates(CODES, [["tube"], []]))
    assert [len(each) for each in texts] == [small.cfg.candidates] * 2
    drawn = small.draw(REPORTS[:2], [[1], []], seed=3)
    assert drawn.shape == (2, 9)
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < 16
    scored, exact = (of.likelihood(CODES, [["tube"], []], [REPORTS[0], ""], [REPORTS[2], REPORTS[1]]) for of in (small, model))
    assert torch.allclose(scored, exact, rtol=0.05)
    words = model.vocabulary
    batch = collate([example(report_prompt(words, CODES[0].tolist(), []), report_response(words, REPORTS[0], 24))], words.padding)
    with torch.no_grad():
        assert small.loss(batch).item() == pytest.approx(model.loss(batch).item(), rel=0.05)


def test_the_stored_setting_says_how_weights_are_held(model, folder):
    assert LanguageModel.load(folder).model.dtype == torch.float32
    file = folder / "cyclicxr.json"
    stored = json.loads(file.read_text())
    stored["language"]["weights"] = "int8"
    file.write_text(json.dumps(stored))
    loaded = LanguageModel.load(folder)
    assert sum(isinstance(each, Int8Linear) for each in loaded.modules()) == 4 * model.cfg.layers
    assert loaded.cfg.weights == "int8"
    assert LanguageModel.load(folder, "float32").model.dtype == torch.float32


def test_int8_is_not_saved_and_bfloat16_is(folder, tmp_path):
    with pytest.raises(InputError, match="int8 weights are not saved"):
        LanguageModel.load(folder, "int8").save(tmp_path / "again")
    assert not (tmp_path / "again").exists()
    LanguageModel.load(folder, "bfloat16").save(tmp_path / "again")
    assert LanguageModel.load(tmp_path / "again").model.dtype == torch.bfloat16


def test_other_weights_are_refused_by_name(folder):
    with pytest.raises(InputError, match=r"language\.weights: 'int4' is not one of float32, bfloat16, int8"):
        LanguageModel.load(folder, "int4")
