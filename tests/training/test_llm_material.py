"""The whole stage on untrained parts of toy width: material, training, the model directory, the record."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from cyclicxr.checkpoint import load_tensors, read_json, write_json
from cyclicxr.codebooks.entities import extractor
from cyclicxr.codebooks.sentences import SentenceBook
from cyclicxr.codebooks.support import Support
from cyclicxr.codebooks.textual import TextualCodebook
from cyclicxr.codebooks.visual import VisualCodebook
from cyclicxr.config import OPENI_SMALL, Preset, override
from cyclicxr.language.llm import LanguageModel
from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.tokens.vqgan import VQGAN
from cyclicxr.training import llm_material, train_llm
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.llm_material import gather, retold
from cyclicxr.training.loop import RunDirectory
from cyclicxr.training.train_codebooks import sentence_book
from cyclicxr.training.train_match import align
from cyclicxr.types import Study
from cyclicxr.words.encoder import train_tokenizer

REPORTS = [
    "There is a small left pleural effusion. No pneumothorax. Recommend XXXX.",
    "The heart is enlarged. Cardiomegaly without edema.",
    "Calcified granuloma in the right upper lobe.",
    "The lungs are clear. No acute disease.",
]
SMALL: dict[str, object] = {
    "encoder.size": 64,
    "encoder.widths": (8, 8, 16, 16),
    "encoder.heads": (1, 1, 2, 2),
    "words.width": 16,
    "words.layers": 1,
    "words.heads": 2,
    "match.width": 16,
    "vqgan.codes": 16,
    "vqgan.code_width": 8,
    "vqgan.channels": 8,
    "codebooks.keywords_per_group": 8,
    "codebooks.pairs": 4,
    "match.global_least": 2,
    "language.vocabulary": 300,
    "language.width": 16,
    "language.layers": 1,
    "language.heads": 2,
    "language.epochs": 1,
    "language.film_variants": 2,
    "language.max_report_tokens": 12,
}


@pytest.fixture(scope="module")
def preset() -> Preset:
    return override(OPENI_SMALL, SMALL)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    generator = torch.Generator().manual_seed(0)
    splits = ["train"] * 12 + ["val"] * 4
    studies = [Study(id=f"s{i}", patient=f"p{i}", image=f"{i}.png", report=REPORTS[i % 4], split=split) for i, split in enumerate(splits)]
    return Corpus(studies, torch.randint(0, 256, (16, 64, 64), dtype=torch.uint8, generator=generator))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, preset: Preset, corpus: Corpus) -> RunDirectory:
    """A run whose earlier stages are written, untrained."""
    torch.manual_seed(0)
    made = RunDirectory(tmp_path_factory.mktemp("run"))
    made.model.mkdir()
    Support(1.0, 1.0, 0.0, 0.5).save(made.model)
    write_json(made.model / "config.json", preset.to_json())
    train = corpus.split("train")
    matcher = AdaMatch.build(preset.encoder, preset.words, preset.match, train_tokenizer(train.reports, 200)).eval()
    matcher.save(made.model)
    align(matcher, train, corpus.split("val"), preset)[0].save(made.model)
    vqgan = VQGAN(preset.vqgan).eval()
    vqgan.save(made.model / "vqgan.safetensors")
    finder = extractor(preset.codebooks)
    textual = TextualCodebook.build(train.reports, finder, preset.codebooks)
    textual.calibrate(matcher, [train.films(list(range(12)))], textual.affirmed(train.reports, finder))
    textual.save(made.model / "textual_codebook.json")
    ids = [study.id for study in train.studies]
    VisualCodebook.build(matcher, vqgan, train.pixels, train.reports, ids, preset.codebooks).save(made.model)
    return made


def test_the_first_variant_is_the_film_itself(preset, corpus, run):
    train = corpus.split("train")
    found = gather(train, preset, run, 2)
    vqgan = VQGAN.load(run.model / "vqgan.safetensors", preset.vqgan)
    assert torch.equal(found.codes[0], vqgan.encode(train.films(list(range(12)))).flatten(1))
    assert not torch.equal(found.codes[0], found.codes[1])
    assert found.codes.shape == (2, 12, preset.image_tokens)
    assert [len(films) for films in found.keywords] == [12, 12]
    assert "XXXX" not in " ".join(found.reports)


def test_a_training_film_is_hinted_as_if_it_had_not_taught_the_codebook(preset, corpus, run, monkeypatch):
    """The codebook of each stretch of films says which film it reads; films are in their own order, whatever the stretches."""
    train = corpus.split("train")
    own = gather(train, preset, run, 2)
    taught = []

    def held_out(self, films, affirmed):
        taught.append((films.shape[0], affirmed.shape))
        blind = TextualCodebook(self.keywords, self.cfg, self.calibration, self.reader)
        monkeypatch.setattr(blind, "match_patches", lambda matcher, patches: [[] for _ in patches.pooled])
        return [(range(5), blind), (range(5, 12), self)]

    monkeypatch.setattr(TextualCodebook, "held_out", held_out)
    found = gather(train, preset, run, 2, taught=True)
    assert taught == [(12, (12, len(TextualCodebook.load(run.model / "textual_codebook.json").keywords)))]
    assert found.keywords[0] == [[]] * 5 + own.keywords[0][5:]
    assert torch.equal(found.codes[0], own.codes[0])


def test_more_of_a_film_stands_in_its_hints_where_that_is_asked_for(preset, corpus, run, tmp_path, monkeypatch):
    """Keywords with their details, and sentences; of a training film by an alignment that was not taught with it."""
    own, train = RunDirectory(tmp_path / "run"), corpus.split("train")
    shutil.copytree(run.model, own.model)
    asked = override(preset, {"language.keyword_details": True, "language.sentence_hints": 2})
    sentence_book(AdaMatch.load(own.model), GlobalAlignment.load(own.model), train, asked).save(own.model)
    sentences = SentenceBook.load(own.model).texts
    assert "Calcified granuloma in the right upper lobe." in sentences
    plain, found = gather(train, preset, own, 1), gather(train, asked, own, 1)
    for words, hints in zip(plain.keywords[0], found.keywords[0], strict=True):
        assert [hint.split(" of 10 ")[0].rpartition(" ")[0] for hint in hints[:-2]] == words
        assert set(hints[-2:]) <= set(sentences)


def test_a_training_film_is_told_sentences_as_if_it_had_not_taught_the_alignment(preset, corpus, run, tmp_path, monkeypatch):
    """The alignment of each stretch of films says its number."""
    own, train = RunDirectory(tmp_path / "run"), corpus.split("train")
    shutil.copytree(run.model, own.model)
    asked = override(preset, {"language.sentence_hints": 1})
    SentenceBook(("No effusion.",), torch.zeros(1), torch.ones(1)).save(own.model)
    stretches = [range(5), range(5, 12)]

    def held_out(self, films, reports, config, seed):
        assert (len(films), len(reports)) == (12, 12)
        return [(part, replace(self, deviations=torch.full((3,), float(i)))) for i, part in enumerate(stretches)]

    monkeypatch.setattr(GlobalAlignment, "held_out", held_out)
    monkeypatch.setattr(TextualCodebook, "held_out", lambda self, films, affirmed: [(part, self) for part in stretches])
    monkeypatch.setattr(SentenceBook, "match", lambda self, alignment, films, number: [[f"of {alignment.deviations[0]:.0f}"]] * len(films))
    found = gather(train, asked, own, 1, taught=True)
    assert [hints[-1] for hints in found.keywords[0]] == ["of 0"] * 5 + ["of 1"] * 7


def test_material_is_made_once(preset, corpus, run, monkeypatch):
    train = corpus.split("train")
    first = gather(train, preset, run, 2)
    monkeypatch.setattr(llm_material, "_films", None)  # would be called
    again = gather(train, preset, run, 2)
    assert torch.equal(first.codes, again.codes)
    assert (first.keywords, first.keypatches) == (again.keywords, again.keypatches)


def test_a_study_is_not_hinted_with_its_own_patches(preset, corpus, run):
    train = corpus.split("train")
    codebook, matcher = VisualCodebook.load(run.model), AdaMatch.load(run.model)
    found = gather(train, preset, run, 2)
    sources = [{patch.source for patch in patches} for patches in codebook.match(matcher, found.reports)]
    own = [study.id in row for study, row in zip(train.studies, sources, strict=True)]
    assert any(own)  # or the test shows nothing
    matched = codebook.match(matcher, found.reports)
    for study, patches, kept in zip(train.studies, matched, found.keypatches, strict=True):
        assert kept == [patch.token for patch in patches if patch.source != study.id]


def test_a_retold_film_keeps_all_but_its_report(preset, corpus, run):
    train = corpus.split("train")
    found = gather(train, preset, run, 2)
    written = ["Calcified granuloma.", "\u2014", *["The heart is enlarged."] * 10]
    told = retold(found, written, preset, run)
    assert told.reports == ["Calcified granuloma.", found.reports[1], *["The heart is enlarged."] * 10]  # nothing said is no report
    assert told.named != found.named
    assert told.named[1] == found.named[1]
    assert told.keypatches[3] != found.keypatches[3]
    assert torch.equal(told.codes, found.codes)
    assert (told.keywords, told.ids) == (found.keywords, found.ids)


@pytest.mark.slow
def test_the_stage_goes_on_from_reports_of_its_own_and_writes_them_once(preset, corpus, run, tmp_path, monkeypatch):
    asked = override(preset, {"language.generated_epochs": 1})
    own = RunDirectory(tmp_path / "run")
    shutil.copytree(run.root, own.root)
    train_llm.train(corpus, asked, own, resume=False)
    written = list(own.root.glob("cache/generated-*-0-of-1.json"))
    assert len(written) == 1
    assert len(read_json(written[0])) == 12
    assert own.checkpoint("llm_generated").exists()
    weights = load_tensors(own.model / "llm" / "model.safetensors")
    write_json(own.root / "record.json", {})
    monkeypatch.setattr(LanguageModel, "write", None)  # would be called
    train_llm.train(corpus, asked, own, resume=True)
    again = load_tensors(own.model / "llm" / "model.safetensors")
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())
    own.forget("llm")
    assert not own.checkpoint("llm_generated").exists()


@pytest.mark.slow
def test_the_stage_writes_a_model_and_what_it_learned(preset, corpus, run):
    train_llm.train(corpus, preset, run, resume=False)
    recorded = run.records()["llm"]
    assert {"report loss", "report loss without keywords", "drawing loss", "BLEU-4", "ROUGE-L", "distinct outputs", "reports"} <= set(
        recorded
    )
    assert recorded["reports"] == 4
    model = LanguageModel.load(run.model / "llm")
    assert model.draw(["Small effusion."], [[3]], seed=0).shape == (1, preset.image_tokens)
    weights = (run.model / "llm" / "model.safetensors").read_bytes()
    train_llm.train(corpus, preset, run, resume=True)  # done before: touches nothing
    assert (run.model / "llm" / "model.safetensors").read_bytes() == weights
