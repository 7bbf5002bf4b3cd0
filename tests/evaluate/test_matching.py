"""Every pool's table from one matcher that knows its pairs, and the systems beside it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cyclicxr.config import OPENI_SMALL, override
from cyclicxr.evaluate.matching import GLOBAL, GRID, JOINED, POOLED, RANDOM, on_the_grid, retrieval_tables
from cyclicxr.evaluate.system import Case, similarities
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.patches.adapatch import AdaPatch, grid_centres
from cyclicxr.patches.encoder import ImageEncoder
from cyclicxr.training.corpus import Corpus
from cyclicxr.types import InputError, Study

N, SIZE, WAYS = 130, 16, ("CXR-to-report", "report-to-CXR")


class Knowing(AdaMatch):
    """The first pixel of a film is the number in its report; both get the same vector, but films from 100 on get the opposite one."""

    def __init__(self, spoilt=False):
        torch.nn.Module.__init__(self)
        self.similarity_name = "maxsim"
        self.vectors = torch.nn.functional.normalize(torch.randn(N, 1, 24, generator=torch.Generator().manual_seed(0)), dim=2)
        self.spoilt = spoilt

    def encode_films(self, pixels):
        numbers = (pixels[:, 0, 0, 0] * 255).round().long()
        found = self.vectors[numbers].expand(-1, 2, -1) * torch.where(numbers < 100, 1.0, -1.0)[:, None, None]
        return SimpleNamespace(features=found * float("nan") if self.spoilt else found, pooled=numbers[:, None].float())

    def encode_texts(self, texts):
        numbers = [int(text.split()[-1]) for text in texts]
        return SimpleNamespace(features=self.vectors[numbers].expand(-1, 2, -1), mask=torch.ones(len(texts), 2, dtype=torch.bool))


def case_of(labelled=True) -> Case:
    """Films 0 and 1 have the same report; odd films show an enlarged heart."""
    studies = [
        Study(str(i), str(i), "", f"film {max(i, 1)}", "test", mesh=(("Cardiomegaly",) if i % 2 else ("normal",)) if labelled else ())
        for i in range(N)
    ]
    pixels = torch.zeros(N, SIZE, SIZE, dtype=torch.uint8)
    pixels[:, 0, 0] = torch.arange(N).clamp(min=1)
    return Case(Corpus(studies, pixels), {}, "test", 0, lambda what, done, total: None)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    out = tmp_path_factory.mktemp("matching")
    return retrieval_tables({"this model": Knowing(), "other": Knowing()}, case_of(), out), out


def test_a_matcher_is_compared_by_the_similarity_that_it_was_trained_with():
    """A film's two patches are alike and of length 1: one against a word twice as long has cosine 1 for a peer, and a product of 2."""
    pixels, found = case_of().corpus.pixels[5:6], {}
    for name in ("maxsim", "pooled"):
        matcher = Knowing()
        matcher.similarity_name = name
        matcher.encode_texts = lambda texts, of=matcher.encode_texts: SimpleNamespace(features=2 * of(texts).features, mask=of(texts).mask)
        found[name] = similarities(matcher, pixels, ["film 5"])[0].item()
    assert found == pytest.approx({"maxsim": 2.0, "pooled": 1.0}, abs=1e-5)


def test_the_whole_split_takes_identical_reports_for_one_text(tables):
    """Films 0 to 99 are right, the other 30 the last of all; films 0 and 1 have one text."""
    found = tables[0]["retrieval"]
    for way in WAYS:
        assert found[way]["R@1"].value == pytest.approx((100 if way == WAYS[0] else 99) / (130 if way == WAYS[0] else 129))
        assert found[way]["duplicate rate"].value == pytest.approx(1 / 130)
        assert found[way]["median rank"].value == 1
    assert found[WAYS[0]]["pool"].value == 129 and found[WAYS[1]]["pool"].value == 130
    assert found[WAYS[0]]["R@1 / chance"].value == pytest.approx(100 / 130 * 129)


def test_an_exact_pair_counts_a_duplicate_against_it(tables):
    found = tables[0]["retrieval, exact pair"]
    for way in WAYS:
        assert found[way]["R@1"].value == pytest.approx(98 / 130, abs=0.01)  # films 0 and 1 stand in one another's way
        assert found[way]["R@5"].value == pytest.approx(100 / 130)
        assert found[way]["chance@5"].value == pytest.approx(5 / 130)


def test_batches_are_easier_and_a_pool_larger_than_the_split_is_left_out(tables):
    found = tables[0]["retrieval, batches of 112"]
    for way in WAYS:
        assert found[way]["chance@10"].value == pytest.approx(10 / 112, rel=0.02)
        assert found[way]["R@1"].value == pytest.approx(tables[0]["retrieval"][way]["R@1"].value, abs=0.03)
        assert 0 < found[way]["R@1 sd of seeds"].value < 0.05
        assert found[way]["R@1"].low < found[way]["R@1"].value < found[way]["R@1"].high
    assert "retrieval, pools of 1,000" not in tables[0]


def test_same_findings_are_as_easy_as_chance_says(tables):
    found = tables[0]["retrieval, same findings"]
    assert list(found) == [WAYS[0], f"{WAYS[0]}, abnormal films", WAYS[1], f"{WAYS[1]}, abnormal films"]
    assert found[WAYS[0]]["chance@1"].value == pytest.approx(0.5)
    assert found[f"{WAYS[0]}, abnormal films"]["R@1"].n == 65
    assert found[WAYS[0]]["R@1"].value >= 98 / 130


def test_other_systems_stand_beside_it_and_differences_are_paired(tables):
    assert set(tables[0]) >= {"retrieval, other", f"retrieval, {POOLED}", f"retrieval, {RANDOM}"}
    assert f"retrieval, {GRID}" not in tables[0]  # nothing adapts in this matcher
    assert tables[0]["retrieval, other"] == tables[0]["retrieval"]
    against = tables[0]["retrieval, paired"]
    same, random = (against[f"{WAYS[0]}, this model against {name}"]["R@10"] for name in ("other", RANDOM))
    assert (same.value, same.p) == (0, 1)
    assert random.low > 0.5 and random.p < 0.01
    assert tables[0][f"retrieval, {RANDOM}"][WAYS[0]]["R@10"].value < 0.25


def test_ranks_are_kept_for_curves(tables):
    ranks = json.loads((tables[1] / "ranks.json").read_text())
    assert list(ranks)[:2] == ["this model", "other"]
    assert {way: len(rank) for way, rank in ranks["this model"].items()} == {WAYS[0]: 130, WAYS[1]: 129}
    assert np.mean(np.array(ranks["this model"][WAYS[0]]) <= 1) == pytest.approx(100 / 130)


def test_unlabelled_films_have_no_same_findings(tmp_path):
    assert retrieval_tables({"this model": Knowing()}, case_of(labelled=False), tmp_path)["retrieval, same findings"] == {}


def test_a_similarity_that_is_no_number_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="'this model' hold NaN"):
        retrieval_tables({"this model": Knowing(spoilt=True)}, case_of(), tmp_path)


class Overall(GlobalAlignment):
    """Knows what the local similarity does not: that the films from 100 on are those of their reports; adds it ten times."""

    def __init__(self):
        pass

    def similarity(self, films, texts):
        numbers = torch.tensor([float(text.split()[-1]) for text in texts])
        return ((films == numbers) & (numbers >= 100)).float()

    def join(self, to_text, to_film, overall):
        return to_text + 10 * overall, to_film + 10 * overall


def test_the_global_alignment_stands_beside_alone_and_joined(tmp_path):
    """Local: films 0 to 99. Global: 100 to 129. Joined: all of them."""
    found = retrieval_tables({"this model": Knowing()}, case_of(), tmp_path, Overall())
    for way in WAYS:
        local, alone, joined = (found[name][way]["R@1"].value for name in ("retrieval", f"retrieval, {GLOBAL}", f"retrieval, {JOINED}"))
        assert joined == 1 > local > 0.7
        assert 0.2 < alone < 0.3
    assert found["retrieval, paired"][f"{WAYS[0]}, this model against {JOINED}"]["R@1"].value < 0


def test_patches_put_back_lie_on_the_grid_and_the_matcher_stays_as_it_was():
    class Encoding(Knowing):
        def __init__(self):
            super().__init__()
            self.image = ImageEncoder(
                override(OPENI_SMALL, {"encoder.size": 64, "encoder.widths": (8, 8, 16, 16), "encoder.heads": (1, 1, 2, 2)}).encoder
            )

    matcher = Encoding().eval()
    for module in matcher.modules():
        if isinstance(module, AdaPatch):
            torch.nn.init.normal_(module.heads.weight, std=1.0)
    films = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        before = matcher.image(films)[2].boxes
        fixed = on_the_grid(matcher)
        after = fixed.image(films)[2].boxes
        assert torch.equal(matcher.image(films)[2].boxes, before)
    middle = (after[..., :2] + after[..., 2:]) / 2
    assert torch.allclose(middle, grid_centres(4, 4).expand(2, -1, -1), atol=1e-5)
    assert not torch.allclose(before, after, atol=1e-2)
