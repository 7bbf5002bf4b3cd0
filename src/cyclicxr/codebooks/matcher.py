"""What the codebooks ask of AdaMatch: unit vectors of patches and of words; knows no codebook."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor


@runtime_checkable
class Patches(Protocol):
    """Adaptive patches of b films: unit vectors, and boxes in [0, 1]; and the films as wholes."""

    @property
    def features(self) -> Float[Tensor, "b n d"]: ...
    @property
    def boxes(self) -> Float[Tensor, "b n 4"]: ...
    @property
    def pooled(self) -> Float[Tensor, "b f"]: ...


@runtime_checkable
class Words(Protocol):
    """Tokens of c texts: unit vectors, which of them are real, and the characters `(start, end)` that each stands for."""

    @property
    def features(self) -> Float[Tensor, "c k d"]: ...
    @property
    def mask(self) -> Bool[Tensor, "c k"]: ...
    @property
    def spans(self) -> list[list[tuple[int, int]]]: ...


@runtime_checkable
class Matcher(Protocol):
    """The frozen AdaMatch, in evaluation mode."""

    def encode_films(self, pixels: Float[Tensor, "b 1 h w"]) -> Patches:
        """Films in [0, 1] -> their patches."""

    def encode_texts(self, texts: list[str]) -> Words:
        """Texts -> their tokens."""
