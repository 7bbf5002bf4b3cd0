"""The masks for other engines: by themselves, in Hugging Face's own `generate`, and in the form that vLLM loads."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList, set_seed

from cyclicxr.cycle import find_model
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import drawing_prompt, report_prompt
from cyclicxr.language.serving import DRAW, REPORT, Rule, mask, rules, sampling_params
from cyclicxr.language.vocabulary import Vocabulary

TOY = Rule(torch.tensor([2, 4]), end=1, length=3, sampling={"temperature": 0.5, "top_k": 2})


def allowed(rule: Rule, past: list[int], size: int = 7) -> list[int]:
    return mask(rule, past, torch.arange(size).float()).isfinite().nonzero()[:, 0].tolist()


def test_the_choices_until_the_length_is_reached_and_then_the_end():
    assert [allowed(TOY, [2, 4, 4, 1][:n]) for n in range(5)] == [[2, 4], [2, 4], [2, 4], [1], [1]]


@given(st.lists(st.floats(-50, 50), min_size=5, max_size=9), st.integers(0, 5))
def test_what_may_follow_keeps_its_logit_and_the_logits_given_stay(values: list[float], written: int):
    logits = torch.tensor(values)
    masked = mask(TOY, [2] * written, logits)
    assert logits.tolist() == torch.tensor(values).tolist()
    kept = masked.isfinite()
    assert masked[kept].tolist() == logits[kept].tolist()
    assert kept.nonzero()[:, 0].tolist() == ([2, 4] if written < 3 else [1])


@pytest.fixture
def saved(model: LanguageModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "llm")
    return tmp_path / "llm"


def test_the_rules_of_a_model_are_its_vocabularys(saved: Path, vocabulary: Vocabulary):
    found = rules(saved)
    assert found[DRAW].choices.tolist() == vocabulary.image_choices().tolist()
    assert found[DRAW].length == 9
    assert vocabulary.end not in found[DRAW].choices
    assert found[REPORT].choices.tolist() == vocabulary.report_choices().tolist()
    assert found[REPORT].length == 24
    assert vocabulary.end in found[REPORT].choices


def test_vllms_own_parameters_say_the_same(saved: Path, vocabulary: Vocabulary):
    draw, report = (sampling_params(rules(saved)[task]) for task in (DRAW, REPORT))
    assert draw["allowed_token_ids"] == list(range(vocabulary.first_image, vocabulary.first_image + 16))
    assert (draw["max_tokens"], draw["ignore_eos"], draw["stop_token_ids"]) == (9, True, [])
    assert (report["max_tokens"], report["ignore_eos"], report["stop_token_ids"]) == (24, False, [vocabulary.end])
    assert (draw["temperature"], report["temperature"], draw["top_k"]) == (0.85, 0.9, 50)


# ---- Hugging Face's own generation


class Masked(LogitsProcessor):
    """A rule in the form of `transformers`."""

    def __init__(self, rule: Rule, prompt: int) -> None:
        self.rule, self.prompt = rule, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.stack([mask(self.rule, ids.tolist(), row) for ids, row in zip(input_ids[:, self.prompt :], scores, strict=True)])


def written_by(directory: Path, rule: Rule, prompt: list[int], rows: int) -> list[list[int]]:
    """Responses sampled by `generate`, hot, so that any hole in the mask is soon found."""
    model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=torch.float32).eval()
    set_seed(0)
    ids = model.generate(
        torch.tensor([prompt] * rows),
        attention_mask=torch.ones(rows, len(prompt), dtype=torch.long),
        logits_processor=LogitsProcessorList([Masked(rule, len(prompt))]),
        max_new_tokens=rule.length + 20,
        do_sample=True,
        temperature=3.0,
        top_k=0,
    )
    return [row[: row.index(rule.end) + 1] if rule.end in row else row for row in ids[:, len(prompt) :].tolist()]


def test_generate_writes_allowed_ids_alone(saved: Path, vocabulary: Vocabulary):
    found = rules(saved)
    for row in written_by(saved, found[DRAW], drawing_prompt(vocabulary, "Clear lungs.", [3], 24).ids, 4):
        assert len(vocabulary.codes(row[:-1])) == 9
        assert row[-1] == vocabulary.end
    reports = written_by(saved, found[REPORT], report_prompt(vocabulary, list(range(9)), ["clear"]).ids, 4)
    assert all(len(row) <= 25 and row[-1] == vocabulary.end and set(row) <= set(found[REPORT].choices.tolist()) for row in reports)


@pytest.mark.slow
def test_the_shipped_model_draws_exactly_256_codes_and_no_image_token_into_a_report():
    directory = find_model(None) / "llm"
    vocabulary, found = Vocabulary.load(directory), rules(directory)
    prompt = drawing_prompt(vocabulary, "Small left pleural effusion.", [5, 6], 160).ids
    for row in written_by(directory, found[DRAW], prompt, 2):
        assert len(vocabulary.codes(row[:-1])) == 256
        assert row[-1] == vocabulary.end
    prompt = report_prompt(vocabulary, [7] * 256, ["effusion"]).ids
    for row in written_by(directory, found[REPORT], prompt, 2):
        assert len(row) <= 161 and row[-1] == vocabulary.end
        assert set(row) <= set(vocabulary.report_choices().tolist())


# ---- vLLM


@dataclass
class Request:
    """A row of vLLM's batch."""

    params: Any
    output_ids: list[int] = field(default_factory=list)


class Adapter:
    """What vLLM's `AdapterLogitsProcessor` does: a processor for each row, asked with the row's output so far and its logits."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        self.rows: dict[int, Any] = {}

    def add(self, index: int, request: Request) -> None:
        self.validate_params(request.params)
        made = self.new_req_logits_processor(request.params)
        if made is not None:
            self.rows[index] = partial(made, request.output_ids)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        for index, row in self.rows.items():
            logits[index] = row(logits[index])
        return logits


@pytest.fixture
def masks(saved: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The processor, made by an engine that serves the toy model."""
    for name in ("vllm", "vllm.v1", "vllm.v1.sample", "vllm.v1.sample.logits_processor"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["vllm.v1.sample.logits_processor"].AdapterLogitsProcessor = Adapter  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, "cyclicxr.language.vllm_masks", raising=False)
    from cyclicxr.language.vllm_masks import Masks

    return Masks(SimpleNamespace(model_config=SimpleNamespace(model=str(saved))), torch.device("cpu"), False)


def asking(task: str | None) -> Request:
    return Request(SimpleNamespace(extra_args=None if task is None else {"cyclicxr": task}))


def test_each_request_of_a_batch_has_the_mask_that_it_asked_for(masks: Any, vocabulary: Vocabulary):
    requests = [asking(DRAW), asking(None), asking(REPORT)]
    for index, request in enumerate(requests):
        masks.add(index, request)
    padded = len(vocabulary) + 11  # engines pad the vocabulary
    drawn = []
    for _ in range(10):
        logits = masks.apply(torch.randn(3, padded))
        assert logits[1].isfinite().all()
        assert set(logits[2].isfinite().nonzero()[:, 0].tolist()) == set(vocabulary.report_choices().tolist())
        drawn.append(int(logits[0].argmax()))
        for request, token in zip(requests, logits.argmax(dim=1).tolist(), strict=True):
            request.output_ids.append(token)
    assert len(vocabulary.codes(drawn[:9])) == 9
    assert drawn[9] == vocabulary.end
    assert not masks.is_argmax_invariant()


def test_a_request_for_another_mask_is_refused(masks: Any):
    with pytest.raises(ValueError, match="'films' is neither 'report' nor 'draw'"):
        masks.add(0, asking("films"))
