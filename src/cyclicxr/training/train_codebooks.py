"""Stage "codebooks": keywords and keypatches from the training split, with the frozen matcher and VQ-GAN; nothing is optimised here."""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cyclicxr.codebooks.entities import Extractor, extractor, findings_in
from cyclicxr.codebooks.matcher import Matcher
from cyclicxr.codebooks.sentences import FILE as SENTENCES
from cyclicxr.codebooks.sentences import SentenceBook, said_by
from cyclicxr.codebooks.support import Support, evidence_on
from cyclicxr.codebooks.textual import TextualCodebook, keyword_auc
from cyclicxr.codebooks.visual import FILMS, VisualCodebook
from cyclicxr.config import Preset
from cyclicxr.data.reports import without_marks
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.training.changed_text import change_reports
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, in_order
from cyclicxr.training.train_match import pooled
from cyclicxr.types import InputError

log = logging.getLogger(__name__)

NAMED = ("cardiomegaly", "pleural effusion", "atelectasis", "opacity", "low lung volumes", "hyperinflation", "normal", "clear")


def train(corpus: Corpus, preset: Preset, run: RunDirectory, resume: bool) -> None:
    """Build both codebooks into `run.model` and record what they are worth on the validation split.

    Args:
        corpus: all splits; only "train" enters a codebook, and "val" scales all calibrations by one number.
        preset: `codebooks` and `vqgan`.
        run: holds the trained matcher and VQ-GAN.
        resume: leave codebooks that are recorded as finished.

    Raises:
        InputError: a part of the model is missing, the reports name nothing, or the matcher compares films and reports only as wholes.
    """
    if preset.match.similarity != "maxsim":
        said = f"match.similarity '{preset.match.similarity}' gives a word no best patch"
        raise InputError(f"codebooks: {said}; train the match stage with 'maxsim', or stop at it")
    if resume and "codebooks" in run.records():
        log.info("codebooks: done before")
        return
    started = time.monotonic()
    matcher, finder = AdaMatch.load(run.model).eval(), extractor(preset.codebooks)
    vqgan = VQGAN.load(run.model / "vqgan.safetensors", preset.vqgan).eval()
    learned, held_out = corpus.split("train"), corpus.split("val")
    textual = TextualCodebook.build(learned.reports, finder, preset.codebooks)
    textual.calibrate(matcher, batches(learned), textual.affirmed(learned.reports, finder))
    kept = textual.temper(matcher, batches(held_out), textual.affirmed(held_out.reports, finder))
    textual.save(run.model / "textual_codebook.json")
    ids = [study.id for study in learned.studies]
    visual = VisualCodebook.build(matcher, vqgan, learned.pixels, learned.reports, ids, preset.codebooks)
    visual.save(run.model)
    if preset.language.sentence_hints:
        sentence_book(matcher, GlobalAlignment.load(run.model), learned, preset).save(run.model)
    else:
        (run.model / SENTENCES).unlink(missing_ok=True)  # of a run that asked for them
    support = fit_support(matcher, textual, visual, held_out, preset)
    support.save(run.model)
    seconds = time.monotonic() - started
    run.record(
        "codebooks",
        {**measure(textual, visual, matcher, held_out, finder), "support_auc": support.auc, "shift_kept": kept, "seconds": seconds},
    )


@torch.inference_mode()
def sentence_book(matcher: AdaMatch, alignment: GlobalAlignment, learned: Corpus, preset: Preset) -> SentenceBook:
    """The sentences that at least `match.global_least` training reports say, and how much the training films call for each."""
    reports, films = [without_marks(report) for report in learned.reports], pooled(matcher, learned)
    texts = said_by(reports, min(preset.match.global_least, len(reports)))
    parts = alignment.held_out(films, reports, preset.match, preset.seed)
    return SentenceBook.build(torch.cat([untaught.similarity(films[list(part)], texts) for part, untaught in parts]), texts)


@torch.inference_mode()
def fit_support(matcher: Matcher, textual: TextualCodebook, visual: VisualCodebook, held_out: Corpus, preset: Preset) -> Support:
    """Calibrate the support of a sentence on those of the validation reports, true ones and the same number made false by rule; where none
    can be made false, every sentence has a support of one half.
    """
    changes = change_reports([without_marks(report) for report in held_out.reports], preset.seed)
    if not changes:
        log.warning("codebooks: no sentence of the validation reports can be made false, so the consistency check will say nothing")
        return Support(0.0, 0.0, 0.0, 0.5)
    films = [change.own for change in changes] + [change.film for change in changes]
    texts = [change.true for change in changes] + [change.false for change in changes]
    named = partial(findings_in, preset.codebooks)
    found = evidence_on(batches(held_out), films, texts, matcher, textual, visual.features, named).numpy()
    return Support.fit(found[: len(changes)], found[len(changes) :])


def measure(textual: TextualCodebook, visual: VisualCodebook, matcher: Matcher, held_out: Corpus, finder: Extractor) -> dict[str, Any]:
    """What the codebooks hold, and how right their keywords are on films that they were not built from.

    Returns:
        Keywords a group; AUC a keyword (mean, median, and of some by name) over those that at least five reports affirm; the numbers of
        `hint_numbers`; how many keypatches there are, of how many tokens and studies.
    """
    affirmed = textual.affirmed(held_out.reports, finder)
    enough = {keyword.text for keyword, count in zip(textual.keywords, affirmed.sum(0).tolist(), strict=True) if count >= 5}
    auc = {text: value for text, value in keyword_auc(textual, matcher, batches(held_out), affirmed).items() if text in enough}
    return {
        "keywords": dict(Counter(keyword.group for keyword in textual.keywords)),
        "keyword_auc_mean": statistics.fmean(auc.values()) if auc else None,
        "keyword_auc_median": statistics.median(auc.values()) if auc else None,
        "keywords_measured": len(auc),
        "keyword_auc": {text: auc[text] for text in NAMED if text in auc},
        **hint_numbers(textual, matcher, held_out, affirmed),
        "keypatches": len(visual.keypatches),
        "keypatch_tokens": len({keypatch.token for keypatch in visual.keypatches}),
        "keypatch_sources": len({keypatch.source for keypatch in visual.keypatches}),
    }


def hint_numbers(textual: TextualCodebook, matcher: Matcher, held_out: Corpus, affirmed: Bool[Tensor, "c w"]) -> dict[str, float]:
    """Hints a film; the share of them that the film's report affirms; and by chance: the share of all reports that affirm the hint."""
    found = [film for pixels in batches(held_out) for film in textual.match(matcher, pixels)]
    hints = [(row, match.keyword) for row, film in enumerate(found) for match in film]
    rate = affirmed.float().mean(0)
    right = [float(affirmed[row, keyword]) for row, keyword in hints]
    return {
        "hints_per_film": len(hints) / len(found),
        "hint_precision": statistics.fmean(right) if hints else 0.0,
        "hint_precision_chance": statistics.fmean([float(rate[keyword]) for _, keyword in hints]) if hints else 0.0,
    }


def batches(corpus: Corpus) -> Iterator[Float[Tensor, "b 1 h w"]]:
    """The films in order, a batch at a time."""
    return map(corpus.films, in_order(len(corpus), FILMS))
