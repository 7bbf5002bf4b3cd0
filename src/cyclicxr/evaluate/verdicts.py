"""What a model cannot do, said from its own numbers beside their baselines; knows the tables' names, and no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cyclicxr.evaluate.tables import cell_of

OURS, SHUFFLED, CONSTANT = "this model", "this model, films shuffled", "always-normal (best constant of train)"
DRAWN, DRAWN_SHUFFLED = "drawn from the true report", "drawn from another film's report"
OTHER_FILMS, RECONSTRUCTED = "other real films (floor)", "VQ-GAN reconstruction (floor)"
NAMED = "right finding named on abnormal"
FEW = 0.2  # [ours] a smaller share of distinct reports is said to be few
_CYCLED = ("feature cosine", "ROUGE-L")
CYCLE, ALL_KINDS, BLIND = "consistency after the cycle", "all kinds", "(blind)"
CHANCE_AREA = 0.5  # AUC of a guess
_NEAR, _NEAR_OF_REAL = "feature distance below 5 % of real films", 0.05
_WORDS = ("BLEU-4", "ROUGE-L", "CIDEr")
_DIRECTIONS = {"CXR-to-report": "the report of a film", "report-to-CXR": "the film of a report"}

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One sentence about a model, and whether it speaks for it."""

    holds: bool
    text: str


def verdicts(metrics: Metrics) -> list[Verdict]:
    """Every sentence that the numbers allow; a comparison holds only where its whole 95 % interval does, where there is one."""
    return [
        verdict
        for rule in (_words, _looking, _variety, _retrieval, _drawing, _copies, _cycle, _checking, _grounding)
        for verdict in rule(metrics)
    ]


def shortcomings(metrics: Metrics) -> tuple[str, ...]:
    """What the model cannot do, a sentence each."""
    return tuple(verdict.text for verdict in verdicts(metrics) if not verdict.holds)


def strengths(metrics: Metrics) -> tuple[str, ...]:
    """What it can, a sentence each."""
    return tuple(verdict.text for verdict in verdicts(metrics) if verdict.holds)


def _words(metrics: Metrics) -> Iterator[Verdict]:
    for metric in _WORDS:
        found = _compared(metrics, "report", OURS, CONSTANT, metric)
        if found:
            above, numbers = found
            yield Verdict(above, f"{metric} is {'' if above else 'not '}above that of one report written for every film ({numbers}).")


def _looking(metrics: Metrics) -> Iterator[Verdict]:
    found = _compared(metrics, "report", OURS, SHUFFLED, "BLEU-4")
    if found:
        above, numbers = found
        said = "The wording depends on the film" if above else "The wording does not depend on the film"
        than = "above" if above else "not above"
        yield Verdict(above, f"{said}: BLEU-4 of its reports is {than} that of the same reports given to other films ({numbers}).")
    found = _compared(metrics, "report", OURS, SHUFFLED, NAMED)
    if found:
        above, numbers = found
        share = metrics["report"][OURS][NAMED]["value"]
        than = "more often than" if above else "no more often than"
        yield Verdict(above, f"It names a right finding on {share:.0%} of abnormal films, {than} reports of other films do ({numbers}).")
        if share < 0.5:
            yield Verdict(False, f"On {1 - share:.0%} of abnormal films it names no finding that is there.")


def _variety(metrics: Metrics) -> Iterator[Verdict]:
    ours = metrics.get("report", {}).get(OURS, {})
    share = ours.get("distinct outputs", {}).get("value")
    if share is not None and share < FEW:
        yield Verdict(False, f"Only {share:.0%} of its reports are distinct.")
    empty = ours.get("empty outputs", {}).get("value")
    if empty:
        yield Verdict(False, f"{empty:.0f} of its reports are empty.")


def _retrieval(metrics: Metrics) -> Iterator[Verdict]:
    for direction, what in _DIRECTIONS.items():
        numbers = metrics.get("retrieval", {}).get(direction, {})
        if not {"R@1", "R@10", "chance@10"} <= set(numbers) or numbers["chance@10"]["value"] >= 1:
            continue  # a pool of ten or fewer says nothing
        ten, chance = numbers["R@10"], numbers["chance@10"]["value"]
        above = (ten["value"] if ten["low"] is None else ten["low"]) > chance
        shown = f"{' '.join(cell_of(ten, 'R@10'))} against {chance:.3f}"
        yield Verdict(above, f"Among the ten best it finds {what} {'more often than' if above else 'no more often than'} chance ({shown}).")
        first = numbers["R@1"]["value"]
        if first < 0.5:
            yield Verdict(False, f"It ranks {what} first for {first:.1%} of {numbers['R@1']['n']}.")


def _drawing(metrics: Metrics) -> Iterator[Verdict]:
    table = metrics.get("draw", {})
    drawn, real = (table.get(name, {}).get("FID") for name in (DRAWN, OTHER_FILMS))
    if drawn and real:
        close = drawn["value"] <= real["value"]
        text = f"FID of drawn films is {drawn['value']:.3g}; that of as many other real films is {real['value']:.3g}"
        yield Verdict(close, f"{text}." if close else f"{text}: drawn films are told from real ones.")
    found = _compared(metrics, "draw", DRAWN, DRAWN_SHUFFLED, "finding AUC")
    if found:
        above, numbers = found
        shown = "show" if above else "do not show"
        yield Verdict(above, f"Drawn films {shown} what was asked for (finding AUC {numbers} from other reports).")


def _copies(metrics: Metrics) -> Iterator[Verdict]:
    number = metrics.get("draw, nearest training film", {}).get(DRAWN, {}).get(_NEAR)
    if number:
        low = number["value"] if number["low"] is None else number["low"]
        copies = low > _NEAR_OF_REAL
        shown = f"{number['value']:.0%} of drawn films are nearer to a training film than 95% of real films are"
        yield Verdict(not copies, f"{shown} ({'more than' if copies else 'not surely more than'} the {_NEAR_OF_REAL:.0%} of real ones).")


def _cycle(metrics: Metrics) -> Iterator[Verdict]:
    for row, found in metrics.get("cycle, paired", {}).items():
        for metric in _CYCLED:
            number = found.get(metric)
            if number and number["low"] is not None:
                above = number["low"] > 0
                shown = " ".join(cell_of(number, metric))
                yield Verdict(above, f"{row.capitalize()}: {'nearer' if above else 'no nearer'} to its original by {metric} ({shown}).")


def _checking(metrics: Metrics) -> Iterator[Verdict]:
    rows = metrics.get("consistency", {})
    number = rows.get(CYCLE, {}).get(ALL_KINDS)
    if number:
        above = (number["value"] if number["low"] is None else number["low"]) > CHANCE_AREA
        said = "tells" if above else "does not tell"
        shown = " ".join(cell_of(number, "AUC"))
        yield Verdict(above, f"The consistency check {said} a true sentence from one made false by rule (AUC {shown}; chance is 0.5).")
    for name, found in rows.items():
        if number and BLIND in name and found.get(ALL_KINDS, {}).get("value", 0.0) >= number["value"]:
            yield Verdict(False, f"It tells them no better than what never sees its film: {name} (AUC {found[ALL_KINDS]['value']:.3f}).")


def _grounding(metrics: Metrics) -> Iterator[Verdict]:
    for other in metrics.get("grounding", {}):
        if other == OURS:
            continue
        found = _compared(metrics, "grounding", OURS, other, "pointing game")
        if found:
            above, numbers = found
            yield Verdict(
                above, f"The best patch of a phrase lies in its box {'more' if above else 'no more'} often than: {other} ({numbers})."
            )


def _compared(metrics: Metrics, table: str, ours: str, other: str, metric: str) -> tuple[bool, str] | None:
    """Whether ours is above the other, and the numbers; by the paired difference where there is one. None without both."""
    rows = metrics.get(table, {})
    pair = [rows.get(name, {}).get(metric) for name in (ours, other)]
    if pair[0] is None or pair[1] is None:
        return None
    shown = f"{pair[0]['value']:.3f} against {pair[1]['value']:.3f}"
    difference = metrics.get(f"{table}, paired", {}).get(f"{ours} against {other}", {}).get(metric)
    if difference is None:
        return pair[0]["value"] > pair[1]["value"], shown
    above = difference["low"] > 0 if difference["low"] is not None else difference["value"] > 0
    return above, f"{shown}, difference {' '.join(cell_of(difference, metric))}"
