"""R@K and median rank of retrieval both ways, with exact chance, over any pool; knows no model.

Protocol, which published tables often leave out: the whole pool is ranked; identical reports are *one* text, and every film that
carries it is a positive of it; a tie counts against the positive (so a constant similarity scores last, not first).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from cyclicxr.types import InputError

KS = (1, 5, 10)
TO_REPORT, TO_FILM = "CXR-to-report", "report-to-CXR"


def score_retrieval(similarity: Float[np.ndarray, "films texts"], groups: Sequence[Hashable]) -> dict[str, dict[str, float]]:
    """R@1, R@5, R@10, median rank and chance, film to report and report to film.

    Args:
        similarity: film i against the report of film j; each report a column, identical ones too.
        groups: what makes two reports the same, one entry a film: the text, or an id of it.

    Returns:
        Direction -> metric name -> value: "R@K" and "chance@K" in [0, 1]; "median rank" from 1; "pool" candidates and "queries";
        "duplicate rate", the share of reports whose text occurred before.

    Raises:
        InputError: sizes that do not agree, or a similarity that is not a number.

    Source: Tables 3-5 print R@K; the protocol is ours.
    """
    ranks = retrieval_ranks(similarity, groups)
    chance = retrieval_chance(groups)
    films, texts = float(len(groups)), float(len(set(groups)))
    size = {TO_REPORT: (texts, films), TO_FILM: (films, texts)}
    return {
        direction: {name: float(value[0]) for name, value in rank_metrics(rank, np.ones((1, len(rank)))).items()}
        | chance[direction]
        | {"pool": size[direction][0], "queries": size[direction][1], "duplicate rate": 1 - texts / films}
        for direction, rank in ranks.items()
    }


def retrieval_ranks(similarity: Float[np.ndarray, "films texts"], groups: Sequence[Hashable]) -> dict[str, Int[np.ndarray, " q"]]:
    """Rank (from 1) of the first positive, film by film and text by text (texts in order of first occurrence).

    Raises:
        InputError: as `score_retrieval`.
    """
    similarity = np.asarray(similarity)
    if similarity.shape != (len(groups), len(groups)):
        raise InputError(
            f"score_retrieval: similarity is {similarity.shape}, not {len(groups)} films by as many reports; give one of each a study"
        )
    if not len(groups) or np.isnan(similarity).any():
        raise InputError("score_retrieval: similarity is empty or holds NaN; check the vectors it came from")
    text_of, texts = _texts(groups)
    columns = np.stack([similarity[:, text_of == text].max(1) for text in range(texts)], axis=1)  # (n, t)
    of_film = positive_ranks(columns, np.equal.outer(text_of, np.arange(texts)))
    of_text = positive_ranks(columns.T, np.equal.outer(np.arange(texts), text_of))
    return {TO_REPORT: of_film, TO_FILM: of_text}


def positive_ranks(similarity: Float[np.ndarray, "q c"], positive: Bool[np.ndarray, "q c"]) -> Int[np.ndarray, " q"]:
    """Rank (from 1) of each query's best positive among all candidates; a negative that ties with it stands before it.

    Raises:
        InputError: nothing to rank, a similarity that is not a number, or a query without a positive.
    """
    if similarity.shape != positive.shape or not similarity.size or np.isnan(similarity).any():
        raise InputError(f"positive_ranks: similarity {similarity.shape} is empty, holds NaN, or does not fit positives {positive.shape}")
    if not positive.any(1).all():
        raise InputError(f"positive_ranks: query {int(np.argmin(positive.any(1)))} has no positive; leave it out of the queries")
    best = np.where(positive, similarity, -np.inf).max(1, keepdims=True)
    return np.asarray(1 + (~positive & (similarity >= best)).sum(1))


def positive_chance(positives: Int[np.ndarray, " q"], candidates: int) -> dict[str, float]:
    """Exact R@K of a random order: a query with p positives among c candidates is right with 1 - C(c-p, K) / C(c, K).

    One positive among 4: .25 for K = 1; two of them: .5.
    """
    found = {}
    for k in KS:
        missed = np.ones(len(positives))
        for drawn in range(min(k, candidates)):
            missed *= np.maximum(candidates - positives - drawn, 0) / (candidates - drawn)
        found[f"chance@{k}"] = float(1 - missed.mean())
    return found


def rank_metrics(ranks: Int[np.ndarray, " q"], weights: Float[np.ndarray, "r q"]) -> dict[str, Float[np.ndarray, " r"]]:
    """R@K and (lower) median rank when query i counts `weights[:, i]` times; the pool stays as it is."""
    total = weights.sum(1)
    recalls = {f"R@{k}": weights @ (ranks <= k) / total for k in KS}
    order = np.argsort(ranks, kind="stable")
    half = np.argmax(weights[:, order].cumsum(1) >= total[:, None] / 2, axis=1)
    return recalls | {"median rank": ranks[order][half].astype(float)}


def retrieval_chance(groups: Sequence[Hashable]) -> dict[str, dict[str, float]]:
    """Exact R@K of a random order: K of t texts for a film; for a text with p positives among n films, 1 - C(n-p, K) / C(n, K)."""
    text_of, texts = _texts(groups)
    one = np.ones(len(groups), dtype=int)
    return {TO_REPORT: positive_chance(one, texts), TO_FILM: positive_chance(np.bincount(text_of), len(groups))}


def _texts(groups: Sequence[Hashable]) -> tuple[Int[np.ndarray, " n"], int]:
    number: dict[Hashable, int] = {}
    text_of = np.array([number.setdefault(group, len(number)) for group in groups])
    return text_of, len(number)
