"""A vocabulary, a language model and what dolly-v2 looks like on disk, at toy width."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from cyclicxr.config import LanguageConfig
from cyclicxr.language.llm import LanguageModel
from cyclicxr.language.prompt import PHRASES
from cyclicxr.language.vocabulary import Vocabulary

REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "Small left pleural effusion. No pneumothorax.",
    "Cardiomegaly without edema. No acute bony abnormality.",
    "A pigtail catheter is placed in the lower right chest.",
]
TINY = LanguageConfig(vocabulary=320, width=32, layers=2, heads=2, context=128, dropout=0.0, max_report_tokens=24)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(REPORTS * 3, TINY.vocabulary, 16, PHRASES)


@pytest.fixture
def model(vocabulary: Vocabulary) -> LanguageModel:
    """Random weights, large enough that its choices are not all the same."""
    torch.manual_seed(0)
    built = LanguageModel.build(vocabulary, TINY, 9).eval()
    for tensor in built.parameters():
        if tensor.ndim > 1:
            tensor.data *= 8
    return built


@pytest.fixture
def guided_by(vocabulary: Vocabulary, model: LanguageModel):
    """The same weights with other numbers for generation."""

    def build(**numbers: object) -> LanguageModel:
        return LanguageModel(model.model, vocabulary, dataclasses.replace(TINY, **numbers), 9).eval()

    return build


@pytest.fixture(scope="session")
def dolly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in dolly-v2's form at toy width: GPT-NeoX's byte BPE, its first two specials and its runs of spaces, then dolly's three
    keys, of which the last ends with a line break; untied embeddings, three rows more than there are tokens.
    """
    folder = tmp_path_factory.mktemp("dolly")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=True)
    first = ["<|endoftext|>", "<|padding|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=first, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(REPORTS * 3, trainer)
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    keys = ["### End", "### Instruction:", "### Response:\n"]
    tokenizer.add_special_tokens(keys)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{which}_token": first[0] for which in ("bos", "eos", "unk")}
    settings = {"tokenizer_class": "GPTNeoXTokenizerFast", "add_prefix_space": False, "additional_special_tokens": keys, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    rows = tokenizer.get_vocab_size() + 3
    cfg = GPTNeoXConfig(vocab_size=rows, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)
    GPTNeoXForCausalLM(cfg).save_pretrained(str(folder))
    return folder
