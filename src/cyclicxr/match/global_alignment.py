"""Global alignment (ours, beside the paper's local one): a film as a whole against a text as a whole, by one linear map learned in closed
form; knows neither patches nor the places of words.

MaxSim says which patch speaks for which word, and averages over all of them: a film's one finding is a word among forty. Here a text is the
words it holds, each by how rare it is, a denied word another than the same affirmed, and a film is what ridge regression expects its report
to hold (docs/decisions/0033).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

from cyclicxr.checkpoint import load_tensors, read_json, save_tensors, write_json
from cyclicxr.config import MatchConfig
from cyclicxr.match.film_ridge import FilmRidge, fit_held_out
from cyclicxr.types import InputError

WEIGHTS, TERMS = "global.safetensors", "global.json"
NOT = "no-"  # stands before a word that is denied
_TOKEN = re.compile(r"[a-z]+|[.,;:]")
_DENIALS = frozenset({"no", "without"})


def words_of(text: str) -> list[str]:
    """The words of a lower-case text, letters alone; those that a "no" or "without" denies, to the next comma or the end of the clause, are
    words of their own.

    Examples:
        >>> words_of("no large effusion, heart normal")
        ['no', 'no-large', 'no-effusion', 'heart', 'normal']
    """
    words: list[str] = []
    denied = False
    for token in _TOKEN.findall(text):
        if not token.isalpha():
            denied = False
        elif denied:
            words.append(NOT + token)
        else:
            words.append(token)
            denied = token in _DENIALS
    return words


def _counter(**more: Any) -> CountVectorizer:
    """Which words and pairs of words a text holds, 0 or 1 each."""
    return CountVectorizer(binary=True, ngram_range=(1, 2), tokenizer=words_of, token_pattern=None, **more)


@dataclass(frozen=True)
class TextSpace:
    """The linear space of texts: the words and pairs of words that they hold (`words_of`), each by how rare it is, in few directions.

    Args:
        terms: t words and pairs of words, in the order of the columns.
        rarity: (t,) one over the deviation of a term's occurrence in the training reports.
        directions: (t, r) the r directions in which training reports differ most.
        usual: (r,) the mean training report.
    """

    terms: tuple[str, ...]
    rarity: Float[Tensor, " t"]
    directions: Float[Tensor, "t r"]
    usual: Float[Tensor, " r"]

    @property
    def words(self) -> frozenset[str]:
        """The single words among the terms, lower case: those of `global_least` training reports, affirmed or denied."""
        return frozenset(term.removeprefix(NOT) for term in self.terms if " " not in term)


def learn_texts(reports: Sequence[str], config: MatchConfig, seed: int) -> tuple[TextSpace, Float[np.ndarray, "n r"]]:
    """The space of the training reports, and each of them in it, less the usual one.

    Args:
        reports: without marks of removed words.
        config: its `global_*` numbers.
        seed: of the singular value decomposition.

    Raises:
        InputError: fewer than two terms are in `global_least` reports.
    """
    terms = _counter(min_df=min(config.global_least, len(reports)))
    try:
        counts = terms.fit_transform(reports)
    except ValueError:
        counts = sparse.csr_matrix((len(reports), 0))
    held = counts.getnnz(axis=0)
    telling = held < counts.shape[0]  # what all reports hold tells them apart as little as what few hold
    counts, names = counts[:, telling], terms.get_feature_names_out()[telling] if counts.shape[1] else ()
    if counts.shape[1] < 2:
        few = f"fewer than two terms are in {config.global_least} of {len(reports)} reports"
        raise InputError(f"global alignment: {few}; give more reports")
    scaler = StandardScaler(with_mean=False)
    reduce = TruncatedSVD(min(config.global_dimensions, counts.shape[1] - 1), random_state=seed)
    reduced = reduce.fit_transform(scaler.fit_transform(counts.astype(np.float64)))
    usual = reduced.mean(0)
    learned = (torch.from_numpy(np.asarray(part)).float() for part in (1 / scaler.scale_, reduce.components_.T, usual))
    return TextSpace(tuple(names), *learned), reduced - usual


@dataclass(frozen=True)
class GlobalAlignment:
    """What `fit` learned.

    Args:
        text: the space of reports, of r directions.
        film: from a film's pooled patches to its expected report there.
        deviations: (3,) of the image-to-text, text-to-image and global similarities of held-out films and reports: what makes them add up.
    """

    text: TextSpace
    film: FilmRidge
    deviations: Float[Tensor, " 3"]

    @classmethod
    def fit(cls, films: Float[Tensor, "n f"], reports: Sequence[str], config: MatchConfig, seed: int) -> GlobalAlignment:
        """Learn it from the training split.

        Args:
            films: pooled patches, `FilmPatches.pooled`.
            reports: one a film, without marks of removed words.
            config: its `global_*` numbers.
            seed: of the singular value decomposition.

        Raises:
            InputError: fewer than two terms are in `global_least` reports.
        """
        text, said = learn_texts(reports, config, seed)
        return cls(text, FilmRidge.fit(films, said, config.global_penalty), torch.ones(3))

    def held_out(
        self, films: Float[Tensor, "n f"], reports: Sequence[str], config: MatchConfig, seed: int
    ) -> list[tuple[range, GlobalAlignment]]:
        """For each stretch of the training films, this alignment with a map that was not taught with them; arguments as of `fit`."""
        said = learn_texts(reports, config, seed)[1]
        return [(part, replace(self, film=film)) for part, film in fit_held_out(films, said, config.global_penalty)]

    def expect(self, films: Float[Tensor, "b f"]) -> Float[Tensor, "b r"]:
        """The report that a film calls for, as a unit vector."""
        return functional.normalize(self.film.read(films), dim=-1)

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "c r"]:
        """Texts as unit vectors; one that holds no term is the zero vector less the usual report, as any other."""
        space = self.text
        counts = _counter(vocabulary=space.terms).transform(texts)
        held = torch.from_numpy(counts.toarray()).float() * space.rarity
        return functional.normalize(held @ space.directions - space.usual, dim=-1)

    def similarity(self, films: Float[Tensor, "b f"], texts: Sequence[str]) -> Float[Tensor, "b c"]:
        """Cosine of what each film calls for and what each text holds, in [-1, 1]."""
        return self.expect(films) @ self.embed(texts).T

    def calibrate(self, to_text: Float[Tensor, "b c"], to_film: Float[Tensor, "b c"], overall: Float[Tensor, "b c"]) -> GlobalAlignment:
        """With the deviations of three kinds of similarity, of films and reports that nothing was trained on."""
        parts = [kind.std(correction=0).clamp(min=1e-6) for kind in (to_text, to_film, overall)]
        return replace(self, deviations=torch.stack(parts).float())

    def join(
        self, to_text: Float[Tensor, "b c"], to_film: Float[Tensor, "b c"], overall: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
        """Local similarities with the global one added, each in its own deviations. For deviations of 1, .5 + .2 = .7."""
        of_text, of_film, of_all = self.deviations
        return to_text / of_text + overall / of_all, to_film / of_film + overall / of_all

    def save(self, directory: Path) -> None:
        """Write `global.safetensors` (float16) and `global.json`."""
        tensors = {**vars(self.text), **vars(self.film), "deviations": self.deviations}
        write_json(directory / TERMS, list(tensors.pop("terms")))
        save_tensors(directory / WEIGHTS, tensors, half=True)

    @classmethod
    def load(cls, directory: Path) -> GlobalAlignment:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or broken, or the two do not belong together.
        """
        parts, terms = load_tensors(directory / WEIGHTS), read_json(directory / TERMS)
        expected = {each.name for part in (TextSpace, FilmRidge) for each in fields(part)} - {"terms"} | {"deviations"}
        if set(parts) != expected or not isinstance(terms, list) or len(terms) != len(parts["rarity"]):
            raise InputError(f"{directory / WEIGHTS}: no global alignment of the terms beside it; run the match stage again")
        film = FilmRidge(**{each.name: parts.pop(each.name) for each in fields(FilmRidge)})
        deviations = parts.pop("deviations")
        return cls(TextSpace(tuple(terms), **parts), film, deviations)
