"""AdaMatch (section 3.1): adaptive patches and words in one space, and the model on disk. Knows no codebook, no prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from cyclicxr.checkpoint import load_weights, read_preset, save_tensors
from cyclicxr.config import EncoderConfig, MatchConfig, WordsConfig
from cyclicxr.match.peers import SIMILARITY
from cyclicxr.patches.encoder import ImageEncoder, StagePatches
from cyclicxr.words.encoder import TextEncoder, TokenBatch, build_bert, load_architecture, load_tokenizer, save_architecture, tokenize

WEIGHTS, TOKENIZER = "match.safetensors", "text_tokenizer"
MIN_TEMPERATURE = 0.01  # [CLIP] the logit scale is clamped to at most 100


@dataclass(frozen=True)
class FilmPatches:
    """Adaptive patches of b films in the shared space.

    Args:
        features: (b, n, d) of unit length; of any length where the model's similarity is a peer's.
        boxes: (b, n, 4) corners in [0, 1].
        anchors: (n, 2) centres of the fixed patches.
        shifts: (b, n, 2) from the fixed centre to the adaptive patch's.
        pooled: (b, f) mean and maximum over the patches of stages 2 to 4, for the global alignment.
    """

    features: Float[Tensor, "b n d"]
    boxes: Float[Tensor, "b n 4"]
    anchors: Float[Tensor, "n 2"]
    shifts: Float[Tensor, "b n 2"]
    pooled: Float[Tensor, "b f"]

    def cpu(self) -> FilmPatches:
        """The same in main memory."""
        return FilmPatches(*(getattr(self, each.name).cpu() for each in fields(self)))


@dataclass(frozen=True)
class TextWords:
    """Tokens of c reports in the shared space.

    Args:
        features: (c, k, d) of unit length; of any length where the model's similarity is a peer's.
        mask: (c, k) True for real tokens.
        spans: characters of each token in its report; (0, 0) where masked.
    """

    features: Float[Tensor, "c k d"]
    mask: Bool[Tensor, "c k"]
    spans: list[list[tuple[int, int]]]


class AdaMatch(nn.Module):
    """Image encoder, text encoder, and the learned temperature between them.

    Args:
        encoder: config of the image encoder.
        words: config of the text encoder.
        match: width, stage, similarity and temperature.
        bert: the BERT.
        tokenizer: its tokenizer.
    """

    def __init__(
        self, encoder: EncoderConfig, words: WordsConfig, match: MatchConfig, bert: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        super().__init__()
        self.stage, self.similarity_name, self.max_tokens, self.tokenizer = match.stage, match.similarity, words.max_tokens, tokenizer
        self.image = ImageEncoder(encoder)
        self.project = nn.Linear(encoder.widths[match.stage - 1], match.width)
        self.text = TextEncoder(bert, match.width)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(match.temperature)))

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """tau, at least 0.01."""
        return self.log_temperature.exp().clamp(min=MIN_TEMPERATURE)

    def tokens(self, reports: Sequence[str]) -> TokenBatch:
        """Tokenize reports.

        Raises:
            InputError: one of them has no words.
        """
        return tokenize(self.tokenizer, reports, self.max_tokens)

    def encode_films(self, pixels: Float[Tensor, "b 1 h w"]) -> FilmPatches:
        """Films in [0, 1] -> their adaptive patches."""
        return self.film_patches(self.image(pixels.to(self.log_temperature.device)))

    def film_patches(self, stages: Sequence[StagePatches]) -> FilmPatches:
        """The image encoder's four stages -> the patches of the one that is matched, and all of them pooled."""
        found = stages[self.stage - 1]
        features = self._placed(self.project(found.features))
        middle = (found.boxes[..., :2] + found.boxes[..., 2:]) / 2
        pooled = [part for stage in stages[1:] for part in (stage.features.float().mean(1), stage.features.float().amax(1))]
        return FilmPatches(features, found.boxes, found.anchors, middle - found.anchors, torch.cat(pooled, dim=1))

    def encode_tokens(self, tokens: TokenBatch) -> TextWords:
        """Tokens -> words."""
        where = self.log_temperature.device
        features = self._placed(self.text(tokens.ids.to(where), tokens.attention.to(where)))
        return TextWords(features, tokens.mask.to(where), tokens.spans)

    def encode_texts(self, reports: Sequence[str]) -> TextWords:
        """Reports -> words.

        Raises:
            InputError: one of them has no words.
        """
        return self.encode_tokens(self.tokens(reports))

    def similarity(
        self, patches: Float[Tensor, "b n d"], words: Float[Tensor, "c k d"], mask: Bool[Tensor, "c k"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
        """Image-to-text and text-to-image similarities of this model's patches and words, by the similarity that it was trained with.

        Args:
            patches: `FilmPatches.features`.
            words: `TextWords.features`.
            mask: True for real words; every report has at least one.

        Source: Eqs. (5), (6), unless `match.similarity` names a peer's.
        """
        return SIMILARITY[self.similarity_name](patches, words, mask)

    def _placed(self, features: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """On the unit sphere in float32 for MaxSim; peers pool vectors of any length, and take theirs away afterwards."""
        return functional.normalize(features.float(), dim=-1) if self.similarity_name == "maxsim" else features.float()

    def save(self, directory: Path) -> None:
        """Write weights (float16), tokenizer and the BERT's shape."""
        save_tensors(directory / WEIGHTS, self.state_dict(), half=True)
        self.tokenizer.save_pretrained(directory / TOKENIZER)
        save_architecture(self.text.bert, directory / TOKENIZER)

    @classmethod
    def load(cls, directory: Path) -> AdaMatch:
        """Read what `save` wrote into a model directory, ready for inference.

        Raises:
            InputError: a file is missing or broken.
        """
        preset, architecture = read_preset(directory), load_architecture(directory / TOKENIZER)
        model = cls(preset.encoder, preset.words, preset.match, architecture, load_tokenizer(directory / TOKENIZER))
        load_weights(model, directory / WEIGHTS)
        return model.eval().requires_grad_(False)

    @classmethod
    def build(cls, encoder: EncoderConfig, words: WordsConfig, match: MatchConfig, tokenizer: PreTrainedTokenizerFast) -> AdaMatch:
        """A model to be trained."""
        return cls(encoder, words, match, build_bert(words, len(tokenizer)), tokenizer)
