"""Tokenizer and text encoder: spans point at the words, padding changes nothing, the same reports give the same tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

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


def test_a_pretrained_bert_comes_from_a_directory(tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    torch.manual_seed(1)
    theirs = BertModel(
        BertConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    )
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = WordsConfig(pretrained=str(tmp_path))
    assert build_tokenizer(config, ["not looked at"]).get_vocab() == tokenizer.get_vocab()
    ours = build_bert(config, 0)
    torch.testing.assert_close(ours.embeddings.word_embeddings.weight, theirs.embeddings.word_embeddings.weight, rtol=0, atol=0)


@pytest.mark.parametrize(
    "build", [lambda config: build_bert(config, 10), lambda config: build_tokenizer(config, [])], ids=["bert", "tokenizer"]
)
def test_a_pretrained_directory_that_is_not_there_is_one_clear_line(build, tmp_path: Path):
    with pytest.raises(InputError, match=r"nothing-here.*local directory") as caught:
        build(WordsConfig(pretrained=str(tmp_path / "nothing-here")))
    assert "\n" not in str(caught.value)
