"""Many sampled reports of one film -> one report: the sentences that say most of what the samples say, those that fit the film counting
more, and those that name what the film is likely to show. Knows texts and the global alignment; no language model.

Minimum Bayes risk decoding (Kumar & Byrne 2004), sentence by sentence and not report by report: of 64 samples no one has all the right
sentences (docs/decisions/0024-consensus-reports.md).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from cyclicxr.data.reports import sentences
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.metrics.coherence import contradicting, repeating

ORDERS = 4  # n-grams of 1 to 4 words, as BLEU-4 reads them
RECALL = 1.4  # [ours] beta squared: what the samples say weighs more than brevity
FINDING = 0.3  # [ours] worth of naming a finding that is certain, less the same for
LIKELY = 0.07  # [ours] the probability from which on a finding is worth its sentence
LONGEST = 12  # sentences at most
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Findings:
    """What a film may show.

    Args:
        chances: finding -> the probability that the film's report affirms it, in [0, 1].
        named: which findings a sentence affirms; others than those of `chances` count nothing.
    """

    chances: Mapping[str, float]
    named: Callable[[str], Collection[str]]


UNKNOWN = Findings({}, lambda sentence: ())


def compose_for(film: Float[Tensor, " f"], texts: Sequence[str], alignment: GlobalAlignment, belief: float, findings: Findings) -> str:
    """`compose`, where a sample counts exp(its similarity with the film / `belief`).

    Args:
        film: its pooled patches.
        texts: sampled reports.
        alignment: of film and texts.
        belief: > 0; the smaller, the fewer samples count.
        findings: what the film may show.
    """
    return compose(texts, (alignment.similarity(film[None], texts)[0] / belief).exp().tolist(), findings, alignment.text.words)


def compose(texts: Sequence[str], weights: Sequence[float], findings: Findings = UNKNOWN, words: Collection[str] = ()) -> str:
    """The report of greatest expected worth, hill-climbed from the best sample by adding, leaving out and exchanging sentences.

    A report is worth, against a sample, F of the n-grams that they share, (1 + r) shared / (r of the sample + its own), r = `RECALL`; and
    against all of them the mean by weight. Each finding that it affirms adds `FINDING` (p - `LIKELY`), p its probability. No two of its
    sentences contradict or repeat each other; they stand in the order that samples have them.

    Args:
        texts: sampled reports of one film; empty ones are left out.
        weights: how much each counts, > 0.
        findings: what the film may show.
        words: known ones, lower case. A sampled word can be none at all: one that is not known and in one sample alone is not written.
            Without known words all are.

    Returns:
        The report; "" where no sample has a word.
    """
    kept = [(text, weight) for text, weight in zip(texts, weights, strict=True) if _grams(text)]
    if not kept:
        return ""
    pool = _Pool.of([text for text, _ in kept], np.array([weight for _, weight in kept]), findings, words)
    chosen = _climb(pool, pool.first())
    return " ".join(_ended(pool.sentences[i]) for i in sorted(chosen, key=lambda i: pool.places[i]))


@dataclass(frozen=True)
class _Pool:
    """All sentences of the samples.

    Args:
        sentences: the s distinct ones.
        places: (s,) where in a report each stands, from 0 (first) to 1.
        grams: (s, g) the n-grams of each.
        lengths: (s,) how many those are.
        samples: (m, g) the n-grams of each sample.
        sizes: (m,) how many those are.
        weights: (m,) of the samples, sum 1.
        members: the sentences of each sample.
        against: (s, s) which can't stand together, for one contradicts or repeats the other; on the diagonal what can't stand at all.
        named: (s, f) which findings each affirms, 0 or 1.
        gains: (f,) what it is worth to name each.
    """

    sentences: list[str]
    places: Float[np.ndarray, " s"]
    grams: Float[np.ndarray, "s g"]
    lengths: Float[np.ndarray, " s"]
    samples: Float[np.ndarray, "m g"]
    sizes: Float[np.ndarray, " m"]
    weights: Float[np.ndarray, " m"]
    members: list[list[int]]
    against: Bool[np.ndarray, "s s"]
    named: Float[np.ndarray, "s f"]
    gains: Float[np.ndarray, " f"]

    @classmethod
    def of(cls, texts: Sequence[str], weights: Float[np.ndarray, " m"], findings: Findings = UNKNOWN, words: Collection[str] = ()) -> _Pool:
        number: dict[str, int] = {}
        seen: dict[int, list[float]] = {}
        members = []
        for text in texts:
            found = _telling(text)
            members.append([number.setdefault(sentence, len(number)) for sentence in found])
            for place, i in enumerate(members[-1]):
                seen.setdefault(i, []).append(place / max(1, len(found) - 1))
        column = {gram: i for i, gram in enumerate(sorted({gram for text in texts for gram in _grams(text)}))}
        grams, samples = (_presence([_grams(text) for text in of], column) for of in (number, texts))
        place_of = {finding: i for i, finding in enumerate(findings.chances)}
        named = _presence([place_of.keys() & findings.named(sentence) if place_of else () for sentence in number], place_of)
        return cls(
            sentences=list(number),
            places=np.array([float(np.mean(seen[i])) for i in range(len(number))]),
            grams=grams,
            lengths=grams.sum(1),
            samples=samples,
            sizes=samples.sum(1),
            weights=(weights / weights.sum()).astype(np.float32),
            members=members,
            against=_exclusive(list(number), texts, words),
            named=named,
            gains=FINDING * (np.array(list(findings.chances.values()), dtype=np.float32) - np.float32(LIKELY)),
        )

    def worth(
        self, held: Float[np.ndarray, "k g"], length: Float[np.ndarray, " k"], named: Float[np.ndarray, "k f"]
    ) -> Float[np.ndarray, " k"]:
        """Of reports that hold these n-grams, repeated ones counted in their length alone, and name these findings."""
        shared = held @ self.samples.T
        return np.asarray(((1 + RECALL) * shared / (RECALL * self.sizes + length[:, None])) @ self.weights + named @ self.gains)

    def held(self, rows: Sequence[int]) -> tuple[Float[np.ndarray, "1 g"], Float[np.ndarray, 1], Float[np.ndarray, "1 f"]]:
        """What these sentences hold together, as `worth` takes it: n-grams, length, findings."""
        chosen = list(rows)
        grams, named = (of[chosen].max(0, initial=0, keepdims=True) for of in (self.grams, self.named))
        return grams, self.lengths[chosen].sum(keepdims=True), named

    def value(self, rows: Sequence[int]) -> float:
        """What a report of these sentences is worth."""
        return float(self.worth(*self.held(rows))[0])

    def first(self) -> list[int]:
        """Sentences of the best sample, less those that can't stand beside an earlier one or at all."""
        named = np.concatenate([self.held(members)[2] for members in self.members])
        best = self.members[int(self.worth(self.samples, self.sizes, named).argmax())]
        chosen: list[int] = []
        for i in best:
            if i not in chosen and not self.against[i, [i, *chosen]].any():
                chosen.append(i)
        return chosen


def _climb(pool: _Pool, chosen: list[int]) -> list[int]:
    """The best of all reports that differ from `chosen` in one sentence, again and again while it is better."""
    value = pool.value(chosen)
    while True:
        best, following = max(_steps(pool, chosen), key=lambda step: step[0], default=(value, chosen))
        if best <= value + 1e-6:
            return chosen
        value, chosen = best, following


def _steps(pool: _Pool, chosen: list[int]) -> Iterator[tuple[float, list[int]]]:
    for rest in [chosen, *(chosen[:i] + chosen[i + 1 :] for i in range(len(chosen)))]:
        if rest and rest is not chosen:
            yield pool.value(rest), rest
        if len(rest) < LONGEST:
            held, length, named = pool.held(rest)
            values = pool.worth(np.maximum(pool.grams, held), pool.lengths + length, np.maximum(pool.named, named))
            values[pool.against[:, rest].any(1) | pool.against.diagonal()] = -np.inf
            values[chosen] = -np.inf
            added = int(values.argmax())
            yield float(values[added]), [*rest, added]


def _telling(text: str) -> list[str]:
    """Its sentences without those of one word, which name a part and say nothing of it ("Heart."), unless there are no others."""
    found = [sentence for sentence, _, _ in sentences(text)]
    return [sentence for sentence in found if len(_WORD.findall(sentence)) > 1] or found


def _ended(sentence: str) -> str:
    """With a full stop where it has no end of its own, so that two sentences do not run into one."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _words(text: str) -> set[str]:
    """Its words in lower case, numbers left out."""
    return {word for word in _WORD.findall(text.lower()) if not any(letter.isdigit() for letter in word)}


def _grams(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[i : i + n]) for n in range(1, ORDERS + 1) for i in range(len(words) - n + 1)}


def _presence(held: Sequence[Collection[Hashable]], column: Mapping[Any, int]) -> Float[np.ndarray, "n g"]:
    table = np.zeros((len(held), len(column)), dtype=np.float32)
    for row, found in zip(table, held, strict=True):
        row[[column[each] for each in found]] = 1
    return table


def _exclusive(found: Sequence[str], texts: Sequence[str], words: Collection[str]) -> Bool[np.ndarray, "s s"]:
    """Which sentences can't stand together; what contradicts itself or holds a strange word can't stand at all, unless all are such."""
    clash = contradicting(found)
    said = Counter(word for text in texts for word in _words(text))
    strange = [bool(words) and any(said[word] < 2 and word not in words for word in _words(sentence)) for sentence in found]
    alone = clash.diagonal() | np.array(strange)
    np.fill_diagonal(clash, alone & ~alone.all())
    return np.asarray(clash | repeating(found))
