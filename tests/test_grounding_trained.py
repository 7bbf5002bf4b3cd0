"""The benchmark of grounding on drawn chests: its films, its numbers by hand, its baselines, and its page."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclicxr.config import override
from cyclicxr.data.phantom import Phantom
from cyclicxr.types import InputError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    """Scripts of benchmarks/, which import their neighbours by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def chests(script):
    return script("grounding_phantoms")


@pytest.fixture(scope="module")
def scores(script):
    return script("grounding_scores")


@pytest.fixture(scope="module")
def corpus(chests, tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn")
    return chests.drawn(30, 64, out, 1), out


def test_chests_are_drawn_once_and_their_boxes_are_on_the_film(chests, corpus):
    drawn, out = corpus
    assert [study.split for study in drawn.studies] == ["train"] * 30 + ["val"] * 6 + ["test"] * 10
    assert torch.equal(chests.drawn(30, 64, out, 1).pixels, drawn.pixels)
    for split in ("train", "test"):
        rows = [i for i, study in enumerate(drawn.studies) if study.split == split]
        places = chests.places_of(drawn, split, out)
        for place in places:
            x0, y0, x1, y1 = place.box
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
            assert place.phrase in drawn.studies[rows[place.film]].report
            shown = {other.finding for other in places if other.film == place.without}
            assert place.finding not in shown and place.without != place.film


def test_a_box_goes_with_its_chest(chests, monkeypatch):
    """A white square for a chest: its box is where the square comes to lie."""
    pixels = np.zeros((128, 128), dtype=np.uint8)
    pixels[32:64, 16:80] = 255
    monkeypatch.setattr(
        chests, "draw_phantom", lambda *_, **__: Phantom(pixels, "", ("a",), {"a": (16 / 128, 32 / 128, 80 / 128, 64 / 128)}, ())
    )
    corners = set()
    for number in range(5):
        film, about = chests._draw(128, number)
        rows, columns = np.flatnonzero((film > 127).any(1)), np.flatnonzero((film > 127).any(0))
        edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 128
        assert about["boxes"]["a"] == pytest.approx(edges, abs=1 / 128)
        corners.add(tuple(about["boxes"]["a"]))
    assert len(corners) == 5


def looked(scores, values, boxes, **changed):
    anchors = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    return scores.Looked(
        np.array(values), np.array(boxes, dtype=float), anchors, **{"read": anchors, "unusual": np.array(values), **changed}
    )


def test_the_numbers_of_a_phrase_by_hand(scores, monkeypatch):
    """Four patches; the best one moved right by half a patch, out of its place and onto a box."""
    monkeypatch.setattr(scores, "TOP", 1)
    still = [[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]]
    moved = [[0.25, 0, 0.75, 0.5], *still[1:]]
    read = np.array([[0.1, 0.9]] * 4)
    found = scores.numbers_of(
        looked(scores, [0.9, 0.2, 0.1, 0.1], moved, read=read), looked(scores, [0, 0, 0, 0], still), (0.4, 0.2, 0.6, 0.3)
    )
    assert found["pointing game"] == 1 and found["pointing game, before moving"] == 0 and found["pointing game, where it reads"] == 0
    assert found["chosen patches' area inside"] == pytest.approx(0.02 / 0.25)
    assert found["chosen patches' area inside, before moving"] == pytest.approx(0.01 / 0.25)
    assert found["all patches' area inside, before moving"] == pytest.approx(0.02)
    assert found["all patches' area inside"] == pytest.approx(0.03)  # the left half of the box has two patches on its right half now
    assert found["moved towards it, patch widths"] == pytest.approx(0.5 / 4)
    assert found["the same on a film without it"] == 0


def test_shares_are_pointed_with_before_and_after_moving_and_have_no_threshold(scores):
    """The best patch has moved onto the box, its fixed place is outside; other names stay apart."""
    seen = looked(scores, [0.001, 0, 0, -0.002], [[0.25, 0, 0.75, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]])
    found = scores._share_scores(seen, (0.4, 0.2, 0.6, 0.3))
    assert (found["pointing game"], found["pointing game, before moving"], found["top 5 inside"]) == (1, 0, 0.25)
    assert found["CNR"] > 0 and "mIoU" not in found and "mIoU, map stretched to 0..1" in found
    assert scores._named({"CNR": 1.0}, scores.SHARED) == {"CNR, by the global alignment's shares": 1.0}


def test_baselines_look_at_no_film(chests, scores):
    place = chests.Place(0, "nodule", "A small nodule in the left upper lobe.", (0.4, 0.4, 0.6, 0.6), 1)
    elsewhere = chests.Place(1, "nodule", "Small nodule, right lower lobe.", (0.0, 0.75, 0.25, 1.0), 0)
    training = [elsewhere, chests.Place(2, "nodule", "Nodule, left upper lobe.", (0.45, 0.45, 0.7, 0.7), 0)]
    found = scores.blind([place, elsewhere], training, side=10)
    assert [one["pointing game"] for one in found[scores.CENTRE]] == [1, 0]
    assert [one["pointing game"] for one in found[scores.PRIOR]] == [1, 1]  # by the words, no mean over both zones
    assert found[scores.PRIOR][1]["CNR"] == 0 or found[scores.PRIOR][1]["mIoU"] == 1
    assert found[scores.RANDOM][0]["pointing game"] == pytest.approx(4 / 100)


@pytest.mark.slow
def test_a_row_is_trained_once_and_its_page_is_written(script, monkeypatch, tmp_path, toy_preset):
    trained, tables = script("grounding_trained"), script("grounding_tables")
    monkeypatch.setattr(script("machine"), "RESULTS", tmp_path)
    size = toy_preset.encoder.size
    bench = trained.Bench(
        30, override(toy_preset, {"classifier.min_films": 2, "match.epochs": 1, "classifier.epochs": 1}), tmp_path / "runs"
    )
    for row in ("adamatch", "fixed"):
        trained.train_classifier_of(bench, row, 0)
        trained.train_row(bench, row, 0)
    before = (tmp_path / "runs/adamatch-seed0/score.json").stat().st_mtime_ns
    trained.train_row(bench, "adamatch", 0)
    score, weights = tmp_path / "runs/adamatch-seed0/score.json", tmp_path / "runs/adamatch-seed0/model/match.safetensors"
    assert score.stat().st_mtime_ns == before
    once, trained_at = score.read_text(), weights.stat().st_mtime_ns
    score.unlink()  # scored anew, not trained again
    trained.train_row(bench, "adamatch", 0)
    assert score.read_text() == once and weights.stat().st_mtime_ns == trained_at
    found = trained.collected(bench, trained.drawn(30, size, tmp_path / "runs", 1))
    assert found["rows"]["fixed"]["scores"]["moved towards it, patch widths"]["value"] == pytest.approx(0, abs=1e-6)
    assert set(found["paired"]) >= {"adamatch less fixed", f"adamatch less {trained.PRIOR}"}
    machine = {"system": "Linux", "processor": "x86_64", "threads": 1, "torch": "2"}
    (tmp_path / "grounding_trained.json").write_text(json.dumps({"command": "c", "machine": machine, **found}, default=float))
    page = "\n".join(tables.grounding_trained(tmp_path))
    assert "| AdaMatch | 1 |" in page and "AdaMatch less fixed patches" in page
    shared = f"pointing game, {tables.SHARED}"
    assert tables.SHARED == script("grounding_scores").SHARED and shared in found["paired"]["adamatch less fixed"]
    assert set(tables.SHARES) <= set(found["rows"]["adamatch"]["scores"])
    assert not list(tables.grounding_trained(tmp_path / "nowhere"))


def test_runs_of_other_settings_are_not_taken_for_ones_own(script, tmp_path, toy_preset):
    trained = script("grounding_trained")
    trained.Bench(30, toy_preset, tmp_path).run("adamatch", 0)
    with pytest.raises(InputError, match="another --out"):
        trained.Bench(30, override(toy_preset, {"match.epochs": 77}), tmp_path).run("adamatch", 0)
    bench = trained.Bench(30, toy_preset, tmp_path)
    assert bench.classifier("adamatch", 0).root == bench.classifier("stage2", 0).root != bench.classifier("fixed", 0).root
