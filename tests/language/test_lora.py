"""LoRA at toy width on a directory in dolly's form: what is trained, what is saved, and what of it a bare Hugging Face sees."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXForCausalLM

from cyclicxr.config import LanguageConfig
from cyclicxr.language import lora
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import collate, drawing_prompt, drawing_response, example, report_prompt, report_response
from cyclicxr.language.vocabulary import END, INSTRUCTION, RESPONSE, Vocabulary
from cyclicxr.types import InputError

from .conftest import REPORTS

CODES = torch.arange(18).view(2, 9) % 16


def settings(folder: Path, **more: object) -> LanguageConfig:
    return LanguageConfig(pretrained=str(folder), lora_rank=4, context=2048, dropout=0.0, max_report_tokens=24, **more)


def adapted(folder: Path) -> LanguageModel:
    torch.manual_seed(0)
    cfg = settings(folder)
    return LanguageModel.build(Vocabulary.extend(cfg.pretrained, "", 16), cfg, 9, torch.randn(16, 4))


def learn(model: LanguageModel, steps: int = 10) -> list[float]:
    """Losses of some steps on two reports and two drawings."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.05)
    words = model.vocabulary
    examples = [example(report_prompt(words, CODES[i].tolist(), ["tube"]), report_response(words, REPORTS[i], 24)) for i in range(2)]
    examples += [example(drawing_prompt(words, REPORTS[i], [3], 24), drawing_response(words, CODES[i].tolist())) for i in range(2)]
    batch, losses = collate(examples, words.padding), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def tied(dolly: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one matrix for both ends."""
    folder = tmp_path_factory.mktemp("tied")
    plain = AutoModelForCausalLM.from_pretrained(str(dolly))
    plain.config.tie_word_embeddings = True
    weights = {name: tensor for name, tensor in plain.state_dict().items() if plain.get_output_embeddings().weight is not tensor}
    made = GPTNeoXForCausalLM(plain.config)
    made.load_state_dict(weights, strict=False)
    made.tie_weights()
    made.save_pretrained(str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((dolly / name).read_bytes())
    return folder


@pytest.fixture(params=["dolly", "tied"])
def base(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


def test_before_the_first_step_it_is_the_pretrained_model(base):
    model = adapted(base)
    ids = torch.tensor([model.vocabulary.field(REPORTS[0])])
    theirs = AutoModelForCausalLM.from_pretrained(str(base))(ids).logits
    assert torch.allclose(model.model(ids).logits[..., : theirs.shape[2] - 3], theirs[..., :-3], atol=1e-6)


def test_few_weights_are_trained_and_among_them_the_rows_of_the_new_tokens(base):
    model = adapted(base)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = [p.numel() for name, p in trained.items() if ".lora_" in name]
    assert sum(matrices) == 2 * 4 * ((32 + 96) + (32 + 32) + (32 + 128) + (128 + 32))  # layers x rank x (in + out) of four matrices
    rows = [p for name, p in trained.items() if ".lora_" not in name]
    assert [tuple(p.shape) for p in rows] == [(len(model.vocabulary.special()), 32)] * len(rows)
    assert len(rows) == (1 if model.model.config.tie_word_embeddings else 2)
    assert set(model.vocabulary.image_choices().tolist()) < set(model.vocabulary.special().tolist())


def test_it_learns_and_nothing_that_is_frozen_moves(base):
    model = adapted(base)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses = learn(model)
    assert losses[-1] < losses[0] - 0.5
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all(".lora_" in name or ".trainable_tokens_delta." in name for name in moved)
    assert {name.rsplit(".", 2)[1] for name in moved} == {"default", "trainable_tokens_delta"}


def test_saved_it_is_a_plain_model_whose_logits_are_those_of_the_adapted(base, tmp_path):
    model = adapted(base)
    learn(model)
    model.eval().save(tmp_path / "llm", half=False)
    assert {path.name for path in (tmp_path / "llm").iterdir()} == {
        "config.json",
        "cyclicxr.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    bare, tokenizer = AutoModelForCausalLM.from_pretrained(str(tmp_path / "llm")), AutoTokenizer.from_pretrained(str(tmp_path / "llm"))
    assert type(bare) is GPTNeoXForCausalLM
    assert bare.config.tie_word_embeddings == model.model.config.tie_word_embeddings
    assert not any("lora" in name or "base_layer" in name for name in bare.state_dict())
    with safe_open(str(tmp_path / "llm" / "model.safetensors"), "pt") as file:  # the names that vLLM asks for
        assert ("embed_out.weight" in set(file.keys())) != bare.config.tie_word_embeddings
    prompt = report_prompt(model.vocabulary, CODES[0].tolist(), ["tube"]).ids
    ids = torch.tensor([tokenizer.encode(tokenizer.decode(prompt))])
    assert ids[0].tolist() == prompt
    assert torch.allclose(bare(ids).logits, model.model(ids).logits, atol=1e-5)
    assert bare.generation_config.eos_token_id == model.vocabulary.end
    loaded = LanguageModel.load(tmp_path / "llm")
    assert loaded.cfg == model.cfg
    assert loaded.draw(REPORTS[:1], [[1]], seed=3).shape == (1, 9)


def test_merging_by_hand():
    weights = {
        "a.base_layer.weight": torch.tensor([[1.0, 0.0]]),
        "a.base_layer.bias": torch.tensor([5.0]),
        "a.lora_A.default.weight": torch.tensor([[1.0, 2.0]]),
        "a.lora_B.default.weight": torch.tensor([[3.0]]),
        "e.token_adapter.base_layer.weight": torch.tensor([[1.0], [2.0], [3.0]]),
        "e.token_adapter.trainable_tokens_delta.default": torch.tensor([[9.0]]),
        "norm.weight": torch.ones(1),
    }
    plain = {name: tensor.tolist() for name, tensor in lora.merged(weights, torch.tensor([1])).items()}
    assert plain == {"a.weight": [[7.0, 12.0]], "a.bias": [5.0], "e.weight": [[1.0], [9.0], [3.0]], "norm.weight": [1.0]}


def test_dollys_keys_are_kept_and_spare_rows_are_used_first(dolly):
    old = AutoTokenizer.from_pretrained(str(dolly))
    words = Vocabulary.extend(str(dolly), "", 16)
    assert words.end == old.convert_tokens_to_ids(END)
    assert words.padding == 1
    assert words.template(INSTRUCTION) == [old.convert_tokens_to_ids(INSTRUCTION)]
    assert words.template(f"\n{RESPONSE}")[-1] >= len(old)  # dolly's key ends with a line break; the figures' does not
    assert len(words) == len(old) + 4 + 16  # input, keywords, keypatches, response
    assert [i for i in words.field("### Response:\n### End") if i in words.special()] == []
    assert words.first_image == len(old) + 4
    grown = LanguageModel.build(words, dataclasses.replace(settings(dolly), lora_rank=0), 9).model
    theirs = AutoModelForCausalLM.from_pretrained(str(dolly))
    assert theirs.config.vocab_size == len(old) + 3
    for end in ("get_input_embeddings", "get_output_embeddings"):
        new, known = (getattr(model, end)().weight for model in (grown, theirs))
        assert len(new) == grown.config.vocab_size == len(words)
        assert torch.equal(new[: len(old) + 3], known)


def test_what_dolly_writes_is_text(dolly):
    words = Vocabulary.extend(str(dolly), "", 16)
    for report in REPORTS:
        assert words.text(words.field(report)) == report
    assert not set(words.special().tolist()) - {words.end} & set(words.report_choices().tolist())
    assert words.special().tolist()[:2] == [0, 1]


def test_without_peft_it_says_what_to_install(dolly, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install 'cyclicxr\[lora\]'"):
        adapted(dolly)


def test_lora_of_nothing_pretrained_is_refused():
    with pytest.raises(InputError, match=r"set language\.pretrained"):
        LanguageConfig(lora_rank=4)
