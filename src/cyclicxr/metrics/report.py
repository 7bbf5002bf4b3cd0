"""BLEU-1..4, ROUGE-L, METEOR and CIDEr of written reports, as pycocoevalcap defines them, one reference a report; knows no model.

References are scored as they are given: OpenI's with their `XXXX`, as the field does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test
from pycocoevalcap.cider.cider import Cider

from cyclicxr.metrics.ptb import Meteor, nltk_meteor, open_meteor, tokenize, tokenizer_name
from cyclicxr.types import InputError

_ORDERS = 4
_BETA = 1.2  # of ROUGE-L's F, as in pycocoevalcap
_SMALL, _TINY = 1e-9, 1e-15  # as in pycocoevalcap's BLEU


class ReportScores(dict[str, float]):
    """Metric name -> value, with the tokenization that the values rest on.

    Args:
        values: in [0, 1], except CIDEr in [0, 10] and "empty outputs", a count.
        tokenizer: its name; numbers of two tokenizers are not comparable.
    """

    def __init__(self, values: Mapping[str, float], tokenizer: str) -> None:
        super().__init__(values)
        self.tokenizer = tokenizer


@dataclass(frozen=True)
class ReportStatistics:
    """What the metrics count of each report; a corpus score is a function of sums over reports, so resampling them is cheap.

    Args:
        bleu: (n, 10): n-grams of the hypothesis and those found in the reference, for n = 1..4; words of hypothesis and reference.
        rouge: (n,) ROUGE-L of each report.
        cider: (n,) CIDEr of each report, document frequencies over all n references.
        meteor: (n, 23) counts of METEOR 1.5, or (n, 1) nltk's METEOR where there is no Java.
        process: METEOR's, open while the scores are asked for; None without Java.
    """

    bleu: Float[np.ndarray, "n 10"]
    rouge: Float[np.ndarray, " n"]
    cider: Float[np.ndarray, " n"]
    meteor: Float[np.ndarray, "n m"]
    process: Meteor | None

    def scores(self, weights: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        """Each metric of the corpus in which report i occurs `weights[:, i]` times."""
        bleu = bleu_of(weights @ self.bleu)
        total = weights.sum(1)
        scores = {f"BLEU-{order + 1}": bleu[:, order] for order in range(_ORDERS)}
        if self.process is None:
            scores["METEOR (nltk, exact + stem)"] = weights @ self.meteor[:, 0] / total
        else:
            scores["METEOR"] = self.process.scores(weights @ self.meteor)
        return scores | {"ROUGE-L": weights @ self.rouge / total, "CIDEr": weights @ self.cider / total}


def score_reports(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> ReportScores:
    """Corpus scores of hypotheses against one reference each.

    An empty hypothesis is scored as empty, and counted. Beside the metrics: the share of distinct outputs (a model that writes one
    report for every film has 1/n) and the number of empty ones. Without Java there is no METEOR 1.5: nltk's METEOR, another metric,
    then stands under another name, and nltk's tokenization is used.

    Args:
        references: id -> report.
        hypotheses: id -> report, the same ids.

    Raises:
        InputError: no reports, ids that differ, or a reference of no words.

    Source: Table 1; definitions of pycocoevalcap.
    """
    check_ids(references, hypotheses)
    names = list(references)
    with open_meteor() as meteor:
        statistics = report_statistics([references[name] for name in names], [hypotheses[name] for name in names], meteor)
        scores = {name: float(value[0]) for name, value in statistics.scores(np.ones((1, len(names)))).items()}
    return ReportScores(scores | output_counts(list(hypotheses.values())), tokenizer_name())


def check_ids(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> None:
    """Refuse references and hypotheses that don't belong together.

    Raises:
        InputError: no references, or ids on one side only.
    """
    if not references:
        raise InputError("score_reports: no references; give one report a study")
    missing, extra = sorted(set(references) - set(hypotheses)), sorted(set(hypotheses) - set(references))
    if missing:
        raise InputError(f"score_reports: {len(missing)} references have no hypothesis, '{missing[0]}' first; write an empty one")
    if extra:
        raise InputError(f"score_reports: {len(extra)} hypotheses have no reference, '{extra[0]}' first; leave them out")


def report_statistics(references: Sequence[str], hypotheses: Sequence[str], meteor: Meteor | None) -> ReportStatistics:
    """Count what the metrics need of each pair.

    Raises:
        InputError: a reference of no words.
    """
    words = tokenize([*references, *hypotheses])
    gold, written = words[: len(references)], words[len(references) :]
    empty = [i for i, tokens in enumerate(gold) if not tokens]
    if empty:
        raise InputError(f"score_reports: reference {empty[0] + 1} of {len(gold)} has no words; leave studies without a report out")
    joined, joined_written = [" ".join(tokens) for tokens in gold], [" ".join(tokens) for tokens in written]
    _, cider = Cider().compute_score(*({str(i): [text] for i, text in enumerate(side)} for side in (joined, joined_written)))
    pairs = list(zip(gold, written, strict=True))
    counts = np.array([[nltk_meteor(*pair)] for pair in pairs]) if meteor is None else meteor.statistics(joined, joined_written)
    return ReportStatistics(
        bleu=np.array([_bleu_counts(*pair) for pair in pairs], dtype=float),
        rouge=np.array([rouge_l(*pair) for pair in pairs]),
        cider=np.asarray(cider, dtype=float),
        meteor=counts,
        process=meteor,
    )


def bleu_of(sums: Float[np.ndarray, "r 10"]) -> Float[np.ndarray, "r 4"]:
    """BLEU-1..4 from summed counts (see `ReportStatistics.bleu`), with the brevity penalty.

    Guessed 10 unigrams of which 5 are right, 10 words in the reference: BLEU-1 is 5/10.
    """
    guessed, right, written, gold = sums[:, :4], sums[:, 4:8], sums[:, 8], sums[:, 9]
    precision = np.cumprod((right + _TINY) / (guessed + _SMALL), axis=1) ** (1 / np.arange(1, _ORDERS + 1))
    ratio = (written + _TINY) / (gold + _SMALL)
    return np.asarray(precision * np.exp(np.minimum(0, 1 - 1 / ratio))[:, None])


def rouge_l(reference: Sequence[str], hypothesis: Sequence[str]) -> float:
    """F (beta 1.2) of the longest common subsequence, in [0, 1].

    "heart is normal" against "heart normal": 2 words in order, recall 2/3, precision 1.
    """
    if not reference or not hypothesis:
        return 0.0
    common = _common_subsequence(reference, hypothesis)
    precision, recall = common / len(hypothesis), common / len(reference)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision) if common else 0.0


def output_counts(hypotheses: Sequence[str]) -> dict[str, float]:
    """Share of distinct outputs (white space aside) and number of empty ones."""
    texts = Counter(" ".join(text.split()) for text in hypotheses)
    return {"distinct outputs": len(texts) / len(hypotheses), "empty outputs": float(texts[""])}


def _bleu_counts(reference: list[str], hypothesis: list[str]) -> list[int]:
    counts = cook_test(" ".join(hypothesis), cook_refs([" ".join(reference)]))
    return [*counts["guess"], *counts["correct"], len(hypothesis), len(reference)]


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table at a time as the bits of one integer (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for i, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << i
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        shared = row & places.get(word, 0)
        row = (row + shared | row - shared) & every
    return len(first) - row.bit_count()
