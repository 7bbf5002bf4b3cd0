"""The retrieval task: R@K both ways over the whole split, beside chance."""

from __future__ import annotations

from cyclicxr.evaluate.system import Case, Table, similarities
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.metrics.interval import measure, single
from cyclicxr.metrics.retrieval import KS, TO_FILM, TO_REPORT, rank_metrics, retrieval_chance, retrieval_ranks


def score_matching(matcher: AdaMatch, case: Case) -> Table:
    """Direction -> R@K, chance, median rank, pool; films ranked by text-to-image similarity, reports by image-to-text (Eqs. 5-6).

    A text is the report as the studies table is read, without marks of removed words; identical ones are one candidate.

    Source: Tables 3 and 4.
    """
    texts = case.cases.reports
    distinct = list(dict.fromkeys(texts))
    column = [distinct.index(text) for text in texts]
    to_text, to_film = (side[:, column] for side in similarities(matcher, case.cases.pixels, distinct))
    ranks = {TO_REPORT: retrieval_ranks(to_text, texts)[TO_REPORT], TO_FILM: retrieval_ranks(to_film, texts)[TO_FILM]}
    chance = retrieval_chance(texts)
    pool = {TO_REPORT: float(len(distinct)), TO_FILM: float(len(texts))}
    table: Table = {}
    for direction, rank in ranks.items():
        queries = len(rank)
        found = measure(lambda weights, rank=rank: rank_metrics(rank, weights), queries, case.seed)  # type: ignore[misc]
        times = {f"R@{k} / chance": found[f"R@{k}"].value / chance[direction][f"chance@{k}"] for k in KS}
        fixed = chance[direction] | times | {"pool": pool[direction], "duplicate rate": 1 - len(distinct) / len(texts)}
        table[direction] = found | {name: single(value, queries) for name, value in fixed.items()}
    return table
