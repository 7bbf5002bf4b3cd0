"""Text and image tokens in one vocabulary: the one place that maps between text, VQ-GAN codes and ids; knows no model.

The section keys of the prompts, the end of a response and the image tokens are special tokens. What a user or a report says is
encoded with special tokens switched off, so no text can ever become one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from cyclicxr.pretrained import load_pretrained
from cyclicxr.types import InputError

INSTRUCTION, INPUT, KEYWORDS = "### Instruction:", "### Input:", "### Keywords:"
KEYPATCHES, RESPONSE, END, PADDING = "### Keypatches:", "### Response:", "### End", "<|padding|>"
KEYS = (INSTRUCTION, INPUT, KEYWORDS, KEYPATCHES, RESPONSE, END, PADDING)  # dolly has the first, the sixth and, as GPT-NeoX, the last


class Vocabulary:
    """A Hugging Face tokenizer whose last ids are the image tokens `<img_0>`, `<img_1>`, ...

    Args:
        tokenizer: has every key and the image tokens as special tokens, those of the image one after the other.

    Raises:
        InputError: a key is missing, or there are no image tokens, or their ids have gaps.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        special = {token.content: i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        missing = [key for key in KEYS if key not in special]
        images = [i for name, i in special.items() if name.startswith("<img_")]
        if missing or not images:
            raise InputError(f"vocabulary: no special token '{(missing or ['<img_0>'])[0]}'; this tokenizer was not made by CyclicXR")
        self.first_image, self.codes_count = special[image_token(0)], len(images)
        if any(special.get(image_token(code)) != self.first_image + code for code in range(self.codes_count)):
            raise InputError("vocabulary: the ids of the image tokens have gaps; restore tokenizer.json or train again")
        self.end, self.padding = special[END], special[PADDING]
        self._special = frozenset(special.values())
        self._plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._plain.encode_special_tokens = True  # "### Response:" in a report is seven ordinary characters and more, never the key

    @classmethod
    def train(cls, texts: Iterable[str], size: int, codes: int, phrases: Sequence[str] = ()) -> Vocabulary:
        """A byte-level BPE of the texts, with the keys, the phrases and the image tokens behind it.

        Args:
            texts: reports and keywords.
            size: most text tokens before keys, phrases and image tokens; at least the 256 bytes.
            codes: of the VQ-GAN.
            phrases: constant sentences of the prompts, each one token, so that a prompt costs few.

        Raises:
            InputError: `size` is below 256.
        """
        if size < 256:
            raise InputError(f"language.vocabulary: {size} leaves no room for the 256 bytes")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator((f" {text}" for text in texts), trainer)
        wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)
        return cls._extended(wrapped, codes, phrases)

    @classmethod
    def extend(cls, pretrained: str, revision: str, codes: int) -> Vocabulary:
        """A pretrained GPT-NeoX tokenizer (directory or hub id) with the keys and the image tokens added where it lacks them.

        Raises:
            InputError: it can't be loaded.
        """
        return cls._extended(load_pretrained(AutoTokenizer.from_pretrained, "language.pretrained", pretrained, revision), codes, ())

    @classmethod
    def load(cls, directory: Path) -> Vocabulary:
        """What `save` wrote.

        Raises:
            InputError: there is no such tokenizer.
        """
        if not (directory / "tokenizer.json").exists():
            raise InputError(f"{directory / 'tokenizer.json'}: no such file; is this a complete model directory?")
        return cls(AutoTokenizer.from_pretrained(str(directory)))

    def save(self, directory: Path) -> None:
        """Write plain Hugging Face files that `AutoTokenizer` loads."""
        self.tokenizer.save_pretrained(str(directory))

    def __len__(self) -> int:
        return len(self.tokenizer)

    def image_ids(self, codes: Sequence[int]) -> list[int]:
        """Codes in [0, codes_count) -> ids.

        Raises:
            InputError: a code that the codebook lacks.
        """
        wrong = [code for code in codes if not 0 <= code < self.codes_count]
        if wrong:
            raise InputError(f"image tokens: code {wrong[0]} is not in 0..{self.codes_count - 1}; was it made by another VQ-GAN?")
        return [self.first_image + int(code) for code in codes]

    def codes(self, ids: Sequence[int]) -> list[int]:
        """Ids of image tokens -> codes.

        Raises:
            InputError: an id of a text token.
        """
        wrong = [i for i in ids if not 0 <= i - self.first_image < self.codes_count]
        if wrong:
            raise InputError(f"image tokens: id {wrong[0]} is no image token")
        return [int(i) - self.first_image for i in ids]

    def field(self, text: str) -> list[int]:
        """What somebody wrote -> ids of ordinary text tokens only, whatever the text looks like; white space is one space."""
        words = " ".join(text.split())
        return list(self._plain.encode(f" {words}", add_special_tokens=False).ids) if words else []

    def template(self, text: str) -> list[int]:
        """The project's own words, keys included -> ids."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def text(self, ids: Sequence[int]) -> str:
        """Ids -> text; special tokens are left out."""
        return str(self.tokenizer.decode([i for i in ids if i not in self._special])).strip()

    def report_choices(self) -> Int[Tensor, " v"]:
        """Ids that a report may hold: ordinary text, and the end."""
        return torch.tensor([i for i in range(len(self)) if i not in self._special or i == self.end])

    def special(self) -> Int[Tensor, " t"]:
        """Ids of all that is no text: the keys of the prompts, image tokens, and what a pretrained tokenizer brought."""
        return torch.tensor(sorted(self._special))

    def image_choices(self) -> Int[Tensor, " v"]:
        """Ids that a film may hold."""
        return torch.arange(self.first_image, self.first_image + self.codes_count)

    @classmethod
    def _extended(cls, tokenizer: PreTrainedTokenizerFast, codes: int, phrases: Sequence[str]) -> Vocabulary:
        names = [*KEYS, *phrases, *(image_token(code) for code in range(codes))]
        tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names], special_tokens=True)
        tokenizer.pad_token, tokenizer.eos_token = PADDING, END
        tokenizer.padding_side = "left"
        return cls(tokenizer)


def image_token(code: int) -> str:
    """How the image token of a code is written in the tokenizer."""
    return f"<img_{code}>"
