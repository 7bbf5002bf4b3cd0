"""Grounding with a matcher that knows where things are and one that does not; phantoms and a made-up MS-CXR."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from cyclicxr.config import OPENI_SMALL, override
from cyclicxr.data.phantom import PHANTOM_FINDINGS, draw_phantom
from cyclicxr.data.phantom_report import sentence_of
from cyclicxr.evaluate import grounding
from cyclicxr.evaluate.grounding import PRIOR, RANDOM, SHARES, SHUFFLED, Place, phantom_places, score_grounding
from cyclicxr.evaluate.system import Case
from cyclicxr.evaluate.verdicts import OURS
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.film_ridge import FilmRidge
from cyclicxr.match.global_alignment import GlobalAlignment, TextSpace
from cyclicxr.patches.adapatch import grid_centres
from cyclicxr.training.corpus import Corpus
from cyclicxr.types import InputError

SIDE = 16  # patches along a side


class Pointing(AdaMatch):
    """Patches on a grid. A film's brightest patch matches any phrase that holds "bright", its darkest one that holds "dark"."""

    stage, log_temperature = 3, torch.zeros(())

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.image = Stages(self)

    def encode_films(self, pixels):
        levels = torch.nn.functional.adaptive_avg_pool2d(pixels, SIDE).flatten(1)  # (b, n)
        bright, dark = levels == levels.amax(1, keepdim=True), levels == levels.amin(1, keepdim=True)
        features = torch.stack([bright.float(), dark.float(), 1 - bright.float() - dark.float()], dim=2)
        half = 0.5 / SIDE
        centres = grid_centres(SIDE, SIDE)
        boxes = torch.cat([centres - half, centres + half], dim=1).expand(len(pixels), -1, 4)
        return SimpleNamespace(features=features, boxes=boxes)

    def encode_texts(self, texts):
        features = torch.tensor([[[0.0, 0, 1], [1.0 * ("bright" in text), 1.0 * ("dark" in text), 0]] for text in texts])
        return SimpleNamespace(features=features, mask=torch.tensor([[False, True]]).expand(len(texts), 2))


class Stages:
    """An encoder of three channels, each patch's features in all of its stages."""

    config = SimpleNamespace(widths=(3, 3, 3, 3))

    def __init__(self, matcher):
        self.matcher = matcher

    def __call__(self, pixels):
        return [self.matcher.encode_films(pixels)] * 4


def alignment_of():
    """It reads the terms "bright" and "dark" off the mean of the third stage's first two channels."""
    weights = torch.zeros(18, 2)
    weights[6, 0] = weights[7, 1] = 1
    text = TextSpace(("bright", "dark"), torch.ones(2), torch.eye(2), torch.zeros(2))
    return GlobalAlignment(text, FilmRidge(torch.zeros(18), torch.ones(18), weights), torch.ones(3))


def model_of(size=64):
    return SimpleNamespace(
        info={"name": "toy", "revision": "0"},
        preset=override(OPENI_SMALL, {"encoder.size": size}),
        classifier=None,
        matcher=Pointing(),
        alignment=alignment_of(),
        vqgan=torch.nn.Identity(),
        write_reports=lambda pixels: [],
        draw_films=lambda texts, seed: torch.zeros(0),
    )


CASE = Case(Corpus([], torch.empty(0, 64, 64, dtype=torch.uint8)), {}, "", 0, lambda what, done, total: None)


def write_mscxr(folder, films=12):
    """Grey films of 120 x 80 with a bright spot on the left and a dark one on the right."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(films):
        pixels = np.full((80, 120), 128, dtype=np.uint8)
        x, y = rng.integers(5, 40), rng.integers(5, 50)
        pixels[y : y + 20, x : x + 20] = 255
        pixels[y : y + 20, x + 50 : x + 70] = 0
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows += [
            [f"{i}", "Edema", "bright spot", f"{i}.png", x, y, 20, 20, 120, 80],
            [f"{i}", "Nodule", "dark", f"{i}.png", x + 50, y, 20, 20, 120, 80],
        ]
    with (folder / "boxes.csv").open("w", newline="") as file:
        columns = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height".split(",")
        csv.writer(file).writerows([columns, *rows])
    return folder / "boxes.csv"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mscxr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grounding, "on_the_grid", lambda matcher: None)
        return score_grounding(model_of(), CASE, write_mscxr(folder), folder)


def test_a_matcher_that_knows_points_into_the_boxes(tables):
    found = tables["grounding"]
    assert set(found) == {OURS, SHARES, SHUFFLED, PRIOR, RANDOM}
    assert found[OURS]["pointing game"].value == 1
    assert found[SHUFFLED]["pointing game"].value == 0  # the other phrase's spot
    assert found[RANDOM]["pointing game"].value < 0.4
    assert found[OURS]["CNR"].value > 0.5 > 0 > found[SHUFFLED]["CNR"].value
    assert found[OURS]["mIoU"].value > found[RANDOM]["mIoU"].value
    assert found[OURS]["phrases"].value == 24 and found[OURS]["pointing game"].n == 12
    assert found[OURS]["box area"].value == pytest.approx(20 * 20 / (120 * 80), rel=0.1)


def test_the_alignments_shares_point_into_the_boxes_too(tables):
    """Of a phrase with "bright" the bright patches have more than on the mean film; mIoU by thresholds of cosines is not asked."""
    found = tables["grounding"][SHARES]
    assert found["pointing game"].value == 1 and found["CNR"].value > 0.5 and "mIoU" not in found
    assert tables["grounding, paired"][f"{OURS} against {SHARES}"]["pointing game"].value == 0


def test_shares_by_hand():
    """Two films of 16 x 16 patches; of 2 its last is brightest, of 1 its first. The phrase's reading of film 1 is 1 / 256 from its first
    patch, and the mean film has half of that there and half at the last: 1 / 512, 0, ..., -1 / 512."""
    pixels = torch.full((2, 64, 64), 100, dtype=torch.uint8)
    pixels[0, :4, :4] = pixels[1, -4:, -4:] = 255
    place = Place(0, "a", "bright", ((0.0, 0.0, 0.1, 0.1),))
    seen = grounding.systems_seen(Pointing(), pixels, [place], 0, lambda done: None)[OURS]
    found = grounding.shares_seen(Pointing(), alignment_of(), pixels, [place], seen)[0]
    assert found.scores[[0, 1, 255]] == pytest.approx([1 / 512, 0, -1 / 512])
    assert found.boxes[0] == pytest.approx([0, 0, 1 / 16, 1 / 16])


def test_differences_are_paired_over_films(tables):
    against = tables["grounding, paired"][f"{OURS} against {SHUFFLED}"]
    assert (against["pointing game"].value, against["pointing game"].low) == (1, 1)
    assert against["pointing game"].p < 0.01


def test_each_finding_has_its_row(tables):
    found = tables["grounding by finding"]
    assert list(found) == ["Edema (12 phrases)", "Nodule (12 phrases)"]
    assert found["Edema (12 phrases)"][OURS].value == 1 and found["Edema (12 phrases)"][OURS].n == 12


def test_boxes_follow_the_film_into_the_networks_square(tmp_path):
    """A film stored at half its size: the box at its left third stays there."""
    Image.fromarray(np.zeros((40, 60), dtype=np.uint8)).save(tmp_path / "0.png")
    columns = "category_name,label_text,path,x,y,w,h,image_width,image_height"
    (tmp_path / "boxes.csv").write_text(f"{columns}\nEdema,bright,0.png,0,20,40,40,120,80\n")
    _, places = grounding._read_places(model_of(), tmp_path / "boxes.csv")
    assert places[0].boxes[0] == pytest.approx((0, 0.25, 1 / 3, 0.75))


def test_wrong_boxes_are_one_clear_line(tmp_path):
    table = write_mscxr(tmp_path, films=1)
    table.write_text(table.read_text().replace(",20,20,120,80", ",20,0,120,80"))
    with pytest.raises(InputError, match="no area"):
        score_grounding(model_of(), CASE, table, tmp_path)


def test_phantoms_have_a_sentence_and_a_box_for_each_finding():
    pixels, places = phantom_places(40, seed=3, size=64)
    assert pixels.shape == (40, 64, 64) and {place.film for place in places} == set(range(40))
    assert {place.finding for place in places} == set(PHANTOM_FINDINGS)
    for place in places:
        word = {"cardiomegaly": ("cardio", "enlarge"), "catheter": ("catheter", "line")}.get(place.finding, (place.finding.split()[-1],))
        assert any(part in place.phrase.lower() for part in word) and not place.phrase.startswith("No")
        for side in ("left", "right"):
            assert side in place.phrase.lower() or side not in place.finding
        assert 0 <= place.boxes[0][0] < place.boxes[0][2] <= 1
    assert phantom_places(40, seed=3, size=64)[1] == places


@pytest.mark.parametrize("finding", PHANTOM_FINDINGS)
def test_every_phrasing_of_a_phantom_is_found(finding):
    for seed in range(25):
        phantom = draw_phantom(seed, [finding], size=32)
        assert sentence_of(phantom.report, finding) in phantom.report


def test_a_prior_knows_the_other_films_alone():
    places = [
        Place(0, "a", "", ((0.0, 0.0, 0.5, 0.5),)),
        Place(1, "a", "", ((0.0, 0.0, 0.5, 0.5),)),
        Place(2, "b", "", ((0.5, 0.5, 1.0, 1.0),)),
    ]
    assert grounding._prior(places, 0)["pointing game"] == 1
    assert grounding._prior(places, 0)["mIoU"] == 1
    assert grounding._prior(places, 2)["pointing game"] == 0  # no other film has a "b": the mean of all boxes
    assert grounding._prior(places[:1], 0) == {}
