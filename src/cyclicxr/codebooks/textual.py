"""The textual codebook: a film's keywords, found by matching the training reports' frequent entities with its patches (3.2.1).

It knows what the training reports affirm (a denied finding is no keyword: similarity does not see a negation) and how similar each
keyword usually is, but no language model.

Whether a keyword is on a film is read off its patches (the paper: the most similar one) or, with `codebooks.reader` "film", off the film
as a whole; where it is always says the most similar patch.

Calibration (ours). Raw similarities of different keywords do not compare: some words match every film. So a keyword's similarity is first
standardised over the training films (the score), then turned into the probability that the report affirms it, by Bayes' rule with two
normal distributions of equal width, and lastly into what saying it would tell: p log(p / its share of the training reports), in nats.
A keyword that the matcher can't see tells nothing at any score, and one that every report says tells little.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.codebooks.entities import FINDINGS, GROUPS, Extractor
from cyclicxr.codebooks.matcher import Matcher, Patches
from cyclicxr.codebooks.reader import learn_held_out, learn_reader, load_reader, save_reader
from cyclicxr.config import CodebooksConfig, from_json
from cyclicxr.match.film_ridge import FilmRidge
from cyclicxr.metrics.clinical import area_under_curve
from cyclicxr.types import InputError

PSEUDO_REPORTS = 10.0  # [ours] a keyword's shift is shrunk as if ten more affirming reports had shown none


@dataclass(frozen=True)
class CodebookKeyword:
    """One keyword. `count` training reports affirm it, `negated` ones deny it."""

    text: str
    group: str
    count: int
    negated: int


@dataclass(frozen=True)
class MatchedKeyword:
    """A keyword found on a film.

    Args:
        text: of the keyword.
        group: its entity group.
        score: what was read off the film, standardised over the training films.
        patch: index of the patch that it was found on.
        keyword: index into the codebook.
        probability: that the film's report affirms it, in (0, 1).
    """

    text: str
    group: str
    score: float
    patch: int
    keyword: int
    probability: float


@dataclass(frozen=True)
class Calibration:
    """How similar each keyword usually is. `shift` is how many standard deviations higher on films whose report affirms it."""

    mean: Float[Tensor, " w"]
    std: Float[Tensor, " w"]
    shift: Float[Tensor, " w"]
    prevalence: Float[Tensor, " w"]

    def standardise(self, similarity: Float[Tensor, "... w"]) -> Float[Tensor, "... w"]:
        """Cosines -> scores: 0 is usual for the keyword, 2 is rare."""
        return (similarity - self.mean) / self.std

    def probability(self, score: Float[Tensor, "... w"]) -> Float[Tensor, "... w"]:
        """Score -> probability that the report affirms the keyword: logit = logit(prevalence) + shift (score - middle of the two means)."""
        middle = self.shift * (0.5 - self.prevalence)
        return torch.sigmoid(torch.logit(self.prevalence) + self.shift * (score - middle))

    def gain(self, score: Float[Tensor, "... w"]) -> Float[Tensor, "... w"]:
        """Score -> nats that the keyword tells: p log(p / prevalence), negative where it is less probable than usual."""
        probability = self.probability(score)
        return probability * torch.log(probability / self.prevalence)


class TextualCodebook:
    """Keywords and their calibration.

    Args:
        keywords: most frequent first within each group.
        cfg: kappas and limits.
        calibration: None until `calibrate`.
        reader: with `cfg.reader` "film", from `calibrate` on.
    """

    def __init__(
        self,
        keywords: Sequence[CodebookKeyword],
        cfg: CodebooksConfig,
        calibration: Calibration | None = None,
        reader: FilmRidge | None = None,
    ) -> None:
        self.keywords, self.reader = tuple(keywords), reader
        self.cfg = cfg
        self.calibration = calibration
        self._embedded: tuple[Matcher, Tensor] | None = None

    @classmethod
    def build(cls, reports: Sequence[str], extractor: Extractor, cfg: CodebooksConfig) -> TextualCodebook:
        """The kappa_0 entities of each group that most training reports affirm.

        Args:
            reports: of the training split alone.
            extractor: finds entities and their negation.
            cfg: `keywords_per_group` is kappa_0.

        Raises:
            InputError: no report affirms any entity.
        """
        affirmed: Counter[tuple[str, str]] = Counter()
        denied: Counter[tuple[str, str]] = Counter()
        for report in reports:
            entities = extractor.extract(report)
            said = {(entity.text, entity.group) for entity in entities if not entity.negated}
            affirmed.update(said)
            denied.update({(entity.text, entity.group) for entity in entities if entity.negated} - said)
        keywords: list[CodebookKeyword] = []
        for group in GROUPS:
            terms = sorted((-count, text) for (text, kind), count in affirmed.items() if kind == group)
            keywords += [CodebookKeyword(text, group, -count, denied[text, group]) for count, text in terms[: cfg.keywords_per_group]]
        if not keywords:
            where = f"in {len(reports)} reports"
            raise InputError(
                f"codebooks: the extractor '{cfg.extractor}' finds no entity {where}; are they chest X-ray reports in English?"
            )
        return cls(keywords, cfg)

    def affirmed(self, reports: Sequence[str], extractor: Extractor) -> Bool[Tensor, "c w"]:
        """Which report affirms which keyword."""
        column = {(keyword.text, keyword.group): i for i, keyword in enumerate(self.keywords)}
        table = torch.zeros(len(reports), len(self.keywords), dtype=torch.bool)
        for row, report in enumerate(reports):
            for entity in extractor.extract(report):
                if not entity.negated and (entity.text, entity.group) in column:
                    table[row, column[entity.text, entity.group]] = True
        return table

    def calibrate(self, matcher: Matcher, batches: Iterable[Float[Tensor, "b 1 height width"]], affirmed: Bool[Tensor, "c w"]) -> None:
        """Learn mean, width and shift of what is read of each keyword off the training films, and with `cfg.reader` "film" to read it.

        Args:
            matcher: frozen.
            batches: films in [0, 1], in the order of `affirmed`.
            affirmed: which film's report affirms which keyword.
        """
        with torch.no_grad():
            if self.cfg.reader == "film":
                self.reader, found = learn_reader(torch.cat([matcher.encode_films(pixels).pooled for pixels in batches]), affirmed)
            else:
                found = torch.cat([self._found(matcher, matcher.encode_films(pixels)) for pixels in batches])
        if len(found) != len(affirmed):
            raise ValueError(f"{len(found)} films and {len(affirmed)} reports: one report a film")
        mean, std = found.mean(0), found.std(0, correction=0).clamp(min=1e-6)
        rise, count = _rise((found - mean) / std, affirmed)
        # a film with the finding can't look less like it: a negative shift is noise
        shift = (rise * count / (count + PSEUDO_REPORTS)).clamp(min=0)
        self.calibration = Calibration(mean, std, shift, (count + 0.5) / (len(affirmed) + 1))

    def temper(self, matcher: Matcher, batches: Iterable[Float[Tensor, "b 1 height width"]], affirmed: Bool[Tensor, "c w"]) -> float:
        """Scale all shifts by one number, learned on films that the matcher was not trained on: it knows its training films too well.

        Args:
            matcher: frozen.
            batches: films in [0, 1] of the validation split, in the order of `affirmed`.
            affirmed: which film's report affirms which keyword.

        Returns:
            The number, in [0, 1]: 1 where the matcher sees as much on new films.
        """
        calibration = self._calibrated()
        rise, count = _rise(torch.cat([self.scores(matcher, pixels) for pixels in batches]), affirmed)
        learned, seen = (count * calibration.shift.square()).sum(), (count * calibration.shift * rise).sum()
        kept = float((seen / learned.clamp(min=1e-9)).clamp(0, 1))
        self.calibration = replace(calibration, shift=calibration.shift * kept)
        return kept

    def held_out(self, films: Float[Tensor, "c f"], affirmed: Bool[Tensor, "c w"]) -> list[tuple[range, TextualCodebook]]:
        """For each stretch of the training films, this codebook with a reader that was not taught with them. A codebook that reads the most
        similar patch has no reader and was taught with no film.

        Args:
            films: pooled patches of the training films.
            affirmed: which film's report affirms which keyword.
        """
        readers = learn_held_out(films, affirmed)
        return [(part, TextualCodebook(self.keywords, self.cfg, self.calibration, reader)) for part, reader in readers]

    def match(self, matcher: Matcher, pixels: Float[Tensor, "b 1 height width"]) -> list[list[MatchedKeyword]]:
        """The keywords of each film in [0, 1]; see `match_patches`."""
        with torch.no_grad():
            return self.match_patches(matcher, matcher.encode_films(pixels))

    @torch.no_grad()
    def match_patches(self, matcher: Matcher, patches: Patches) -> list[list[MatchedKeyword]]:
        """The keywords of films whose patches are at hand.

        Each patch proposes its kappa_1 best keywords, or the film as a whole proposes all; a film keeps those that tell more than the
        threshold, the most telling first.

        Args:
            matcher: embeds the keywords (once).
            patches: of the films.

        Returns:
            At most `max_keywords` a film, often fewer. Source: section 3.2.1, "Keywords Extraction".
        """
        calibration = self._calibrated()
        similarity = self._similarity(matcher, patches)  # s^P (b, n, w)
        if self.reader is None:
            score = calibration.standardise(similarity)
            gain = calibration.gain(score)
            proposed = gain.topk(min(self.cfg.keywords_per_patch, len(self.keywords)), dim=-1)
            best, patch = torch.full_like(gain, -math.inf).scatter(-1, proposed.indices, proposed.values).max(1)  # (b, w)
            found = score.gather(1, patch.unsqueeze(1)).squeeze(1)  # (b, w)
        else:
            found, patch = calibration.standardise(self.reader.read(patches.pooled)), similarity.argmax(1)
            best = calibration.gain(found)
        probable = calibration.probability(found)
        order = best.topk(min(self.cfg.max_keywords, len(self.keywords)), dim=-1)
        films = []
        for film, (values, columns) in enumerate(zip(order.values.tolist(), order.indices.tolist(), strict=True)):
            telling = [w for value, w in zip(values, columns, strict=True) if value > self.cfg.keyword_threshold]
            films.append([self._matched(w, patch[film, w], found[film, w], probable[film, w]) for w in telling])
        return films

    @torch.no_grad()
    def chances(self, matcher: Matcher, patches: Patches) -> list[dict[str, float]]:
        """Of each film: keyword that names a finding -> the probability that the film's report affirms it, in (0, 1)."""
        calibration = self._calibrated()
        probable = calibration.probability(calibration.standardise(self._found(matcher, patches)))
        findings = [w for w, keyword in enumerate(self.keywords) if keyword.group in FINDINGS]
        return [{self.keywords[w].text: row[w] for w in findings} for row in probable.tolist()]

    def named(self, reports: Sequence[str], extractor: Extractor) -> list[list[str]]:
        """The keywords that each report affirms itself: its findings, the rarest first, then what else it names likewise; at most
        `max_keywords`.
        """
        share = self._calibrated().prevalence.tolist()
        order = sorted(range(len(share)), key=lambda w: (self.keywords[w].group not in FINDINGS, share[w]))
        said = self.affirmed(reports, extractor).tolist()
        return [[self.keywords[w].text for w in order if row[w]][: self.cfg.max_keywords] for row in said]

    @torch.no_grad()
    def scores(self, matcher: Matcher, pixels: Float[Tensor, "b 1 height width"]) -> Float[Tensor, "b w"]:
        """The film-level score of every keyword."""
        return self._calibrated().standardise(self._found(matcher, matcher.encode_films(pixels)))

    def save(self, path: Path) -> None:
        """Write `textual_codebook.json`, and the reader beside it."""
        measured = {name: values.tolist() for name, values in vars(self._calibrated()).items()}
        keywords = [
            {**asdict(keyword), **{name: float(f"{values[w]:.6g}") for name, values in measured.items()}}
            for w, keyword in enumerate(self.keywords)
        ]
        write_json(path, {"config": asdict(self.cfg), "keywords": keywords})
        if self.reader is not None:
            save_reader(self.reader, path.parent)

    @classmethod
    def load(cls, path: Path) -> TextualCodebook:
        """What `save` wrote.

        Raises:
            InputError: the file is missing or is no textual codebook.
        """
        stored = read_json(path)
        try:
            rows = stored["keywords"]
            keywords = [CodebookKeyword(row["text"], row["group"], row["count"], row["negated"]) for row in rows]
            columns = {name: torch.tensor([float(row[name]) for row in rows]) for name in ("mean", "std", "shift", "prevalence")}
            cfg = from_json(CodebooksConfig, stored["config"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: no textual codebook ({error!r}); restore the file or train the codebooks again") from None
        return cls(keywords, cfg, Calibration(**columns), load_reader(path.parent) if cfg.reader == "film" else None)

    @torch.no_grad()
    def embed(self, matcher: Matcher) -> Float[Tensor, "w d"]:
        """Each keyword's vector: its tokens' mean, so that its similarity to a patch is their mean; kept for the matcher."""
        if self._embedded is None or self._embedded[0] is not matcher:
            words = matcher.encode_texts([keyword.text for keyword in self.keywords])
            real = words.mask.unsqueeze(-1).float()
            self._embedded = (matcher, (words.features.float() * real).sum(1) / real.sum(1).clamp(min=1))
        return self._embedded[1]

    def _similarity(self, matcher: Matcher, patches: Patches) -> Float[Tensor, "b n w"]:
        return patches.features.float() @ self.embed(matcher).T

    def _found(self, matcher: Matcher, patches: Patches) -> Float[Tensor, "b w"]:
        return self._similarity(matcher, patches).amax(1) if self.reader is None else self.reader.read(patches.pooled)

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise ValueError("the textual codebook is not calibrated: call calibrate() with the training films first")
        return self.calibration

    def _matched(self, w: int, patch: Tensor, score: Tensor, probability: Tensor) -> MatchedKeyword:
        keyword = self.keywords[w]
        return MatchedKeyword(keyword.text, keyword.group, float(score), int(patch), w, float(probability))


def _rise(score: Float[Tensor, "c w"], affirmed: Bool[Tensor, "c w"]) -> tuple[Float[Tensor, " w"], Float[Tensor, " w"]]:
    """How much higher each keyword scores on films whose report affirms it (0 where none does), and how many those are."""
    said = affirmed.float()
    count = said.sum(0)
    high, low = (score * said).sum(0) / count.clamp(min=1), (score * (1 - said)).sum(0) / (len(said) - count).clamp(min=1)
    return torch.where(count > 0, high - low, 0.0), count


def keyword_auc(
    codebook: TextualCodebook, matcher: Matcher, batches: Iterable[Float[Tensor, "b 1 height width"]], affirmed: Bool[Tensor, "c w"]
) -> dict[str, float]:
    """How well each keyword's score tells films whose report affirms it from the others (1 perfect, .5 blind).

    Args:
        codebook: calibrated.
        matcher: frozen.
        batches: films in [0, 1] of a split that was not trained on, in the order of `affirmed`.
        affirmed: `codebook.affirmed` of their reports.

    Returns:
        Keyword -> area under the ROC curve; keywords that all films have, or none, are left out.
    """
    scores = torch.cat([codebook.scores(matcher, pixels) for pixels in batches]).numpy().astype(np.float64)
    positive = affirmed.numpy()
    mixed = [w for w in range(len(codebook.keywords)) if 0 < positive[:, w].sum() < len(positive)]
    even = np.ones((1, len(positive)))
    return {codebook.keywords[w].text: float(area_under_curve(scores[:, w], positive[:, w], even)[0]) for w in mixed}
