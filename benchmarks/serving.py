"""The language model in vLLM beside ours: the same log-probabilities, 256 image tokens by either way of masking, and seconds of films.

Needs an environment of its own with vLLM (`docs/archives.md`), in which this package lies too:

python benchmarks/serving.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import torch
from machine import rounds, save_result

from cyclicxr.config import WEIGHTS
from cyclicxr.cycle import find_model
from cyclicxr.language import decoding
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import drawing_prompt, report_prompt
from cyclicxr.language.serving import DRAW, REPORT, Rule, rules, sampling_params
from cyclicxr.language.vllm_masks import ARGUMENT

TEXT, KEYWORDS = "Small left pleural effusion.", ["pleural effusion", "small", "left"]
TOGETHER = 16
BY_PARAMETERS, BY_MASKS = "sampling parameters", "logits processor"


def prompts(model: LanguageModel) -> dict[str, list[int]]:
    """A report's prompt, its film all codes in turn, and a drawing's."""
    named = KEYWORDS if model.cfg.drawing_keywords else None
    drawing = drawing_prompt(model.vocabulary, TEXT, (), model.cfg.max_report_tokens, named)
    return {REPORT: report_prompt(model.vocabulary, list(range(model.image_tokens)), KEYWORDS[:1]).ids, DRAW: drawing.ids}


@torch.inference_mode()
def ours(model: LanguageModel, ids: Sequence[int]) -> list[float]:
    """Log-probability of each id behind those before it."""
    logits = model.model(torch.tensor([ids])).logits[0, :-1].float().log_softmax(dim=-1)
    found: list[float] = logits.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # its other runner has another interface of logits processors
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    import vllm

    directory = find_model(None) / "llm"
    model = LanguageModel.load(directory, WEIGHTS[0])
    masks = ["cyclicxr.language.vllm_masks:Masks"]
    engine = vllm.LLM(str(directory), dtype=WEIGHTS[0], logits_processors=masks, enable_prefix_caching=False)
    asked, allowed = prompts(model), rules(directory)

    def generate(prompt: Sequence[int], **parameters: Any) -> Any:
        (answer,) = engine.generate([{"prompt_token_ids": list(prompt)}], vllm.SamplingParams(**parameters), use_tqdm=False)
        return answer

    def difference(ids: Sequence[int]) -> float:
        told = generate(ids, max_tokens=1, prompt_logprobs=0).prompt_logprobs
        theirs = [found[i].logprob for i, found in zip(ids[1:], told[1:], strict=True)]
        return max(abs(a - b) for a, b in zip(ours(model, ids), theirs, strict=True))

    def by(way: str, name: str, rule: Rule) -> list[list[int]]:
        masked = {"max_tokens": rule.length + 1, "extra_args": {ARGUMENT: name}, **rule.sampling}
        answer = generate(asked[name], n=TOGETHER, **(sampling_params(rule) if way == BY_PARAMETERS else masked))
        return [[i for i in output.token_ids if i != rule.end] for output in answer.outputs]

    image = set(model.vocabulary.image_choices().tolist())
    found: dict[str, dict[str, int]] = {}
    for way in (BY_PARAMETERS, BY_MASKS):
        drawn, written = by(way, DRAW, allowed[DRAW]), by(way, REPORT, allowed[REPORT])
        found[way] = {
            "films": len(drawn),
            "films of exactly the image tokens": sum(len(ids) == model.image_tokens and set(ids) <= image for ids in drawn),
            "reports": len(written),
            "reports without an image token": sum(not set(ids) & image for ids in written),
        }

    def decode() -> None:
        chances = torch.rand(TOGETHER, model.image_tokens)
        given = {"padding": model.vocabulary.padding, "guidance": 1.0, "temperature": model.cfg.temperature, "top_k": model.cfg.top_k}
        choices = model.vocabulary.image_choices()
        decoding.sample(model.model, [asked[DRAW]] * TOGETHER, asked[DRAW], choices, chances, **given)

    timed = rounds({"ours": decode, "vLLM": lambda: by(BY_PARAMETERS, DRAW, allowed[DRAW])}, 5)
    ratios = sorted(each["vLLM"] / each["ours"] for each in timed)
    print(
        save_result(
            "serving",
            {
                "vllm": vllm.__version__,
                "largest difference of a log-probability": {name: difference(ids) for name, ids in asked.items()},
                "ways": found,
                "films together": TOGETHER,
                "times our seconds": {"median": ratios[len(ratios) // 2], "least": ratios[0], "most": ratios[-1]},
            },
        )
    )


if __name__ == "__main__":
    main()
