"""LoRA in training: what a checkpoint holds, going on from one, and two processes (which run this file) that give what one gives."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from cyclicxr import processes
from cyclicxr.checkpoint import load_state, save_state
from cyclicxr.config import LanguageConfig, Preset
from cyclicxr.language.llm import LanguageModel
from cyclicxr.training import train_llm
from cyclicxr.training.llm_material import Material

PLAIN = LanguageConfig(
    vocabulary=300,
    width=32,
    layers=2,
    heads=2,
    context=96,
    dropout=0.0,
    batch=6,
    learning_rate=5e-3,
    drawing_repeats=1,
    report_repeats=2,
    film_variants=1,
    film_share=1.0,
    keyword_dropout=0.0,
    guidance_dropout=0.0,
    max_report_tokens=24,
)
STEPS = 3
WAYS = {"copied": 10**9, "split": 0}  # `processes.SHARD_ABOVE`


def material() -> Material:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(16, (1, 12, 9), generator=generator)
    reports = [("Effusion seen. ", "Clear lungs. ")[i % 2] * (1 + i % 3) for i in range(12)]
    hints = [["heart"]] * 12
    return Material(codes, [hints], hints, [[i % 16] for i in range(12)], reports, [f"s{i}" for i in range(12)])


def base(folder: Path, *, tied: bool = False) -> Path:
    """A model to be adapted, its ends untied, as dolly's, if not asked otherwise."""
    torch.manual_seed(0)
    model = train_llm.new_model(material(), PLAIN, 8, 9, None)
    model.model.config.tie_word_embeddings = tied
    fresh = type(model.model)(model.model.config)
    LanguageModel(fresh, model.vocabulary, PLAIN, 9).save(folder / "base", half=False)
    return folder / "base"


def trainer(folder: Path) -> train_llm.LanguageTrainer:
    cfg = LanguageConfig(**{**vars(PLAIN), "pretrained": str(folder), "lora_rank": 4})
    torch.manual_seed(0)
    made = train_llm.LanguageTrainer(train_llm.new_model(material(), cfg, 16, 9, None), material(), material(), Preset(language=cfg))
    for group in made.optimizer.param_groups:
        group["eps"] = 1e-3  # gradients that are nothing but rounding move nothing
    return made


def learn(training: train_llm.LanguageTrainer, steps: range) -> None:
    batches = training.batches(0)
    for step in steps:
        training.step(training.share(batches[step], processes.rank(), processes.count()), 0.3)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_llm, "mixed_precision", nullcontext)


@pytest.mark.parametrize("tied", [False, True])
def test_a_checkpoint_holds_what_is_trained_and_going_on_from_it_changes_nothing(tmp_path, tied):
    folder = base(tmp_path, tied=tied)
    whole, first, second = (trainer(folder) for _ in range(3))
    learn(whole, range(STEPS))
    learn(first, range(2))
    state = first.state()
    trained = {name for name, p in first.model.named_parameters(remove_duplicate=False) if p.requires_grad}
    frozen = {"model.lm_head.token_adapter.base_layer.weight"} if tied else set()  # PyTorch misses the second name of a frozen tensor
    assert set(state["model"]) == trained | frozen
    save_state(tmp_path / "llm.safetensors", state)
    second.restore(load_state(tmp_path / "llm.safetensors"))
    learn(second, range(2, STEPS))
    states = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert not all(torch.equal(tensor, states[0][name]) for name, tensor in trainer(folder).model.state_dict().items())


@pytest.mark.slow
def test_two_processes_give_what_one_gives_copied_or_split(tmp_path, exact):
    folder = base(tmp_path)
    alone = trainer(folder)
    learn(alone, range(STEPS))
    alone.model.save(tmp_path / "alone", half=False, weights=alone.weights())
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "localhost:0",
    ]
    done = subprocess.run(
        [*launch, __file__, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one = LanguageModel.load(tmp_path / "alone").model.state_dict()
    for way in WAYS:
        two = LanguageModel.load(tmp_path / way).model.state_dict()
        assert one.keys() == two.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, two[name], atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def main(folder: Path) -> None:
    """One of two processes: learn, and save what came of it."""
    torch.set_num_threads(1)
    train_llm.mixed_precision = nullcontext  # type: ignore[assignment]
    with processes.joined():
        for way, above in WAYS.items():
            processes.SHARD_ABOVE = above
            training = trainer(folder / "base")
            learn(training, range(STEPS - 1))
            state = training.state()
            if processes.is_first():
                save_state(folder / f"{way}.safetensors", state)
            processes.wait()
            training = trainer(folder / "base")
            training.restore(load_state(folder / f"{way}.safetensors"))
            learn(training, range(STEPS - 1, STEPS))
            assert any(type(p).__name__ == "DTensor" for p in training.model.parameters()) == (way == "split")
            weights = training.weights()
            if processes.is_first():
                training.model.save(folder / way, half=False, weights=weights)
            processes.wait()
            del training, weights, state
            gc.collect()  # what is split goes before the group that it is split over


if __name__ == "__main__":
    main(Path(sys.argv[1]))
