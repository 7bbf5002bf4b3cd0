"""The whole path in reading order: film -> patches -> keywords -> report -> keypatches -> film (section 3.2), and the consistency check.

The one place where matcher, codebooks, VQ-GAN and language model meet.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from cyclicxr.checkpoint import read_preset
from cyclicxr.codebooks.entities import affirmed_findings, extractor, findings_in
from cyclicxr.codebooks.hints import FilmHints
from cyclicxr.codebooks.support import Support, consistency, evidence, evidence_on
from cyclicxr.codebooks.textual import MatchedKeyword
from cyclicxr.codebooks.visual import MatchedKeypatch, VisualCodebook
from cyclicxr.compose import Findings, compose_for
from cyclicxr.config import Preset
from cyclicxr.data.frontal import ACCEPTED, frontal_scores, require_frontal
from cyclicxr.data.images import network_pixels, read_film
from cyclicxr.data.reports import sentences
from cyclicxr.language.llm import LanguageModel
from cyclicxr.match.adamatch import AdaMatch, FilmPatches
from cyclicxr.match.evidence import WordEvidence, word_evidence
from cyclicxr.parts import check_parts, revision
from cyclicxr.patches.classifier import CLASSIFIER, FilmClassifier
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.types import (
    Entity,
    Film,
    FrontalRecord,
    Geometry,
    ImageRecord,
    InputError,
    KeypatchRecord,
    KeywordRecord,
    PatchRecord,
    Result,
    SentenceRecord,
    SyntheticRecord,
    WordRecord,
)

MODELS = Path(__file__).parent / "models"
SHIPPED = "openi-small"
FLAGGED = 0.25  # [ours] a sentence of a lower consistency is flagged (decision 11)
SENTENCE_BOXES = 3  # [ours] boxes of a sentence: those of its best words
FILMS = 32  # films through a network at once
BEHIND = 2.0  # more than similarities differ by: a drawing that is no chest film comes behind all that are
_GLUE = frozenset(
    (
        "a an and are as at be been by for from has have in into is it its no not of on or over than that the there these this to was were "
        "with"
    ).split()
)


@dataclass(frozen=True)
class Outcome:
    """A result with its pictures: the original film at its own resolution, and the drawn one, both mode "L"; None where there is none."""

    result: Result
    film: Image.Image | None
    drawn: Image.Image | None


@dataclass
class Stopwatch:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started


class Model:
    """All parts of one system, ready for inference.

    Args:
        preset: the numbers.
        matcher: AdaMatch.
        hints: what the language model is told of a film; with its keywords, and film and text as wholes.
        visual: keypatches.
        vqgan: film <-> image tokens.
        llm: prompt -> report or image tokens.
        support: calibration of the consistency check.
        classifier: findings and features of a film, for evaluation; None where the directory has none.
        info: "name" and "revision" (a hash of all its parts), as written to each result.
    """

    def __init__(
        self,
        preset: Preset,
        matcher: AdaMatch,
        hints: FilmHints,
        visual: VisualCodebook,
        vqgan: VQGAN,
        llm: LanguageModel,
        support: Support,
        classifier: FilmClassifier | None,
        info: dict[str, str],
    ) -> None:
        self.preset, self.matcher, self.visual = preset, matcher, visual
        self.hints, self.textual, self.alignment = hints, hints.textual, hints.alignment
        self.vqgan, self.llm, self.support, self.classifier, self.info = vqgan, llm, support, classifier, info

    @classmethod
    def load(cls, name_or_dir: str | Path | None = None) -> Model:
        """Open a model directory, a model of the package by name, or (None) the one that ships.

        Raises:
            InputError: there is no such model, its directory is not whole, or its parts do not belong together.
        """
        directory = find_model(name_or_dir)
        hashes, preset = check_parts(directory), read_preset(directory)
        return cls(
            preset,
            AdaMatch.load(directory),
            FilmHints.load(directory, preset.language),
            VisualCodebook.load(directory),
            VQGAN.load(directory / "vqgan.safetensors", preset.vqgan),
            LanguageModel.load(directory / "llm"),
            Support.load(directory),
            FilmClassifier.load(directory) if (directory / CLASSIFIER).exists() else None,
            {"name": preset.name, "revision": revision(hashes)},
        )

    # ---- one film or one text

    def report(self, image: str | Path, *, force: bool = False) -> Result:
        """CXR -> report with its evidence.

        Args:
            image: PNG, JPEG, TIFF or DICOM file of a frontal chest film.
            force: go on with a film that the gate refuses (`data/frontal.py`); the result says what is wrong with it.

        Raises:
            InputError: the file can't be read as a film, or is no upright frontal chest film and not forced.
        """
        return self.outcome_report(image, force=force).result

    def draw(self, text: str, seed: int = 0) -> Image.Image:
        """Report -> CXR, `preset.encoder.size` pixels along a side, mode "L"; the same seed draws the same film.

        Raises:
            InputError: the text has no words.
        """
        drawn = self.outcome_draw(text, seed).drawn
        assert drawn is not None
        return drawn

    def cycle(self, image: str | Path, seed: int = 0, *, force: bool = False) -> Result:
        """CXR -> report -> CXR, with the consistency of each sentence.

        Raises:
            InputError: the file can't be read as a film, or is no upright frontal chest film and not forced.
        """
        return self.outcome_cycle(image, seed, force=force).result

    def explain(self, image: str | Path, text: str, *, force: bool = False) -> Result:
        """The words of any text, each with its adaptive patch on the film (Fig. 8).

        Raises:
            InputError: the file can't be read as a film, is no upright frontal chest film and not forced, or the text has no words.
        """
        return self.outcome_explain(image, text, force=force).result

    @torch.inference_mode()
    def outcome_report(self, image: str | Path, *, force: bool = False) -> Outcome:
        """`report` with its pictures."""
        clock = Stopwatch()
        with clock("read"):
            film = read_film(image, self.preset.encoder.fit)
            frontal = require_frontal(film, force=force)
            pixels = self._pixels(film)
        result, _ = self._report(film, frontal, pixels, clock)
        return Outcome(replace(result, timings=clock.seconds), _picture(film), None)

    @torch.inference_mode()
    def outcome_cycle(self, image: str | Path, seed: int = 0, *, force: bool = False) -> Outcome:
        """`cycle` with its pictures."""
        clock = Stopwatch()
        with clock("read"):
            film = read_film(image, self.preset.encoder.fit)
            frontal = require_frontal(film, force=force)
            pixels = self._pixels(film)
        result, patches = self._report(film, frontal, pixels, clock)
        drawn, keypatches, codes = self._draw(result.report, seed, clock)
        with clock("consistency"):
            checked = self._check(result.sentences, patches, self.matcher.encode_films(drawn))
        result = replace(result, sentences=checked, keypatches=keypatches, synthetic=SyntheticRecord("", codes), timings=clock.seconds)
        return Outcome(result, _picture(film), _to_picture(drawn))

    @torch.inference_mode()
    def outcome_draw(self, text: str, seed: int = 0) -> Outcome:
        """`draw` with its evidence: the words on the drawn film, and the keypatches that were given as hints."""
        clock = Stopwatch()
        drawn, keypatches, codes = self._draw(text, seed, clock)
        size = self.preset.encoder.size
        with clock("match"):
            patches = self.matcher.encode_films(drawn)
            result = self._evidence(Result(None, self.info, text), patches, Geometry(size, size))
        result = replace(result, keypatches=keypatches, synthetic=SyntheticRecord("", codes), timings=clock.seconds)
        return Outcome(result, None, _to_picture(drawn))

    @torch.inference_mode()
    def outcome_explain(self, image: str | Path, text: str, *, force: bool = False) -> Outcome:
        """`explain` with its picture."""
        clock = Stopwatch()
        with clock("read"):
            film = read_film(image, self.preset.encoder.fit)
            frontal = require_frontal(film, force=force)
        with clock("match"):
            patches = self.matcher.encode_films(self._pixels(film))
            keywords = self.textual.match_patches(self.matcher, patches)[0]
            result = self._evidence(Result(_image(film, frontal), self.info, text), patches, film.geometry)
        result = replace(result, keywords=_keywords(keywords, result.patches), timings=clock.seconds)
        return Outcome(result, _picture(film), None)

    # ---- many at once, for evaluation

    @torch.inference_mode()
    def write_reports(self, pixels: UInt8[Tensor, "b s s"]) -> list[str]:
        """Films, uint8 at the network's size, bone bright -> a report each."""
        reports: list[str] = []
        for films in _batches(pixels):
            patches = self.matcher.encode_films(films)
            reports += self._write(films, patches, self.textual.match_patches(self.matcher, patches))
        return reports

    @torch.inference_mode()
    def draw_films(self, texts: list[str], seed: int) -> UInt8[Tensor, "b s s"]:
        """Texts -> a film each, uint8."""
        drawn = []
        for start in range(0, len(texts), FILMS):
            some = texts[start : start + FILMS]
            _, films = self._drawn(some, self.visual.match(self.matcher, some), seed, Stopwatch())
            drawn.append(_to_bytes(films))
        return torch.cat(drawn)

    @torch.inference_mode()
    def sentence_support(self, pixels: UInt8[Tensor, "n s s"], films: Sequence[int], texts: Sequence[str]) -> Float[Tensor, " c"]:
        """How well a film supports a sentence: the chance that it is true of the film (decision 0011), in (0, 1).

        Args:
            pixels: films, uint8 at the network's size, bone bright.
            films: which of them each sentence is asked of.
            texts: the sentences.
        """
        given = _batches(pixels), films, texts, self.matcher, self.textual, self.visual.features, self._findings_in
        return self.support.probability(evidence_on(*given))

    @torch.inference_mode()
    def sentence_likelihood(
        self, pixels: UInt8[Tensor, "n s s"], films: Sequence[int], befores: Sequence[str], texts: Sequence[str]
    ) -> Float[Tensor, " c"]:
        """Mean log-probability of a sentence's tokens in a report of a film, behind what the report said before.

        Args:
            pixels: films, uint8 at the network's size, bone bright.
            films: which of them each sentence is asked of.
            befores: what the report says before each sentence, "" at its beginning.
            texts: the sentences.
        """
        codes, hints = [], []
        for some in _batches(pixels):
            codes.append(self.vqgan.encode(some).flatten(1))
            hints += self.hints.of(self.matcher, self.matcher.encode_films(some))
        rows = list(films)
        return self.llm.likelihood(torch.cat(codes)[rows], [hints[film] for film in rows], befores, texts)

    def compose(self, patches: FilmPatches, sampled: Iterable[Sequence[str]]) -> list[str]:
        """Patches of films, and sampled reports of each -> a report each (decision 24)."""
        named = partial(affirmed_findings, self.preset.codebooks)
        films = zip(patches.pooled, self.textual.chances(self.matcher, patches), sampled, strict=True)
        belief = self.preset.language.belief
        return [compose_for(film, texts, self.alignment, belief, Findings(chances, named)) for film, chances, texts in films]

    # ---- the stages, in order

    def _report(self, film: Film, frontal: FrontalRecord, pixels: Float[Tensor, "1 1 h w"], clock: Stopwatch) -> tuple[Result, FilmPatches]:
        with clock("match"):
            patches = self.matcher.encode_films(pixels)
            keywords = self.textual.match_patches(self.matcher, patches)
        with clock("write"):
            text = self._write(pixels, patches, keywords)[0]
        with clock("evidence"):
            result = self._evidence(Result(_image(film, frontal), self.info, text), patches, film.geometry)
        return replace(result, keywords=_keywords(keywords[0], result.patches)), patches

    def _write(self, pixels: Float[Tensor, "b 1 h w"], patches: FilmPatches, keywords: list[list[MatchedKeyword]]) -> list[str]:
        codes = self.vqgan.encode(pixels).flatten(1)
        return self.compose(patches, self.llm.candidates(codes, self.hints.told(patches, keywords)))

    def _draw(self, text: str, seed: int, clock: Stopwatch) -> tuple[Float[Tensor, "1 1 h w"], tuple[KeypatchRecord, ...], tuple[int, ...]]:
        with clock("keypatches"):
            matched = self.visual.match(self.matcher, [text])[0]
        codes, film = self._drawn([text], [matched], seed, clock)
        return film, tuple(self._keypatch(patch) for patch in matched), tuple(codes[0].tolist())

    def _drawn(
        self, texts: Sequence[str], matched: Sequence[Sequence[MatchedKeypatch]], seed: int, clock: Stopwatch
    ) -> tuple[Int[Tensor, "b s"], Float[Tensor, "b 1 h w"]]:
        """Texts and their keypatches -> a film each, as codes and decoded: of several the nearest (decision 44)."""
        hints, number = [[patch.token for patch in patches] for patches in matched], self.preset.language.drawings
        with clock("draw"):
            codes = self.llm.draw(texts, hints, seed, self._named(texts), number).view(len(texts), number, -1)
        with clock("decode"):
            if number == 1:
                return codes[:, 0], self._decode(codes[:, 0])
            kept = [self._nearest(text, some) for text, some in zip(texts, codes, strict=True)]
        return torch.stack([row for row, _ in kept]), torch.stack([film for _, film in kept])

    def _nearest(self, text: str, codes: Int[Tensor, "n s"]) -> tuple[Int[Tensor, " s"], Float[Tensor, "1 h w"]]:
        """Of a text's drawings that are chest films the one that the global alignment finds nearest to it, as codes and decoded."""
        films = self._decode(codes)
        fit = self.alignment.similarity(self.matcher.encode_films(films).pooled, [text])[:, 0]
        best = (fit - BEHIND * (frontal_scores(films) < ACCEPTED)).argmax()
        return codes[best], films[best]

    def _named(self, texts: Sequence[str]) -> list[list[str]] | None:
        """The keywords that each text affirms, where the language model reads them."""
        return self.textual.named(texts, extractor(self.preset.codebooks)) if self.preset.language.drawing_keywords else None

    def _decode(self, codes: Tensor) -> Float[Tensor, "b 1 h w"]:
        side = round(self.preset.image_tokens**0.5)
        return self.vqgan.decode(codes.view(-1, side, side))

    def _check(self, lines: tuple[SentenceRecord, ...], original: FilmPatches, redrawn: FilmPatches) -> tuple[SentenceRecord, ...]:
        """The consistency of each sentence (ours): does the original support it, or only the film that was drawn from it?"""
        if not lines:
            return ()
        texts = [line.text for line in lines]
        on_original, on_redrawn = (self._support(patches, texts) for patches in (original, redrawn))
        scores = consistency(on_original, on_redrawn).tolist()
        return tuple(replace(line, consistency=score, flagged=score < FLAGGED) for line, score in zip(lines, scores, strict=True))

    def _support(self, patches: FilmPatches, texts: Sequence[str]) -> Float[Tensor, " c"]:
        """How well one film supports each text."""
        chances = self.textual.chances(self.matcher, patches)[0]
        return self.support.probability(
            evidence(patches.features[0], chances, self.visual.features, self.matcher, texts, self._findings_in)
        )

    def _findings_in(self, text: str) -> tuple[Entity, ...]:
        return findings_in(self.preset.codebooks, text)

    def _evidence(self, result: Result, patches: FilmPatches, geometry: Geometry) -> Result:
        """The result with the patches of its film, and with the words and sentences of its report on them."""
        text = result.report
        found = word_evidence(patches.features[0], self.matcher.encode_texts([text]), 0, text)
        records = _patches(patches, geometry)
        words = tuple(WordRecord(w.text, w.start, w.end, w.score, w.patch, records[w.patch].box) for w in found)
        lines = tuple(SentenceRecord(t, start, end, _boxes(found, start, end, records)) for t, start, end in sentences(text))
        return replace(result, sentences=lines, patches=records, words=words)

    def _keypatch(self, patch: MatchedKeypatch) -> KeypatchRecord:
        thumbnail = self.visual.thumbnail_uri(patch.token)
        return KeypatchRecord(patch.source, patch.box, patch.token, patch.word, patch.score, thumbnail)

    def _pixels(self, film: Film) -> Float[Tensor, "1 1 h w"]:
        return torch.from_numpy(network_pixels(film, self.preset.encoder.size))[None, None].float() / 255


def _patches(patches: FilmPatches, geometry: Geometry) -> tuple[PatchRecord, ...]:
    rows = zip(patches.boxes[0].tolist(), patches.anchors.tolist(), patches.shifts[0].tolist(), strict=True)
    return tuple(
        PatchRecord(geometry.to_pixels((x0, y0, x1, y1)), geometry.point_to_pixels((ax, ay)), geometry.vector_to_pixels((dx, dy)))
        for (x0, y0, x1, y1), (ax, ay), (dx, dy) in rows
    )


def _keywords(keywords: list[MatchedKeyword], records: tuple[PatchRecord, ...]) -> tuple[KeywordRecord, ...]:
    return tuple(KeywordRecord(k.text, k.group, k.score, k.patch, records[k.patch].box) for k in keywords)


def _boxes(
    words: list[WordEvidence], start: int, end: int, records: tuple[PatchRecord, ...]
) -> tuple[tuple[float, float, float, float], ...]:
    """Boxes of a sentence's best words, glue words left out, each patch once."""
    inside = [w for w in words if w.start >= start and w.end <= end and w.text.lower() not in _GLUE]
    ranked = dict.fromkeys(w.patch for w in sorted(inside, key=lambda w: -w.score))
    return tuple(records[patch].box for patch in list(ranked)[:SENTENCE_BOXES])


def _image(film: Film, frontal: FrontalRecord) -> ImageRecord:
    return ImageRecord(film.path, film.sha256, film.geometry.width, film.geometry.height, film.view, frontal)


def _picture(film: Film) -> Image.Image:
    return Image.fromarray((film.pixels * 255).round().astype("uint8"))


def _batches(pixels: UInt8[Tensor, "n s s"]) -> Iterator[Float[Tensor, "b 1 s s"]]:
    """Films as the networks take them, in [0, 1], some at a time."""
    for start in range(0, len(pixels), FILMS):
        yield pixels[start : start + FILMS].unsqueeze(1).float() / 255


def _to_bytes(pixels: Float[Tensor, "b 1 h w"]) -> UInt8[Tensor, "b h w"]:
    return (pixels[:, 0].clamp(0, 1) * 255).round().to(torch.uint8)


def _to_picture(pixels: Float[Tensor, "1 1 h w"]) -> Image.Image:
    return Image.fromarray(_to_bytes(pixels)[0].numpy())


def find_model(name_or_dir: str | Path | None) -> Path:
    """The directory of a model: a directory itself, the name of one in the package, or (None) the one that ships.

    Raises:
        InputError: there is no such model.
    """
    name = SHIPPED if name_or_dir is None else str(name_or_dir)
    for directory in (Path(name), MODELS / name):
        if (directory / "config.json").exists():
            return directory
    names = sorted(path.name for path in MODELS.iterdir() if path.is_dir()) if MODELS.is_dir() else []
    raise InputError(f"model '{name}': neither a model directory (no config.json there) nor one of {', '.join(names) or 'no models'}")
