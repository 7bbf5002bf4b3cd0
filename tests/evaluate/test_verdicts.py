"""What is said of a model follows from its numbers: a difference counts where its whole interval does; what is missing is left out."""

import pytest

from cyclicxr.evaluate.verdicts import (
    CONSTANT,
    CYCLE,
    DRAWN,
    DRAWN_SHUFFLED,
    NAMED,
    OTHER_FILMS,
    OURS,
    SHUFFLED,
    shortcomings,
    strengths,
    verdicts,
)


def number(value, low=None, high=None, n=40, p=None):
    return {"value": value, "low": low, "high": high, "n": n} | ({} if p is None else {"p": p})


METRICS = {
    "report": {
        OURS: {"BLEU-4": number(0.12), NAMED: number(0.3), "distinct outputs": number(0.1), "empty outputs": number(2.0)},
        SHUFFLED: {"BLEU-4": number(0.11), NAMED: number(0.1)},
        CONSTANT: {"BLEU-4": number(0.10)},
    },
    "report, paired": {
        f"{OURS} against {CONSTANT}": {"BLEU-4": number(0.02, 0.01, 0.03, p=0.002)},
        f"{OURS} against {SHUFFLED}": {"BLEU-4": number(0.01, -0.01, 0.03, p=0.2)},
    },
    "retrieval": {"CXR-to-report": {"R@1": number(0.02, 0.0, 0.05), "R@10": number(0.1, 0.02, 0.2), "chance@10": number(0.025)}},
    "draw": {
        DRAWN: {"FID": number(20.0), "finding AUC": number(0.7)},
        DRAWN_SHUFFLED: {"finding AUC": number(0.5)},
        OTHER_FILMS: {"FID": number(3.0)},
    },
}


def test_the_sentences_by_hand():
    assert shortcomings(METRICS) == (
        "The wording does not depend on the film: BLEU-4 of its reports is not above that of the same reports given to other films "
        "(0.120 against 0.110, difference 0.010 [-0.010, 0.030] p = 0.200).",
        "On 70% of abnormal films it names no finding that is there.",
        "Only 10% of its reports are distinct.",
        "2 of its reports are empty.",
        "Among the ten best it finds the report of a film no more often than chance (0.100 [0.020, 0.200] against 0.025).",
        "It ranks the report of a film first for 2.0% of 40.",
        "FID of drawn films is 20; that of as many other real films is 3: drawn films are told from real ones.",
    )
    assert strengths(METRICS) == (
        "BLEU-4 is above that of one report written for every film (0.120 against 0.100, difference 0.020 [0.010, 0.030] p = 0.002).",
        "It names a right finding on 30% of abnormal films, more often than reports of other films do (0.300 against 0.100).",
        "Drawn films show what was asked for (finding AUC 0.700 against 0.500 from other reports).",
    )


@pytest.mark.parametrize(("low", "holds"), [(0.026, True), (0.024, False)])
def test_retrieval_is_above_chance_where_its_interval_is(low, holds):
    metrics = {"retrieval": {"CXR-to-report": METRICS["retrieval"]["CXR-to-report"] | {"R@10": number(0.1, low, 0.2)}}}
    assert verdicts(metrics)[0].holds is holds


def test_copies_and_places():
    grounding = {OURS: {"pointing game": number(0.2)}, "a box at random": {"pointing game": number(0.1)}}
    paired = {f"{OURS} against a box at random": {"pointing game": number(0.1, -0.05, 0.2, p=0.3)}}
    near = {DRAWN: {"feature distance below 5 % of real films": number(0.3, 0.2, 0.4)}}
    assert shortcomings({"grounding": grounding, "grounding, paired": paired, "draw, nearest training film": near}) == (
        "30% of drawn films are nearer to a training film than 95% of real films are (more than the 5% of real ones).",
        "The best patch of a phrase lies in its box no more often than: a box at random (0.200 against 0.100, difference 0.100 "
        "[-0.050, 0.200] p = 0.300).",
    )


@pytest.mark.parametrize(("low", "holds"), [(0.51, True), (0.49, False)])
def test_a_check_is_above_chance_where_its_interval_is(low, holds):
    rows = {CYCLE: {"all kinds": number(0.55, low, 0.6)}, "fewer words (blind)": {"all kinds": number(0.7)}, "other": {}}
    first, second = verdicts({"consistency": rows})
    assert first.holds is holds
    assert second.text == "It tells them no better than what never sees its film: fewer words (blind) (AUC 0.700)."


def test_a_cycle_is_compared_with_shuffled_pairs():
    found = {"film drawn, against others": {"feature cosine": number(0.2, 0.1, 0.3, p=0.01), "FID": number(1.0, 0.5, 2.0)}}
    assert strengths({"cycle, paired": found}) == (
        "Film drawn, against others: nearer to its original by feature cosine (0.200 [0.100, 0.300] p = 0.010).",
    )


def test_nothing_is_said_of_what_was_not_measured():
    assert verdicts({"about": {}}) == []
