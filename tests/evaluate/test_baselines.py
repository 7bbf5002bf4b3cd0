"""The constant that scores best is found exactly, the nearest film is the nearest, and shuffling leaves nothing in place."""

import numpy as np
import pytest
import torch

from cyclicxr.evaluate.baselines import _constant_bleu, best_constant, derangement, nearest
from cyclicxr.metrics import ptb
from cyclicxr.metrics.report import score_reports


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(ptb, "java", lambda: None)


REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "The heart is normal in size. The lungs are clear. No effusion.",
    "The heart is normal in size. The lungs are clear. No pleural effusion.",
    "Large left effusion with opacity in the left base.",
    "Lines and tubes. The heart the heart the heart is enlarged.",
]


def test_bleu_of_a_constant_is_that_of_writing_it_for_every_film():
    fast = _constant_bleu(ptb.tokenize(REPORTS), ptb.tokenize(REPORTS))
    references = {str(i): text for i, text in enumerate(REPORTS)}
    for text, found in zip(REPORTS, fast, strict=True):
        assert found == pytest.approx(score_reports(references, dict.fromkeys(references, text))["BLEU-4"])


def test_the_best_constant_is_the_best_of_all():
    references = {str(i): text for i, text in enumerate(REPORTS)}
    scores = {text: score_reports(references, dict.fromkeys(references, text)) for text in REPORTS}
    assert best_constant(REPORTS, REPORTS, seed=0) == max(REPORTS, key=lambda text: scores[text]["BLEU-4"] + scores[text]["ROUGE-L"])


def test_the_nearest_film_is_found_whatever_its_length():
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    assert nearest(known, torch.tensor([[5.0, 0.2], [-0.3, -0.2], [0.1, 9.0]])).tolist() == [0, 2, 1]


@pytest.mark.parametrize("n", [2, 3, 40])
def test_shuffling_leaves_no_film_its_report(n):
    order = derangement(n, seed=3)
    assert sorted(order) == list(range(n))
    assert not (order == np.arange(n)).any()
