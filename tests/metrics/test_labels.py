"""F1 over 14 and 5 labels against scikit-learn, and agreement of two sources by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from cyclicxr.metrics.labels import (
    BLANK,
    CLASSES,
    FIVE,
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    agreement,
    label_statistics,
    present,
)
from cyclicxr.types import InputError


def labels(rng, n):
    return rng.choice([BLANK, POSITIVE, NEGATIVE, UNCERTAIN], p=[0.5, 0.3, 0.1, 0.1], size=(n, 14)).astype(np.int8)


def test_f1_is_that_of_scikit_learn_with_uncertain_as_positive():
    rng = np.random.default_rng(0)
    true, said = labels(rng, 60), labels(rng, 60)
    statistics = label_statistics("x", true, said)
    scores = statistics.scores(np.ones((1, 60)))
    five = [CLASSES.index(name) for name in FIVE]
    for count, columns in ((14, list(range(14))), (5, five)):
        sides = [np.isin(side[:, columns], (POSITIVE, UNCERTAIN)) for side in (true, said)]
        for average in ("micro", "macro"):
            assert scores[f"{average} F1-{count} (x)"][0] == pytest.approx(f1_score(*sides, average=average))
    weights = np.zeros((1, 60))
    weights[0, :20] = 3
    part = statistics.scores(weights)["micro F1-14 (x)"][0]
    assert part == pytest.approx(f1_score(present(true[:20]), present(said[:20]), average="micro"))
    assert statistics.by_class()["Edema"][1] == present(true)[:, CLASSES.index("Edema")].sum()


def test_a_label_that_nobody_has_counts_as_zero_in_the_macro_average():
    one = np.full((3, 14), BLANK, dtype=np.int8)
    one[:, CLASSES.index("Edema")] = POSITIVE
    scores = label_statistics("x", one, one).scores(np.ones((1, 3)))
    assert scores["micro F1-14 (x)"][0] == scores["micro F1-5 (x)"][0] == 1
    assert scores["macro F1-14 (x)"][0] == pytest.approx(1 / 14)
    assert scores["macro F1-5 (x)"][0] == pytest.approx(1 / 5)


def test_agreement_by_hand():
    shown = np.array([True] * 4 + [False] * 6)
    said = np.array([True, True, True, False, True] + [False] * 5)
    found = agreement(said, shown)  # 3 right, 1 wrong, 1 missed of 10; chance .4 * .4 + .6 * .6 = .52
    assert (found.precision, found.recall, found.f1, found.cases) == (3 / 4, 3 / 4, 3 / 4, 4)
    assert found.kappa == pytest.approx((0.8 - 0.52) / 0.48)
    assert found.kappa == pytest.approx(cohen_kappa_score(said, shown))
    nobody = agreement(np.zeros(5, dtype=bool), np.zeros(5, dtype=bool))
    assert np.isnan([nobody.precision, nobody.recall, nobody.f1, nobody.kappa]).all()


def test_sides_of_different_length_are_refused():
    with pytest.raises(InputError, match="1 written reports for 2"):
        label_statistics("x", np.zeros((2, 14), dtype=np.int8), np.zeros((1, 14), dtype=np.int8))
