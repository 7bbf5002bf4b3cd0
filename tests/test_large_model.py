"""The benchmark of a large language model: the directory that it writes is one that loads, and its section says what was measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import AutoModelForCausalLM

from cyclicxr.language.llm import LanguageModel

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_large_model_is_written_in_shards_and_read_in_few_bits(tmp_path, monkeypatch):
    bench = script("large_model")
    toy = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    real = bench.GPTNeoXConfig
    monkeypatch.setattr(bench, "GPTNeoXConfig", lambda **shape: real(**{**shape, **toy, "vocab_size": 1500}))
    weights = bench.write_shape(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) == 2 + 4  # layers, both ends, the last norm's two
    bare = AutoModelForCausalLM.from_pretrained(str(tmp_path))
    assert bare.dtype == torch.bfloat16
    assert sum(p.numel() for p in bare.parameters()) == weights
    assert LanguageModel.load(tmp_path).model.dtype == torch.bfloat16
    monkeypatch.setattr(bench, "TEXT_ROWS", 1000)
    for kind in ("bfloat16", "int8"):
        found = bench.one(tmp_path, kind)
        assert found["tokens/s"] > 0 and found["prompt tokens"] > 256
        assert found["weights, GiB"] * 2**30 == pytest.approx(2 * weights - (2 * 12 * 64 * 64 if kind == "int8" else 0), rel=0.02)


def test_the_section_says_what_was_measured(tmp_path):
    tables = script("large_model_tables")
    of = {"weights, GiB": 5.2, "peak, GiB": 5.9, "load, s": 8.0, "prompt, s": 20.0, "prompt tokens": 280.0, "tokens/s": 0.7}
    loss = {"loss": 1.5, "more than float32": 0.0003, "most of a report": 0.004}
    found = {
        "command": "python benchmarks/large_model.py T",
        "machine": {"system": "Linux", "processor": "x86_64", "threads": 2, "torch": "2"},
        "weights": 2 * 2**30,
        "tokens": 16,
        "yardstick, s": 0.5,
        "films": 200,
        "large": {"bfloat16": of, "int8": of | {"peak, GiB": 12.5}},
        "losses": {"float32": loss, "int8": loss},
    }
    (tmp_path / "large_model.json").write_text(json.dumps(found))
    page = "\n".join(tables.large_model(tmp_path))
    assert "| bfloat16 | 5.20 | 5.90 | 8.00 | 20.00 | 0.70 |" in page
    assert "float32 the weights alone would be 8.0 GiB" in page
    assert "| int8 | 1.5000 | 0.0003 | 0.0040 |" in page
    assert [row[2] for row in tables.large_model_targets(tmp_path)] == ["yes", "**no**", "yes"]
    assert list(tables.large_model_targets(tmp_path / "nothing")) == []
