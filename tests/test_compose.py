"""Many samples -> one report: the worth of a report by hand, contradictions, order, and that no step could make it better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclicxr.compose import FINDING, LIKELY, LONGEST, RECALL, UNKNOWN, Findings, _climb, _Pool, compose, compose_for
from cyclicxr.match.global_alignment import GlobalAlignment, TextSpace

SENTENCES = ["The heart is large.", "The spine is straight.", "No pneumothorax.", "There is a nodule.", "Old rib fracture."]


def pool(texts: list[str], weights: list[float], findings: Findings = UNKNOWN) -> _Pool:
    return _Pool.of(texts, np.array(weights), findings)


def may_show(**chances: float) -> Findings:
    return Findings(chances, lambda sentence: {word for word in ("nodule", "fracture", "heart") if word in sentence})


def test_worth_by_hand():
    """a b c and a b d have 6 n-grams each and share a, b and a b: 2.4 x 3 / (1.4 x 6 + 6) = .5; with itself each has 1. Weights 3 and 1."""
    assert RECALL == 1.4
    found = pool(["a b c", "a b d"], [3.0, 1.0])
    worth = found.worth(found.samples, found.sizes, found.named)
    assert worth.tolist() == pytest.approx([0.75 + 0.25 * 0.5, 0.25 + 0.75 * 0.5])


def test_the_worth_of_findings_by_hand():
    """A nodule (p = .6) adds .3 x (.6 - .07) to a report that names it, however often; a fracture (p = .05) takes .3 x .02; a heart
    that nothing is known of adds nothing.
    """
    assert (FINDING, LIKELY) == (0.3, 0.07)
    texts = ["There is a nodule. A nodule in the heart.", "Old rib fracture. There is a nodule.", "The heart is large."]
    known, unknown = pool(texts, [1.0] * 3, may_show(nodule=0.6, fracture=0.05)), pool(texts, [1.0] * 3)
    named = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert np.array_equal([known.named[rows].max(0) for rows in known.members], named)
    gained = known.worth(known.samples, known.sizes, named) - unknown.worth(unknown.samples, unknown.sizes, np.zeros((3, 0)))
    assert gained.tolist() == pytest.approx([0.159, 0.159 - 0.006, 0.0])


def test_a_likely_finding_is_named_though_most_samples_do_not():
    samples = [SENTENCES[1]] * 4 + [f"{SENTENCES[1]} {SENTENCES[3]}"] * 3
    for chance, said in ((0.0, SENTENCES[1]), (LIKELY, SENTENCES[1]), (1.0, f"{SENTENCES[1]} {SENTENCES[3]}")):
        assert compose(samples, [1.0] * 7, may_show(nodule=chance)) == said


def test_the_sentences_that_most_samples_say_are_put_together():
    """No sample holds all three; each is in two of three."""
    samples = [" ".join([SENTENCES[0], SENTENCES[1]]), " ".join([SENTENCES[1], SENTENCES[2]]), " ".join([SENTENCES[0], SENTENCES[2]])]
    assert compose(samples, [1.0, 1.0, 1.0]) == " ".join(SENTENCES[:3])


def test_a_heavy_sample_decides():
    samples = [SENTENCES[1], SENTENCES[1], SENTENCES[3]]
    assert compose(samples, [10.0, 10.0, 1.0]) == SENTENCES[1]
    assert compose(samples, [1.0, 1.0, 50.0]) == SENTENCES[3]


def test_sentences_stand_where_the_samples_have_them():
    samples = ["There is a nodule. The heart is large.", "There is a nodule. The spine is straight. The heart is large."]
    assert compose(samples, [1.0, 1.2]).startswith("There is a nodule.")


def test_a_finding_is_not_affirmed_and_denied():
    """The samples are of two minds; the report is of one."""
    yes, no = "There is a pleural effusion.", "No pleural effusion."
    for weights, kept, left in (([2.0, 1.0], yes, no), ([1.0, 2.0], no, yes)):
        report = compose([f"{SENTENCES[4]} {yes}", f"{SENTENCES[4]} {no}"], weights)
        assert kept in report and left not in report


def test_a_finding_is_not_denied_with_what_is_wider():
    """ "Normal" of the whole silhouette leaves no enlarged heart: the heavier sample decides which is said."""
    large, normal = "Mild cardiomegaly.", "Cardiomediastinal silhouette is normal."
    for weights, kept, left in (([2.0, 1.0], large, normal), ([1.0, 2.0], normal, large)):
        report = compose([f"{SENTENCES[4]} {large}", f"{SENTENCES[4]} {normal}"], weights)
        assert kept in report and left not in report


def test_nothing_is_said_twice():
    """Each sample denies the effusion in its own words, and the report does so once."""
    samples = ["No pleural effusion or pneumothorax.", "No pneumothorax. No effusion is seen.", "There is no pneumothorax or effusion."]
    assert compose([f"{SENTENCES[4]} {text}" for text in samples], [1.0, 1.1, 1.0]).lower().count("effusion") == 1


def test_a_sentence_that_contradicts_itself_is_left_out():
    """Unless nothing else was said."""
    odd = "Mild cardiomegaly and mediastinal contours are within normal limits."
    assert compose([f"{odd} {SENTENCES[4]}"] * 2, [1.0, 1.0]) == SENTENCES[4]
    assert compose([odd, odd], [1.0, 1.0]) == odd


def test_a_sample_that_contradicts_itself_is_mended():
    assert compose(["No pleural effusion. There is a pleural effusion."], [1.0]) == "There is a pleural effusion."  # the longer of the two


def test_without_a_word_there_is_no_report():
    assert compose(["", " . "], [1.0, 1.0]) == ""
    assert compose(["", SENTENCES[0]], [5.0, 1.0]) == SENTENCES[0]


def test_a_word_that_is_none_is_not_written():
    """Sampled letter by letter, a word can come out that no report has; without another sentence it is left."""
    known = frozenset("old rib fracture the spine is straight".split())
    samples = ["Old rib fracture. Scumsendense spine.", "Old rib fracture. The trachea is straight.", "The trachea is straight."]
    assert compose(samples, [5.0, 1.0, 1.0], words=known) == "Old rib fracture. The trachea is straight."  # two samples say "trachea"
    assert "Scumsendense" in compose(samples, [5.0, 1.0, 1.0])
    assert compose(["Old rib fracture. The spine is 2 straight."], [1.0], words=known) == "Old rib fracture. The spine is 2 straight."
    assert compose(["Scumsendense spine."], [1.0], words=known) == "Scumsendense spine."


def test_each_sentence_has_an_end():
    assert compose(["Old rib fracture. The spine is straight"], [1.0]) == "Old rib fracture. The spine is straight."


class Alignment(GlobalAlignment):
    """The film calls for the second text."""

    def __init__(self):
        object.__setattr__(self, "text", TextSpace((), torch.ones(0), torch.ones(0, 2), torch.zeros(2)))

    def similarity(self, films, texts):
        return torch.tensor([[0.0, 1.0, 0.0]])


def test_what_fits_the_film_counts_more():
    """exp(1 / .1) outweighs the others."""
    samples = [SENTENCES[1], SENTENCES[3], SENTENCES[1]]
    assert compose_for(torch.zeros(2), samples, Alignment(), 0.1, UNKNOWN) == SENTENCES[3]
    assert SENTENCES[1] in compose_for(torch.zeros(2), samples, Alignment(), 100.0, UNKNOWN)


@settings(max_examples=40)
@given(samples=st.lists(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4), min_size=1, max_size=5), data=st.data())
def test_no_sentence_more_or_less_would_be_better(samples, data):
    weights = data.draw(st.lists(st.floats(0.1, 5), min_size=len(samples), max_size=len(samples)))
    findings = may_show(nodule=data.draw(st.floats(0, 1)), fracture=data.draw(st.floats(0, 1)))
    found = pool([" ".join(sample) for sample in samples], weights, findings)
    chosen = _climb(found, found.first())

    def worth(rows: list[int]) -> float:
        named = found.named[rows].max(0, keepdims=True)
        return float(found.worth(found.grams[rows].max(0, keepdims=True), found.lengths[rows].sum(keepdims=True), named)[0])

    assert len(set(chosen)) == len(chosen) <= LONGEST
    others = [chosen[:i] + chosen[i + 1 :] for i in range(len(chosen))]
    others += [[*chosen, i] for i in range(len(found.sentences)) if i not in chosen and not found.against[i, chosen].any()]
    assert all(worth(rows) <= worth(chosen) + 1e-5 for rows in others if rows)


def test_a_sentence_of_one_word_is_left_out_unless_there_is_no_other():
    assert compose(["Heart. The lungs are clear.", "Heart. The lungs are clear."], [1.0, 1.0]) == "The lungs are clear."
    assert compose(["Normal.", "Normal."], [1.0, 1.0]) == "Normal."
