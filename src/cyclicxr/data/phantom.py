"""Drawn chests with known findings, boxes and reports: for tests, the demo, and measuring whether evidence is where it should be;
no patient is in them, and they are no substitute for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from cyclicxr.checkpoint import write_atomically
from cyclicxr.data.phantom_chest import LEFT, RIGHT, Drawing, new_chest
from cyclicxr.data.phantom_report import annotate, write_report
from cyclicxr.data.studies import split_by_patient
from cyclicxr.data.tables import write_table
from cyclicxr.types import InputError, Study, UnitBox

PHANTOM_FINDINGS = (
    "cardiomegaly",
    "left effusion",
    "right effusion",
    "right upper opacity",
    "right lower opacity",
    "left upper opacity",
    "left lower opacity",
    "nodule",
    "pneumothorax",
    "pacemaker",
    "catheter",
)
_DEGREES = {"cardiomegaly": ("mild", "moderate", "severe"), "opacity": ("patchy", "hazy", "focal")}
_SIZES = ("small", "moderate", "large")
_GROWTH = {"mild": 1.25, "moderate": 1.38, "severe": 1.52}
_FLUID = {"small": 0.12, "moderate": 0.2, "large": 0.3}  # height, in widths of the film
_NODULE = {"small": 0.018, "moderate": 0.024, "large": 0.031}  # radius
_RIND = {"small": 0.04, "moderate": 0.065, "large": 0.1}
SPREAD = 0.02
_ZONES = {  # x, y of the middle
    "right upper lobe": (0.3, 0.33),
    "right lower lobe": (0.28, 0.62),
    "left upper lobe": (0.7, 0.33),
    "left lower lobe": (0.76, 0.62),
}
_NORMAL_SHARE, _SECOND_SHARE = 0.3, 0.4  # of films drawn without a wish: normal ones; and of the rest, those with a second finding


@dataclass(frozen=True)
class Phantom:
    """A drawn film and all that is true of it.

    Args:
        pixels: uint8 (size, size), bone bright.
        report: findings and impression.
        findings: some of `PHANTOM_FINDINGS`, in their order; `()` for a normal chest.
        boxes: finding -> where it is drawn, in [0, 1].
        mesh: NLM-style annotations, which `openi.findings_of` reads.
    """

    pixels: UInt8[np.ndarray, "s s"]
    report: str
    findings: tuple[str, ...]
    boxes: dict[str, UnitBox]
    mesh: tuple[str, ...]


def draw_phantom(seed: int, findings: Sequence[str] | None = None, size: int = 256, spread: float = SPREAD) -> Phantom:
    """Draw a chest; the same arguments draw the same chest.

    Args:
        seed: of the anatomy, pose, degree and wording.
        findings: some of `PHANTOM_FINDINGS`; `()` is a normal chest; None lets the seed choose.
        size: pixels along a side, 32 or more.
        spread: standard deviation of where a nodule or an opacity lies about the middle of its zone, in widths of the film.

    Raises:
        InputError: an unknown finding, or a size too small.
    """
    unknown = sorted(set(findings or ()) - set(PHANTOM_FINDINGS))
    if unknown:
        raise InputError(f"phantom: '{unknown[0]}' is not a finding that can be drawn; give some of {', '.join(PHANTOM_FINDINGS)}")
    if size < 32:
        raise InputError(f"phantom: {size} pixels a side show no chest; give 32 or more")
    rng = np.random.default_rng(seed)
    wanted = _chosen(rng) if findings is None else set(findings)
    sights = {name: _sight(name, rng) for name in PHANTOM_FINDINGS if name in wanted}
    growth = _GROWTH[sights["cardiomegaly"][0]] if "cardiomegaly" in sights else 1.0
    drawing = Drawing(new_chest(rng, growth), rng, size)
    boxes = {name: _draw(drawing, name, *sight, spread) for name, sight in sights.items()}
    return Phantom(drawing.develop(), write_report(sights, rng), tuple(sights), boxes, annotate(sights))


def write_phantom_studies(folder: Path, count: int, seed: int, size: int = 256) -> Path:
    """Draw studies and write their table, `studies.csv`, with one PNG each beside it; one patient in four has two films.

    Args:
        folder: made where it is not there.
        count: of films, > 0.
        seed: of all of them; film i is `draw_phantom` with a seed of its own.
        size: pixels along a side.

    Returns:
        The path of the table; its columns are those of a studies table, and `boxes` with "finding x0 y0 x1 y1" by semicolons.

    Raises:
        InputError: no film is asked for.
    """
    if count < 1:
        raise InputError(f"phantom studies: {count} films; ask for at least one")
    seeds = np.random.default_rng(seed).integers(0, 2**31, count)
    patients = [f"phantom_{number - (number % 5 == 4):05d}" for number in range(count)]
    split_of = {s.patient: s.split for s in split_by_patient([Study("", patient, "", "") for patient in patients], seed)}
    rows = []
    for number, (patient, film_seed) in enumerate(zip(patients, seeds, strict=True)):
        phantom = draw_phantom(int(film_seed), size=size)
        name = f"phantom_{number:05d}"
        with write_atomically(folder / "images" / f"{name}.png") as temporary:
            Image.fromarray(phantom.pixels).save(temporary, "PNG")
        row = {"id": name, "patient": patient, "image": f"images/{name}.png", "view": "PA", "report": phantom.report}
        rows.append(row | {"split": split_of[patient], "mesh": ";".join(phantom.mesh), "boxes": _boxes_text(phantom.boxes)})
    write_table(folder / "studies.csv", rows)
    return folder / "studies.csv"


def _chosen(rng: np.random.Generator) -> set[str]:
    """Findings at random, no opacity under an effusion of the same side."""
    if rng.random() < _NORMAL_SHARE:
        return set()
    chosen = set(rng.choice(PHANTOM_FINDINGS, size=1 + int(rng.random() < _SECOND_SHARE), replace=False).tolist())
    return chosen - {f"{side} lower opacity" for side in ("left", "right") if f"{side} effusion" in chosen}


def _sight(name: str, rng: np.random.Generator) -> tuple[str, str]:
    """Degree and place of a finding."""
    if name in {"pacemaker", "catheter"}:
        return "", ""
    kind = "opacity" if name.endswith("opacity") else name
    degree = str(rng.choice(_DEGREES.get(kind, _SIZES)))
    if kind == "opacity":
        return degree, name.replace("opacity", "lobe")
    places = {"nodule": tuple(_ZONES), "pneumothorax": ("right", "left")}.get(name)
    return degree, str(rng.choice(places)) if places else ""


def _draw(drawing: Drawing, name: str, degree: str, place: str, spread: float) -> UnitBox:
    rng = drawing.rng
    if name == "cardiomegaly":
        return drawing.box(drawing.heart())  # drawn with the chest
    if name.endswith("effusion"):
        return drawing.add(drawing.effusion(LEFT if name.startswith("left") else RIGHT, _FLUID[degree]), 0.52)
    if name == "pneumothorax":
        air, pleura = drawing.rind(LEFT if place == "left" else RIGHT, _RIND[degree])
        drawing.add(pleura, 0.12)
        return drawing.add(air, -0.09)
    if name == "pacemaker":
        return _draw_pacemaker(drawing)
    if name == "catheter":
        x = 0.38 + rng.normal(0, 0.01)
        return drawing.add(drawing.line([(x - 0.02, 0.02), (x + 0.02, 0.14), (0.455, 0.25), (0.46, 0.42)], 0.0065), 0.5)
    x, y = (middle + rng.normal(0, spread) for middle in _ZONES[place])
    if name == "nodule":
        return drawing.add(drawing.disc(x, y, _NODULE[degree]), 0.34)
    return drawing.add(
        drawing.blob(x, y, rng.uniform(0.075, 0.1) * (0.75 if degree == "focal" else 1)), 0.42 if degree == "focal" else 0.34
    )


def _draw_pacemaker(drawing: Drawing) -> UnitBox:
    x, y = (middle + drawing.rng.normal(0, 0.012) for middle in (0.77, 0.23))
    case = drawing.plate(x, y, 0.05)
    lead = drawing.line([(x - 0.02, y + 0.03), (0.64, y + 0.01), (0.53, 0.36), (0.48, 0.52), (0.52, 0.68), (0.6, 0.73)], 0.006)
    drawing.add(lead, 0.6)
    drawing.add(case, 1.6)
    return drawing.box(np.maximum(lead, case))


def _boxes_text(boxes: dict[str, UnitBox]) -> str:
    return ";".join(f"{name} " + " ".join(f"{side:.4f}" for side in box) for name, box in boxes.items())
