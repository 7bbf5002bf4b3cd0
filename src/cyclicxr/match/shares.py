"""Which patches the global alignment's reading of a film comes from: each one's exact share, and the map of a phrase; learns nothing.

The film that the alignment reads is the mean and the maximum over patches, and what it reads is a linear map of them: both are sums over
patches, so what a film says of a phrase is too (docs/decisions/0033).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from cyclicxr.match.adamatch import AdaMatch
from cyclicxr.match.global_alignment import GlobalAlignment


def shares(features: Float[Tensor, "b n c"]) -> Float[Tensor, "b n 2*c"]:
    """What each patch adds to its stage's mean and to its maximum: they add up to the stage's columns of `FilmPatches.pooled`.

    Of the mean each patch has its n-th part; the maximum of a channel is all of the first patch that reaches it. Two patches (1, 4) and
    (3, 2): (.5, 2, 0, 4) and (1.5, 1, 3, 0), together (2, 3, 3, 4).
    """
    n = features.shape[1]
    highest = functional.one_hot(features.argmax(1), n).transpose(1, 2)  # (b, n, c)
    return torch.cat([features / n, features * highest], dim=2)


@torch.inference_mode()
def film_shares(matcher: AdaMatch, pixels: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n e"]:
    """`shares` of the patches that are matched with words, those of `encode_films`, in float32 on the CPU; films are in [0, 1]."""
    found = matcher.image(pixels.to(matcher.log_temperature.device))[matcher.stage - 1]
    return shares(found.features.float()).cpu()


def directions(alignment: GlobalAlignment, matcher: AdaMatch, phrases: Sequence[str]) -> Float[Tensor, "p e"]:
    """What shares are multiplied with to tell of phrases: films' similarities before they are made unit vectors, the matched stage's part.

    Shares of all patches times a direction, less the mean film's, are `alignment.film.read` of the stage times `alignment.embed`.
    """
    widths = matcher.image.config.widths
    ends = list(accumulate((2 * width for width in widths[1:]), initial=0))  # of stages 2 to 4 in a pooled film
    stage = slice(ends[matcher.stage - 2], ends[matcher.stage - 1])
    film = alignment.film
    return alignment.embed(phrases) @ (film.weights[stage] / film.scale[stage, None]).T


def phrase_map(film: Float[Tensor, "n e"], usual: Float[Tensor, "n e"], direction: Float[Tensor, " e"]) -> Float[Tensor, " n"]:
    """How much more each patch says of a phrase than the same patch does on other films; the unit is the alignment's own, and no cosine.

    Args:
        film: its shares.
        usual: the mean shares of films that say what is usual.
        direction: the phrase's.
    """
    return (film - usual) @ direction
