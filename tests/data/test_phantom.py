"""Drawn chests: what is drawn, where it is, and what is said of it agree."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclicxr.data.check import check_studies
from cyclicxr.data.images import read_film
from cyclicxr.data.openi import findings_of
from cyclicxr.data.phantom import PHANTOM_FINDINGS, Phantom, draw_phantom, write_phantom_studies
from cyclicxr.data.phantom_chest import RIGHT, Drawing, new_chest
from cyclicxr.data.reports import sentences
from cyclicxr.data.studies import read_studies
from cyclicxr.types import InputError, UnitBox

LABEL = {name: {"effusion" if "effusion" in name else "opacity" if "opacity" in name else name} for name in PHANTOM_FINDINGS}
LABEL |= {"pacemaker": {"device"}, "catheter": {"device"}}


def within(pixels: np.ndarray, box: UnitBox) -> np.ndarray:
    x0, y0, x1, y1 = (round(side * len(pixels)) for side in box)
    return pixels[y0:y1, x0:x1]


@pytest.mark.parametrize("name", PHANTOM_FINDINGS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_finding_has_one_box_on_the_film(name: str, seed: int) -> None:
    with_it, without = draw_phantom(seed, [name], 96), draw_phantom(seed, [], 96)
    assert with_it.findings == (name,) and list(with_it.boxes) == [name]
    x0, y0, x1, y1 = with_it.boxes[name]
    assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
    assert without.findings == () and without.boxes == {}


@pytest.mark.parametrize(
    ("name", "weight", "brighter"), [("effusion", 0.52, True), ("blob", 0.34, True), ("disc", 0.34, True), ("rind", -0.09, False)]
)
def test_a_layer_changes_the_film_inside_its_box(name: str, weight: float, brighter: bool) -> None:
    def film(drawn: bool) -> tuple[np.ndarray, UnitBox]:
        drawing = Drawing(new_chest(np.random.default_rng(3), 1.0), np.random.default_rng(4), 96)
        layers = {
            "effusion": drawing.effusion(RIGHT, 0.2),
            "blob": drawing.disc(0.3, 0.35, 0.07) * drawing.air,
            "disc": drawing.disc(0.3, 0.35, 0.03),
            "rind": drawing.rind(RIGHT, 0.08)[0],
        }
        box = drawing.add(layers[name], weight if drawn else 0.0)
        return drawing.develop().astype(float), box

    (changed, box), (plain, _) = film(True), film(False)
    difference = (changed - plain) * (1 if brighter else -1)
    assert within(difference, box).mean() > 3
    outside = difference.copy()
    within(outside, box)[:] = 0
    assert abs(outside).mean() < within(difference, box).mean() / 5


def test_the_patient_s_right_is_on_the_left_of_the_film() -> None:
    for seed in range(2):
        for name, on_the_left in [
            ("right effusion", True),
            ("left effusion", False),
            ("right upper opacity", True),
            ("left lower opacity", False),
        ]:
            x0, _, x1, _ = draw_phantom(seed, [name], 64).boxes[name]
            assert ((x0 + x1) / 2 < 0.5) is on_the_left


def test_an_enlarged_heart_is_wider() -> None:
    def width(seed: int, growth: float) -> float:
        drawing = Drawing(new_chest(np.random.default_rng(seed), growth), np.random.default_rng(seed), 128)
        x0, y0, x1, y1 = drawing.box(drawing.heart())
        assert y0 > 0.2 and y1 < 0.95
        return x1 - x0

    assert all(width(seed, 1.25) > 1.15 * width(seed, 1.0) for seed in range(5))


@given(st.integers(0, 2**31), st.none() | st.sets(st.sampled_from(PHANTOM_FINDINGS), max_size=4))
@settings(max_examples=12)
def test_report_annotations_and_findings_agree(seed: int, findings: set[str] | None) -> None:
    phantom = draw_phantom(seed, None if findings is None else sorted(findings), 48)
    if findings is not None:
        assert set(phantom.findings) == findings
    assert findings_of(phantom.mesh) == (set.union(*(LABEL[name] for name in phantom.findings)) if phantom.findings else {"normal"})
    said = [text.lower() for text, _, _ in sentences(phantom.report)]
    assert len(said) >= 3
    affirmed = [text for text in said if not text.startswith(("no ", "there is no ")) and "without" not in text]
    for name in phantom.findings:
        word = {"cardiomegaly": ("cardiomegaly", "enlarge"), "catheter": ("catheter",)}.get(name, (name.split()[-1],))
        assert any(part in text for text in affirmed for part in word), (name, phantom.report)
    for word, names in [
        ("effusion", ("left effusion", "right effusion")),
        ("pneumothorax", ("pneumothorax",)),
        ("cardiomegaly", ("cardiomegaly",)),
    ]:
        if not set(names) & set(phantom.findings):
            assert not any(word in text for text in affirmed), phantom.report


def same(one: Phantom, other: Phantom) -> bool:
    return bool((one.pixels == other.pixels).all()) and (one.report, one.boxes, one.mesh) == (other.report, other.boxes, other.mesh)


def test_the_seed_decides_everything() -> None:
    assert same(draw_phantom(5, size=64), draw_phantom(5, size=64))
    assert not same(draw_phantom(5, size=64), draw_phantom(6, size=64))


def test_a_drawn_film_looks_like_a_film() -> None:
    pixels = draw_phantom(0, [], 256).pixels
    assert pixels.dtype == np.uint8 and pixels.shape == (256, 256)
    lung, spine, corner = pixels[90:140, 50:80].mean(), pixels[60:200, 122:134].mean(), pixels[:6, :6].mean()
    assert corner < lung / 2 and lung + 60 < spine
    assert 0.005 < (pixels == 255).mean() + (pixels == 0).mean() < 0.2


def test_findings_at_random_are_all_drawn_and_some_chests_are_normal() -> None:
    drawn = [draw_phantom(seed, size=32).findings for seed in range(80)]
    assert {name for findings in drawn for name in findings} == set(PHANTOM_FINDINGS)
    assert 0.15 < sum(not findings for findings in drawn) / len(drawn) < 0.45
    assert any(len(findings) > 1 for findings in drawn)


def test_bad_wishes_are_refused() -> None:
    with pytest.raises(InputError, match="'fracture' is not a finding that can be drawn"):
        draw_phantom(0, ["fracture"])
    with pytest.raises(InputError, match="8 pixels a side"):
        draw_phantom(0, size=8)


def test_an_opacity_lies_as_far_from_its_zone_as_asked_for():
    def spread_of(spread: float) -> float:
        boxes = np.array([draw_phantom(seed, ["left upper opacity"], 48, spread).boxes["left upper opacity"] for seed in range(40)])
        return float(((boxes[:, :2] + boxes[:, 2:]) / 2).std(0).mean())

    assert spread_of(0.0) < spread_of(0.02) < 0.6 * spread_of(0.05)
    assert np.array_equal(draw_phantom(3, ["nodule"], 48).pixels, draw_phantom(3, ["nodule"], 48, 0.02).pixels)


def test_drawn_studies_are_a_good_table(phantoms: Path) -> None:
    assert not check_studies(phantoms).errors
    studies = read_studies(phantoms)
    assert len(studies) == 24 and len({study.patient for study in studies}) == 20
    assert {study.split for study in studies} == {"train", "val", "test"}
    assert all(findings_of(study.mesh) for study in studies)
    assert read_film(studies[0].image).pixels.shape == (128, 128)
    with phantoms.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    boxes = [entry.split(" ") for row in rows for entry in row["boxes"].split(";") if entry]
    assert boxes and all(" ".join(parts[:-4]) in PHANTOM_FINDINGS and 0 <= float(parts[-4]) < float(parts[-2]) <= 1 for parts in boxes)


def test_drawn_studies_are_the_same_again(tmp_path: Path, phantoms: Path) -> None:
    again = write_phantom_studies(tmp_path, count=4, seed=0, size=128)
    for number in range(4):
        name = f"images/phantom_{number:05d}.png"
        assert (again.parent / name).read_bytes() == (phantoms.parent / name).read_bytes()
    with pytest.raises(InputError, match="at least one"):
        write_phantom_studies(tmp_path, count=0, seed=0)
