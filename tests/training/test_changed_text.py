"""What the rules make of sentences, by hand, and that each change is where it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclicxr.training.changed_text import INVENTED, KINDS, MOVED, NEGATED, SWAPPED, change_reports, moved, negated, swapped

RNG = np.random.default_rng(0)
REPORTS = [
    "The heart is normal in size. There is a small left pleural effusion. No pneumothorax.",
    "Right lower lobe atelectasis. The lungs are otherwise clear.",
    "No acute disease.",
]


@pytest.mark.parametrize(
    ("sentence", "false"),
    [
        ("There is no pleural effusion.", "There is pleural effusion."),
        ("No pleural effusion or pneumothorax.", "There is pleural effusion and pneumothorax."),
        ("There are no focal opacities.", "There are focal opacities."),
        ("There is no evidence of pneumothorax.", "There is pneumothorax."),
        ("There is a small left effusion.", "There is no small left effusion."),
        ("Lungs are clear without focal consolidation.", "Lungs are clear with focal consolidation."),
        ("The heart is not enlarged.", "The heart is enlarged."),
        ("Heart size is within normal limits.", "Heart size is abnormal."),
        ("The lungs are clear.", "The lungs are not clear."),
        ("Mild cardiomegaly.", ""),
    ],
)
def test_negation(sentence, false):
    assert negated(sentence, "", RNG) == false


@pytest.mark.parametrize(
    ("sentence", "false"),
    [
        ("Small left pleural effusion.", "Small right pleural effusion."),
        ("Right lower lobe opacity.", "Left lower lobe opacity."),
        ("No left effusion.", ""),
        ("Left and right effusions.", ""),
        ("Bilateral effusions, left larger.", ""),
        ("Cardiomegaly.", ""),
    ],
)
def test_the_other_side(sentence, false):
    assert moved(sentence, "", RNG) == false


def test_a_swapped_finding_is_none_that_the_report_names():
    report = "Small pleural effusion. Possible pneumonia. A nodule."
    made = {swapped("Small pleural effusion.", report, np.random.default_rng(seed)) for seed in range(60)}
    assert {"Small atelectasis.", "Small pneumothorax."} <= made
    assert not made & {f"Small {word}." for word in ("effusion", "pleural effusion", "nodule", "opacity", "consolidation", "cardiomegaly")}
    assert swapped("Effusion is seen.", "Effusion is seen.", RNG)[0].isupper()
    assert swapped("No pleural effusion.", report, RNG) == swapped("Cardiomegaly.", report, RNG) == ""


def test_changes_are_where_they_say():
    changes = change_reports(REPORTS, seed=0)
    assert {(change.kind, change.film) for change in changes} >= {(SWAPPED, 0), (MOVED, 0), (NEGATED, 0), (MOVED, 1), (NEGATED, 2)}
    assert {change.kind for change in changes} == set(KINDS)
    for change in changes:
        assert change.report[change.at :].startswith(change.false)
        assert REPORTS[change.own].startswith(change.before + change.true)
        if change.kind == INVENTED:
            assert change.true == change.false and change.own != change.film
            assert change.report.replace(f"{change.false} ", "", 1) == REPORTS[change.film]
        else:
            assert change.own == change.film and change.true != change.false
            assert change.report.replace(change.false, change.true, 1) == REPORTS[change.film]


def test_what_is_invented_is_not_in_the_report():
    invented = {change.film: change.false for change in change_reports(REPORTS, seed=0) if change.kind == INVENTED}
    assert invented[0] == "Right lower lobe atelectasis." and invented[1] == "There is a small left pleural effusion."


@given(
    st.lists(st.lists(st.sampled_from([*" ".join(REPORTS).split(), "Left", "No", "\n\n"]), max_size=12).map(" ".join), max_size=4),
    st.integers(0, 9),
)
def test_any_reports_are_changed_the_same_way_by_the_same_seed(reports, seed):
    changes = change_reports(reports, seed)
    assert changes == change_reports(reports, seed)
    assert len({(change.film, change.kind) for change in changes}) == len(changes)
    assert all(change.report != reports[change.film] and change.report[change.at :].startswith(change.false) for change in changes)
