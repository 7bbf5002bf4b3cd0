"""What the language model learns from: films as codes, keywords and keypatches, made once by the earlier stages and kept."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cyclicxr import processes
from cyclicxr.checkpoint import load_tensors, read_json, save_tensors, write_json
from cyclicxr.codebooks.entities import extractor
from cyclicxr.codebooks.hints import FilmHints
from cyclicxr.codebooks.reader import WEIGHTS as READER
from cyclicxr.codebooks.sentences import FILE as SENTENCES
from cyclicxr.codebooks.textual import TextualCodebook
from cyclicxr.codebooks.visual import VisualCodebook
from cyclicxr.config import Preset
from cyclicxr.data.reports import without_marks
from cyclicxr.language.prompt import has_words
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.parts import hashes
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.training.augment import augment
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, in_order
from cyclicxr.training.precision import mixed_precision
from cyclicxr.training.train_match import pooled

log = logging.getLogger(__name__)

BATCH = 32
PARTS = (
    *("match.safetensors", "global.safetensors", "vqgan.safetensors"),
    *("textual_codebook.json", READER, SENTENCES, "visual_codebook.safetensors"),
)


@dataclass(frozen=True)
class Material:
    """n studies as the language model sees them, each film in v variants.

    Args:
        codes: (v, n, s) codes of the films.
        keywords: of each variant of each film, the most telling first: matched to it (with all that `FilmHints` says), or those that its
            report affirms.
        named: keywords that each report affirms, for the film drawn from it.
        keypatches: codes of each report's keypatches; never one of the study itself.
        reports: without marks of removed words.
        ids: of the studies.
    """

    codes: Int[Tensor, "v n s"]
    keywords: list[list[list[str]]]
    named: list[list[str]]
    keypatches: list[list[int]]
    reports: list[str]
    ids: list[str]

    def __len__(self) -> int:
        return len(self.reports)


def gather(corpus: Corpus, preset: Preset, run: RunDirectory, variants: int, hints: str = "film", *, taught: bool = False) -> Material:
    """Encode each film and match each film and report, or read what an earlier call with the same parts, films and numbers wrote.

    Args:
        corpus: of one split.
        preset: seed and numbers of the parts.
        run: whose model directory holds the parts.
        variants: encodings of a film; the first is the film itself, the others are augmented.
        hints: keywords "film", matched to each variant, or "report", those that the report affirms itself.
        taught: these films taught the codebook; each is matched as if it had not.
    """
    asked = f"{variants} {hints} {taught} {preset.language.keyword_details} {preset.language.sentence_hints}"
    stored = run.root / "cache" / f"llm-{_fingerprint(corpus, preset, run.model, asked)}"
    reports, ids = [without_marks(report) or report for report in corpus.reports], [study.id for study in corpus.studies]
    if stored.with_suffix(".json").exists():
        found, tensors = read_json(stored.with_suffix(".json")), load_tensors(stored.with_suffix(".safetensors"))
        return Material(tensors["codes"], found["keywords"], found["named"], found["keypatches"], reports, ids)
    log.info("encoding %d films %d times, and matching their hints", len(corpus), variants)
    matcher = AdaMatch.load(run.model)
    told = FilmHints.load(run.model, preset.language)
    codebook, finder = told.textual, extractor(preset.codebooks)
    looking = copy.deepcopy(matcher).to(processes.device())
    tellers: Sequence[tuple[range, FilmHints | None]] = [(range(len(corpus)), None if hints == "report" else told)]
    if hints == "film" and taught and (codebook.reader is not None or told.sentences is not None):
        tellers = _untaught(told, pooled(looking, corpus, BATCH), reports, codebook.affirmed(reports, finder), preset)
    codes, keywords = _films(corpus, preset, run.model, matcher, looking, tellers, variants)
    named = codebook.named(reports, finder)
    if hints == "report":
        keywords = [named] * variants
    keypatches = keypatch_codes(VisualCodebook.load(run.model), matcher, ids, reports)
    save_tensors(stored.with_suffix(".safetensors"), {"codes": codes})
    write_json(stored.with_suffix(".json"), {"keywords": keywords, "named": named, "keypatches": keypatches})
    return Material(codes, keywords, named, keypatches, reports, ids)


def retold(material: Material, written: Sequence[str], preset: Preset, run: RunDirectory) -> Material:
    """The same films with written reports in place of the true ones, and the keywords and keypatches of those; one of no words is left."""
    reports = [new if has_words(new) else old for new, old in zip(written, material.reports, strict=True)]
    named = TextualCodebook.load(run.model / "textual_codebook.json").named(reports, extractor(preset.codebooks))
    keypatches = keypatch_codes(VisualCodebook.load(run.model), AdaMatch.load(run.model), material.ids, reports)
    return replace(material, reports=reports, named=named, keypatches=keypatches)


def _untaught(
    hints: FilmHints, films: Float[Tensor, "c f"], reports: Sequence[str], affirmed: Bool[Tensor, "c w"], preset: Preset
) -> list[tuple[range, FilmHints]]:
    """For each stretch of the training films, hints by parts that were not taught with them; of two parts that are taught with films, the
    keywords' reader and with sentences the alignment.
    """
    textual = hints.textual
    if hints.sentences is None:
        return [(part, hints.by(codebook, hints.alignment)) for part, codebook in textual.held_out(films, affirmed)]
    alignments = hints.alignment.held_out(films, reports, preset.match, preset.seed)
    if textual.reader is None:  # it was taught with no film
        return [(part, hints.by(textual, alignment)) for part, alignment in alignments]
    codebooks = textual.held_out(films, affirmed)
    return [(part, hints.by(codebook, alignment)) for (part, alignment), (_, codebook) in zip(alignments, codebooks, strict=True)]


@torch.inference_mode()
def _films(
    corpus: Corpus,
    preset: Preset,
    model: Path,
    matcher: AdaMatch,
    looking: AdaMatch,
    tellers: Sequence[tuple[range, FilmHints | None]],
    variants: int,
) -> tuple[Tensor, list[list[list[str]]]]:
    """Codes and hints of each variant of each film; `looking` is the matcher's copy on the device. No hints where a stretch of films has
    no one who tells them.
    """
    where = processes.device()
    vqgan = VQGAN.load(model / "vqgan.safetensors", preset.vqgan).to(where)
    batches = [([films[i] for i in rows], teller) for films, teller in tellers for rows in in_order(len(films), BATCH)]
    codes: list[Tensor] = []
    keywords: list[list[list[str]]] = []
    for variant in range(variants):
        torch.manual_seed(preset.seed + variant)
        rows: list[Tensor] = []
        found: list[list[str]] = []
        for batch, teller in batches:
            pixels = corpus.films(batch).to(where)
            pixels = augment(pixels) if variant else pixels
            with mixed_precision() if variant else nullcontext():  # the film itself as it will be encoded when it matters
                rows.append(vqgan.encode(pixels).flatten(1).cpu())
                if teller is not None:
                    found += teller.of(matcher, looking.encode_films(pixels).cpu())
        codes.append(torch.cat(rows))
        keywords.append(found)
    return torch.stack(codes), keywords


@torch.inference_mode()
def keypatch_codes(codebook: VisualCodebook, matcher: AdaMatch, ids: Sequence[str], reports: list[str]) -> list[list[int]]:
    """Codes of each report's keypatches, without those of the study itself: its own patch would give its film away."""
    matched = [each for start in range(0, len(reports), BATCH) for each in codebook.match(matcher, reports[start : start + BATCH])]
    return [[patch.token for patch in patches if patch.source != name] for name, patches in zip(ids, matched, strict=True)]


def _fingerprint(corpus: Corpus, preset: Preset, model: Path, asked: str) -> str:
    digest = hashlib.sha256(f"named {preset.seed} {asked} {[study.id for study in corpus.studies]} {corpus.reports}".encode())
    digest.update(corpus.pixels.numpy().data)
    digest.update(str(hashes(model, PARTS)).encode())
    return digest.hexdigest()[:16]
