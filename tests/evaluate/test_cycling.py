"""Both ways round the cycle with a model that reads and draws, the sentences that it checks, and a kill in between."""

import json

import numpy as np
import pytest
import torch

from cyclicxr.evaluate.consistency import ALL, BRIEF, CYCLE, ELSEWHERE, FREQUENT, LIKELY, ORIGINAL, POINTWISE
from cyclicxr.evaluate.cycling import (
    FILM_TO_FILM,
    FROM_FILM,
    ITSELF,
    OTHER_FILM,
    OTHER_REPORT,
    REDRAWN,
    REPORT_TO_REPORT,
    REWRITTEN,
    score_cycles,
)
from cyclicxr.evaluate.system import Case
from cyclicxr.training.changed_text import INVENTED, KINDS
from cyclicxr.training.corpus import Corpus
from cyclicxr.types import InputError, Study

SICK = "The heart is enlarged. There is a small left pleural effusion. Film {}."
WELL = "The heart is normal in size. The lungs are clear. No pneumothorax. Film {}."
OTHER = "The heart is enlarged. Right upper lobe nodule. Film {}."
N = 40


def case_of(size, split="test") -> Case:
    """Bright films have a sick report, dark ones a normal one; the training split has the same sentences."""
    studies, films, generator = [], [], torch.Generator().manual_seed(0)
    for split_of, count in (("train", 6), ("test", N)):
        for i in range(count):
            text, mesh = (WELL, "normal") if i % 2 else (SICK if i % 4 else OTHER, "Cardiomegaly/mild")
            studies.append(Study(f"{split_of}{i}", f"{split_of}{i}", "", text.format(i), split_of, mesh=(mesh,)))
            films.append(torch.full((size, size), 60 if i % 2 else 200) + torch.randint(-20, 20, (size, size), generator=generator))
    raw = {study.id: study.report for study in studies}
    return Case(Corpus(studies, torch.stack(films).to(torch.uint8)), raw, split, 0, lambda what, done, total: None)


@pytest.fixture(scope="module")
def checking(toys):
    class Checking(toys.Model):
        """Writes and draws by brightness; supports what a bright film may say on bright films, the rest on dark ones, and nothing that was
        negated, moved or swapped."""

        def write_reports(self, pixels):
            self.live(len(pixels))
            return [(SICK if film.float().mean() > 130 else WELL).format(0) for film in pixels]

        def sentence_support(self, pixels, films, texts):
            return torch.tensor(
                [self.holds(bool(pixels[film].float().mean() > 130), text) for film, text in zip(films, texts, strict=True)]
            )

        def sentence_likelihood(self, pixels, films, befores, texts):
            assert len(befores) == len(texts)
            return self.sentence_support(pixels, films, texts).log()

        def holds(self, sick, text):
            if text.startswith("Film"):
                return 0.5
            true = [line for report in ((SICK, OTHER) if sick else (WELL,)) for line in report.split(". ")]
            return 0.9 if any(text.startswith(line.removesuffix(".")) for line in true) else 0.1

    return Checking


@pytest.fixture(scope="module")
def tables(toys, checking, tmp_path_factory):
    out = tmp_path_factory.mktemp("cycle")
    return score_cycles(checking(), case_of(toys.SIZE), out), out


def test_a_redrawn_film_is_nearer_to_its_original_than_to_another(tables):
    found = tables[0][FILM_TO_FILM]
    assert found[ITSELF]["feature cosine"].value == pytest.approx(1)
    assert found[REDRAWN]["feature cosine"].value > 0.8 > found[OTHER_FILM]["feature cosine"].value
    assert found[REDRAWN]["finding AUC"].value == found[ITSELF]["finding AUC"].value
    difference = next(numbers for row, numbers in tables[0]["cycle, paired"].items() if row.startswith("film"))
    assert difference["feature cosine"].low > 0 and difference["feature cosine"].p < 0.01


def test_a_rewritten_report_is_nearer_to_its_original_than_to_another(tables):
    found = tables[0][REPORT_TO_REPORT]
    assert found[REWRITTEN]["BLEU-4"].value > found[OTHER_REPORT]["BLEU-4"].value
    assert found[REWRITTEN] == found[FROM_FILM]  # this model draws what it needs to read
    assert found[REWRITTEN]["finding micro F1"].value > found[OTHER_REPORT]["finding micro F1"].value
    assert found[REWRITTEN]["BLEU-4"].n == N
    difference = next(numbers for row, numbers in tables[0]["cycle, paired"].items() if row.startswith("report"))
    assert difference["ROUGE-L"].p < 0.05 and "BLEU-1" not in difference


def test_a_consistency_that_knows_finds_all_that_was_made_false(tables):
    found = tables[0]["consistency"]
    assert set(found) == {CYCLE, ORIGINAL, ELSEWHERE, LIKELY, POINTWISE, FREQUENT, BRIEF}
    for kind in set(KINDS) - {INVENTED}:
        assert found[ORIGINAL][kind].value == 1
        assert found[LIKELY][kind].value == 1
    assert found[CYCLE][ALL].value > 0.8
    assert found[ORIGINAL]["calibration error"].value < 0.2
    assert "calibration error" not in found[LIKELY]
    against = tables[0]["consistency, paired"][f"{CYCLE}, against {ORIGINAL}"]
    assert set(against) == {*KINDS, ALL}


def test_what_looks_at_no_film_cannot_see_an_invented_sentence(tables):
    for blind in (FREQUENT, BRIEF):
        assert tables[0]["consistency"][blind][INVENTED].value == 0.5
    assert tables[0]["consistency"][BRIEF]["finding swapped"].value != 1


def test_scores_are_kept_for_the_calibration_plot(tables):
    kept = json.loads((tables[1] / "consistency.json").read_text())
    assert len(kept["score"]) == len(kept["true"]) == len(kept["kind"]) > 2 * N
    assert np.mean(kept["true"]) == 0.5 and set(kept["kind"]) == set(KINDS)
    assert all(0 <= score <= 1 for score in kept["score"])


def test_killed_it_goes_on_and_ends_the_same(toys, checking, tables, tmp_path):
    models = []
    for lives in (1, 3, 4, 10**6):
        models.append(checking(lives=lives))
        try:
            found = score_cycles(models[-1], case_of(toys.SIZE), tmp_path)
        except KeyboardInterrupt:
            continue
    assert found == tables[0]
    changed = len(list((tmp_path / "changed").glob("*.png")))
    assert sum(model.asked for model in models) == 4 * N + changed
    again = checking()
    assert score_cycles(again, case_of(toys.SIZE), tmp_path) == found
    assert again.asked == 0


def test_a_model_whose_sentences_cannot_be_checked_has_fewer_tables(toys, tmp_path):
    found = score_cycles(toys.Model(classifier=False), case_of(toys.SIZE), tmp_path)
    assert found[FILM_TO_FILM] == {}
    assert not any(name.startswith("consistency") for name in found)


def test_a_report_of_no_words_is_drawn_all_the_same(toys, tmp_path):
    class Silent(toys.Model):
        def write_reports(self, pixels):
            return ["..."] * len(pixels)

        def draw_films(self, texts, seed):
            assert all(any(letter.isalnum() for letter in text) for text in texts)
            return super().draw_films(texts, seed)

    assert score_cycles(Silent(), case_of(toys.SIZE), tmp_path)[REPORT_TO_REPORT][REWRITTEN]["BLEU-4"].value == 0


def test_films_of_another_model_are_not_taken_for_its_own(toys, checking, tables):
    with pytest.raises(InputError, match="another model"):
        score_cycles(checking(name="other"), case_of(toys.SIZE), tables[1])
