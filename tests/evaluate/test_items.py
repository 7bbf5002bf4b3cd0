"""Each table and figure of the paper by one call: the paper's rows stand beside ours and apart, what nobody gave is said to be missing."""

import json

import numpy as np
import pytest
from PIL import Image

from cyclicxr.config import EncoderConfig
from cyclicxr.evaluate.items import ITEMS, is_adaptive, reproduce
from cyclicxr.evaluate.paper import printed, printed_across, printed_lines
from cyclicxr.metrics import ptb
from cyclicxr.patches.encoder import ImageEncoder
from cyclicxr.types import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory, toys):
    """Every item of one model, in one folder."""
    folder = tmp_path_factory.mktemp("items")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ptb, "java", lambda: None)
        table = toys.write_table(folder, {"train": toys.TRAIN + toys.TEST, "test": toys.TEST})
        model = toys.Showing()
        more = {"table2": {"cases": 10}}
        files = {item: reproduce(item, model, table, out=folder / "out", **more.get(item, {})) for item in ITEMS}
    return files, folder / "out", model


def rows(out, item):
    return {row["row"]: row for row in json.loads((out / f"{item}.json").read_text())["rows"]}


def test_every_table_and_figure_is_written_in_every_form(made):
    files, out, _ = made
    for item, paths in files.items():
        forms = [".md", ".html", ".tex", ".json"] if item.startswith("table") else [".png", ".svg", ".json"]
        assert [path.name for path in paths] == [item + form for form in forms]
        assert all(path.stat().st_size > 200 for path in paths)
    assert not list(out.rglob("*.part"))
    assert not (out / "metrics.json").exists()  # an evaluation's own file is left alone


def test_table_1_has_our_rows_and_the_papers_apart(made):
    _, out, _ = made
    found = rows(out, "table1")
    ours = [row for row in found.values() if not row["as printed, other protocol"]]
    assert [row["row"] for row in ours][:2] == ["this model", "this model, films shuffled"]
    printed_row = found["R2Gen (2020), OpenI, as printed, other protocol"]
    assert printed_row["BLEU-1"]["value"] == "0.3992"
    text = (out / "table1.tex").read_text()
    assert r"\emph{AdaMatch-Cyclic, OpenI, as printed, other protocol} & 0.4161" in text


def test_table_2_is_a_sample_by_seed_of_reports_that_are_not_written_twice(made):
    _, out, _ = made
    found = json.loads((out / "table2.json").read_text())
    assert found["about"]["n"] == found["about"]["cases"] == 10
    assert any("sampled by seed 0" in note for note in found["notes"])
    assert (out / "table2" / "reports.jsonl").read_text() == (out / "reports.jsonl").read_text()


def test_retrieval_is_in_per_cent_with_chance(made):
    _, out, _ = made
    found = rows(out, "table4")
    assert found["this model, whole split"]["CXR-to-report R@1"]["value"] == "100.0"
    assert found["chance"]["report-to-CXR R@1"]["value"] == "2.500"
    assert found["AdaMatch, as printed, other protocol"]["report-to-CXR R@10"]["value"] == "94.60"


def test_what_nobody_gave_is_missing_and_not_invented(made, toys):
    _, out, _ = made
    notes = json.loads((out / "table5.json").read_text())["notes"]
    assert [note for note in notes if "Missing" in note] == ["Missing: a matcher with AdaPatch; give `--compare NAME=MODEL`."]
    assert "this model (without AdaPatch)" in rows(out, "table5")
    assert not is_adaptive(toys.Matcher())
    for adaptive in (True, False):
        assert is_adaptive(ImageEncoder(EncoderConfig(adaptive=adaptive))) == adaptive
    missing = [note for note in json.loads((out / "table6.json").read_text())["notes"] if "Missing" in note]
    assert len(missing) == 3
    assert "match.stage=4" in missing[2]


def test_figures_come_with_what_they_show(made):
    _, out, _ = made
    kinds = [case["kind"] for case in json.loads((out / "figure5.json").read_text())["numbers"]]
    assert kinds == ["best", "median", "worst"]
    shown = json.loads((out / "figure8.json").read_text())["numbers"]
    assert all(word["centre"][1] == pytest.approx(4) and word["anchor"][1] == pytest.approx(12) for case in shown for word in case["words"])
    places = json.loads((out / "figure6.json").read_text())["numbers"]
    assert len(places["real"]) == len(places["drawn"])
    for item in ("figure5", "figure6", "figure7", "figure8"):
        assert np.asarray(Image.open(out / f"{item}.png").convert("L")).std() > 5


def test_a_model_that_shows_no_patches_is_refused_where_they_are_the_figure(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(ptb, "java", lambda: None)
    table = toys.write_table(tmp_path, {"test": 8})
    with pytest.raises(InputError, match="shows no patches"):
        reproduce("figure8", toys.Model(), table, out=tmp_path / "out")
    with pytest.raises(InputError, match="table9"):
        reproduce("table9", toys.Model(), table, out=tmp_path / "out")


def test_the_papers_numbers_are_whole():
    for item, table in printed()["tables"].items():
        width = len(table["groups"]) * len(table["metrics"])
        assert all(len(values) == width and all(float(value) > 0 for value in values) for values in table["rows"].values()), item
    columns, lines = printed_across("table6")
    assert columns[3] == "report-to-CXR R@1"
    assert [line.cells[3].value for line in lines] == ["42.81", "51.18", "49.39"]
    assert all(line.printed for line in printed_lines("table1", ["BLEU-1", "x"]))
    assert printed_lines("table3", ["x", "FID"])[-1].cells == (("–", ""), ("1.5938", ""))
