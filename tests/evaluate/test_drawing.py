"""The draw task on films whose numbers are known: copies of training films, noise, the real films themselves."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cyclicxr.config import OPENI_SMALL
from cyclicxr.evaluate import film_set
from cyclicxr.evaluate.drawing import nearest_reports, score_drawn_films
from cyclicxr.evaluate.drawn_films import BATCH, draw_all
from cyclicxr.evaluate.drawn_tables import BY_TEXT, HALVES, REAL
from cyclicxr.evaluate.system import Case
from cyclicxr.evaluate.verdicts import DRAWN, RECONSTRUCTED
from cyclicxr.evaluate.verdicts import DRAWN_SHUFFLED as SHUFFLED
from cyclicxr.evaluate.verdicts import OTHER_FILMS as OTHERS
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training.corpus import Corpus
from cyclicxr.types import InputError, Study

SIDE, TEST, TRAIN = 192, 24, 30
KINDS = {"Cardiomegaly/mild": "The heart is enlarged", "normal": "The lungs are clear"}


class Classifier(FilmClassifier):
    """Features: means of 16 squares; the first finding is a bright upper left one."""

    def __init__(self):
        nn.Module.__init__(self)
        self.findings = ("cardiomegaly", "normal")
        self.head = nn.Linear(16, 2)
        nn.init.zeros_(self.head.weight)
        self.head.weight.data[0, 0] = 1

    def features(self, films):
        return nn.functional.adaptive_avg_pool2d(films, 4).flatten(1)


class Coder(nn.Module):
    """Rounds the pixels to 32 levels."""

    def encode(self, films):
        return films

    def decode(self, ids):
        return (ids * 32).round() / 32


class Model:
    """Draws what it is given, film by film, by the number in the report; dies after a number of batches."""

    preset, matcher, alignment, vqgan = OPENI_SMALL, None, None, Coder()

    def __init__(self, films, classifier=True, name="toy", lives=100):
        self.films, self.info, self.lives, self.asked = films, {"name": name}, lives, []
        self.classifier = Classifier().requires_grad_(False) if classifier else None

    def write_reports(self, pixels):
        raise AssertionError("nobody asked for a report")

    def draw_films(self, texts, seed):
        if not self.lives:
            raise KeyboardInterrupt
        self.lives -= 1
        self.asked.append(len(texts))
        return self.films[[int(text.split()[-1]) for text in texts]]


def films_of(count, seed):
    """Noise over large squares; films of the first kind have a brighter upper left corner."""
    rng = np.random.default_rng(seed)
    squares = rng.uniform(60, 120, (count, 8, 8)).repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)
    films = squares + rng.normal(0, 8, (count, SIDE, SIDE))
    films[::2, : SIDE // 4, : SIDE // 4] += 90
    return torch.from_numpy(films.clip(0, 255).astype(np.uint8))


def case_of(train=True, labelled=True, test=TEST):
    studies, films = [], []
    for split, count, seed in (("test", test, 0), ("train", TRAIN, 1)) if train else (("test", test, 0),):
        for i in range(count):
            mesh, text = list(KINDS.items())[i % 2]
            report = f"{text}. Film number {i}"
            studies.append(Study(f"{split}/{i}", f"{split}{i}", "", report, split, mesh=(mesh,) if labelled else ()))
        films.append(films_of(count, seed))
    raw = {study.id: study.report for study in studies}
    return Case(Corpus(studies, torch.cat(films)), raw, "test", 0, lambda what, done, total: None)


def values(table, metric):
    return {row: found[metric].value for row, found in table.items() if metric in found}


@pytest.fixture(scope="module", autouse=True)
def few_pairs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film_set, "PAIRS", 12)
        yield


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A model that draws the right kind of film, an external system that hands out training films, and one that draws the film itself."""
    out, case = tmp_path_factory.mktemp("draw"), case_of()
    others = {"copies": case.train.pixels[:TEST], "the same": case.cases.pixels}
    networks = {"Rows": lambda films: films.mean(3).flatten(1)[:, ::24]}
    return case, out, score_drawn_films(Model(films_of(TEST, 2)), case, out, others, networks)


def test_distances_are_nothing_for_the_same_films_and_larger_for_drawn_ones(scored):
    _, _, tables = scored
    fid, kid = values(tables["draw"], "FID"), values(tables["draw"], "KID")
    assert fid["the same"] == pytest.approx(0, abs=1e-6)
    assert kid["the same"] == pytest.approx(0, abs=1e-9)
    assert fid["the same"] < fid[RECONSTRUCTED] < min(fid[DRAWN], fid[OTHERS], fid[BY_TEXT])
    assert SHUFFLED not in fid and REAL not in fid
    assert set(values(tables["draw"], "FID (Rows)")) == set(fid)
    row = tables["draw"][DRAWN]
    for metric in ("FID", "KID", "finding AUC", "NIQE", "MS-SSIM", "likeness to the real film"):
        assert row[metric].low <= row[metric].value <= row[metric].high


def test_findings_are_read_from_the_films_and_not_from_shuffled_ones(scored):
    _, _, tables = scored
    area = values(tables["draw"], "finding AUC")
    assert area[DRAWN] == area[REAL] == area["the same"] == 1
    assert area[BY_TEXT] == 1  # its report is of the same kind
    assert 0.2 < area[SHUFFLED] < 0.8
    assert 0.2 < area[OTHERS] < 0.8
    likeness = values(tables["draw"], "likeness to the real film")
    assert likeness["the same"] == pytest.approx(1, abs=1e-5)
    assert likeness[DRAWN] > likeness[SHUFFLED]
    assert tables["draw by finding"]["cardiomegaly (12 films)"][DRAWN].value == 1
    assert "normal (12 films)" not in tables["draw by finding"]


def test_copies_of_training_films_are_found(scored):
    _, _, tables = scored
    found = tables["draw, nearest training film"]
    for space in ("feature", "pixel"):
        assert found["copies"][f"{space} distance"].value == pytest.approx(0, abs=1e-6)
        assert found[BY_TEXT][f"{space} distance below 1 % of real films"].value == 1
        assert found[REAL][f"{space} distance below 5 % of real films"].value == pytest.approx(2 / TEST)
        assert found[DRAWN][f"{space} distance below 1 % of real films"].value < 0.2
    assert found["copies"]["SSIM with the nearest"].value == pytest.approx(1)
    assert found[DRAWN]["SSIM with the nearest"].value < 0.9


def test_pairs_of_systems_are_compared_study_by_study(scored):
    _, _, tables = scored
    paired = tables["draw, paired"]
    shuffled = paired[f"this model against {SHUFFLED}"]
    assert set(shuffled) == {"finding AUC", "likeness to the real film"}  # the films are the same ones
    assert shuffled["finding AUC"].value > 0 and shuffled["finding AUC"].p < 0.05
    assert paired[f"this model against {REAL}"]["finding AUC"].value == 0
    assert paired[f"this model against {REAL}"]["finding AUC"].p == 1
    kid = paired["this model against the same"]["KID"]  # drawn films are of the same source as the real ones: no distance to be seen
    assert kid.low < 0 < kid.high and kid.p > 0.05


def test_every_film_has_a_record_and_features_are_kept(scored):
    case, out, _ = scored
    records = json.loads((out / "drawn_cases.json").read_text())
    assert [record["id"] for record in records] == [study.id for study in case.cases.studies]
    assert (out / records[0]["film"]).is_file()
    assert records[0]["nearest training film"].startswith("train/")
    assert all(-1 <= record["likeness to the real film"] <= 1 and record["NIQE"] > 0 for record in records)
    features = load_file(out / "drawn_features.safetensors")
    assert features["real"].shape == features["drawn"].shape == (TEST, 16)


def test_without_training_films_labels_or_classifier_there_are_fewer_numbers(tmp_path):
    tables = score_drawn_films(Model(films_of(TEST, 2)), case_of(train=False, labelled=False), tmp_path / "a")
    assert list(tables["draw"]) == [DRAWN, SHUFFLED, RECONSTRUCTED, REAL, HALVES]
    assert tables["draw"][HALVES]["FID"].n == TEST // 2
    assert not tables["draw by finding"]
    assert "finding AUC" not in tables["draw"][DRAWN]
    assert not any(tables["draw, nearest training film"].values())
    bare = score_drawn_films(Model(films_of(TEST, 2), classifier=False), case_of(train=False), tmp_path / "b")
    assert set(bare["draw"][DRAWN]) == {"NIQE", "MS-SSIM"}
    assert {"L1", "PSNR", "SSIM"} < set(bare["draw"][RECONSTRUCTED])
    assert not (tmp_path / "b" / "drawn_features.safetensors").exists()


def test_flat_films_are_counted_and_not_dropped_in_silence(tmp_path):
    films = films_of(TEST, 2)
    films[3:5] = 7
    row = score_drawn_films(Model(films), case_of(train=False), tmp_path)["draw"][DRAWN]
    assert row["films too flat for NIQE"].value == 2
    assert row["NIQE"].value > 0
    assert json.loads((tmp_path / "drawn_cases.json").read_text())[3]["NIQE"] is None


@pytest.mark.parametrize("films", [films_of(TEST - 1, 0), torch.zeros(TEST, 64, 64, dtype=torch.uint8)])
def test_films_of_another_number_or_size_are_refused(films, tmp_path):
    with pytest.raises(InputError, match="films of 'theirs'"):
        score_drawn_films(Model(films_of(TEST, 2)), case_of(train=False), tmp_path, {"theirs": films})
    assert not list(tmp_path.iterdir())


def test_an_interrupted_drawing_goes_on_and_torn_films_are_drawn_again(tmp_path):
    case, films = case_of(train=False, test=BATCH + 8), films_of(BATCH + 8, 2)
    with pytest.raises(KeyboardInterrupt):
        draw_all(Model(films, lives=1), case, tmp_path)
    second = Model(films)
    assert torch.equal(draw_all(second, case, tmp_path), films)
    assert second.asked == [8]
    for torn in (b"", (tmp_path / "test%2F3.png").read_bytes()[:900], b"no picture"):
        (tmp_path / "test%2F3.png").write_bytes(torn)
        third = Model(films)
        assert torch.equal(draw_all(third, case, tmp_path), films)
        assert third.asked == [BATCH]
    with pytest.raises(InputError, match="another model"):
        draw_all(Model(films, name="other"), case, tmp_path)


def test_the_nearest_report_is_that_of_the_same_rare_words():
    known = ["the heart is large", "the lungs are clear", "pneumothorax on the left", "the lungs are clear"]
    found = [nearest_reports(known, ["a left pneumothorax", "clear lungs", "nothing known"], seed) for seed in range(20)]
    assert {rows[0] for rows in found} == {2}
    assert {rows[1] for rows in found} == {1, 3}  # identical reports: the seed decides
    assert len({rows[2] for rows in found}) > 1
