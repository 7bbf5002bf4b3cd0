"""`cyclicxr data`: public data sets -> studies table, a table checked, films without their headers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclicxr.cli.console import STUDIES, Arguments, add_command, add_json, complain, counter, folder
from cyclicxr.types import NOTICE

if TYPE_CHECKING:
    from cyclicxr.data.tally import Tally


def add_data(commands: Any) -> None:
    """`data` with its commands."""
    parser = commands.add_parser(
        "data",
        help="make a studies table, check one, or de-identify films",
        description="Make a studies table, check one, or de-identify films.",
        epilog=NOTICE,
    )
    tables = parser.add_subparsers(title="commands", required=True)
    bare = add_command(
        tables, "deidentify", _data_deidentify, "films -> 16-bit PNG without any header; burnt-in text is reported, not blanked",
        "cyclicxr data deidentify films/*.dcm --out bare",
    )  # fmt: skip
    bare.add_argument("images", nargs="+", type=Path, metavar="FILE", help="PNG, JPEG, TIFF or DICOM films")
    bare.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for 0001.png, 0001.json, ... in the order given")
    add_json(bare)
    check = add_command(
        tables, "check", _data_check, "list every problem of a studies table, errors and warnings; exit code 2 where there is an error",
        "cyclicxr data check studies.csv", "cyclicxr data check films_and_texts/ --json",
    )  # fmt: skip
    check.add_argument("studies", type=Path, metavar="STUDIES", help=STUDIES)
    add_json(check)
    openi = add_command(
        tables, "openi", _data_openi, "OpenI as NLM or Kaggle gives it -> studies table",
        "cyclicxr data openi NLMCXR_reports.tgz NLMCXR_png --out studies.csv",
        "cyclicxr data openi indiana_reports.csv images/images_normalized --out studies.csv",
    )  # fmt: skip
    openi.add_argument("reports", type=Path, metavar="REPORTS", help="folder or .tgz of NLM's XML reports, or Kaggle's indiana_reports.csv")
    openi.add_argument("films", type=Path, metavar="FILMS", help="folder of the PNG films")
    mimic = add_command(
        tables, "mimic", _data_mimic, "MIMIC-CXR-JPG or MIMIC-CXR as PhysioNet gives it -> studies table",
        "cyclicxr data mimic mimic-cxr-jpg/2.0.0 --reports mimic-cxr-reports.zip --out studies.parquet",
    )  # fmt: skip
    mimic.add_argument("root", type=Path, metavar="ROOT", help="the folder with mimic-cxr-2.0.0-split.csv.gz and files/")
    mimic.add_argument("--reports", type=Path, metavar="ZIP|DIR", help="mimic-cxr-reports.zip, or its folder (default: in ROOT)")
    for made in (openi, mimic):
        made.add_argument("--out", type=Path, required=True, metavar="TABLE", help="the studies table to write, .csv or .parquet")
        add_json(made)


def _data_check(arguments: Arguments) -> int:
    from cyclicxr.data.check import check_studies

    with counter() as progress:
        found = check_studies(arguments.studies, progress)
    print(json.dumps(found.to_json(), ensure_ascii=False) if arguments.json else found.to_text(), flush=True)
    return 2 if found.errors else 0


def _data_openi(arguments: Arguments) -> int:
    from cyclicxr.data.openi import build_openi

    return _tell(arguments, build_openi(arguments.reports, arguments.films, arguments.out))


def _data_mimic(arguments: Arguments) -> int:
    from cyclicxr.data.mimic import build_mimic

    with counter() as progress:
        tally = build_mimic(arguments.root, arguments.out, arguments.reports, progress)
    return _tell(arguments, tally)


def _data_deidentify(arguments: Arguments) -> int:
    from cyclicxr.data.deidentify import deidentify

    refused = 0
    for film in deidentify(arguments.images, folder(arguments.out)):
        if film.written is None:
            refused += 1
            complain(film.refused)
            continue
        boxes = ", ".join("x {:.0f}-{:.0f} y {:.0f}-{:.0f}".format(*(box[i] for i in (0, 2, 1, 3))) for box in film.regions)
        facts = {"image": str(film.source), "written": str(film.written), "text_regions": film.regions}
        line = f"{film.source} -> {film.written}: {f'text may be burnt in at {boxes}; look at it' if boxes else 'no burnt-in text found'}"
        print(json.dumps(facts) if arguments.json else line, flush=True)
    return 2 if refused else 0


def _tell(arguments: Arguments, tally: Tally) -> int:
    """What became of a data set's rows."""
    facts = {"table": str(arguments.out), **tally.to_json()}
    print(json.dumps(facts) if arguments.json else f"{tally.to_text()}\n{arguments.out}: {tally.kept.total():,} films", flush=True)
    return 0
