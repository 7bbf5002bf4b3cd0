"""`cyclicxr train`: every stage in order, each from what the earlier ones left in the model directory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from cyclicxr.checkpoint import provenance, read_preset, write_json, write_preset
from cyclicxr.config import Preset
from cyclicxr.training import train_classifier, train_codebooks, train_llm, train_match, train_vqgan
from cyclicxr.training.card import write_card
from cyclicxr.training.corpus import Corpus, load_corpus
from cyclicxr.training.loop import RunDirectory
from cyclicxr.types import InputError

log = logging.getLogger(__name__)

STAGES: dict[str, Callable[[Corpus, Preset, RunDirectory, bool], None]] = {
    "classifier": train_classifier.train,
    "match": train_match.train,
    "vqgan": train_vqgan.train,
    "codebooks": train_codebooks.train,
    "llm": train_llm.train,
}


def train(studies: Path, preset: Preset, out: Path, stage: str | None = None, resume: bool = False) -> RunDirectory:
    """Train all stages, or one, into a run directory.

    Args:
        studies: table with splits `train` and `val`.
        preset: the numbers.
        out: run directory; the model grows in `out/model`.
        stage: one of `STAGES`; None is all, in order.
        resume: leave finished stages alone and go on with an unfinished one from its last checkpoint.

    Raises:
        InputError: an unknown stage, a run that is already there, a resumed run with other numbers, a table that is wrong.
    """
    if stage is not None and stage not in STAGES:
        raise InputError(f"stage '{stage}' is unknown; there are {', '.join(STAGES)}")
    run = RunDirectory(out)
    _begin(run, preset, resume or stage is not None)
    corpus = load_corpus(studies, preset.encoder.size, out / "cache", preset.encoder.fit)
    todo = [stage] if stage else list(STAGES)
    for name in todo:
        if resume and stage is None and name in run.records():
            log.info("%s is finished", name)
            continue
        log.info("stage %s", name)
        STAGES[name](corpus, preset, run, resume)
        write_json(run.model / "provenance.json", {**provenance({"studies": studies}, preset.seed), "stages": run.records()})
        write_card(run.model, preset, run.records())
    return run


def _begin(run: RunDirectory, preset: Preset, goes_on: bool) -> None:
    if not (run.model / "config.json").exists():
        write_preset(run.model, preset)
        return
    if not goes_on:
        raise InputError(f"{run.root}: a run is already there; give --resume to go on with it, or another --out")
    if read_preset(run.model) != preset:
        raise InputError(f"{run.root}: the run was started with other settings than these; resume with the same preset and --set values")
