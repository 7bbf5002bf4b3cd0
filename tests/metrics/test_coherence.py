"""Which sentences can't stand together: by hand, for each rule, and that nothing depends on their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclicxr.metrics.coherence import coherence, contradicting, repeating

CARDIOMEGALY, NORMAL_HEART, NORMAL_SILHOUETTE = (
    "Mild cardiomegaly.",
    "The heart is normal in size.",
    "Cardiomediastinal silhouette is normal.",
)
EFFUSION, NO_EFFUSION, NEITHER = "Small left pleural effusion.", "No pleural effusion.", "No pleural effusion or pneumothorax."
CLEAR, ATELECTASIS, NODULE = "The lungs are clear.", "Left basilar atelectasis.", "There is a calcified nodule."
NOTHING_ACUTE, NO_DISEASE, NO_FRACTURE = "No acute cardiopulmonary abnormality.", "No active disease.", "No acute bony abnormality."
DEVICE = "A catheter is seen."
ALL = [CARDIOMEGALY, NORMAL_HEART, NORMAL_SILHOUETTE, EFFUSION, NO_EFFUSION, NEITHER, CLEAR, ATELECTASIS, NOTHING_ACUTE, NO_DISEASE, DEVICE]


def clash(*texts: str) -> bool:
    return bool(contradicting(texts)[0, 1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CARDIOMEGALY, NORMAL_HEART),
        (CARDIOMEGALY, NORMAL_SILHOUETTE),  # the narrower kind of an enlarged silhouette
        ("Borderline cardiomegaly.", NORMAL_HEART),  # uncertain is affirmed
        (CARDIOMEGALY, "Heart size and pulmonary vascularity appear within normal limits."),
        (CARDIOMEGALY, "The heart and lungs are normal."),
        (CARDIOMEGALY, "The cardiomediastinal silhouette and pulmonary vasculature are within normal limits."),
        (ATELECTASIS, "The lungs are well expanded and clear."),
        (EFFUSION, NEITHER),
        (ATELECTASIS, CLEAR),
        ("Right lower lobe pneumonia.", "No focal consolidation."),
        (EFFUSION, NOTHING_ACUTE),
        ("There is mild pulmonary edema.", "Normal chest."),
    ],
)
def test_what_can_not_be_true_of_one_film(one, other):
    assert clash(one, other) and clash(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NORMAL_HEART, NORMAL_SILHOUETTE),
        ("The mediastinum is widened.", NORMAL_HEART),  # the wider kind may be there without the narrower
        (ATELECTASIS, NO_EFFUSION),
        (CARDIOMEGALY, NOTHING_ACUTE),  # nothing acute about it
        (EFFUSION, NO_FRACTURE),
        (DEVICE, CLEAR),
    ],
)
def test_what_can(one, other):
    assert not clash(one, other)


def test_a_sentence_that_contradicts_itself_is_on_the_diagonal():
    found = contradicting(["Mild cardiomegaly and mediastinal contours are within normal limits.", NO_EFFUSION])
    assert found.tolist() == [[True, False], [False, False]]


def test_what_says_no_more_than_another_repeats_it():
    found = repeating([NO_EFFUSION, NEITHER, "No pneumothorax.", NOTHING_ACUTE, NO_DISEASE, "Stable chest.", "Stable chest, as before."])
    assert np.argwhere(np.triu(found)).tolist() == [[0, 1], [1, 2], [3, 4]]  # what states nothing of a label repeats nobody


def test_a_finding_and_its_denial_are_two_statements():
    assert not repeating([EFFUSION, NO_EFFUSION]).any()


def test_the_numbers_of_a_report_by_hand():
    """Five sentences: the third and the fifth say again what was said, and the fourth contradicts the first."""
    assert coherence([NORMAL_HEART, NEITHER, NO_EFFUSION, CARDIOMEGALY, "No pneumothorax."]) == (True, 2)
    assert coherence([NORMAL_HEART, NEITHER]) == (False, 0)
    assert coherence([]) == (False, 0)


@settings(max_examples=30)
@given(texts=st.lists(st.sampled_from(ALL), min_size=1, max_size=6))
def test_both_are_the_same_either_way_and_in_any_order(texts):
    for relation in (contradicting, repeating):
        found = relation(texts)
        assert np.array_equal(found, found.T)
        assert np.array_equal(relation(texts[::-1]), found[::-1, ::-1])
    assert not repeating(texts).diagonal().any()
    assert coherence(texts)[1] <= len(texts) - 1
