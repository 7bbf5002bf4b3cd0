"""Parts of a model that do not belong together are refused in one line that names one; parts that do are loaded as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import cyclicxr
from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.config import Preset, override
from cyclicxr.cycle import find_model
from cyclicxr.parts import FILES, RECORD, check_parts, hashes, outdated, record_parts, revision, unrecorded
from cyclicxr.training import pipeline
from cyclicxr.types import InputError

NAMES = [
    "config.json",
    "classifier.safetensors",
    "findings.json",
    "match.safetensors",
    "text_tokenizer/tokenizer.json",
    "global.safetensors",
    "global.json",
    "vqgan.safetensors",
    "textual_codebook.json",
    "textual_reader.safetensors",
    "visual_codebook.safetensors",
    "support.json",
    "thumbnails/0001.png",
    "llm/config.json",
    "llm/model.safetensors",
    "llm/tokenizer.json",
]


def model(folder: Path, run: str = "one") -> Path:
    """A model directory of files that say which run they are of."""
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of run {run}")
    record_parts(folder)
    return folder


def test_parts_that_belong_together_pass_and_their_hashes_are_told(tmp_path: Path):
    directory = model(tmp_path / "one")
    assert check_parts(directory).keys() == {*NAMES, RECORD} and check_parts(directory) == hashes(directory)
    assert not any(outdated(directory, part) or unrecorded(directory, part) for part in FILES)


@pytest.mark.parametrize("name", NAMES)
def test_any_one_file_of_another_run_is_named(tmp_path: Path, name: str):
    one, other = model(tmp_path / "one"), model(tmp_path / "other", "two")
    shutil.copy(other / name, one / name)
    folder = name.split("/")[0]
    with pytest.raises(InputError, match=rf"one/{folder}: is not the one that this model was made with; restore it") as caught:
        check_parts(one)
    assert "\n" not in str(caught.value)


def test_a_record_of_another_run_and_a_file_that_is_not_in_it_are_named(tmp_path: Path):
    one, other = model(tmp_path / "one"), model(tmp_path / "other", "two")
    (one / "textual_reader.safetensors").unlink()
    record_parts(one)
    shutil.copy(other / "textual_reader.safetensors", one)
    with pytest.raises(InputError, match=r"one/textual_reader\.safetensors: is not the one"):
        check_parts(one)
    (one / "textual_reader.safetensors").unlink()
    shutil.copy(other / RECORD, one)
    with pytest.raises(InputError, match=r"one/parts\.json: is of another model than all the parts here"):
        check_parts(one)


def test_a_file_too_many_in_a_folder_is_named_and_one_that_is_being_written_is_not(tmp_path: Path):
    directory = model(tmp_path / "one")
    (directory / "llm" / ".model.safetensors.12ab.part").write_text("half")
    check_parts(directory)
    (directory / "llm" / "adapter_model.safetensors").write_text("another's")
    with pytest.raises(InputError, match="one/llm: is not the one"):
        check_parts(directory)


@pytest.mark.parametrize(
    ("trained", "left_behind"), [("classifier", "match"), ("match", "codebooks"), ("vqgan", "codebooks"), ("codebooks", "llm")]
)
def test_a_part_made_from_one_that_was_trained_again_is_refused_until_it_is_too(tmp_path: Path, trained: str, left_behind: str):
    directory, other = model(tmp_path / "one"), model(tmp_path / "other", "two")
    name = next(name for name in FILES[trained] if name != "config.json")
    shutil.copy(other / name, directory / name)
    record_parts(directory, [trained])
    with pytest.raises(InputError, match=f"one: '{left_behind}' was made from another '{trained}' than the one here; train again"):
        check_parts(directory)
    assert outdated(directory, left_behind) and not outdated(directory, trained)
    for part in list(FILES)[list(FILES).index(trained) + 1 :]:
        record_parts(directory, [part])
    check_parts(directory)


def test_a_file_that_is_missing_is_left_to_its_reader_and_the_classifier_may_be(tmp_path: Path):
    directory = model(tmp_path / "one")
    for name in FILES["classifier"]:
        (directory / name).unlink()
    (directory / "vqgan.safetensors").unlink()
    check_parts(directory)


def test_a_directory_without_a_record_is_taken_as_it_is_and_can_be_recorded(tmp_path: Path):
    directory = model(tmp_path / "one")
    (directory / RECORD).unlink()
    (directory / "vqgan.safetensors").write_text("another")
    check_parts(directory)
    assert unrecorded(directory, "vqgan") and not outdated(directory, "vqgan")
    record_parts(directory)
    check_parts(directory)


@pytest.mark.parametrize("record", [[], {"engine": {}}, {"match": {"files": 3, "from": {}}}, {"match": {"files": {"a": 1}, "from": {}}}])
def test_a_record_that_is_none_is_one_clear_line(tmp_path: Path, record: object):
    write_json(tmp_path / RECORD, record)
    with pytest.raises(InputError, match=r"parts\.json: no record of a model's parts; restore it"):
        check_parts(tmp_path)


def test_models_of_one_revision_are_alike_in_every_part_and_may_have_other_cards(tmp_path: Path):
    write_json(tmp_path / "config.json", {"seed": 0})
    (tmp_path / "llm").mkdir()
    write_json(tmp_path / "llm" / "tokenizer.json", {})
    first = revision(hashes(tmp_path))
    (tmp_path / "MODEL_CARD.md").write_text("of a model")
    assert revision(hashes(tmp_path)) == first and len(first) == 12
    write_json(tmp_path / "llm" / "tokenizer.json", {"a": 1})
    second = revision(hashes(tmp_path))
    write_json(tmp_path / "config.json", {"seed": 1})
    assert len({first, second, revision(hashes(tmp_path))}) == 3


def test_the_model_that_ships_belongs_together_and_every_part_is_noted():
    directory = find_model(None)
    assert revision(check_parts(directory)) == revision(hashes(directory))
    assert read_json(directory / RECORD).keys() == FILES.keys()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stage_that_is_trained_again_leaves_the_later_ones_behind_until_the_run_is_resumed(
    toy_run: Path, phantoms: Path, toy_preset: Preset, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = shutil.copytree(toy_run, tmp_path / "run")
    cyclicxr.load(run / "model")
    other = override(toy_preset, {"seed": 1})
    shutil.copytree(toy_run, tmp_path / "other")
    write_json(tmp_path / "other" / "model" / "config.json", other.to_json())
    trained = pipeline.train(phantoms, other, tmp_path / "other", stage="vqgan").model
    shutil.copy(trained / "vqgan.safetensors", run / "model" / "vqgan.safetensors")
    with pytest.raises(InputError, match=r"vqgan\.safetensors: is not the one that this model was made with"):
        cyclicxr.load(run / "model")
    record_parts(run / "model", ["vqgan"])  # as the stage does when it ends
    with pytest.raises(InputError, match="'codebooks' was made from another 'vqgan'"):
        cyclicxr.load(run / "model")
    pipeline.train(phantoms, toy_preset, run, resume=True)
    said = [line for line in caplog.messages if "trained again" in line]
    assert [line.split()[0] for line in said] == ["codebooks", "llm"]
    cyclicxr.load(run / "model")


def test_every_stage_makes_a_part():
    assert {*pipeline.STAGES, "settings"} == {*FILES}
