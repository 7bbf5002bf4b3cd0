"""Files are written whole or not at all, come back as they were, and a broken one is one clear line."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cyclicxr.checkpoint import (
    load_state,
    load_tensors,
    load_weights,
    provenance,
    read_json,
    read_preset,
    save_state,
    save_tensors,
    sha256_of,
    state_numbers,
    sweep,
    write_atomically,
    write_json,
    write_preset,
)
from cyclicxr.config import OPENI_SMALL, override
from cyclicxr.training.optim import Lamb
from cyclicxr.types import InputError


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path):
    target = tmp_path / "new" / "a.txt"
    with write_atomically(target) as temporary:
        temporary.write_text("half")
        assert not target.exists() and temporary.parent == target.parent
        temporary.write_text("whole")
    assert target.read_text() == "whole" and files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_clear_line_and_the_old_file_stays(tmp_path: Path, number: int):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fill() -> None:
        with write_atomically(target) as temporary:
            temporary.write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(InputError, match=r"a\.txt: can't be written, the disk is full; what was there before is whole") as caught:
        fill()
    assert "\n" not in str(caught.value) and target.read_text() == "old" and files(tmp_path) == ["a.txt"]


def test_another_error_while_writing_stays_what_it_is(tmp_path: Path):
    with pytest.raises(PermissionError), write_atomically(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_what_was_left_half_written_is_swept_away_and_nothing_else(tmp_path: Path):
    for name in (".a.safetensors.0123.part", ".b.safetensors.0123.part", "a.safetensors"):
        (tmp_path / name).write_text("")
    sweep(tmp_path / "a.safetensors")
    assert files(tmp_path) == [".b.safetensors.0123.part", "a.safetensors"]


def test_the_numbers_of_a_state_are_read_without_its_tensors(tmp_path: Path):
    save_state(tmp_path / "state.safetensors", {"step": 3, "about": {"stage": "match"}, "model": {"w": torch.ones(2)}})
    assert state_numbers(tmp_path / "state.safetensors") == {"step": 3, "about": {"stage": "match"}, "model": {"w": None}}


@pytest.mark.parametrize(
    "tensor", [torch.ones(3), torch.tensor(2.0, dtype=torch.float64), torch.tensor([True, False]), torch.ones(2).bfloat16()]
)
def test_a_state_that_changed_is_refused_with_both_hashes(tmp_path: Path, tensor: torch.Tensor):
    path = tmp_path / "state.safetensors"
    save_state(path, {"x": tensor})
    assert torch.equal(load_state(path)["x"], tensor)
    stored = bytearray(path.read_bytes())
    stored[-1] ^= 1
    path.write_bytes(bytes(stored))
    with pytest.raises(InputError, match=r"state\.safetensors: changed since it was written \(SHA-256 \w{16}, not \w{16}\)"):
        load_state(path)


def test_a_failure_leaves_nothing_behind_and_the_old_file_as_it_was(tmp_path: Path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with write_atomically(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert target.read_text() == "old" and files(tmp_path) == ["a.txt"]


def test_json_that_is_no_json_is_not_written(tmp_path: Path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert files(tmp_path) == []


def test_json_keeps_its_letters(tmp_path: Path):
    write_json(tmp_path / "a.json", {"text": "naïve – ½"})
    assert "naïve – ½" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"text": "naïve – ½"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}"], ids=["empty", "cut off", "no UTF-8"])
def test_broken_json_is_one_clear_line(tmp_path: Path, content: bytes):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: not readable as JSON") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_json, load_tensors, load_state, sha256_of], ids=lambda read: read.__name__)
def test_a_missing_file_is_one_clear_line(tmp_path: Path, read: Any):
    with pytest.raises(InputError, match="nothing: no such file"):
        read(tmp_path / "nothing")


@pytest.mark.parametrize("read", [read_json, load_tensors, load_state], ids=lambda read: read.__name__)
def test_a_folder_is_no_file(tmp_path: Path, read: Any):
    with pytest.raises(InputError, match=str(tmp_path)):
        read(tmp_path)


def test_tensors_come_back(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    tensors = {
        "weight": torch.randn(3, 4),
        "last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "cut": torch.arange(10)[::2],
        "bytes": torch.arange(5, dtype=torch.uint8),
        "number": torch.tensor(3.0),
    }
    save_tensors(path, tensors)
    again = load_tensors(path)
    assert sorted(again) == sorted(tensors)
    assert all(torch.equal(again[name], tensor) and again[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_half_stores_floats_alone_in_sixteen_bits_and_gives_float32_back(tmp_path: Path):
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    tensors = {"weight": torch.randn(1000), "count": torch.tensor(70000)}
    save_tensors(full, tensors)
    save_tensors(half, tensors, half=True)
    again = load_tensors(half)
    assert again["weight"].dtype == torch.float32 and again["count"] == 70000
    torch.testing.assert_close(again["weight"], tensors["weight"], atol=2e-3, rtol=1e-3)
    assert half.stat().st_size < full.stat().st_size - 1900


def test_two_names_for_one_tensor_are_both_stored(tmp_path: Path):
    shared = torch.randn(4)
    save_tensors(tmp_path / "a.safetensors", {"one": shared, "two": shared})
    assert torch.equal(load_tensors(tmp_path / "a.safetensors")["two"], shared)


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path):
    tensors = {name: torch.full((2,), i) for i, name in enumerate("zebra")}
    save_tensors(tmp_path / "a", tensors)
    save_tensors(tmp_path / "b", dict(reversed(tensors.items())))
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")


@pytest.mark.parametrize("cut", [0, 4, 60, -1])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, cut: int):
    path = tmp_path / "a.safetensors"
    save_state(path, {"weight": torch.randn(100)})
    path.write_bytes(path.read_bytes()[:cut])
    for read in (load_tensors, load_state):
        with pytest.raises(InputError, match=r"a\.safetensors: not a whole safetensors file") as caught:
            read(path)
        assert "\n" not in str(caught.value)


@given(st.binary(max_size=64))
def test_bytes_of_anything_else_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.mktemp("foreign") / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_state(path)


def test_weights_are_no_checkpoint(tmp_path: Path):
    save_tensors(tmp_path / "a", {"weight": torch.zeros(2)})
    with pytest.raises(InputError, match="not a training checkpoint"):
        load_state(tmp_path / "a")


def test_a_state_comes_back_exactly(tmp_path: Path):
    state = {
        "step": 3,
        "rate": 0.1,
        "name": "match",
        "none": None,
        "flag": True,
        "list": [1, {"t": torch.randn(2)}],
        7: {"deep": torch.ones(1)},
    }
    save_state(tmp_path / "a", state)
    again = load_state(tmp_path / "a")
    assert {k: again[k] for k in ("step", "rate", "name", "none", "flag")} == {
        k: state[k] for k in ("step", "rate", "name", "none", "flag")
    }
    assert again["flag"] is True and list(again) == list(state)  # the key 7 is still a number
    assert torch.equal(again["list"][1]["t"], state["list"][1]["t"]) and torch.equal(again[7]["deep"], torch.ones(1))


OPTIMIZERS = {
    "Lamb": lambda p: Lamb(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.9)),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimiser_goes_on_bit_for_bit_from_its_stored_state(tmp_path: Path, kind: str):
    """Convolutions in channels_last, as they are trained: the order in memory must not change a sum either."""

    def new() -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 7, 3)).to(memory_format=torch.channels_last)
        return model, OPTIMIZERS[kind](model.parameters())

    def steps(model: nn.Module, optimizer: Any, which: range) -> None:
        for step in which:
            torch.manual_seed(step)
            optimizer.zero_grad()
            model(torch.randn(2, 3, 9, 9)).square().mean().backward()
            optimizer.step()

    whole, whole_optimizer = new()
    steps(whole, whole_optimizer, range(6))
    first, first_optimizer = new()
    steps(first, first_optimizer, range(3))
    save_state(tmp_path / "a", {"model": first.state_dict(), "optimizer": first_optimizer.state_dict()})
    second, second_optimizer = new()
    state = load_state(tmp_path / "a")
    second.load_state_dict(state["model"])
    second_optimizer.load_state_dict(state["optimizer"])
    steps(second, second_optimizer, range(3, 6))
    expected = whole.state_dict()
    assert {name: bool(torch.equal(tensor, expected[name])) for name, tensor in second.state_dict().items()} == dict.fromkeys(
        expected, True
    )


def test_weights_of_other_sizes_are_one_clear_line(tmp_path: Path):
    save_tensors(tmp_path / "a", nn.Linear(2, 3).state_dict())
    same = nn.Linear(2, 3)
    load_weights(same, tmp_path / "a")
    with pytest.raises(InputError, match=r"a: does not fit config\.json beside it .*size mismatch for weight") as caught:
        load_weights(nn.Linear(4, 3), tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_a_preset_is_written_and_read(tmp_path: Path):
    changed = override(OPENI_SMALL, {"seed": 5, "encoder.widths": [8, 8, 8, 12]})
    write_preset(tmp_path, changed)
    assert read_preset(tmp_path) == changed


def test_provenance_names_code_inputs_seed_and_versions(tmp_path: Path):
    (tmp_path / "studies.csv").write_bytes(b"abc")
    found = provenance({"studies": tmp_path / "studies.csv"}, seed=4)
    assert found["inputs"] == {
        "studies": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }  # SHA-256 of "abc", FIPS 180-2
    assert found["seed"] == 4 and found["code"] and found["versions"]["torch"] == torch.__version__
    json.dumps(found)
