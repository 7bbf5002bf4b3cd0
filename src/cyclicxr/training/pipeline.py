"""`cyclicxr train`: every stage in order, each from what the earlier ones left in the model directory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from cyclicxr import processes
from cyclicxr.checkpoint import provenance, read_preset, write_json, write_preset
from cyclicxr.config import Preset
from cyclicxr.parts import SETTINGS, outdated, record_parts, unrecorded
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
ALONE = ("codebooks",)  # nothing is optimised there: the first process does it, and the others wait


def train(studies: Path, preset: Preset, out: Path, stage: str | None = None, resume: bool = False) -> RunDirectory:
    """Train all stages, or one, into a run directory; under `torchrun` with all of its processes (docs/scaling.md).

    Args:
        studies: table with splits `train` and `val`.
        preset: the numbers.
        out: run directory; the model grows in `out/model`.
        stage: one of `STAGES`; None is all, in order.
        resume: leave finished stages alone and go on with an unfinished one from its last checkpoint; one that was made from another
            earlier stage than is there now is trained again.

    Raises:
        InputError: an unknown stage, a run that is already there, a resumed run with other numbers, a table that is wrong.
    """
    if stage is not None and stage not in STAGES:
        raise InputError(f"stage '{stage}' is unknown; there are {', '.join(STAGES)}")
    run = RunDirectory(out)
    with processes.joined():
        with processes.first_goes_first():
            if processes.is_first():
                _begin(run, preset, resume or stage is not None)
            corpus = load_corpus(studies, preset.encoder.size, out / "cache", preset.encoder.fit)
        for name in [stage] if stage else STAGES:
            if resume and _is_finished(run, name) and stage is None:
                log.info("%s is finished", name)
            else:
                log.info("stage %s", name)
                _train_stage(name, corpus, preset, run, resume)
                _describe(run, preset, studies)
    return run


def _is_finished(run: RunDirectory, name: str) -> bool:
    """Whether a stage is recorded as finished; one that the earlier stages have left behind is forgotten."""
    finished = name in run.records()
    behind = finished and outdated(run.model, name)
    processes.wait()  # until all have seen the same
    if behind and processes.is_first():
        log.warning("%s was made from other parts than are there now; it is trained again", name)
        run.forget(name)
    if finished and not behind and processes.is_first() and unrecorded(run.model, name):
        record_parts(run.model, [SETTINGS, name])
    processes.wait()
    return finished and not behind


def _train_stage(name: str, corpus: Corpus, preset: Preset, run: RunDirectory, resume: bool) -> None:
    if processes.is_first() or name not in ALONE:
        STAGES[name](corpus, preset, run, resume)
    processes.wait()
    if processes.is_first():
        record_parts(run.model, [SETTINGS, name])


def _describe(run: RunDirectory, preset: Preset, studies: Path) -> None:
    if processes.is_first():
        write_json(run.model / "provenance.json", {**provenance({"studies": studies}, preset.seed), "stages": run.records()})
        write_card(run.model, preset, run.records())


def _begin(run: RunDirectory, preset: Preset, goes_on: bool) -> None:
    if not (run.model / "config.json").exists():
        write_preset(run.model, preset)
        return
    if not goes_on:
        raise InputError(f"{run.root}: a run is already there; give --resume to go on with it, or another --out")
    if read_preset(run.model) != preset:
        raise InputError(f"{run.root}: the run was started with other settings than these; resume with the same preset and --set values")
