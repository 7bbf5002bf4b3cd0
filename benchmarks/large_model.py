"""A language model in the shape of dolly-v2-3b, with random weights, on this machine: memory and tokens a second in bfloat16 and int8; and
what few bits cost the shipped model in the loss of validation reports.

python benchmarks/large_model.py STUDIES [--cache DIR]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import beyond, save_result, seconds, yardstick_seconds
from safetensors.torch import save_file
from scaling import DOLLY
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from cyclicxr.checkpoint import read_preset
from cyclicxr.config import WEIGHTS, preset
from cyclicxr.cycle import find_model
from cyclicxr.language.decoding import Session
from cyclicxr.language.llm import SETTINGS, LanguageModel
from cyclicxr.language.prompt import PHRASES, report_prompt
from cyclicxr.language.vocabulary import Vocabulary
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.training.corpus import Corpus, load_corpus

TEXT_ROWS = 50_280  # of dolly's embeddings
CODES = 1024
TOKENS = 16  # written behind the prompt of a film
TIMES = 2
BATCH = 16


def write_shape(folder: Path) -> int:
    """The directory of such a model, in shards of a layer each, so that no more than one is ever in memory; its number of weights."""
    vocabulary = Vocabulary.train(["The lungs are clear."], 256, CODES, PHRASES)
    vocabulary.save(folder)
    language = dataclasses.asdict(preset("paper").language)
    (folder / SETTINGS).write_text(json.dumps({"language": language, "image_tokens": 256}), encoding="utf-8")
    cfg = GPTNeoXConfig(vocab_size=TEXT_ROWS + CODES, tie_word_embeddings=False, dtype=torch.bfloat16, **DOLLY)
    cfg.architectures = ["GPTNeoXForCausalLM"]
    cfg.save_pretrained(str(folder))
    with torch.device("meta"):
        weights = GPTNeoXForCausalLM(cfg).state_dict()
    shards: dict[str, dict[str, Tensor]] = {}
    for name, empty in weights.items():
        layer = name.split(".layers.")[-1].split(".")[0] if ".layers." in name else name
        shards.setdefault(layer, {})[name.replace("lm_head.", "embed_out.")] = empty
    places = {}
    for number, tensors in enumerate(shards.values(), start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        torch.manual_seed(number)
        save_file({name: drawn(name, empty) for name, empty in tensors.items()}, str(folder / file), metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file)
    index = {"metadata": {"total_size": sum(2 * empty.numel() for empty in weights.values())}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return sum(empty.numel() for empty in weights.values())


def drawn(name: str, empty: Tensor) -> Tensor:
    """Random numbers as at the start of a training: norms are one, biases nothing."""
    if empty.ndim > 1:
        return torch.empty(empty.shape, dtype=torch.bfloat16).normal_(std=0.02)
    return torch.full(empty.shape, float("norm" in name and name.endswith("weight")), dtype=torch.bfloat16)


def one(folder: Path, weights: str) -> dict[str, float]:
    """Load it and write `TOKENS` tokens behind a film's prompt; to be asked once, in a process of its own."""
    loaded: list[LanguageModel] = []
    taken: dict[str, float] = {"load, s": 0.0}

    def work() -> None:
        taken["load, s"] = seconds(lambda: loaded.append(LanguageModel.load(folder, weights)))
        llm = loaded[0]
        prompt, choices = report_prompt(llm.vocabulary, [0] * llm.image_tokens, ["cardiomegaly"]).ids, torch.arange(TEXT_ROWS)
        reading, writing = [], []
        with torch.inference_mode():
            for _ in range(TIMES):
                started = time.perf_counter()
                session = Session(llm.model, [prompt], choices, llm.vocabulary.padding, TOKENS)
                reading.append(time.perf_counter() - started)
                writing.append(seconds(lambda session=session: [session.add(session.logits().argmax(dim=1)) for _ in range(TOKENS)]))
        taken.update(
            {"prompt tokens": len(prompt), "prompt, s": statistics.median(reading), "tokens/s": TOKENS / statistics.median(writing)}
        )

    taken["peak, GiB"] = beyond(work) / 1024
    held = [*loaded[0].parameters(), *loaded[0].buffers()]
    taken["weights, GiB"] = sum(tensor.numel() * tensor.element_size() for tensor in held) / 2**30
    return taken


def apart(folder: Path, weights: str) -> dict[str, float]:
    """`one`, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--one", weights, str(folder)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {name: round(value, 2) for name, value in found.items()}


@torch.inference_mode()
def accuracy(directory: Path, corpus: Corpus) -> dict[str, Any]:
    """Mean negative log-probability of a token of each film's own report, told no keyword, in nats, with each kind of weights."""
    vqgan = VQGAN.load(directory / "vqgan.safetensors", read_preset(directory).vqgan)
    starts = range(0, len(corpus), BATCH)
    codes = torch.cat([vqgan.encode(corpus.films(list(range(i, min(i + BATCH, len(corpus)))))).flatten(1) for i in starts])
    nothing: tuple[list[list[str]], list[str]] = [[]] * len(corpus), [""] * len(corpus)
    losses = {kind: -LanguageModel.load(directory / "llm", kind).likelihood(codes, *nothing, corpus.reports) for kind in WEIGHTS}
    exact = losses[WEIGHTS[0]]
    return {
        kind: {
            "loss": round(loss.mean().item(), 4),
            "more than float32": round((loss - exact).mean().item(), 5),
            "most of a report": round((loss - exact).abs().max().item(), 4),
        }
        for kind, loss in losses.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, help="studies table; with --one the model directory")
    parser.add_argument("--one", choices=WEIGHTS, help="measure one kind of weights and print it; the script asks itself for this")
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--films", type=int, default=200, help="validation films")
    parser.add_argument("--cache", type=Path, default=None, help="folder for decoded films")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.studies, asked.one)))
        return
    with tempfile.TemporaryDirectory() as folder:
        directory = find_model(asked.model)
        encoder = read_preset(directory).encoder
        val = load_corpus(asked.studies, encoder.size, asked.cache or Path(folder) / "films", encoder.fit).split("val")
        few = Corpus(val.studies[: asked.films], val.pixels[: asked.films])
        losses = accuracy(directory, few)
        yardstick = yardstick_seconds()
        weights = write_shape(Path(folder))
        large = {kind: apart(Path(folder), kind) for kind in WEIGHTS[1:]}
    numbers = {"weights": weights, "tokens": TOKENS, "yardstick, s": round(yardstick, 3), "large": large}
    print(save_result("large_model", {**numbers, "films": len(few), "losses": losses}))


if __name__ == "__main__":
    main()
