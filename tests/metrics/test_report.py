"""Report scores against numbers by hand, against pycocoevalcap, and on what models really do: write nothing, or one report for all."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.rouge.rouge import Rouge

from cyclicxr.metrics import ptb
from cyclicxr.metrics.report import bleu_of, report_statistics, rouge_l, score_reports
from cyclicxr.types import InputError

WORDS = st.lists(st.sampled_from("heart lung clear no effusion normal size the".split()), min_size=1, max_size=12)


@pytest.fixture
def no_java(monkeypatch):
    monkeypatch.setattr(ptb, "java", lambda: None)


@pytest.mark.usefixtures("no_java")
def test_scores_by_hand():
    # 5 of 6 words, 3 of 5 pairs, 1 of 4 triples; 6 words against 6: no brevity penalty. Subsequence: 5 of 6 words.
    scores = score_reports({"a": "The heart is normal in size."}, {"a": "The heart is enlarged in size"})
    assert scores["BLEU-1"] == pytest.approx(5 / 6)
    assert scores["BLEU-2"] == pytest.approx(math.sqrt(5 / 6 * 3 / 5))
    assert scores["BLEU-3"] == pytest.approx((5 / 6 * 3 / 5 * 1 / 4) ** (1 / 3))
    assert scores["BLEU-4"] == pytest.approx(0, abs=1e-3)
    assert scores["ROUGE-L"] == pytest.approx(5 / 6)
    assert scores["distinct outputs"] == 1
    assert "METEOR" not in scores  # nltk's stands under its own name
    assert 0 < scores["METEOR (nltk, exact + stem)"] < 1
    assert "no Java" in scores.tokenizer


def test_brevity_is_punished_over_the_corpus():
    assert bleu_of(np.array([[2, 1, 0, 0, 2, 1, 0, 0, 2, 4.0]]))[0, 0] == pytest.approx(math.exp(1 - 4 / 2), rel=1e-6)


def test_rouge_l_by_hand():
    precision, recall = 1, 2 / 3
    assert rouge_l("heart is normal".split(), "heart normal".split()) == pytest.approx(
        2.44 * precision * recall / (recall + 1.44 * precision)
    )
    assert rouge_l("a b".split(), "b a".split()) == pytest.approx(1 / 2)
    assert rouge_l(["a"], []) == 0


@given(st.lists(st.tuples(WORDS, st.lists(st.sampled_from("heart lung clear no".split()), max_size=9)), min_size=1, max_size=6))
def test_bleu_and_rouge_equal_pycocoevalcap(pairs):
    gold = {str(i): [" ".join(pair[0])] for i, pair in enumerate(pairs)}
    written = {str(i): [" ".join(pair[1])] for i, pair in enumerate(pairs)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ptb, "java", lambda: None)
        scores = score_reports({name: text[0] for name, text in gold.items()}, {name: text[0] for name, text in written.items()})
    bleu, _ = Bleu(4).compute_score(gold, written, verbose=0)
    rouge, _ = Rouge().compute_score(gold, written)
    assert [scores[f"BLEU-{n}"] for n in (1, 2, 3, 4)] == pytest.approx(bleu, rel=1e-9)
    assert scores["ROUGE-L"] == pytest.approx(rouge)


@pytest.mark.slow
@pytest.mark.skipif(ptb.java() is None, reason="there is no Java here")
def test_meteor_equals_pycocoevalcap():
    from pycocoevalcap.meteor.meteor import Meteor

    gold = {"a": "the heart is normal in size", "b": "no pleural effusion", "c": "there is a small opacity"}
    written = {"a": "heart size is normal", "b": "effusions", "c": "small opacities are seen"}
    theirs = Meteor()
    expected, _ = theirs.compute_score({k: [v] for k, v in gold.items()}, {k: [v] for k, v in written.items()})
    for pipe in (theirs.meteor_p.stdout, theirs.meteor_p.stderr):
        pipe.close()
    assert score_reports(gold, written)["METEOR"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.usefixtures("no_java")
def test_empty_and_constant_outputs_are_counted():
    references = {"a": "Heart normal.", "b": "Lungs clear.", "c": "No effusion."}
    scores = score_reports(references, {"a": "", "b": "Lungs  clear.", "c": "Lungs clear."})
    assert scores["empty outputs"] == 1
    assert scores["distinct outputs"] == pytest.approx(2 / 3)
    assert score_reports(references, dict.fromkeys(references, ""))["BLEU-1"] == pytest.approx(0, abs=1e-6)
    assert score_reports(references, references)["BLEU-1"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("references", "hypotheses", "said"),
    [
        ({}, {}, "no references"),
        ({"a": "x", "b": "y"}, {"a": "x"}, "'b'"),
        ({"a": "x"}, {"a": "x", "c": ""}, "'c'"),
        ({"a": "x", "b": " . "}, {"a": "x", "b": "y"}, "reference 2 of 2 has no words"),
    ],
)
def test_what_does_not_fit_together_is_refused(references, hypotheses, said, no_java):
    with pytest.raises(InputError, match=said):
        score_reports(references, hypotheses)


@pytest.mark.usefixtures("no_java")
def test_a_case_drawn_twice_counts_as_two_cases():
    statistics = report_statistics(["heart normal size", "no effusion"], ["heart normal", "effusion seen"], None)
    twice = report_statistics(["heart normal size"] * 2, ["heart normal"] * 2, None)
    weighted, doubled = statistics.scores(np.array([[2.0, 0.0]])), twice.scores(np.ones((1, 2)))
    for name in ("BLEU-1", "BLEU-2", "ROUGE-L"):
        assert weighted[name] == pytest.approx(doubled[name])
