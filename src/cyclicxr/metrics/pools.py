"""Retrieval in pools smaller than the split: batches, or samples of N, drawn by several seeds; knows no model.

Published tables often rank inside test batches or samples and do not say so: the smaller the pool, the higher R@K.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cyclicxr.metrics.retrieval import KS, TO_FILM, TO_REPORT, rank_metrics, retrieval_chance, retrieval_ranks

Pool = Int[np.ndarray, " m"]  # rows of the split


@dataclass(frozen=True)
class PooledRanks:
    """Ranks of one direction, a row a seed.

    Args:
        ranks: (seeds, n) rank of each film's query in its pool, from 1; 0 where it is none (left over, or its text asked before).
        chance: "chance@K" -> exact R@K of a random order, mean over pools and seeds.
        duplicate_rate: share of reports in a pool whose text occurred before in it, mean over pools and seeds.
        pool: candidates of a query, mean over pools and seeds (identical reports are one candidate).
    """

    ranks: Int[np.ndarray, "s n"]
    chance: dict[str, float]
    duplicate_rate: float
    pool: float

    def scores(self, weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        """R@K and median rank when film i counts `weights[:, i]` times, mean over the seeds."""
        by_seed = [rank_metrics(ranks[ranks > 0], weights[:, ranks > 0]) for ranks in self.ranks]
        return {name: np.mean([found[name] for found in by_seed], axis=0) for name in by_seed[0]}

    def spread(self) -> dict[str, float]:
        """Standard deviation of each R@K over the seeds: what another shuffle would print."""
        one = np.ones((1, self.ranks.shape[1]))
        by_seed = [rank_metrics(ranks[ranks > 0], one[:, ranks > 0]) for ranks in self.ranks]
        return {f"R@{k} sd of seeds": float(np.std([found[f"R@{k}"][0] for found in by_seed])) for k in KS}


def batches(n: int, size: int, seed: int) -> list[Pool]:
    """The split shuffled into batches of `size` films; what is left over belongs to none. A split of fewer films has no batch."""
    order = np.random.default_rng(seed).permutation(n)
    return [order[start : start + size] for start in range(0, n - size + 1, size)]


def sample(n: int, size: int, seed: int) -> list[Pool]:
    """One pool of `size` films; a split of fewer has none."""
    return [np.random.default_rng(seed).permutation(n)[:size]] if n >= size else []


def pooled_ranks(
    to_report: Float[np.ndarray, "n n"], to_film: Float[np.ndarray, "n n"], groups: Sequence[Hashable], pools: Sequence[Sequence[Pool]]
) -> dict[str, PooledRanks]:
    """Rank both ways inside pools; identical reports of a pool are one text, as in the whole split.

    Args:
        to_report: film i against the report of film j, for finding reports.
        to_film: the same pair, for finding films.
        groups: what makes two reports the same, one entry a film.
        pools: for each seed its pools, none of which share a film; at least one a seed.

    Raises:
        InputError: as `score_retrieval`.
    """
    n = len(groups)
    ranks = {way: np.zeros((len(pools), n), dtype=int) for way in (TO_REPORT, TO_FILM)}
    chances: dict[str, list[dict[str, float]]] = {TO_REPORT: [], TO_FILM: []}
    texts, films = [], []
    for seed, of_seed in enumerate(pools):
        for pool in of_seed:
            inside, square = [groups[i] for i in pool], np.ix_(pool, pool)
            first = {group: row for row, group in reversed(list(zip(pool.tolist(), inside, strict=True)))}
            queries = list(dict.fromkeys(inside))
            ranks[TO_REPORT][seed, pool] = retrieval_ranks(to_report[square], inside)[TO_REPORT]
            ranks[TO_FILM][seed, [first[text] for text in queries]] = retrieval_ranks(to_film[square], inside)[TO_FILM]
            for way, chance in retrieval_chance(inside).items():
                chances[way].append(chance)
            texts.append(len(queries))
            films.append(len(pool))
    duplicates = float(np.mean([1 - text / film for text, film in zip(texts, films, strict=True)]))
    size = {TO_REPORT: float(np.mean(texts)), TO_FILM: float(np.mean(films))}
    return {
        way: PooledRanks(
            ranks[way], {name: float(np.mean([chance[name] for chance in chances[way]])) for name in chances[way][0]}, duplicates, size[way]
        )
        for way in ranks
    }
