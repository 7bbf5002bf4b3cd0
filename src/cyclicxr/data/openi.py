"""OpenI (Indiana University): NLM's MeSH annotations -> findings, and NLM's or Kaggle's download -> studies table; knows no pixel.

Source: Demner-Fushman et al., JAMIA 2016. An annotation is a heading with qualifiers: `Opacity/lung/base/left/patchy`.
"""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from cyclicxr.data.reports import MIN_TOKENS, count_tokens, normalise, report_text, without_marks
from cyclicxr.data.studies import split_by_patient
from cyclicxr.data.tables import Row, read_table, write_table
from cyclicxr.data.tally import Tally
from cyclicxr.types import InputError, Study

log = logging.getLogger(__name__)

PROJECTIONS = "indiana_projections.csv"  # which image is frontal; the reports do not say
PAPER = {"train": 2912, "test": 772}  # [paper 4.1] pairs; no validation is named
_VAL = 200  # [ours] pairs of the paper's training set that choose between models
SHARES = {"train": (2912 - _VAL) / 3684, "val": _VAL / 3684, "test": 772 / 3684}
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


def build_openi(reports: Path, images: Path, table: Path, projections: Path | None = None, seed: int = 0) -> Tally:
    """Make a studies table from NLM's or Kaggle's download: a row a report with its first frontal film, split by patient.

    Args:
        reports: `NLMCXR_reports.tgz`, the folder it unpacks to, or Kaggle's `indiana_reports.csv`.
        images: the folder that `NLMCXR_png.tgz` unpacks to, `images_normalized` of Kaggle, or the DICOM files.
        table: CSV or Parquet to write; its image paths are relative to its folder.
        projections: Kaggle's `indiana_projections.csv`; None looks for it beside `reports`, `images` and `table`. Where it is not found,
            the first image of each report is taken, which is a lateral in one report of eight, and its view is "unknown".
        seed: of the split; the parts are as large as the paper's (4.1), with validation taken out of its training pairs.

    Returns:
        How many reports are in the table, and how many are not for which reason.

    Raises:
        InputError: a file of the download is missing or damaged, or no report has a frontal film.
    """
    pictures = _pictures(images)
    listed = projections or _beside(reports, images, table)
    frontal = _frontal(listed)
    if frontal is None:
        log.warning("%s not found: the first image of each study is taken for its frontal film (wrong for one in eight)", PROJECTIONS)
    tally, rows = Tally(PAPER), []
    for report in _kaggle(reports, listed) if reports.suffix.lower() == ".csv" else map(_of_xml, _xml(reports)):
        name, reason = _chosen(report, pictures, frontal)
        if reason:
            tally.exclude("", reason)
        else:
            rows.append(_row(report, name, pictures[name], "unknown" if frontal is None else "frontal", table.parent))
    if not rows:
        raise InputError(f"{reports}: no report has a frontal film in {images}; give the folders of the official download")
    split_of = {study.patient: study.split for study in split_by_patient([Study("", row["patient"], "", "") for row in rows], seed, SHARES)}
    for row in rows:
        row["split"] = split_of[row["patient"]]
        tally.keep(row["split"])
    write_table(table, rows)
    return tally


class _Report(NamedTuple):
    """One report, wherever it was read: its number, its sections, its annotations, and its images in the order they are listed in."""

    number: str
    findings: str
    impression: str
    indication: str
    mesh: str
    images: Sequence[str]


def _chosen(report: _Report, pictures: Mapping[str, Path], frontal: Mapping[str, int] | None) -> tuple[str, str]:
    """The report's film by its name, or why there is none."""
    if count_tokens(without_marks(report_text(report.findings, report.impression))) < MIN_TOKENS:
        return "", f"report of fewer than {MIN_TOKENS} tokens"
    if not report.images:
        return "", "report without an image"
    names = list(report.images) if frontal is None else sorted(set(report.images) & frontal.keys(), key=frontal.__getitem__)
    if not names:
        return "", "no frontal image"
    there = [name for name in names if name in pictures]
    return (there[0], "") if there else ("", "no file of the frontal image")


def _row(report: _Report, name: str, picture: Path, view: str, folder: Path) -> dict[str, str]:
    return {
        "id": f"openi_{name}",
        "patient": f"openi_{report.number}",
        "split": "",
        "image": Path(os.path.relpath(picture, folder)).as_posix(),
        "view": view,
        "findings": report.findings,
        "impression": report.impression,
        "report": report_text(report.findings, report.impression),
        "indication": report.indication,
        "mesh": report.mesh,
    }


def _kaggle(reports: Path, projections: Path | None) -> Iterator[_Report]:
    """The reports of `indiana_reports.csv`, in its order, with the images that `indiana_projections.csv` lists."""
    if projections is None:
        raise InputError(f"{reports}: {PROJECTIONS} is not beside it; it says which image is whose, and comes with the same download")
    images: dict[str, list[str]] = {}
    for _, row in _csv(projections, "uid", "filename", "projection"):
        images.setdefault(row["uid"], []).append(_stem(row["filename"]))
    for _, row in _csv(reports, "uid", "MeSH", "indication", "findings", "impression"):
        mesh = ";".join(map(normalise, row["MeSH"].split(";")))
        yield _Report(row["uid"], row["findings"], row["impression"], row["indication"], mesh, images.get(row["uid"], []))


def _csv(path: Path, *needed: str) -> Iterator[tuple[int, Row]]:
    columns, rows = read_table(path)
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"{path}: no column `{missing[0]}`; download it again")
    return rows


def _of_xml(root: ET.Element) -> _Report:
    sections = {part.get("Label", ""): part.text or "" for part in root.iter("AbstractText")}
    number = next((element.get("id", "") for element in root.iter("uId")), "").removeprefix("CXR")
    mesh = ";".join(normalise(term.text) for term in root.iter("major") if term.text)
    images = [_stem(image.get("id", "")) for image in root.iter("parentImage")]
    findings, impression, indication = (sections.get(name, "") for name in ("FINDINGS", "IMPRESSION", "INDICATION"))
    return _Report(number, findings, impression, indication, mesh, images)


def _xml(source: Path) -> Iterator[ET.Element]:
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


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; unpack NLMCXR_png.tgz there")
    return {_stem(path.name): path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _PICTURES}


def _stem(name: str) -> str:
    """The image's name in all its spellings: `CXR1_1_IM-0001-4001.png`, `1_IM-0001-4001.dcm.png`, `openi_1_IM-0001-4001.jpg`."""
    base = name.partition(".")[0].removeprefix("openi_").removeprefix("CXR")
    study, _, rest = base.partition("_")
    return rest if rest.startswith(f"{study}_") else base


def _frontal(projections: Path | None) -> dict[str, int] | None:
    """The frontal images with their place in the list."""
    if projections is None:
        return None
    return {_stem(row["filename"]): number for number, row in _csv(projections, "filename", "projection") if row["projection"] == "Frontal"}


def _beside(*paths: Path) -> Path | None:
    folders = [folder for path in paths for folder in (path, path.parent)]
    return next((folder / PROJECTIONS for folder in folders if (folder / PROJECTIONS).is_file()), None)


def _shows(annotation: Sequence[str], term: _Term) -> bool:
    return annotation[0] == term.heading and (not term.qualifiers or not term.qualifiers.isdisjoint(annotation[1:]))
