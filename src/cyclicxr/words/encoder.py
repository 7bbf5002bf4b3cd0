"""The text encoder: a BERT in Hugging Face form and a linear projection to the shared width (section 3.1). Knows words, not films."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerFast

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.config import WordsConfig
from cyclicxr.pretrained import load_pretrained
from cyclicxr.types import InputError

ARCHITECTURE = "text_config.json"
SETTING = "words.pretrained"
SPARE_ROWS = 128  # of a BERT's embeddings behind its tokenizer's last entry: vocabularies are rounded up to a multiple of at most so many
_HALF = re.compile(r"[\ud800-\udfff]")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class TokenBatch:
    """Tokenized reports, padded to the longest.

    Args:
        ids: (c, k).
        attention: (c, k) True where a token or special token stands.
        mask: (c, k) True for real tokens alone: neither special nor padding.
        spans: characters `start, end` of each token in its report; (0, 0) where masked.
        cut: reports that were longer than the context, cut at the end.
        unknown: reports none of whose tokens the vocabulary knows.
    """

    ids: Int[Tensor, "c k"]
    attention: Bool[Tensor, "c k"]
    mask: Bool[Tensor, "c k"]
    spans: list[list[tuple[int, int]]]
    cut: int
    unknown: int


def train_tokenizer(reports: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """WordPiece of at most `size` pieces, lower case, learned from reports; the same reports give the same pieces and ids."""
    normalizer, pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = [word for report in reports for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(report))]
    pieces = _learn_pieces(words, size)
    wordpiece = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    wordpiece.normalizer, wordpiece.pre_tokenizer = normalizer, pre_tokenizer
    wordpiece.decoder = decoders.WordPiece()
    pad, unknown, first, last, hidden = _SPECIAL
    wordpiece.post_processor = processors.BertProcessing((last, pieces[last]), (first, pieces[first]))
    return PreTrainedTokenizerFast(
        tokenizer_object=wordpiece, pad_token=pad, unk_token=unknown, cls_token=first, sep_token=last, mask_token=hidden
    )


def _learn_pieces(words: Sequence[str], size: int) -> dict[str, int]:
    """Piece -> id. The trainer numbers its "##" letters in the order of a hash table that differs from process to process, so a letter
    inside a word is given to it as a letter of its own, from the private plane, and named "##" afterwards."""
    inside = {letter: chr(0xF0000 + i) for i, letter in enumerate(sorted({letter for word in words for letter in word[1:]}))}
    outside = {mark: letter for letter, mark in inside.items()}
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(_SPECIAL), show_progress=False)
    learner.train_from_iterator((word[0] + "".join(inside[letter] for letter in word[1:]) for word in words), trainer)
    return {
        ("##" if piece[0] in outside else "") + "".join(outside.get(letter, letter) for letter in piece): number
        for piece, number in learner.get_vocab().items()
    }


def tokenize(tokenizer: PreTrainedTokenizerFast, reports: Sequence[str], max_tokens: int) -> TokenBatch:
    """Reports -> ids, masks and the characters that each token covers.

    A report longer than the context keeps its first tokens and the closing special one. A word that the vocabulary can't spell becomes one
    unknown token; it stays a word with its place in the text, so that every report of words has a similarity.

    Args:
        tokenizer: of the text encoder.
        reports: c texts.
        max_tokens: the context, special tokens among them.

    Raises:
        InputError: a report has no words, or holds half a character (a lone surrogate).
    """
    for report in reports:
        if _HALF.search(report):
            raise InputError(f"text {report[:80]!r} holds half a character; give it in UTF-8")
    found = tokenizer(
        list(reports),
        padding=True,
        truncation=True,
        max_length=max_tokens,
        return_tensors="pt",
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_overflowing_tokens=False,
        split_special_tokens=True,  # "[SEP]" in a report is three ordinary tokens
    )
    mask = (found["special_tokens_mask"] == 0) & (found["attention_mask"] == 1)
    for report, row in zip(reports, mask, strict=True):
        if not row.any():
            raise InputError(f"text {report!r} has no words; give at least one")
    cut = sum(encoding.overflowing != [] for encoding in found.encodings or [])
    offsets = found["offset_mapping"].tolist()
    spans = [
        [(s, e) if m else (0, 0) for (s, e), m in zip(row, keep, strict=True)] for row, keep in zip(offsets, mask.tolist(), strict=True)
    ]
    known = mask & (found["input_ids"] != tokenizer.unk_token_id)
    return TokenBatch(found["input_ids"], found["attention_mask"].bool(), mask, spans, cut, int((~known.any(dim=1)).sum()))


class TextEncoder(nn.Module):
    """Tokens -> words in the shared space, not yet of unit length.

    Args:
        bert: any `BertModel`-like module.
        width: d, of the shared space.
    """

    def __init__(self, bert: PreTrainedModel, width: int) -> None:
        super().__init__()
        self.bert = bert
        self.project = nn.Linear(bert.config.hidden_size, width)  # "a fully connected layer ... to reduce its dimension"

    def forward(self, ids: Int[Tensor, "c k"], attention: Bool[Tensor, "c k"]) -> Float[Tensor, "c k d"]:
        """Token ids -> features."""
        words: Tensor = self.project(self.read(ids, attention))
        return words

    def read(self, ids: Int[Tensor, "c k"], attention: Bool[Tensor, "c k"]) -> Float[Tensor, "c k w"]:
        """Token ids -> what the BERT makes of them, before the projection."""
        found: Tensor = self.bert(input_ids=ids, attention_mask=attention.long()).last_hidden_state
        return found


def build_bert(config: WordsConfig, vocabulary: int) -> PreTrainedModel:
    """A small BERT with new weights, or a pretrained one from a directory or hub id.

    Args:
        config: sizes of the small one, or the name of the pretrained one.
        vocabulary: entries of the tokenizer.

    Raises:
        InputError: the pretrained model can't be loaded, is no whole BERT, or does not fit its tokenizer or `max_tokens`.
    """
    bert = _pretrained_bert(config, vocabulary) if config.pretrained else _new_bert(config, vocabulary)
    if config.checkpointing:
        bert.activation_checkpointing_enable({"use_reentrant": False})
    return bert


def _new_bert(config: WordsConfig, vocabulary: int) -> BertModel:
    sizes = BertConfig(
        vocab_size=vocabulary,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=4 * config.width,
        max_position_embeddings=config.max_tokens,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=0.0,  # dropout there costs the fast attention kernel
    )
    return BertModel(sizes, add_pooling_layer=False)


def _pretrained_bert(config: WordsConfig, vocabulary: int) -> BertModel:
    sizes = load_pretrained(AutoConfig.from_pretrained, SETTING, config.pretrained, config.revision)
    if sizes.model_type != "bert":
        raise InputError(f"{SETTING}: '{config.pretrained}' is of type '{sizes.model_type}', not 'bert'; give a BertModel")
    if config.max_tokens > sizes.max_position_embeddings:
        raise InputError(f"words.max_tokens: {config.max_tokens}, but '{config.pretrained}' has {sizes.max_position_embeddings} positions")
    if not sizes.vocab_size - SPARE_ROWS < vocabulary <= sizes.vocab_size:
        raise InputError(
            f"{SETTING}: '{config.pretrained}' has a tokenizer of {vocabulary} entries and weights for {sizes.vocab_size}; "
            "give a directory whose files belong together"
        )
    bert, report = load_pretrained(
        BertModel.from_pretrained, SETTING, config.pretrained, config.revision, add_pooling_layer=False, output_loading_info=True
    )
    if report["missing_keys"]:
        raise InputError(f"{SETTING}: '{config.pretrained}' has no '{min(report['missing_keys'])}'; give a whole model")
    return bert


def build_tokenizer(config: WordsConfig, reports: Sequence[str]) -> PreTrainedTokenizerFast:
    """The pretrained model's tokenizer, or a WordPiece learned from the reports.

    Raises:
        InputError: the pretrained tokenizer can't be loaded.
    """
    if not config.pretrained:
        return train_tokenizer(reports, config.vocabulary)
    return load_pretrained(AutoTokenizer.from_pretrained, SETTING, config.pretrained, config.revision)


def load_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a model directory.

    Raises:
        InputError: it can't be loaded.
    """
    return load_pretrained(AutoTokenizer.from_pretrained, "text tokenizer", directory, "")


def save_architecture(bert: PreTrainedModel, directory: Path) -> None:
    """Write the BERT's config, so that `load_architecture` needs no hub."""
    write_json(directory / ARCHITECTURE, bert.config.to_dict())


def load_architecture(directory: Path) -> PreTrainedModel:
    """A BERT of the saved shape, its weights to be filled in."""
    values = read_json(directory / ARCHITECTURE)
    return AutoModel.from_config(AutoConfig.for_model(**values), add_pooling_layer=False)
