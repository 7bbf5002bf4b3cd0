"""Warm seconds of `report`, `draw` and `cycle` on one film, beside a yardstick measured in the same run; and the candidates of a report,
whose prompt is kept once, beside rows that hold a copy of it each.

python benchmarks/report_speed.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import save_result, yardstick_seconds
from PIL import Image

import cyclicxr
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.language.decoding import Session, pick
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import report_prompt

TOKENS = 60  # of each text: a report's


def seconds_of(call: Callable[[], object], times: int) -> dict[str, float]:
    call()  # warm
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return {"median": round(statistics.median(taken), 3), "slowest": round(max(taken), 3), "times": times}


def sharing(llm: LanguageModel, times: int) -> dict[str, float]:
    """Seconds of 64 texts of `TOKENS` tokens behind a prompt of a film's codes: the prompt kept once, and a copy in each row."""
    prompt = report_prompt(llm.vocabulary, [0] * llm.image_tokens, ["cardiomegaly"]).ids
    copies, choices, padding = llm.cfg.candidates, llm.vocabulary.report_choices(), llm.vocabulary.padding
    chances = torch.rand(TOKENS, copies, generator=torch.Generator().manual_seed(0))

    def write(session: Session) -> None:
        for chance in chances:
            session.add(choices[pick(session.logits(), chance, llm.cfg.report_temperature, llm.cfg.top_k)])

    def once() -> None:
        session = Session(llm.model, [prompt], choices, padding, TOKENS)
        session.share(copies)
        write(session)

    def copied() -> None:
        write(Session(llm.model, [prompt] * copies, choices, padding, TOKENS))

    with torch.inference_mode():
        taken = {name: seconds_of(call, times)["median"] for name, call in (("once", once), ("a copy each", copied))}
    return {**taken, "times as fast": round(taken["a copy each"] / taken["once"], 1), "texts": copies, "prompt tokens": len(prompt)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    started = time.perf_counter()
    model = cyclicxr.load(asked.model)
    loading = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.png"
        Image.fromarray(draw_phantom(0, ["cardiomegaly"]).pixels).save(film)
        calls = {
            "report": lambda: model.report(film),
            "draw": lambda: model.draw("Small left pleural effusion."),
            "cycle": lambda: model.cycle(film),
        }
        before = yardstick_seconds()
        seconds = {name: seconds_of(call, asked.times) for name, call in calls.items()}
        yardstick = min(before, yardstick_seconds())
    shared = sharing(model.llm, asked.times)
    ratios = {name: round(taken["median"] / yardstick, 2) for name, taken in seconds.items()}
    found = {"load_seconds": round(loading, 2), "seconds": seconds, "yardstick_seconds": yardstick, "ratio": ratios}
    print(save_result("report_speed", {**found, "prompt": shared}))


if __name__ == "__main__":
    main()
