"""One GPT-NeoX that writes reports from image tokens and image tokens from reports (section 3.2); knows ids and text, never pixels."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM
from transformers.utils import logging as hugging_face

from cyclicxr.checkpoint import read_json, write_json
from cyclicxr.config import LanguageConfig, from_json
from cyclicxr.language import decoding, lora
from cyclicxr.language.int8 import Int8Linear, quantize
from cyclicxr.language.prompt import IGNORED, Batch, Example, collate, drawing_prompt, has_words, report_prompt
from cyclicxr.language.vocabulary import Vocabulary
from cyclicxr.pretrained import load_pretrained
from cyclicxr.types import InputError

log = logging.getLogger(__name__)

ROWS = 32  # films drawn side by side
DEVIATION = 0.02  # [ours] of embeddings at the start, as GPT-NeoX's
NOISE = 0.25  # [ours] share of DEVIATION by which embeddings of equal codes differ
SETTINGS = "cyclicxr.json"


class LanguageModel(nn.Module):
    """The bidirectional language model.

    Args:
        model: GPT-NeoX whose embeddings hold the whole vocabulary.
        vocabulary: of text and image tokens.
        cfg: numbers for generation.
        image_tokens: of one film.
    """

    def __init__(self, model: GPTNeoXForCausalLM, vocabulary: Vocabulary, cfg: LanguageConfig, image_tokens: int) -> None:
        super().__init__()
        self.model, self.vocabulary, self.cfg, self.image_tokens = model, vocabulary, cfg, image_tokens
        model.config.pad_token_id = model.generation_config.pad_token_id = vocabulary.padding
        model.config.eos_token_id = model.generation_config.eos_token_id = vocabulary.end
        model.config.bos_token_id = model.generation_config.bos_token_id = None

    @classmethod
    def build(
        cls, vocabulary: Vocabulary, cfg: LanguageConfig, image_tokens: int, code_vectors: Float[Tensor, "codes c"] | None = None
    ) -> LanguageModel:
        """A new model from the numbers of `cfg`, or `cfg.pretrained` with its embeddings resized to the vocabulary.

        Args:
            vocabulary: of text and image tokens.
            cfg: width, layers, heads, ... or the pretrained name.
            image_tokens: of one film.
            code_vectors: what the codes stand for; where given, image tokens that look alike begin alike.

        Raises:
            InputError: the pretrained model is no GPT-NeoX, or `lora_rank` asks for peft and it is not installed.
        """
        model = _pretrained(cfg, len(vocabulary)) if cfg.pretrained else GPTNeoXForCausalLM(_architecture(cfg, len(vocabulary)))
        if code_vectors is not None:
            model.get_input_embeddings().weight.data[vocabulary.image_choices()] = spread(code_vectors, model.config.hidden_size)
        if cfg.lora_rank:
            lora.adapt(model, cfg.lora_rank, vocabulary.special())
        if cfg.checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        return cls(model, vocabulary, cfg, image_tokens)

    @classmethod
    def load(cls, directory: Path, weights: str | None = None) -> LanguageModel:
        """What `save` wrote, in eval mode.

        Args:
            directory: of the model.
            weights: one of `config.WEIGHTS`; None is `language.weights` as it was when the model was trained.

        Raises:
            InputError: a file is missing or unreadable.
        """
        settings = read_json(directory / SETTINGS)
        cfg = from_json(LanguageConfig, settings["language"], "language")
        cfg = dataclasses.replace(cfg, weights=weights or cfg.weights)
        try:
            with _quietly():
                dtype = torch.float32 if cfg.weights == "float32" else torch.bfloat16  # never the whole in float32 on the way
                model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=dtype, attn_implementation=decoding.ATTENTION)
        except OSError as error:
            raise InputError(f"{directory}: no whole language model ({str(error).splitlines()[0]}); restore it or train again") from None
        if cfg.weights == "int8":
            quantize(model.gpt_neox.layers)
        return cls(model, Vocabulary.load(directory), cfg, int(settings["image_tokens"])).eval()

    def save(self, directory: Path, *, half: bool = True, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a plain Hugging Face directory (whole or not at all) that `AutoModelForCausalLM` and `AutoTokenizer` load.

        Args:
            directory: is replaced where it exists.
            half: store float16.
            weights: the whole `state_dict()`, where this process holds a part of it; None is the model's own.

        Raises:
            InputError: the weights are int8, which Hugging Face would not understand.
        """
        if any(isinstance(module, Int8Linear) for module in self.model.modules()):
            raise InputError(f"{directory}: int8 weights are not saved; load the model with weights 'bfloat16' or 'float32' to save it")
        directory.parent.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(4)
        own = self.state_dict() if weights is None else weights
        named = lora.merged({name.removeprefix("model."): tensor for name, tensor in own.items()}, self.vocabulary.special())
        temporary, old = directory.with_name(f".{directory.name}.{token}.part"), directory.with_name(f".{directory.name}.{token}.old")
        try:
            with _quietly():
                lora.plain(self.model).save_pretrained(str(temporary), state_dict=_halved(named) if half else named)
            self.vocabulary.save(temporary)
            write_json(temporary / SETTINGS, {"language": dataclasses.asdict(self.cfg), "image_tokens": self.image_tokens})
            if directory.exists():
                os.replace(directory, old)
            os.replace(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean of -log P(u_i | u_1 .. u_{i-1}) over the responses' tokens; other places cost no output layer. Source: Eqs. (10), (11)."""
        hidden = decoding.hidden_states(self.model, batch.ids, batch.positions)[:, :-1]
        labels = batch.labels[:, 1:]
        learned = labels != IGNORED
        logits = self.model.get_output_embeddings()(hidden[learned])  # (r, v)
        return functional.cross_entropy(logits.float(), labels[learned])

    def candidates(self, codes: Int[Tensor, "b s"], keywords: Sequence[Sequence[str]]) -> Iterator[list[str]]:
        """Films as codes, and the keywords of each -> `candidates` sampled reports of each film, in order.

        They depend on the film and its keywords, not on what stands beside it: the same film gives the same reports.

        Source: 3.2.1, Fig. 3; sampling many is ours (docs/decisions/0024-consensus-reports.md).
        """
        shape = (self.cfg.candidates, self.cfg.max_report_tokens)
        for row, hints in zip(codes, keywords, strict=True):
            prompt = report_prompt(self.vocabulary, row.tolist(), hints).ids
            sampled = decoding.candidates(
                self.model,
                prompt,
                self.vocabulary.report_choices(),
                _chances(shape, prompt),
                **self._writing(),
            )
            yield [self.vocabulary.text(ids) for ids in sampled]

    def write(self, codes: Int[Tensor, "b s"], keywords: Sequence[Sequence[str]]) -> list[str]:
        """Films as codes, and the keywords of each -> one sampled report each, many films side by side.

        Source: 3.2.1, Fig. 3.
        """
        written: list[str] = []
        for start in range(0, len(codes), ROWS):
            films = zip(codes[start : start + ROWS].tolist(), keywords[start : start + ROWS], strict=True)
            prompts = [report_prompt(self.vocabulary, film, hints).ids for film, hints in films]
            sampled = decoding.texts(
                self.model,
                prompts,
                self.vocabulary.report_choices(),
                torch.stack([_chances((self.cfg.max_report_tokens,), prompt) for prompt in prompts]),
                padding=self.vocabulary.padding,
                **self._writing(),
            )
            written += [self.vocabulary.text(ids) for ids in sampled]
        return written

    def _writing(self) -> dict[str, Any]:
        return {"end": self.vocabulary.end, "temperature": self.cfg.report_temperature, "top_k": self.cfg.top_k}

    @torch.inference_mode()
    def likelihood(
        self, codes: Int[Tensor, "b s"], keywords: Sequence[Sequence[str]], befores: Sequence[str], texts: Sequence[str]
    ) -> Float[Tensor, " b"]:
        """Mean log-probability of each text's tokens in a report of its film, behind what the report said before.

        Args:
            codes: of the film of each text.
            keywords: likewise.
            befores: what the report says before the text, "" at its beginning; of a long one the end.
            texts: each of one word or more.

        Source: Eq. (10), token by token.
        """
        found = []
        for start in range(0, len(texts), ROWS):
            rows = range(start, min(start + ROWS, len(texts)))
            batch = collate([self._scored(codes[i].tolist(), keywords[i], befores[i], texts[i]) for i in rows], self.vocabulary.padding)
            hidden = decoding.hidden_states(self.model, batch.ids, batch.positions)[:, :-1]
            labels = batch.labels[:, 1:]
            said = labels != IGNORED
            logits = self.model.get_output_embeddings()(hidden[said]).float()  # (r, v)
            each = hidden.new_zeros(labels.shape).float()
            each[said] = -functional.cross_entropy(logits, labels[said], reduction="none")
            found.append(each.sum(dim=1) / said.sum(dim=1))
        return torch.cat(found)

    def _scored(self, codes: Sequence[int], keywords: Sequence[str], before: str, text: str) -> Example:
        prompt, said = report_prompt(self.vocabulary, codes, keywords).ids, self.vocabulary.field(text)[: self.cfg.max_report_tokens]
        room = self.cfg.max_report_tokens - len(said)
        context = self.vocabulary.field(before)[-room:] if room else []
        ids = [*prompt, *context, *said]
        return Example(ids, list(range(len(ids))), len(prompt) + len(context))

    def draw(
        self,
        reports: Sequence[str],
        keypatches: Sequence[Sequence[int]],
        seed: int,
        keywords: Sequence[Sequence[str]] | None = None,
        number: int = 1,
    ) -> Int[Tensor, "bn s"]:
        """Reports, and the codes of the keypatches of each -> films as codes, `image_tokens` each.

        A film depends on its report, its hints and the seed, not on what stands beside it.

        Args:
            reports: of one word or more.
            keypatches: codes of each report's.
            seed: of the sampling.
            keywords: that each report affirms; None is none at all. Read with `drawing_keywords` alone.
            number: n, films of each report, one behind the other.

        Raises:
            InputError: a report of no words.

        Source: 3.2.2, Fig. 4.
        """
        if not all(map(has_words, reports)):
            raise InputError("draw: the text has no words; say what the film should show")
        named = [()] * len(reports) if keywords is None else keywords
        prompts = [self._drawing_prompt(*given) for given in zip(reports, keypatches, named, strict=True)]
        prompts = [prompt for prompt in prompts for _ in range(number)]
        chances = torch.cat([_chances((number, self.image_tokens), (seed, report)) for report in reports])
        choices, nothing = self.vocabulary.image_choices(), self._drawing_prompt("", (), ())
        drawn = [
            decoding.sample(
                self.model,
                prompts[start : start + ROWS],
                nothing,
                choices,
                chances[start : start + ROWS],
                padding=self.vocabulary.padding,
                guidance=self.cfg.guidance,
                temperature=self.cfg.temperature,
                top_k=self.cfg.top_k,
            )
            for start in range(0, len(prompts), ROWS)
        ]
        codes: Tensor = torch.cat(drawn) - self.vocabulary.first_image
        return codes

    def _drawing_prompt(self, report: str, keypatches: Sequence[int], keywords: Sequence[str]) -> list[int]:
        if len(self.vocabulary.field(report)) > self.cfg.max_report_tokens:
            log.warning("draw: the text has more than %d tokens; its end is cut", self.cfg.max_report_tokens)
        named = keywords if self.cfg.drawing_keywords else None
        return drawing_prompt(self.vocabulary, report, keypatches, self.cfg.max_report_tokens, named).ids


def spread(vectors: Float[Tensor, "codes c"], width: int) -> Float[Tensor, "codes d"]:
    """Code vectors turned at random into the embedding space, their deviation that of fresh embeddings: alike codes stay alike."""
    standard = (vectors - vectors.mean(dim=0)) / vectors.std().clamp(min=1e-8)
    turned = standard @ torch.randn(vectors.shape[1], width)
    noisy: Tensor = turned / turned.std().clamp(min=1e-8) + NOISE * torch.randn(len(vectors), width)
    return noisy * (DEVIATION / math.hypot(1, NOISE))


def _architecture(cfg: LanguageConfig, tokens: int) -> GPTNeoXConfig:
    return GPTNeoXConfig(
        vocab_size=tokens,
        hidden_size=cfg.width,
        num_hidden_layers=cfg.layers,
        num_attention_heads=cfg.heads,
        intermediate_size=4 * cfg.width,
        max_position_embeddings=cfg.context,
        hidden_dropout=cfg.dropout,
        attention_dropout=0.0,  # dropout there costs the fast attention kernel
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation=decoding.ATTENTION,
    )


def _pretrained(cfg: LanguageConfig, tokens: int) -> GPTNeoXForCausalLM:
    model = load_pretrained(
        AutoModelForCausalLM.from_pretrained,
        "language.pretrained",
        cfg.pretrained,
        cfg.revision,
        dtype=torch.float32,
        attn_implementation=decoding.ATTENTION,
    )
    if not isinstance(model, GPTNeoXForCausalLM):
        raise InputError(f"language.pretrained: '{cfg.pretrained}' is a {type(model).__name__}, not a GPTNeoXForCausalLM")
    if model.config.vocab_size < tokens:  # never shrunk: some models keep spare rows
        model.resize_token_embeddings(tokens)
    return model


def _halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    halves: dict[int, Tensor] = {}  # tied tensors stay one tensor
    return {name: halves.setdefault(tensor.data_ptr(), tensor.half()) for name, tensor in weights.items()}


@contextmanager
def _quietly() -> Iterator[None]:
    hugging_face.disable_progress_bar()
    try:
        yield
    finally:
        hugging_face.enable_progress_bar()


def _chances(shape: tuple[int, ...], named: object) -> Tensor:
    """Uniform numbers in [0, 1) that follow from what they are named by."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(zlib.crc32(repr(named).encode())))
