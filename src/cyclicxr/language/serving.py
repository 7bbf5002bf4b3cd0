"""Which ids may follow in a report and in a film, for engines that serve the language model without our decoding (vLLM, transformers);
knows ids, neither weights nor engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cyclicxr.checkpoint import read_json
from cyclicxr.config import LanguageConfig, from_json
from cyclicxr.language.llm import SETTINGS
from cyclicxr.language.vocabulary import Vocabulary

REPORT, DRAW = "report", "draw"


@dataclass(frozen=True)
class Rule:
    """What a response is made of: up to `length` of the `choices`, then the end.

    Args:
        choices: ids. A report's have the end among them, so it may end sooner; a film's have not, so it has `length` image tokens exactly.
        end: id.
        length: tokens, > 0.
        sampling: "temperature" and "top_k".
    """

    choices: Int[Tensor, " v"]
    end: int
    length: int
    sampling: dict[str, float]


def rules(directory: Path) -> dict[str, Rule]:
    """The rules of a language model, by `REPORT` and `DRAW`.

    Args:
        directory: `llm/` of a model directory.

    Raises:
        InputError: it is no language model of ours.
    """
    settings, vocabulary = read_json(directory / SETTINGS), Vocabulary.load(directory)
    cfg = from_json(LanguageConfig, settings["language"])
    return {
        REPORT: Rule(vocabulary.report_choices(), vocabulary.end, cfg.max_report_tokens, _sampling(cfg.report_temperature, cfg.top_k)),
        DRAW: Rule(vocabulary.image_choices(), vocabulary.end, int(settings["image_tokens"]), _sampling(cfg.temperature, cfg.top_k)),
    }


def mask(rule: Rule, past: Sequence[int], logits: Float[Tensor, " u"]) -> Float[Tensor, " u"]:
    """Logits of the next id, -inf where it may not follow.

    Args:
        rule: of the response.
        past: ids of the response so far, without the prompt.
        logits: of all ids; there may be more than the vocabulary has.
    """
    ids = rule.choices if len(past) < rule.length else torch.tensor([rule.end])
    ids = ids.to(logits.device)
    return torch.full_like(logits, -torch.inf).index_copy(0, ids, logits[ids])


def sampling_params(rule: Rule) -> dict[str, Any]:
    """Keywords of `vllm.SamplingParams` that alone do what `mask` does: nothing of ours runs in the engine.

    A film takes its last image token from `max_tokens`, and has no end.
    """
    ends = rule.end in rule.choices.tolist()
    return {
        "allowed_token_ids": rule.choices.tolist(),
        "max_tokens": rule.length,
        "ignore_eos": not ends,
        "stop_token_ids": [rule.end] if ends else [],
        "skip_special_tokens": ends,
        **rule.sampling,
    }


def _sampling(temperature: float, top_k: int) -> dict[str, float]:
    return {"temperature": temperature, "top_k": top_k}
