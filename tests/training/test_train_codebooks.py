from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from cyclicxr.codebooks.sentences import SentenceBook
from cyclicxr.codebooks.support import Support
from cyclicxr.codebooks.textual import TextualCodebook
from cyclicxr.codebooks.visual import VisualCodebook
from cyclicxr.config import CodebooksConfig, LanguageConfig, MatchConfig, Preset
from cyclicxr.training import train_codebooks
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory
from cyclicxr.types import InputError, Study

WORDS = {"normal": 40, "cardiomegaly": 120, "opacity": 200}  # word -> grey level of the film's middle


class FilmMatcher(nn.Module):
    """One patch a film; its vector points at the grey level's word, and other words are far from it."""

    def encode_films(self, pixels):
        grey = pixels[:, 0, 32, 32] * 255
        features = torch.stack([torch.exp(-(((grey - level) / 40) ** 2)) for level in WORDS.values()], -1).unsqueeze(1)
        boxes = torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(len(pixels), 1, 4)
        return Encoded(features=nn.functional.normalize(features, dim=-1), boxes=boxes, pooled=features.amax(1))

    def encode_texts(self, texts):
        rows = [[list(WORDS).index(word) for word in text.lower().strip(".").split() if word in WORDS] for text in texts]
        k = max(1, *(len(row) for row in rows))
        features = torch.zeros(len(texts), k, len(WORDS))
        mask = torch.zeros(len(texts), k, dtype=torch.bool)
        for c, row in enumerate(rows):
            features[c, range(len(row)), row] = 1
            mask[c, : max(1, len(row))] = True
        spans = [
            [(text.lower().find(list(WORDS)[w]), len(text) - 1) for w in row] + [(0, 0)] * (k - len(row))
            for text, row in zip(texts, rows, strict=True)
        ]
        return Encoded(features=features, mask=mask, spans=spans)


class Encoded:
    def __init__(self, **values):
        self.__dict__.update(values)


class GreyVQGAN(nn.Module):
    def encode(self, pixels):
        return (nn.functional.avg_pool2d(pixels, 16)[:, 0] * 255).round().long()

    def decode(self, ids):
        return (ids.float() / 255).repeat_interleave(16, 1).repeat_interleave(16, 2).unsqueeze(1)


def corpus() -> Corpus:
    words = list(WORDS) * 20
    levels = torch.tensor([WORDS[word] for word in words], dtype=torch.uint8)
    films = levels[:, None, None].expand(-1, 64, 64).clone()
    splits = ["val" if i % 3 == 2 else "train" for i in range(20) for _ in WORDS]
    studies = [
        Study(f"study-{i}", f"patient-{i}", "", f"{word.capitalize()}.", split)
        for i, (word, split) in enumerate(zip(words, splits, strict=True))
    ]
    return Corpus(studies, films)


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunDirectory:
    monkeypatch.setattr(train_codebooks.AdaMatch, "load", lambda folder: FilmMatcher())
    monkeypatch.setattr(train_codebooks.VQGAN, "load", lambda path, cfg: GreyVQGAN())
    run = RunDirectory(tmp_path)
    run.model.mkdir()
    return run


def test_sentences_are_kept_where_hints_ask_for_them(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    book = SentenceBook(("No effusion.",), torch.zeros(1), torch.ones(1))
    monkeypatch.setattr(train_codebooks.GlobalAlignment, "load", lambda folder: "alignment")
    monkeypatch.setattr(train_codebooks, "sentence_book", lambda *given: asked.append(given) or book)
    sizes = CodebooksConfig(pairs=3, keypatches_per_pair=2)
    train_codebooks.train(corpus(), Preset(codebooks=sizes), run, resume=False)
    assert not (run.model / "sentences.json").exists()
    train_codebooks.train(corpus(), Preset(codebooks=sizes, language=LanguageConfig(sentence_hints=2)), run, resume=False)
    assert SentenceBook.load(run.model).texts == book.texts
    assert [given[1] for given in asked] == ["alignment"]
    train_codebooks.train(corpus(), Preset(codebooks=sizes), run, resume=False)
    assert not (run.model / "sentences.json").exists()


def test_the_stage_writes_both_codebooks_and_what_they_are_worth(run: RunDirectory) -> None:
    preset = Preset(codebooks=CodebooksConfig(pairs=3, keypatches_per_pair=2))
    train_codebooks.train(corpus(), preset, run, resume=False)
    record = run.records()["codebooks"]
    assert record["keywords"] == {"detailed description": 1, "disease disorder": 1, "sign symptom": 1}
    # each word has a film of its own: all keywords are told apart, and all hints right
    assert record["keyword_auc"] == {"cardiomegaly": 1.0, "opacity": 1.0, "normal": 1.0}
    assert (record["keyword_auc_mean"], record["keywords_measured"], record["hint_precision"]) == (1.0, 3, 1.0)
    assert record["hint_precision_chance"] == pytest.approx(1 / 3)
    assert (record["keypatches"], record["keypatch_tokens"], record["keypatch_sources"]) == (3, 3, 3)
    assert 0.9 < record["shift_kept"] <= 1.0
    textual = TextualCodebook.load(run.model / "textual_codebook.json")
    visual = VisualCodebook.load(run.model)
    assert {keyword.text for keyword in textual.keywords} == set(WORDS)
    held_out = {study.id for study in corpus().split("val").studies}
    assert not held_out & {keypatch.source for keypatch in visual.keypatches}
    # means 14 of 42 films: prevalence 14.5/43, and the rest follows the formulas of the module
    assert textual.calibration is not None
    assert textual.calibration.prevalence.tolist() == pytest.approx([14.5 / 43] * 3, rel=1e-5)
    assert math.isfinite(record["seconds"])
    support = Support.load(run.model)
    assert support.auc == record["support_auc"] == 1.0  # a word from another film's report is told from the film's own
    told = support.probability(torch.tensor([[0.0, 4.0], [0.0, -4.0]]))
    assert told[0] > 0.9 > 0.1 > told[1]


def test_reports_that_cannot_be_made_false_leave_the_check_without_an_answer(run: RunDirectory) -> None:
    alike = corpus()
    one = Corpus([replace(study, report="Normal.") for study in alike.studies], alike.pixels)
    train_codebooks.train(one, Preset(codebooks=CodebooksConfig(pairs=3, keypatches_per_pair=2)), run, resume=False)
    assert Support.load(run.model).probability(torch.randn(3, 2)).tolist() == [0.5, 0.5, 0.5]


def test_a_finished_stage_is_not_done_again(run: RunDirectory, monkeypatch) -> None:
    run.record("codebooks", {"keypatches": 1})
    monkeypatch.setattr(train_codebooks.AdaMatch, "load", lambda folder: pytest.fail("loaded again"))
    train_codebooks.train(corpus(), Preset(), run, resume=True)
    assert run.records()["codebooks"]["keypatches"] == 1


@pytest.mark.parametrize("similarity", ["pooled", "attention"])
def test_a_matcher_of_whole_films_has_no_codebooks(run: RunDirectory, similarity: str) -> None:
    with pytest.raises(
        InputError, match=f"match.similarity '{similarity}' gives a word no best patch; train the match stage with 'maxsim'"
    ):
        train_codebooks.train(corpus(), Preset(match=MatchConfig(similarity=similarity)), run, resume=False)
