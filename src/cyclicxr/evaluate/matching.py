"""The retrieval task: R@K both ways, in every pool that the field ranks in, beside chance and beside what needs no adaptive patch."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from cyclicxr.checkpoint import write_json
from cyclicxr.data.openi import NORMAL, findings_of
from cyclicxr.evaluate.system import Case, Table, mean_patch, over_films, similarities
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.match.peers import pooled
from cyclicxr.metrics.interval import Measure, measure, paired, single
from cyclicxr.metrics.pools import Pool, PooledRanks, batches, pooled_ranks, sample
from cyclicxr.metrics.retrieval import (
    KS,
    TO_FILM,
    TO_REPORT,
    positive_chance,
    positive_ranks,
    rank_metrics,
    retrieval_chance,
    retrieval_ranks,
)
from cyclicxr.patches.adapatch import AdaPatch
from cyclicxr.types import InputError

log = logging.getLogger(__name__)

BATCH, SAMPLE = 112, 1000  # [paper 4.1] films of a GPU's batch; pools that LIMITR and others rank in
SHUFFLES = 20  # seeds of batches and samples
JOINED, GLOBAL = "with the global alignment", "the global alignment alone"
GRID, POOLED, RANDOM = "same weights with its patches put back on the grid", "mean patch against mean word", "random similarity"

Similarity = Float[np.ndarray, "n n"]  # film i against the report of film j
Ranks = dict[str, Int[np.ndarray, " q"]]  # direction -> rank of each query
Pair = tuple[Float[np.ndarray, "n t"], Float[np.ndarray, "n t"]]  # film against distinct report, for finding reports and films


@dataclass(frozen=True)
class Pairs:
    """Every film against every report of the split, one system's.

    Args:
        to_report: for finding reports (image-to-text, Eq. 5).
        to_film: for finding films (text-to-image, Eq. 6).
        texts: report of each film.
    """

    to_report: Similarity
    to_film: Similarity
    texts: Sequence[str]

    def ranks(self) -> Ranks:
        """In the whole split, identical reports one text."""
        of_film, of_text = (retrieval_ranks(side, self.texts)[way] for way, side in self.sides().items())
        return {TO_REPORT: of_film, TO_FILM: of_text}

    def sides(self) -> dict[str, Similarity]:
        """Direction -> its similarities, films by reports."""
        return {TO_REPORT: self.to_report, TO_FILM: self.to_film}


def retrieval_tables(matchers: Mapping[str, AdaMatch], case: Case, out: Path, alignment: GlobalAlignment | None = None) -> dict[str, Table]:
    """Tables of the first matcher, a row a direction: "retrieval" (whole split, identical reports one text), "retrieval, exact pair",
    "…, batches of 112", "…, pools of 1,000" (where the split has as many films), "…, same findings"; of each other system "retrieval,
    NAME" over the whole split; and "retrieval, paired", their differences over the same queries.

    Other systems: the first matcher with its global alignment, and that alone; the other matchers; the first one's weights with its patches
    put back on the grid, its mean patch against its mean word, and random numbers. A text is the report as the studies table is read,
    without marks of removed words.

    Args:
        matchers: name -> matcher; the first is the one that is evaluated.
        case: what is evaluated.
        out: `ranks.json` there holds the rank of each query: system -> direction -> ranks.
        alignment: the first matcher's, where it has one.

    Raises:
        InputError: a similarity that is not a number.

    Source: Tables 3 and 4 print R@K and name no pool.
    """
    systems = _systems(matchers, case, alignment)
    name, ours = next(iter(systems.items()))
    ranks = {system: pairs.ranks() for system, pairs in systems.items()}
    write_json(out / "ranks.json", {system: {way: found.tolist() for way, found in ways.items()} for system, ways in ranks.items()})
    tables = {"retrieval": _whole(ranks[name], ours.texts, case.seed), "retrieval, exact pair": _exact(ours, case.seed)}
    for title, pools in (("batches of 112", shuffled_pools(len(ours.texts), BATCH)), ("pools of 1,000", _sampled(len(ours.texts), SAMPLE))):
        if pools:
            found = pooled_ranks(ours.to_report, ours.to_film, ours.texts, pools)
            tables[f"retrieval, {title}"] = {way: _pooled(of_way, case.seed) for way, of_way in found.items()}
        else:
            log.info("retrieval, %s: the split has only %d films; left out", title, len(ours.texts))
    tables["retrieval, same findings"] = _same_findings(
        ours, [frozenset(findings_of(study.mesh)) for study in case.cases.studies], case.seed
    )
    others = [system for system in systems if system != name]
    tables |= {f"retrieval, {system}": _whole(ranks[system], ours.texts, case.seed) for system in others}
    tables["retrieval, paired"] = {
        f"{way}, {name} against {system}": _difference(ranks[name][way], ranks[system][way], case.seed)
        for system in others
        for way in (TO_REPORT, TO_FILM)
    }
    return tables


# ---- systems


def _systems(matchers: Mapping[str, AdaMatch], case: Case, alignment: GlobalAlignment | None) -> dict[str, Pairs]:
    """Name -> similarities, each computed once for all pools."""
    films, texts = case.cases.pixels, case.cases.reports
    distinct = list(dict.fromkeys(texts))
    column = [distinct.index(text) for text in texts]
    matcher = next(iter(matchers.values()))
    found: dict[str, Pair] = {}
    for name, other in matchers.items():
        case.progress(f"matching films and reports ({name})", len(found), len(matchers))
        found[name] = similarities(other, films, distinct)
    if alignment is not None:
        overall = alignment.similarity(over_films(lambda pixels: matcher.encode_films(pixels).pooled, films), distinct)
        image_to_text, text_to_image = (torch.from_numpy(side) for side in found[next(iter(matchers))])
        to_report, to_film = alignment.join(image_to_text, text_to_image, overall)
        found |= {JOINED: (to_report.numpy(), to_film.numpy()), GLOBAL: (overall.numpy(), overall.numpy())}
    fixed = on_the_grid(matcher)
    if fixed is not None:
        found[GRID] = similarities(fixed, films, distinct)
    found[POOLED] = _pooled_similarities(matcher, case, distinct)
    random = np.random.default_rng(case.seed).random((len(films), len(distinct)))
    found[RANDOM] = (random, random)
    for name, sides in found.items():
        if any(np.isnan(side).any() for side in sides):
            raise InputError(f"retrieval: similarities of '{name}' hold NaN; are its weights whole?")
    return {name: Pairs(sides[0][:, column], sides[1][:, column], texts) for name, sides in found.items()}


def on_the_grid(matcher: AdaMatch) -> AdaMatch | None:
    """The same weights with every patch at its place of the fixed grid: what the moves alone bring at test time. It is no matcher that was
    trained with fixed patches. None where no patch adapts."""
    fixed = copy.deepcopy(matcher)
    adaptive = [module for module in fixed.modules() if isinstance(module, AdaPatch) and module.adaptive]
    for module in adaptive:
        module.reset_heads()
    return fixed if adaptive else None


@torch.inference_mode()
def _pooled_similarities(matcher: AdaMatch, case: Case, texts: Sequence[str]) -> Pair:
    """Cosine of the mean patch and the mean word: one vector a film and a report, as CLIP has."""
    films = over_films(mean_patch(matcher), case.cases.pixels).unsqueeze(1)  # (n, 1, d): its mean is itself
    found = [matcher.encode_texts(list(texts[start : start + 32])) for start in range(0, len(texts), 32)]
    similarity = torch.cat([pooled(films, words.features.float(), words.mask)[0] for words in found], dim=1).numpy()
    return similarity, similarity


# ---- pools


def _whole(ranks: Ranks, texts: Sequence[str], seed: int) -> Table:
    films, distinct = float(len(texts)), float(len(set(texts)))
    pool, chance = {TO_REPORT: distinct, TO_FILM: films}, retrieval_chance(texts)
    return {way: _row(rank, chance[way], pool[way], 1 - distinct / films, seed) for way, rank in ranks.items()}


def _exact(pairs: Pairs, seed: int) -> Table:
    """Only a film's own report is right; an identical report of another film stands before it."""
    n = len(pairs.texts)
    one, own = np.ones(n, dtype=int), np.eye(n, dtype=bool)
    duplicates = 1 - len(set(pairs.texts)) / n
    ranks = {TO_REPORT: positive_ranks(pairs.to_report, own), TO_FILM: positive_ranks(pairs.to_film.T, own)}
    return {way: _row(rank, positive_chance(one, n), float(n), duplicates, seed) for way, rank in ranks.items()}


def _same_findings(pairs: Pairs, findings: Sequence[frozenset[str]], seed: int) -> Table:
    """Right is any other or the same film's report whose film shows exactly the same findings; unlabelled films are left out. Rows over
    all labelled films, and over those that show a finding (many films are normal, and all their reports are right for one another)."""
    rows = [i for i, shown in enumerate(findings) if shown]
    if not rows:
        return {}
    labels = [findings[i] for i in rows]
    same = np.array([[one == other for other in labels] for one in labels])
    abnormal = np.array([shown != {NORMAL} for shown in labels])
    table: Table = {}
    for way, side in pairs.sides().items():
        square = side[np.ix_(rows, rows)] if way == TO_REPORT else side[np.ix_(rows, rows)].T
        for row, asked in ((way, np.ones(len(rows), dtype=bool)), (f"{way}, abnormal films", abnormal)):
            if asked.any():
                table[row] = _same_row(square[asked], same[asked], seed)
    return table


def _same_row(similarity: Float[np.ndarray, "q c"], same: Bool[np.ndarray, "q c"], seed: int) -> dict[str, Measure]:
    chance = positive_chance(same.sum(1), same.shape[1])
    alone = single(float((same.sum(1) == 1).mean()), len(same))
    return _row(positive_ranks(similarity, same), chance, float(same.shape[1]), None, seed) | {"only its own is right": alone}


def _pooled(found: PooledRanks, seed: int) -> dict[str, Measure]:
    n = found.ranks.shape[1]
    fixed = found.spread() | found.chance | {"pool": found.pool, "duplicate rate": found.duplicate_rate}
    return measure(found.scores, n, seed) | {name: single(value, n) for name, value in fixed.items()}


def _row(
    rank: Int[np.ndarray, " q"], chance: Mapping[str, float], pool: float, duplicate_rate: float | None, seed: int
) -> dict[str, Measure]:
    found = measure(lambda weights: rank_metrics(rank, weights), len(rank), seed)
    fixed = dict(chance) | {f"R@{k} / chance": found[f"R@{k}"].value / chance[f"chance@{k}"] for k in KS} | {"pool": pool}
    fixed |= {} if duplicate_rate is None else {"duplicate rate": duplicate_rate}
    return found | {name: single(value, len(rank)) for name, value in fixed.items()}


def _difference(ours: Int[np.ndarray, " q"], other: Int[np.ndarray, " q"], seed: int) -> dict[str, Measure]:
    found = paired(lambda weights: rank_metrics(ours, weights), lambda weights: rank_metrics(other, weights), len(ours), seed)
    return {name: number for name, number in found.items() if name.startswith("R@")}


def shuffled_pools(n: int, size: int) -> list[list[Pool]]:
    """A split of n films shuffled into batches of `size`, once for each of 20 seeds; nothing where n is less than `size`."""
    return [pools for seed in range(SHUFFLES) if (pools := batches(n, size, seed))]


def _sampled(n: int, size: int) -> list[list[Pool]]:
    return [pools for seed in range(SHUFFLES) if (pools := sample(n, size, seed))]
