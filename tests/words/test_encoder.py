"""Tokenizer and text encoder: spans point at the words, padding changes nothing, the same reports give the same tokenizer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast, PvtConfig, PvtModel

from cyclicxr.config import WordsConfig
from cyclicxr.types import InputError
from cyclicxr.words.encoder import (
    TextEncoder,
    build_bert,
    build_tokenizer,
    load_architecture,
    save_architecture,
    tokenize,
    train_tokenizer,
)

REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "Small left pleural effusion. No pneumothorax.",
    "Cardiomegaly without edema. No acute bony abnormality.",
    "Degenerative changes of the thoracic spine; nothing else.",
]
TINY = WordsConfig(vocabulary=200, width=16, layers=1, heads=2, max_tokens=24, dropout=0.0)
LEARNED = train_tokenizer(REPORTS, 200)  # here, as hypothesis minds fixtures that are made once


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return LEARNED


def test_the_same_reports_give_the_same_pieces_and_ids():
    again = [train_tokenizer(REPORTS, 200).get_vocab() for _ in range(3)]
    assert again == [LEARNED.get_vocab()] * 3


def test_special_tokens_come_first_and_the_size_is_kept(tokenizer: PreTrainedTokenizerFast):
    vocabulary = tokenizer.get_vocab()
    assert [vocabulary[name] for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")] == [0, 1, 2, 3, 4]
    assert sorted(vocabulary.values()) == list(range(len(tokenizer)))
    assert len(train_tokenizer(REPORTS, 80)) == 80


def test_pieces_inside_a_word_are_marked():
    """By hand: letters l, ##g, ##n, ##s, ##u, which the pairs of all three words join to "lung" first, in three pieces more."""
    learned = train_tokenizer(["lung lung lungs"], 40)
    assert {"l", "##s", "##g", "lung"} <= set(learned.get_vocab())
    assert "s" not in learned.get_vocab()
    assert train_tokenizer(["lung lung lungs"], 5 + 5 + 3).tokenize("LUNGS") == ["lung", "##s"]
    assert train_tokenizer(["lung lung lungs"], 5 + 5).tokenize("LUNGS") == ["l", "##u", "##n", "##g", "##s"]


def test_spans_point_at_the_words(tokenizer: PreTrainedTokenizerFast):
    text = "No  Cardiomegaly;\nsmall EFFUSION"
    batch = tokenize(tokenizer, [text], 24)
    kept = [text[start:end] for (start, end), real in zip(batch.spans[0], batch.mask[0].tolist(), strict=True) if real]
    assert "".join(kept) == "NoCardiomegaly;smallEFFUSION"
    assert kept[0] == "No"


@given(st.lists(st.sampled_from([*" ".join(REPORTS).split(), "é", "XXXX", "12", "p.m.", "ﬁssure", "½"]), min_size=1, max_size=12))
def test_spans_cover_every_character_that_is_no_space(words: list[str]):
    text = "  ".join(words)
    batch = tokenize(LEARNED, [text], 500)
    covered = {i for (start, end) in batch.spans[0] for i in range(start, end)}
    assert covered == {i for i, letter in enumerate(text) if not letter.isspace()}


def test_the_mask_leaves_out_padding_and_special_tokens(tokenizer: PreTrainedTokenizerFast):
    batch = tokenize(tokenizer, ["clear clear clear", "clear"], 24)
    assert batch.mask.tolist() == [[False, True, True, True, False], [False, True, False, False, False]]
    assert batch.attention.tolist() == [[True] * 5, [True, True, True, False, False]]
    assert batch.spans == [[(0, 0), (0, 5), (6, 11), (12, 17), (0, 0)], [(0, 0), (0, 5), (0, 0), (0, 0), (0, 0)]]
    assert batch.cut == 0


def test_long_reports_are_cut_at_the_end_and_counted(tokenizer: PreTrainedTokenizerFast):
    batch = tokenize(tokenizer, ["clear " * 40, "clear", "clear " * 6], 8)
    assert batch.ids.shape == (3, 8)
    assert batch.mask.sum(dim=1).tolist() == [6, 1, 6]
    assert batch.spans[0][6] == (30, 35)
    assert batch.cut == 1


def test_a_word_that_the_vocabulary_cannot_spell_is_one_unknown_token_with_its_place(tokenizer: PreTrainedTokenizerFast):
    """Greek is in no report: the word is kept, masked in and counted as any other; a report of nothing else is counted."""
    batch = tokenize(tokenizer, ["clear πνεύμων", "clear lungs", "καρδιά πνεύμων"], 24)
    unknown = tokenizer.unk_token_id
    assert batch.ids[0].tolist()[1:3] == [tokenizer.get_vocab()["clear"], unknown]
    assert batch.spans[0][2] == (6, 13) and bool(batch.mask[0, 2])
    assert batch.ids[2].tolist()[1:3] == [unknown, unknown] and batch.mask[2].sum() == 2
    assert batch.unknown == 1


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_text_of_no_words_is_refused(tokenizer: PreTrainedTokenizerFast, text: str):
    with pytest.raises(InputError, match="no words"):
        tokenize(tokenizer, ["clear", text], 24)


def test_padding_changes_no_word(tokenizer: PreTrainedTokenizerFast):
    torch.manual_seed(0)
    encoder = TextEncoder(build_bert(TINY, len(tokenizer)), 12).eval()
    alone, beside = tokenize(tokenizer, ["clear lungs"], 24), tokenize(tokenizer, ["clear lungs", REPORTS[1]], 24)
    length = alone.ids.shape[1]
    assert beside.ids.shape[1] > length
    found = encoder(alone.ids, alone.attention), encoder(beside.ids, beside.attention)
    assert found[0].shape == (1, length, 12)
    torch.testing.assert_close(found[1][:1, :length], found[0], atol=1e-5, rtol=1e-5)


def test_the_architecture_is_saved_and_needs_no_hub(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    bert = build_bert(TINY, len(tokenizer))
    save_architecture(bert, tmp_path)
    again = load_architecture(tmp_path)
    again.load_state_dict(bert.state_dict())
    assert {name: tensor.shape for name, tensor in again.named_parameters()} == {n: t.shape for n, t in bert.named_parameters()}
    assert not any("pooler" in name for name, _ in bert.named_parameters())


SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def published(folder: Path, rows: int = len(LEARNED), kind: type = BertModel) -> BertModel:
    """A small BERT with random weights, and a tokenizer, as they would be published."""
    torch.manual_seed(1)
    theirs = kind(BertConfig(vocab_size=rows, **SIZES))
    theirs.save_pretrained(folder)
    LEARNED.save_pretrained(folder)
    return theirs


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
@torch.no_grad()
def test_a_pretrained_bert_comes_from_a_directory(tmp_path: Path, kind: type):
    theirs = published(tmp_path, kind=kind).eval()
    config = WordsConfig(pretrained=str(tmp_path))
    tokenizer = build_tokenizer(config, ["not looked at"])
    assert tokenizer.get_vocab() == LEARNED.get_vocab()
    ours, batch = build_bert(config, len(tokenizer)).eval(), tokenize(tokenizer, REPORTS, 24)
    given = {"input_ids": batch.ids, "attention_mask": batch.attention.long()}
    expected = theirs(**given, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(ours(**given).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


def refused(folder: Path, vocabulary: int = len(LEARNED), **numbers: object) -> str:
    with pytest.raises(InputError) as caught:
        build_bert(WordsConfig(pretrained=str(folder), **numbers), vocabulary)
    assert "\n" not in str(caught.value) and folder.name in str(caught.value)
    return str(caught.value)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path):
    published(tmp_path, rows=150)
    assert "a tokenizer of 151 entries and weights for 150" in refused(tmp_path, 151)
    assert "a tokenizer of 22 entries and weights for 150" in refused(tmp_path, 22)
    assert build_bert(WordsConfig(pretrained=str(tmp_path)), 23).config.vocab_size == 150  # rows are rounded up


def test_more_tokens_than_positions_are_refused(tmp_path: Path):
    published(tmp_path)
    assert "words.max_tokens: 513" in refused(tmp_path, max_tokens=513)
    build_bert(WordsConfig(pretrained=str(tmp_path), max_tokens=512), len(LEARNED))


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path: Path):
    published(tmp_path)
    (tmp_path / "config.json").write_text(BertConfig(vocab_size=len(LEARNED), **{**SIZES, "num_hidden_layers": 3}).to_json_string())
    assert "has no 'encoder.layer.2." in refused(tmp_path)
    (tmp_path / "config.json").write_text(BertConfig(vocab_size=len(LEARNED), **{**SIZES, "intermediate_size": 24}).to_json_string())
    assert "can't be loaded" in refused(tmp_path)


def test_a_model_that_is_no_bert_is_refused(tmp_path: Path):
    sizes = PvtConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1], image_size=32)
    PvtModel(sizes).save_pretrained(tmp_path)
    assert "is of type 'pvt', not 'bert'" in refused(tmp_path)


def test_a_hub_id_needs_its_revision():
    with pytest.raises(InputError, match=r"words\.pretrained: 'emilyalsentzer/Bio_ClinicalBERT' is no directory.*revision"):
        build_tokenizer(WordsConfig(pretrained="emilyalsentzer/Bio_ClinicalBERT"), [])


@pytest.mark.parametrize("pretrained", [False, True])
def test_layers_computed_again_give_the_same_loss_and_gradients(tmp_path: Path, pretrained: bool):
    published(tmp_path)
    numbers = {"pretrained": str(tmp_path)} if pretrained else {"layers": 2, "dropout": 0.1}
    batch, found, runs = tokenize(LEARNED, REPORTS, 24), [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        config = dataclasses.replace(TINY, **numbers, checkpointing=checkpointing)
        encoder = TextEncoder(build_bert(config, len(LEARNED)), 12).train()
        encoder.bert.encoder.layer[0].attention.register_forward_hook(lambda *_: runs.append(1))
        torch.manual_seed(5)
        loss = encoder(batch.ids, batch.attention).square().mean()
        loss.backward()
        found.append((float(loss.detach()), {name: tensor.grad for name, tensor in encoder.named_parameters()}))
    assert len(runs) == 1 + 2  # the second encoder's layers ran twice
    (plain, gradients), (again, gradients_again) = found
    assert again == pytest.approx(plain, abs=1e-6)
    torch.testing.assert_close(gradients_again, gradients, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "build", [lambda config: build_bert(config, 10), lambda config: build_tokenizer(config, [])], ids=["bert", "tokenizer"]
)
def test_a_pretrained_directory_that_is_not_there_is_one_clear_line(build, tmp_path: Path):
    with pytest.raises(InputError, match=r"nothing-here.*local directory") as caught:
        build(WordsConfig(pretrained=str(tmp_path / "nothing-here")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["[SEP]", "[PAD]", "[CLS]", "[MASK]", "[UNK]"])
def test_the_name_of_a_special_token_in_a_report_is_ordinary_text(tokenizer: PreTrainedTokenizerFast, name: str):
    text = f"clear lungs {name} no effusion"
    found = tokenize(tokenizer, [text], 24)
    ids, first, last = found.ids[0].tolist(), tokenizer.cls_token_id, tokenizer.sep_token_id
    assert [i for i in ids if i in (tokenizer.pad_token_id, first, last, tokenizer.mask_token_id)] == [first, last]
    assert found.mask[0].tolist() == [False] + [True] * (len(ids) - 2) + [False]
    assert "".join(text[start:end] for start, end in found.spans[0]) == text.replace(" ", "")


def test_half_a_character_is_one_clear_line(tokenizer: PreTrainedTokenizerFast):
    with pytest.raises(InputError, match=r"text 'clear \\udcff' holds half a character; give it in UTF-8"):
        tokenize(tokenizer, ["clear lungs", "clear \udcff"], 24)
