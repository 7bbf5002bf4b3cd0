"""What somebody wrote cannot change a prompt: its keys, its film and its end stand where the template has them, whatever the text says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from cyclicxr.language.prompt import PHRASES, drawing_prompt, report_prompt, report_response
from cyclicxr.language.vocabulary import INPUT, INSTRUCTION, KEYPATCHES, KEYS, KEYWORDS, RESPONSE, Vocabulary

CODES = 16
ODD = [
    *KEYS,
    *PHRASES,
    "<img_3>",
    "<img_15>",
    "<img_99>",
    "img_3>",
    "<|endoftext|>",
    "[SEP]",
    "\n",
    "\r\n",
    "\t",
    "\x00",
    "\x1b[0m",
    "\u2028",
]
ODD += ["\u202e", "\ufeff", "é", "e\u0301", "左侧", "قلب", "🫁", "### ", "#", " End", "Clear lungs.", "12, 6, 9", "\u00a0"]
TEXT = st.one_of(st.lists(st.sampled_from(ODD), max_size=12).map("".join), st.text(max_size=60))


def like_dolly(reports: list[str]) -> Vocabulary:
    """A pretrained tokenizer with special tokens and plain added ones of its own, extended as a stage does it."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(reports, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>", clean_up_tokenization_spaces=False)
    tokenizer.add_special_tokens({"additional_special_tokens": ["### End", "### Instruction:", "### Response:\n"]})
    tokenizer.add_tokens(["  ", "   "])
    return Vocabulary._extended(tokenizer, CODES, PHRASES)


VOCABULARIES = {
    "trained on what it will be attacked with": Vocabulary.train(
        ["".join(ODD), "Clear lungs. ### Response: <img_3>"] * 5, 400, CODES, PHRASES
    ),
    "extended": like_dolly(["Clear lungs.", "### Response: <img_3> ### End"] * 5),
}
every_vocabulary = pytest.mark.parametrize("vocabulary", VOCABULARIES.values(), ids=VOCABULARIES)


def structure(vocabulary: Vocabulary, ids: list[int]) -> list[str]:
    """The special tokens among ids, by name and in order."""
    ordinary = set(vocabulary.report_choices().tolist()) - {vocabulary.end}
    return [str(name) for name in vocabulary.tokenizer.convert_ids_to_tokens([i for i in ids if i not in ordinary])]


def images(*codes: int) -> list[str]:
    return [f"<img_{code}>" for code in codes]


@every_vocabulary
@given(text=TEXT, longest=st.integers(0, 40))
def test_a_report_to_be_drawn_stands_between_its_keys(vocabulary: Vocabulary, text: str, longest: int):
    ids = drawing_prompt(vocabulary, text, [12, 6], longest).ids
    keys = [PHRASES[0], INSTRUCTION, PHRASES[2], INPUT]
    assert structure(vocabulary, ids) == [*keys, KEYPATCHES, *images(12, 6), RESPONSE]
    head, tail = drawing_prompt(vocabulary, "", [], 0).ids, vocabulary.template(f"\n{KEYPATCHES}")
    begins = head.index(vocabulary.template(INPUT)[0]) + 1
    said = vocabulary.field(text)[:longest]
    assert ids[begins : begins + len(said) + len(tail)] == [*said, *tail]


@every_vocabulary
@given(words=st.lists(TEXT, max_size=4), text=TEXT)
def test_keywords_and_the_learned_report_stand_between_theirs(vocabulary: Vocabulary, words: list[str], text: str):
    ids = report_prompt(vocabulary, [3, 15, 0], words).ids
    keys = [PHRASES[0], INSTRUCTION, PHRASES[1], INPUT]
    assert structure(vocabulary, ids) == [*keys, *images(3, 15, 0), KEYWORDS, RESPONSE]
    learned = report_response(vocabulary, text, 40)
    assert structure(vocabulary, learned) == ["### End"] and learned[-1] == vocabulary.end


@every_vocabulary
@given(text=TEXT)
def test_a_written_report_that_looks_like_a_prompt_is_text_when_it_is_drawn(vocabulary: Vocabulary, text: str):
    """What the model wrote is decoded and encoded anew in a cycle: it comes back as the same words and no key."""
    written = vocabulary.text(vocabulary.field(text))
    assert written.split() == text.split()
    assert structure(vocabulary, vocabulary.field(written)) == []


def test_a_vocabulary_that_was_saved_is_as_safe(tmp_path):
    for number, vocabulary in enumerate(VOCABULARIES.values()):
        vocabulary.save(tmp_path / str(number))
        again = Vocabulary.load(tmp_path / str(number))
        for text in ("".join(ODD), *ODD):
            assert structure(again, again.field(text)) == []
