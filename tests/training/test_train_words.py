"""A new BERT learns to read: what is hidden and shown, that it learns, and that words of hidden places alone are asked for."""

from __future__ import annotations

import pytest
import torch

from cyclicxr.config import Preset, override
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.train_words import WordsTraining
from cyclicxr.types import Study
from cyclicxr.words.encoder import build_tokenizer

REPORTS = ["The heart is large. No effusion.", "Left effusion is seen. The heart is normal.", "The lungs are clear.", "A nodule is seen."]
MESH = ["Cardiomegaly", "Pleural Effusion/left", "normal", "Nodule/lung"]


def corpus(split: str) -> Corpus:
    studies = [Study(f"{split}{i}", f"{split}{i}", "", REPORTS[i % 4], split, mesh=(MESH[i % 4],)) for i in range(8)]
    return Corpus(studies, torch.zeros(8, 8, 8, dtype=torch.uint8))


@pytest.fixture
def reading(toy_preset: Preset) -> WordsTraining:
    torch.manual_seed(0)
    preset = override(toy_preset, {"match.global_least": 1, "words.dropout": 0.0, "match.batch": 4})
    return WordsTraining(corpus("train"), corpus("val"), preset, ["cardiomegaly", "effusion"], build_tokenizer(preset.words, REPORTS))


def test_it_learns_hidden_words_the_report_as_a_whole_and_the_findings(reading: WordsTraining):
    assert reading.truth.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]] * 2
    before = reading.validate()["hidden words"]
    found = []
    for step in range(60):
        torch.manual_seed(step)
        found.append(reading.step([0, 1, 2, 3], 0.3))
    for part in ("hidden words", "whole", "findings"):
        assert sum(of[part] for of in found[-5:]) < 0.8 * sum(of[part] for of in found[:5]), part
    assert found[0]["loss"] == pytest.approx(sum(found[0][part] for part in ("hidden words", "whole", "findings")), rel=1e-5)
    torch.manual_seed(0)
    assert reading.validate()["hidden words"] < before


def test_a_fifth_of_the_words_is_hidden_and_never_a_special_token(reading: WordsTraining, monkeypatch: pytest.MonkeyPatch):
    given: list[torch.Tensor] = []
    whole = reading.read
    monkeypatch.setattr(reading, "read", lambda ids, *others: given.append(ids) or whole(ids, *others))
    for step in range(40):
        torch.manual_seed(step)
        reading.validate()
    tokenizer = reading.tokenizer
    hidden = torch.tensor([float((ids == tokenizer.mask_token_id).sum()) for ids in given]).sum()
    special = (tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id)
    real = torch.tensor([float(sum(int(i) not in special for i in ids.flatten())) for ids in given]).sum()
    assert 0.17 < hidden / real < 0.27  # one of each batch is always hidden
    assert all((ids[:, 0] == tokenizer.cls_token_id).all() for ids in given)


def test_a_batch_holds_reports_of_like_length_and_a_pass_all_of_them(reading: WordsTraining):
    lengths = [len(report) for report in reading.reports]
    batches = reading.batches(0)
    assert sorted(i for batch in batches for i in batch) == list(range(8)) and {len(batch) for batch in batches} == {4}
    short, long = sorted(batches, key=lambda batch: lengths[batch[0]])
    assert max(lengths[i] for i in short) <= min(lengths[i] for i in long)
    assert reading.batches(0) == batches and any(reading.batches(epoch) != batches for epoch in range(1, 6))


def test_the_same_seed_reads_the_same(reading: WordsTraining):
    torch.manual_seed(5)
    first = reading.validate()
    torch.manual_seed(5)
    assert reading.validate() == first
