"""OpenI: annotations become findings, and the official download becomes a studies table."""

from __future__ import annotations

import logging
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from cyclicxr.data.openi import FINDINGS, build_openi, findings_of
from cyclicxr.data.studies import read_studies
from cyclicxr.data.tables import read_table
from cyclicxr.types import InputError


@pytest.mark.parametrize(
    ("mesh", "findings"),
    [
        (["normal"], {"normal"}),
        (["Cardiomegaly/mild"], {"cardiomegaly"}),
        (["Cardiac Shadow/enlarged/mild"], {"cardiomegaly"}),
        (["Cardiac Shadow/obscured"], set()),
        (["Costophrenic Angle/right/blunted"], {"effusion"}),
        (["Pleural Effusion/bilateral", "Lung/hypoinflation"], {"effusion", "low lung volumes"}),
        (["Consolidation/lung/base/left"], {"opacity", "airspace disease"}),
        (["Calcinosis/aorta"], {"atherosclerosis"}),
        (["Calcinosis/lung/hilum/right"], {"granuloma"}),
        (["Calcinosis/abdomen"], set()),
        (["Catheters, Indwelling"], {"device"}),
        (["Thoracic Vertebrae/degenerative/mild", "Spine/degenerative"], {"degenerative spine"}),
        (["Aorta, Thoracic/tortuous"], {"tortuous aorta"}),
        (["Diaphragm/left/elevated", "Diaphragm/right/flattened"], {"elevated diaphragm", "hyperinflation"}),
        (["No Indexing"], set()),
        ([], set()),
    ],
)
def test_annotations_become_findings(mesh: list[str], findings: set[str]) -> None:
    assert findings_of(mesh) == findings
    assert findings_of([term.upper() for term in mesh]) == findings


def test_enough_training_films_show_the_common_findings(openi: Path) -> None:
    labels = [findings_of(study.mesh) for study in read_studies(openi / "studies.csv") if study.split == "train"]
    counts = Counter(finding for found in labels for finding in found)
    assert set(counts) == set(FINDINGS)
    assert {finding for finding in FINDINGS if counts[finding] < 40} == {"pneumonia", "pneumothorax"}
    assert counts["normal"] == 1008
    assert all(found == {"normal"} for found in labels if "normal" in found)


REPORT = """<?xml version="1.0"?><eCitation><uId id="CXR{n}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">Pain &amp; cough.</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION">Normal chest x-XXXX.</AbstractText>
</Abstract></Article></MedlineCitation><MeSH><major>Lung/hypoinflation</major><major>Cardiomegaly</major><automatic>chest</automatic></MeSH>
<parentImage id="{first}"/><parentImage id="{second}"/></eCitation>"""


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """Three reports as NLM ships them, with empty files for their films; of the second, the lateral is the first image."""
    names = [
        ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"),
        ("CXR2_IM-0652-1001", "CXR2_IM-0652-2001"),
        ("CXR30_IM-1-1001", "CXR30_IM-1-2001"),
    ]
    (tmp_path / "reports").mkdir()
    (tmp_path / "png").mkdir()
    for number, (first, second) in zip((1, 2, 30), names, strict=True):
        text = REPORT.format(n=number, first=first, second=second, findings="Heart size is normal." if number > 1 else "")
        (tmp_path / "reports" / f"{number}.xml").write_text(text, encoding="utf-8")
        for name in (first, second):
            (tmp_path / "png" / f"{name}.png").touch()
    lines = ["uid,filename,projection", "1,1_IM-0001-4001.dcm.png,Frontal", "1,1_IM-0001-3001.dcm.png,Lateral"]
    lines += ["2,2_IM-0652-2001.dcm.png,Frontal", "2,2_IM-0652-1001.dcm.png,Lateral", "30,30_IM-1-1001.dcm.png,Frontal"]
    (tmp_path / "indiana_projections.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def rows_of(table: Path) -> list[dict[str, str]]:
    return [row for _, row in read_table(table)[1]]


def test_the_download_becomes_a_table_of_frontal_films(download: Path) -> None:
    table = download / "out" / "studies.csv"
    tally = build_openi(download / "reports", download / "png", table)
    assert tally.kept.total() == 2
    assert tally.excluded == {"report of fewer than 3 tokens": {"": 1}}  # of the first, "Normal chest." has two words
    rows = rows_of(table)
    assert [row["id"] for row in rows] == ["openi_2_IM-0652-2001", "openi_30_IM-1-1001"]
    assert rows[0] | {"split": ""} == {
        "id": "openi_2_IM-0652-2001",
        "patient": "openi_2",
        "image": "../png/CXR2_IM-0652-2001.png",
        "view": "frontal",
        "findings": "Heart size is normal.",
        "impression": "Normal chest x-XXXX.",
        "report": "Heart size is normal. Normal chest x-XXXX.",
        "indication": "Pain & cough.",
        "mesh": "Lung/hypoinflation;Cardiomegaly",
        "split": "",
    }
    assert {row["split"] for row in rows} <= {"train", "val", "test"}


def test_each_report_that_is_left_out_is_counted_by_its_reason(download: Path) -> None:
    (download / "png" / "CXR2_IM-0652-2001.png").unlink()
    (download / "reports" / "4.xml").write_text("<e><uId id='CXR4'/><AbstractText Label='FINDINGS'>No image of this.</AbstractText></e>")
    lateral = REPORT.format(n=5, first="CXR5_IM-2-2001", second="CXR5_IM-2-2002", findings="The lungs are clear.")
    (download / "reports" / "5.xml").write_text(lateral)
    tally = build_openi(download / "reports", download / "png", download / "studies.csv")
    reasons = ("report of fewer than 3 tokens", "no file of the frontal image", "report without an image", "no frontal image")
    assert tally.excluded == {reason: {"": 1} for reason in reasons}
    assert tally.considered.total() == 5 == tally.kept.total() + 4


def test_kaggle_s_copy_reads_like_nlm_s(download: Path) -> None:
    text = "Lung/hypoinflation;Cardiomegaly,Lung,Xray,Pain & cough.,None.,"
    lines = [f"1,{text},Normal chest x-XXXX.", *(f"{uid},{text}Heart size is normal.,Normal chest x-XXXX." for uid in (2, 30))]
    (download / "indiana_reports.csv").write_text("\n".join(["uid,MeSH,Problems,image,indication,comparison,findings,impression", *lines]))
    for film in (download / "png").iterdir():
        number, _, rest = film.stem.removeprefix("CXR").partition("_")
        rest = rest if number == "1" else f"{number}_{rest}"
        film.rename(film.with_name(f"{rest}.dcm.png"))
    build_openi(download / "indiana_reports.csv", download / "png", download / "kaggle.parquet")
    build_openi(download / "reports", download / "png", download / "nlm.csv")
    assert rows_of(download / "kaggle.parquet") == rows_of(download / "nlm.csv")
    (download / "indiana_projections.csv").unlink()
    with pytest.raises(InputError, match=r"indiana_projections\.csv is not beside it"):
        build_openi(download / "indiana_reports.csv", download / "png", download / "kaggle.parquet")
    (download / "indiana_projections.csv").write_text("uid,projection\n")
    with pytest.raises(InputError, match="no column `filename`"):
        build_openi(download / "indiana_reports.csv", download / "png", download / "kaggle.parquet")


def test_an_archive_reads_like_its_folder(download: Path) -> None:
    with tarfile.open(download / "NLMCXR_reports.tgz", "w:gz") as tar:
        tar.add(download / "reports", arcname="ecgen-radiology")
    build_openi(download / "reports", download / "png", download / "folder.csv")
    build_openi(download / "NLMCXR_reports.tgz", download / "png", download / "archive.csv")
    assert rows_of(download / "folder.csv") == rows_of(download / "archive.csv")


def test_without_projections_the_first_image_is_taken_and_it_is_said(download: Path, caplog: pytest.LogCaptureFixture) -> None:
    (download / "indiana_projections.csv").unlink()
    with caplog.at_level(logging.WARNING):
        build_openi(download / "reports", download / "png", download / "studies.csv")
    assert next(row["id"] for row in rows_of(download / "studies.csv")) == "openi_2_IM-0652-1001"
    assert "indiana_projections.csv not found" in caplog.text


def test_bad_downloads_are_refused(download: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        build_openi(download / "reports", download / "none", download / "studies.csv")
    with pytest.raises(InputError, match="no report has a frontal film"):
        build_openi(download / "reports", download / "reports", download / "studies.csv")
    (download / "torn.tgz").write_bytes(b"\x1f\x8b torn")
    with pytest.raises(InputError, match=r"torn\.tgz: not NLMCXR_reports"):
        build_openi(download / "torn.tgz", download / "png", download / "studies.csv")
    (download / "reports" / "9.xml").write_text("<eCitation>", encoding="utf-8")
    with pytest.raises(InputError, match=r"9\.xml: not whole XML"):
        build_openi(download / "reports", download / "png", download / "studies.csv")
    (download / "reports" / "9.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', encoding="utf-8")
    with pytest.raises(InputError, match="declares entities"):
        build_openi(download / "reports", download / "png", download / "studies.csv")
    assert not (download / "studies.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("reports", ["NLMCXR_reports.tgz", "indiana_reports.csv"])
def test_the_official_reports_give_the_studies_we_have(openi: Path, tmp_path: Path, reports: str) -> None:
    """To the letter, but for the full stop that we put between findings and impression where 25 reports have none."""
    official, table = openi / "official", tmp_path / "studies.csv"
    tally = build_openi(official / reports, openi / "images", table)
    ours, theirs = ({study.patient: study for study in read_studies(path)} for path in (table, openi / "studies.csv"))
    assert ours.keys() == theirs.keys() and tally.kept.total() == len(theirs)
    assert all(ours[name].mesh == theirs[name].mesh for name in theirs)
    differ = [(ours[name].report, theirs[name].report) for name in theirs if ours[name].report != theirs[name].report]
    assert len(differ) == 25 and all(our.replace(".", "") == their.replace(".", "") for our, their in differ)
    assert all(ours[name].id == theirs[name].id for name in theirs)
    assert [tally.kept[split] for split in ("train", "val", "test")] == [2477, 183, 705]
