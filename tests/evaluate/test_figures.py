"""A plot comes with the numbers that it shows, as a picture of either kind, and the same numbers give the same bytes."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from cyclicxr.evaluate.figures import MOST_POINTS, _wilson, calibration, finding_bars, retrieval_curves, tsne


def whole(plot):
    picture = np.asarray(Image.open(io.BytesIO(plot.png)).convert("L"))
    assert picture.std() > 5  # something is drawn
    assert plot.svg.startswith(b"<?xml") and b"</svg>" in plot.svg
    json.dumps(plot.numbers, allow_nan=False)
    return plot.numbers


def test_retrieval_curves_by_hand():
    ranks = {"this model": {"CXR-to-report": [1, 3, 10, 40], "report-to-CXR": [1, 1, 2, 2]}, "other": {"CXR-to-report": [40] * 4}}
    found = whole(retrieval_curves(ranks, {"CXR-to-report": 40, "report-to-CXR": 4}))
    curve = dict(zip(found["CXR-to-report"]["K"], found["CXR-to-report"]["this model"], strict=True))
    assert (curve[1], curve[3], curve[10], curve[40]) == (0.25, 0.5, 0.75, 1)
    assert found["CXR-to-report"]["other"][0] == 0
    assert "other" not in found["report-to-CXR"]
    assert found["report-to-CXR"]["K / pool"][-1] == 1


def test_calibration_by_hand():
    scores = [0.1] * 10 + [0.9] * 10
    rows = whole(calibration(scores, [False] * 9 + [True] + [True] * 10))
    assert sum(row["n"] for row in rows) == 20
    assert rows[-1]["true"] == 1 and rows[-1]["low"] == pytest.approx(2 / (2 + 1.959964**2), abs=1e-6)  # Wilson's end for 2 of 2
    assert rows[0]["true"] == 0 and rows[0]["low"] == pytest.approx(0)


@pytest.mark.parametrize("n", range(1, 41))
def test_an_interval_holds_its_share_whatever_is_rounded(n):
    for hits in {0, 1, n // 2, n}:
        low, high = _wilson(hits / n, n)
        assert low <= hits / n <= high


def test_two_clouds_stay_apart_and_the_seed_fixes_their_places():
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(0, 1, (30, 8)), rng.normal(20, 1, (30, 8))
    first, again = tsne(real, drawn, 3), tsne(real, drawn, 3)
    places = whole(first)
    assert places == again.numbers
    assert first.svg == again.svg
    gap = np.linalg.norm(np.mean(places["real"], 0) - np.mean(places["drawn"], 0))
    assert gap > np.std(places["real"], axis=0).max()
    assert MOST_POINTS == 1000


def test_bars_of_systems_that_are_there():
    number = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    table = {"cardiomegaly": {"this model": number, "other": number | {"low": None, "high": None}}, "effusion": {"this model": number}}
    found = whole(finding_bars("findings", "F1", table, ["this model", "other"], "F1"))
    assert found["effusion"] == {"this model": number, "other": None}
