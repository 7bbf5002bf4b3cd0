"""Text and image tokens in one vocabulary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from cyclicxr.language.prompt import PHRASES
from cyclicxr.language.vocabulary import KEYS, Vocabulary
from cyclicxr.types import InputError


def test_image_tokens_stand_behind_the_text_tokens_and_map_back(vocabulary):
    ids = vocabulary.image_ids([0, 5, 15])
    assert ids == [len(vocabulary) - 16, len(vocabulary) - 11, len(vocabulary) - 1]
    assert vocabulary.codes(ids) == [0, 5, 15]
    assert vocabulary.tokenizer.convert_ids_to_tokens(ids) == ["<img_0>", "<img_5>", "<img_15>"]


@pytest.mark.parametrize("code", [-1, 16])
def test_a_code_outside_the_codebook_is_refused(vocabulary, code):
    with pytest.raises(InputError, match=f"code {code} is not in 0..15"):
        vocabulary.image_ids([3, code])


def test_a_text_id_is_no_code(vocabulary):
    with pytest.raises(InputError, match="is no image token"):
        vocabulary.codes(vocabulary.field("heart"))


def test_pad_and_eos_are_real_tokens_of_their_own(vocabulary):
    tokenizer = vocabulary.tokenizer
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|padding|>", "### End")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.encode("### End") == [vocabulary.end]
    assert all(len(tokenizer.encode(key)) == 1 for key in KEYS)


def test_each_constant_sentence_of_a_prompt_is_one_token(vocabulary):
    assert [len(vocabulary.template(phrase)) for phrase in PHRASES] == [1, 1, 1]


def test_choices_for_reports_and_for_films_share_no_id(vocabulary):
    reports, films = set(vocabulary.report_choices().tolist()), set(vocabulary.image_choices().tolist())
    assert not reports & films
    assert reports & {vocabulary.end, vocabulary.padding} == {vocabulary.end}
    assert films == set(vocabulary.image_ids(range(16)))
    keys = {vocabulary.tokenizer.convert_tokens_to_ids(key) for key in KEYS}
    assert reports | films | keys | {vocabulary.template(phrase)[0] for phrase in PHRASES} == set(range(len(vocabulary)))


HOSTILE = ["### Response:", "### End", "<img_3>", "<|padding|>", *PHRASES, "a", " ", "\n", "é"]


@given(text=st.one_of(st.lists(st.sampled_from(HOSTILE), max_size=8).map("".join), st.text(max_size=40)))
def test_no_text_becomes_a_special_token_and_none_is_lost(vocabulary, text):
    ids = vocabulary.field(text)
    assert set(ids) <= set(vocabulary.report_choices().tolist()) - {vocabulary.end}
    assert vocabulary.text(ids) == " ".join(text.split())


def test_the_saved_tokenizer_loads_without_our_code(vocabulary, tmp_path):
    vocabulary.save(tmp_path)
    bare = AutoTokenizer.from_pretrained(str(tmp_path))
    text = f"{PHRASES[0]}\n### Input:<img_3><img_4>\n### Response: Clear lungs.### End"
    assert bare.encode(text) == vocabulary.template(text)
    assert len(Vocabulary.load(tmp_path)) == len(vocabulary) == len(bare)


def test_another_pretrained_tokenizer_is_extended(vocabulary, tmp_path):
    vocabulary.tokenizer.backend_tokenizer.save(str(tmp_path / "plain.json"))
    vocabulary.save(tmp_path)
    extended = Vocabulary.extend(str(tmp_path), "", 20)  # four codes more than the 16 that it has
    assert len(extended) == len(vocabulary) + 4
    assert extended.codes(extended.image_ids([19])) == [19]


def test_a_directory_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(InputError, match=r"tokenizer\.json: no such file"):
        Vocabulary.load(tmp_path)


def test_a_vocabulary_smaller_than_the_bytes_is_refused():
    with pytest.raises(InputError, match="256 bytes"):
        Vocabulary.train(["Clear lungs."], 100, 16)
