"""Image tokens a second beside `transformers.generate` on the same weights, at several batch sizes; films a second of a batch; and report
and redraw of one film, warm.

python benchmarks/generation.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from machine import rounds, save_result
from PIL import Image
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

import cyclicxr
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.language import decoding
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import drawing_prompt

BATCHES = (1, 16)
REPORT = "The heart is enlarged. Small left pleural effusion. No pneumothorax."


class Allowed(LogitsProcessor):  # type: ignore[misc]
    """Hugging Face's way to choose among some ids: all others -inf."""

    def __init__(self, choices: Int[Tensor, " v"]) -> None:
        self.choices = choices

    def __call__(self, _: Int[Tensor, "b t"], scores: Float[Tensor, "b w"]) -> Float[Tensor, "b w"]:
        masked = torch.full_like(scores, -torch.inf)
        masked[:, self.choices] = scores[:, self.choices]
        return masked


def medians(works: dict[str, Callable[[], object]], times: int) -> dict[str, float]:
    """Median seconds of each, run in turn."""
    taken = rounds(works, times)
    return {name: statistics.median(one[name] for one in taken) for name in works}


def against_generate(llm: LanguageModel, batch: int, times: int) -> dict[str, Any]:
    """256 image tokens a row behind one prompt, sampled with the same temperature and top-k, without guidance."""
    prompt = drawing_prompt(llm.vocabulary, REPORT, (), llm.cfg.max_report_tokens).ids
    ids, choices = torch.tensor([prompt] * batch), llm.vocabulary.image_choices()
    chances = torch.rand(batch, llm.image_tokens, generator=torch.Generator().manual_seed(0))
    how = {"temperature": llm.cfg.temperature, "top_k": llm.cfg.top_k}

    def ours() -> Tensor:
        return decoding.sample(llm.model, [prompt] * batch, prompt, choices, chances, padding=llm.vocabulary.padding, guidance=1.0, **how)

    def theirs() -> Tensor:
        drawn: Tensor = llm.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            min_new_tokens=llm.image_tokens,
            max_new_tokens=llm.image_tokens,
            logits_processor=LogitsProcessorList([Allowed(choices)]),
            pad_token_id=llm.vocabulary.padding,
            **how,
        )
        return drawn

    with torch.inference_mode():
        assert ours().shape[1] == theirs().shape[1] - len(prompt) == llm.image_tokens
        seconds = medians({"ours": ours, "generate": theirs}, times)
    times = round(seconds["generate"] / seconds["ours"], 2)
    return {"batch": batch, **{f"{name}, tokens/s": round(batch * llm.image_tokens / s) for name, s in seconds.items()}, "times": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    model = cyclicxr.load(asked.model)
    rows = [against_generate(model.llm, batch, asked.times) for batch in BATCHES]
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.png"
        Image.fromarray(draw_phantom(0, ["cardiomegaly"]).pixels).save(film)

        def drawn(batch: int) -> Callable[[], object]:
            return lambda: model.llm.draw([REPORT] * batch, [[]] * batch, 0)

        calls = {"report": lambda: model.report(film), "cycle": lambda: model.cycle(film)}
        seconds = medians(calls | {f"draw {batch}": drawn(batch) for batch in BATCHES}, asked.times)
    small, large = (batch / seconds[f"draw {batch}"] for batch in BATCHES)
    found = {"tokens": rows, "seconds": {name: round(taken, 3) for name, taken in seconds.items()}, "batch times": round(large / small, 2)}
    print(save_result("generation", found))


if __name__ == "__main__":
    main()
