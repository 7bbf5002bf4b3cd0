"""The finding reader on sentences of radiology, and scores that unmask a model which does not look at the film."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from cyclicxr.data.openi import FINDINGS
from cyclicxr.metrics.clinical import NORMAL, area_under_curve, finding_statistics, findings_named, named_findings, score_findings
from cyclicxr.types import InputError

SENTENCES = {
    "The heart is mildly enlarged. No pleural effusion or pneumothorax.": {"cardiomegaly"},
    "Heart size is not enlarged. There is a small left effusion; no pneumothorax.": {"effusion"},
    "Pneumothorax is not seen. Heart is normal in size. Blunting of the left costophrenic angle.": {"effusion"},
    "The lungs are free of focal airspace disease. Without focal infiltrate.": set(),
    "No effusion. There is bibasilar atelectasis.": {"atelectasis"},
    "No acute disease but there is cardiomegaly.": {"cardiomegaly"},
    "": set(),
}


@pytest.mark.parametrize(("text", "expected"), SENTENCES.items())
def test_what_a_sentence_affirms(text, expected):
    assert named_findings([text]) == [expected]


def test_the_reader_speaks_of_the_findings_that_films_are_labelled_with():
    assert set(findings_named()) <= set(FINDINGS)
    assert NORMAL in FINDINGS


def test_a_model_that_looks_and_one_that_does_not():
    labels = [{"effusion"}] * 10 + [{"cardiomegaly"}] * 10 + [{NORMAL}] * 20 + [set()] * 5
    looks = score_findings([set(shown - {NORMAL}) for shown in labels], labels)
    assert looks["finding macro F1"] == looks["finding micro F1"] == looks["right finding named on abnormal"] == 1
    assert looks["any finding named on normal"] == 0
    blind = score_findings([{"effusion"}] * 45, labels)
    assert blind["any finding named on abnormal"] == blind["any finding named on normal"] == 1
    assert blind["right finding named on abnormal"] == 1 / 2
    silent = score_findings([set()] * 45, labels)
    assert silent["finding macro F1"] == silent["any finding named on abnormal"] == 0


def test_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    names = ["effusion", "cardiomegaly", "atelectasis"]
    shown, said = rng.random((60, 3)) < 0.4, rng.random((60, 3)) < 0.4
    shown[:, 0] |= ~shown.any(1)  # every film is labelled
    labels = [{name for name, holds in zip(names, row, strict=True) if holds} for row in shown]
    named = [{name for name, holds in zip(names, row, strict=True) if holds} for row in said]
    scores = score_findings(named, labels)
    assert scores["finding macro F1"] == pytest.approx(f1_score(shown, said, average="macro"))
    assert scores["finding micro F1"] == pytest.approx(f1_score(shown, said, average="micro"))
    weights = np.zeros((1, 60))
    weights[0, :30] = 2
    half = finding_statistics(named, labels).scores(weights)
    assert half["finding micro F1"][0] == pytest.approx(f1_score(shown[:30], said[:30], average="micro"))


def test_area_under_curve_is_that_of_scikit_learn_with_ties_and_weights():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 6, 50).astype(float), rng.random(50) < 0.3
    weights = rng.integers(0, 3, size=(4, 50)).astype(float)
    for weight, found in zip(weights, area_under_curve(scores, positive, weights), strict=True):
        assert found == pytest.approx(roc_auc_score(positive, scores, sample_weight=weight))
    assert np.isnan(area_under_curve(scores, np.zeros(50, dtype=bool), weights)).all()


def test_too_few_films_are_refused():
    with pytest.raises(InputError, match="no finding"):
        score_findings([set()], [{"effusion"}])
    with pytest.raises(InputError, match="1 reports for 2 films"):
        score_findings([set()], [{"effusion"}, {NORMAL}])
