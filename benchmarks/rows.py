"""Rows of a table that differ in a few settings of one preset: each is a run of its own, trained once and kept."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import CONFIG, read_json, read_preset, write_preset
from cyclicxr.config import Preset
from cyclicxr.patches.classifier import CLASSIFIER, FINDINGS
from cyclicxr.training import train_classifier, train_match
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory
from cyclicxr.types import InputError

START = {"words.epochs": 0, "match.aligned_start": False}  # the paper's start, for all rows but those that ask for another (decision 45)
UNTRAINED = ("codebooks", "vqgan", "language")  # stages that no row trains: their numbers may have changed since


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is called, and the settings in which it differs from the preset."""

    label: str
    settings: dict[str, Any] = field(default_factory=dict)


def opened(root: Path, preset: Preset) -> RunDirectory:
    """The folder of a run with its preset in it.

    Raises:
        InputError: another preset is there.
    """
    run = RunDirectory(root)
    if not (run.model / CONFIG).exists():
        write_preset(run.model, preset)
    there = read_preset(run.model)
    if there != dataclasses.replace(preset, **{stage: getattr(there, stage) for stage in UNTRAINED}):
        raise InputError(f"{run.root}: a run with other settings is there; choose another --out")
    return run


def pretrain(run: RunDirectory, corpus: Corpus) -> None:
    """Train the image encoder of a run on findings, unless that is done."""
    if "classifier" not in run.records():
        train_classifier.train(corpus, read_preset(run.model), run, True)


def train_from(pretrained: RunDirectory, run: RunDirectory, corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Train the matcher of a run from another run's image encoder, unless that is done; what both stages recorded."""
    for part in (CLASSIFIER, FINDINGS):
        shutil.copyfile(pretrained.model / part, run.model / part)
    if "match" not in run.records():
        train_match.train(corpus, read_preset(run.model), run, True)
    return {"classifier": pretrained.records()["classifier"], "match": run.records()["match"]}


def minutes(records: dict[str, dict[str, Any]]) -> dict[str, float]:
    """That each stage took."""
    return {stage: found["seconds"] / 60 for stage, found in records.items()}


def finished(out: Path, name: str, score: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Seed and scores of each run `name-seed*` whose file of scores is there."""
    for path in sorted(out.glob(f"{name}-seed*/{score}")):
        yield int(path.parent.name.rpartition("seed")[2]), read_json(path)
