"""OpenI (Indiana University): NLM's MeSH annotations -> findings, and the official download -> studies table; knows no pixel.

Source: Demner-Fushman et al., JAMIA 2016. An annotation is a heading with qualifiers: `Opacity/lung/base/left/patchy`.
"""

from __future__ import annotations

import csv
import logging
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from cyclicxr.data.reports import report_text
from cyclicxr.data.studies import read_studies, split_by_patient, write_table
from cyclicxr.types import InputError, Study

log = logging.getLogger(__name__)

PROJECTIONS = "indiana_projections.csv"  # which image is frontal; the reports do not say
_PICTURES = {".png", ".jpg", ".jpeg", ".dcm"}
_LARGEST_REPORT = 2**20  # bytes of one XML file; NLM's have some 5,000

NORMAL = "normal"


class _Term(NamedTuple):
    """An annotation shows a finding if it has this heading and, where any are named, one of these qualifiers; all in lower case."""

    heading: str
    qualifiers: frozenset[str] = frozenset()


def _terms(*described: str) -> tuple[_Term, ...]:
    """ "heading/this|that": the heading with either qualifier."""
    pairs = (text.partition("/") for text in described)
    return tuple(_Term(heading, frozenset(qualifiers.split("|")) if qualifiers else frozenset()) for heading, _, qualifiers in pairs)


# [ours] Which annotations show which finding. Findings overlap (a consolidation is an opacity too).
_FINDINGS: dict[str, tuple[_Term, ...]] = {
    NORMAL: _terms("normal"),
    "cardiomegaly": _terms("cardiomegaly", "cardiac shadow/enlarged", "heart/enlarged", "heart ventricles/enlarged|prominent"),
    "effusion": _terms("pleural effusion", "costophrenic angle/blunted|obscured", "hydropneumothorax", "hemothorax"),
    "opacity": _terms(
        "opacity",
        "airspace disease",
        "infiltrate",
        "consolidation",
        "density/lung|retrocardiac|hilum|base|lower lobe|upper lobe|middle lobe",
    ),
    "airspace disease": _terms("airspace disease", "infiltrate", "consolidation", "pneumonia"),
    "pneumonia": _terms("pneumonia", "bronchopneumonia"),
    "atelectasis": _terms("pulmonary atelectasis", "volume loss"),
    "edema": _terms("pulmonary edema", "pulmonary congestion", "heart failure"),
    "pneumothorax": _terms("pneumothorax", "hydropneumothorax"),
    "nodule": _terms("nodule", "mass", "cysts"),
    "granuloma": _terms(
        "calcified granuloma", "granuloma", "granulomatous disease", "calcinosis/lung|lymph nodes|hilum|mediastinum|paratracheal"
    ),
    "low lung volumes": _terms("lung/hypoinflation"),
    "hyperinflation": _terms("lung/hyperdistention", "lung, hyperlucent", "diaphragm/flattened"),
    "emphysema": _terms("emphysema", "pulmonary emphysema", "bullous emphysema", "pulmonary disease, chronic obstructive"),
    "scar": _terms("cicatrix", "pulmonary fibrosis", "fibrosis", "thickening/pleura|apex"),
    "interstitial markings": _terms("markings", "lung diseases, interstitial", "opacity/interstitial"),
    "elevated diaphragm": _terms("diaphragm/elevated", "diaphragmatic eventration"),
    "tortuous aorta": _terms("aorta/tortuous|enlarged|prominent", "aorta, thoracic/tortuous|enlarged|prominent", "aortic aneurysm"),
    "atherosclerosis": _terms("atherosclerosis", "calcinosis/aorta|aorta, thoracic|blood vessels"),
    "degenerative spine": _terms(
        "thoracic vertebrae/degenerative",
        "spine/degenerative",
        "lumbar vertebrae/degenerative",
        "cervical vertebrae/degenerative",
        "osteophyte",
        "spondylosis",
        "hyperostosis, diffuse idiopathic skeletal",
    ),
    "scoliosis": _terms("scoliosis"),
    "vertebral deformity": _terms("kyphosis", "deformity/thoracic vertebrae|lumbar vertebrae|spine"),
    "fracture": _terms("fractures, bone", "deformity/ribs|clavicle"),
    "device": _terms("catheters, indwelling", "tube, inserted", "implanted medical device", "medical device", "stents"),
    "surgical hardware": _terms("surgical instruments", "spinal fusion", "sutures"),
}
FINDINGS: tuple[str, ...] = tuple(_FINDINGS)


def findings_of(mesh: Sequence[str]) -> set[str]:
    """The findings that a film's annotations show.

    Args:
        mesh: annotations as NLM writes them, one a heading; in any case.

    Returns:
        Some of `FINDINGS`, `{"normal"}` alone for a normal film; empty where nothing is annotated or nothing that is in the list (such a
        film is not labelled normal).
    """
    annotations = [[part.strip() for part in term.lower().split("/")] for term in mesh]
    return {finding for finding, terms in _FINDINGS.items() if any(_shows(parts, term) for parts in annotations for term in terms)}


def build_openi(reports: Path, images: Path, table: Path, projections: Path | None = None, seed: int = 0) -> int:
    """Make a studies table from the official download: a row for each frontal film, split by patient.

    Args:
        reports: `NLMCXR_reports.tgz`, or the folder it unpacks to.
        images: the folder that `NLMCXR_png.tgz` unpacks to (or the DICOM files, or the films under the names of the Kaggle copy).
        table: CSV to write; its image paths are relative to its folder.
        projections: `indiana_projections.csv` of the Kaggle copy; None looks for it beside `reports`, `images` and `table`. Where it
            is not found, the first image of each study is taken, which is a lateral in one study of eight, and its view is "unknown".
        seed: of the split.

    Returns:
        The number of films in the table.

    Raises:
        InputError: no report, or no image of a report, is found.
    """
    pictures = _pictures(images)
    frontal = _frontal(projections or _beside(reports, images, table))
    if frontal is None:
        log.warning("%s not found: the first image of each study is taken for its frontal film (wrong for one in eight)", PROJECTIONS)
    rows = [row for root in _reports(reports) for row in _rows_of(root, pictures, frontal, table.parent)]
    if not rows:
        raise InputError(f"{reports}: no report has a frontal film in {images}; give the folders of the official download")
    patients = [Study(row["id"], row["patient"], "", "") for row in rows]
    split_of = {study.id: study.split for study in split_by_patient(patients, seed)}
    write_table(table, [row | {"split": split_of[row["id"]]} for row in rows])
    return len(read_studies(table))


def _reports(source: Path) -> Iterator[ET.Element]:
    """Each report's XML root, in the order of the study numbers."""
    try:
        texts = _unpacked(source) if source.is_dir() else _archived(source)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{source}: not NLMCXR_reports.tgz nor a folder of its XML files ({error}); download it again") from None
    for name, text in sorted(texts.items(), key=lambda item: (len(item[0]), item[0])):
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise InputError(f"{source}, {name}: declares entities, which NLM's reports do not; download it again")
        try:
            yield ET.fromstring(text)
        except ET.ParseError as error:
            raise InputError(f"{source}, {name}: not whole XML ({error}); download it again") from None


def _unpacked(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.xml") if path.stat().st_size <= _LARGEST_REPORT}


def _archived(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.isfile() and member.name.endswith(".xml") and member.size <= _LARGEST_REPORT]
        files = ((member.name.rpartition("/")[2], tar.extractfile(member)) for member in members)
        return {name: file.read() for name, file in files if file}


def _rows_of(root: ET.Element, pictures: Mapping[str, Path], frontal: set[str] | None, folder: Path) -> Iterator[dict[str, str]]:
    sections = {part.get("Label", ""): part.text or "" for part in root.iter("AbstractText")}
    findings, impression = sections.get("FINDINGS", ""), sections.get("IMPRESSION", "")
    names = [_stem(image.get("id", "")) for image in root.iter("parentImage")]
    chosen = names[:1] if frontal is None else [name for name in names if name in frontal]
    number = next((element.get("id", "") for element in root.iter("uId")), "")
    for name in chosen:
        if name not in pictures:
            continue
        yield {
            "id": f"openi_{name}",
            "patient": f"openi_{number.removeprefix('CXR')}",
            "image": Path(os.path.relpath(pictures[name], folder)).as_posix(),
            "view": "unknown" if frontal is None else "frontal",
            "findings": findings,
            "impression": impression,
            "report": report_text(findings, impression),
            "indication": sections.get("INDICATION", ""),
            "mesh": ";".join(term.text.strip() for term in root.iter("major") if term.text),
        }


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; unpack NLMCXR_png.tgz there")
    return {_stem(path.name): path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _PICTURES}


def _stem(name: str) -> str:
    """The image's name in all its spellings: `CXR1_1_IM-0001-4001.png`, `1_IM-0001-4001.dcm.png`, `openi_1_IM-0001-4001.jpg`."""
    base = name.partition(".")[0].removeprefix("openi_").removeprefix("CXR")
    study, _, rest = base.partition("_")
    return rest if rest.startswith(f"{study}_") else base


def _frontal(projections: Path | None) -> set[str] | None:
    if projections is None:
        return None
    try:
        with projections.open(newline="", encoding="utf-8") as file:
            return {_stem(row["filename"]) for row in csv.DictReader(file) if row["projection"] == "Frontal"}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{projections}: not a table with `filename` and `projection` ({error}); download it again") from None


def _beside(*paths: Path) -> Path | None:
    folders = [folder for path in paths for folder in (path, path.parent)]
    return next((folder / PROJECTIONS for folder in folders if (folder / PROJECTIONS).is_file()), None)


def _shows(annotation: Sequence[str], term: _Term) -> bool:
    return annotation[0] == term.heading and (not term.qualifiers or not term.qualifiers.isdisjoint(annotation[1:]))
