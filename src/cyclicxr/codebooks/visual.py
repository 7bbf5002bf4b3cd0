"""The visual codebook: a report's keypatches, found by matching its words with patches of the best matched training pairs (3.2.2).

A keypatch is a patch's vector and the one image token that its pixels encode to; no pixel of a training film is kept, and thumbnails
are decoded from the token. It knows no language model.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from cyclicxr.checkpoint import load_state, save_state, write_atomically
from cyclicxr.codebooks.entities import Extractor, extractor
from cyclicxr.codebooks.matcher import Matcher
from cyclicxr.config import CodebooksConfig, from_json
from cyclicxr.types import InputError, UnitBox

FILMS = 32  # films through the matcher at once
_SUPERSAMPLING = 4  # samples along a side of one pixel of a crop
_TILES = 2  # a thumbnail is the token decoded 2 x 2 times side by side


@runtime_checkable
class Tokenizer(Protocol):
    """The frozen VQ-GAN, in evaluation mode."""

    def encode(self, pixels: Float[Tensor, "b 1 h w"]) -> Int[Tensor, "b hh ww"]:
        """Films in [0, 1] -> codes."""

    def decode(self, ids: Int[Tensor, "b hh ww"]) -> Float[Tensor, "b 1 h w"]:
        """Codes -> films in [0, 1]."""


@dataclass(frozen=True)
class Keypatch:
    """Where a keypatch came from: the training study, the box in [0, 1] of its film, and the word of its report that matched it."""

    source: str
    box: UnitBox
    token: int
    word: str


@dataclass(frozen=True)
class MatchedKeypatch:
    """A keypatch found for a report. `word` is the report's at `span`, `score` their cosine, `index` the keypatch's in the codebook."""

    index: int
    token: int
    source: str
    box: UnitBox
    word: str
    score: float
    span: tuple[int, int]


@dataclass(frozen=True)
class _Matches:
    """Of each training pair, its similarity s^T and the patches of its best words, best first (-inf where there are no more)."""

    similarity: Float[Tensor, " c"]
    scores: Float[Tensor, "c t"]
    features: Float[Tensor, "c t d"]
    boxes: Float[Tensor, "c t 4"]
    words: list[list[str]]


class VisualCodebook:
    """Keypatches, their vectors, and a thumbnail of each token.

    Args:
        keypatches: p of them.
        features: unit vectors.
        thumbnails: image token -> uint8 (t, t), decoded from it.
        cfg: kappas and limits.
    """

    def __init__(
        self, keypatches: Sequence[Keypatch], features: Float[Tensor, "p d"], thumbnails: dict[int, np.ndarray], cfg: CodebooksConfig
    ) -> None:
        self.keypatches = tuple(keypatches)
        self.features = features
        self.thumbnails = thumbnails
        self.cfg = cfg

    @classmethod
    @torch.no_grad()
    def build(
        cls,
        matcher: Matcher,
        vqgan: Tokenizer,
        films: UInt8[Tensor, "c h w"],
        reports: Sequence[str],
        ids: Sequence[str],
        cfg: CodebooksConfig,
    ) -> VisualCodebook:
        """The patches of the best words of the best matched training pairs.

        Args:
            matcher: frozen.
            vqgan: frozen.
            films: 8-bit, of the training split alone.
            reports: one a film.
            ids: of the studies, one a film.
            cfg: kappa_2 pairs, kappa_3 patches a pair.

        Raises:
            InputError: no word of any report can name a patch.
        """
        matches = _match_pairs(matcher, films, reports, extractor(cfg), cfg.keypatches_per_pair)
        pairs = _best_pairs(matches.similarity, reports, cfg.pairs)
        rows = [(pair, i) for pair in pairs for i in _distinct(matches, pair, cfg.keypatches_per_pair)]
        if not rows:
            raise InputError(f"codebooks: no word of {len(reports)} reports names a patch; are they chest X-ray reports in English?")
        pair, place = (torch.tensor(column) for column in zip(*rows, strict=True))
        boxes = matches.boxes[pair, place]
        side = _token_side(vqgan, films.shape[-1])
        codes = [
            vqgan.encode(crop(films[pair[i : i + FILMS]].unsqueeze(1).float() / 255, boxes[i : i + FILMS], side))
            for i in range(0, len(pair), FILMS)
        ]
        tokens = torch.cat(codes).flatten().tolist()
        keypatches = [
            Keypatch(ids[p], _unit_box(box), token, matches.words[p][i])
            for (p, i), box, token in zip(rows, boxes.tolist(), tokens, strict=True)
        ]
        return cls(keypatches, matches.features[pair, place], _thumbnails(vqgan, sorted(set(tokens))), cfg)

    @torch.no_grad()
    def match(self, matcher: Matcher, texts: list[str]) -> list[list[MatchedKeypatch]]:
        """The keypatches of each report: the kappa_4 most similar of each word that names something.

        Args:
            matcher: frozen.
            texts: reports, true or generated; a text that names nothing has no keypatch.

        Returns:
            At most `max_keypatches` a report, each once, most similar first. Source: section 3.2.2, "Keypatches Extraction".
        """
        words = matcher.encode_texts(texts)
        naming = naming_tokens(texts, words.spans, words.mask, extractor(self.cfg))
        similarity = words.features.float() @ self.features.T  # s^W (c, k, p)
        top = similarity.topk(min(self.cfg.keypatches_per_token, len(self.keypatches)), dim=-1)
        results = []
        for c, text in enumerate(texts):
            found: dict[int, MatchedKeypatch] = {}
            for k in naming[c].nonzero().flatten().tolist():
                span = _whole_word(text, words.spans[c][k])
                for score, index in zip(top.values[c, k].tolist(), top.indices[c, k].tolist(), strict=True):
                    if index not in found or found[index].score < score:
                        keypatch = self.keypatches[index]
                        word = text[span[0] : span[1]]
                        found[index] = MatchedKeypatch(index, keypatch.token, keypatch.source, keypatch.box, word, score, span)
            results.append(sorted(found.values(), key=lambda match: (-match.score, match.index))[: self.cfg.max_keypatches])
        return results

    def thumbnail_uri(self, token: int) -> str:
        """A token's thumbnail as a PNG data URI."""
        file = io.BytesIO()
        Image.fromarray(self.thumbnails[token]).save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")

    def save(self, folder: Path) -> None:
        """Write `visual_codebook.safetensors` (vectors as float16) and `thumbnails/TOKEN.png`."""
        keypatches = {
            "boxes": torch.tensor([keypatch.box for keypatch in self.keypatches]),
            "tokens": torch.tensor([keypatch.token for keypatch in self.keypatches]),
            "sources": [keypatch.source for keypatch in self.keypatches],
            "words": [keypatch.word for keypatch in self.keypatches],
        }
        (folder / "thumbnails").mkdir(parents=True, exist_ok=True)
        for stale in (folder / "thumbnails").glob("*.png"):
            stale.unlink()
        for token, pixels in self.thumbnails.items():
            with write_atomically(folder / "thumbnails" / f"{token:04d}.png") as temporary:
                Image.fromarray(pixels).save(temporary, "PNG", optimize=True)
        save_state(folder / "visual_codebook.safetensors", {**keypatches, "features": self.features.half(), "config": asdict(self.cfg)})

    @classmethod
    def load(cls, folder: Path) -> VisualCodebook:
        """What `save` wrote.

        Raises:
            InputError: the files are missing or are no visual codebook.
        """
        path = folder / "visual_codebook.safetensors"
        state = load_state(path)
        try:
            columns = (state["sources"], state["boxes"].tolist(), state["tokens"].tolist(), state["words"])
            keypatches = [Keypatch(source, _unit_box(box), token, word) for source, box, token, word in zip(*columns, strict=True)]
            thumbnails = {token: _read_thumbnail(folder / "thumbnails" / f"{token:04d}.png") for token in sorted(set(columns[2]))}
            return cls(keypatches, state["features"].float(), thumbnails, from_json(CodebooksConfig, state["config"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: no visual codebook ({error!r}); restore the file or train the codebooks again") from None


def naming_tokens(
    texts: Sequence[str], spans: list[list[tuple[int, int]]], mask: Bool[Tensor, "c k"], finder: Extractor
) -> Bool[Tensor, "c k"]:
    """Tokens that name something a film may show: those within an entity that the text affirms.

    Stop words and punctuation name nothing, and the "pneumothorax" of "no pneumothorax" must not pull the patch of one.

    Args:
        texts: c of them.
        spans: characters of each token, k a text.
        mask: real tokens.
        finder: of entities.
    """
    naming = torch.zeros_like(mask)
    for c, text in enumerate(texts):
        affirmed = np.zeros(len(text) + 1, dtype=bool)
        for entity in finder.extract(text):
            affirmed[entity.start : entity.end] = not entity.negated
        starts = np.array([min(start, len(text)) for start, _ in spans[c]], dtype=int)
        naming[c] = torch.from_numpy(affirmed[starts]) & mask[c]
    return naming


def crop(films: Float[Tensor, "b 1 h w"], boxes: Float[Tensor, "b 4"], side: int) -> Float[Tensor, "b 1 f f"]:
    """A box of each film, resized to `side` x `side` pixels (bilinear samples, averaged over each pixel).

    Args:
        films: in [0, 1].
        boxes: `x0, y0, x1, y1` in [0, 1], one a film.
        side: pixels along a side, f.
    """
    samples = side * _SUPERSAMPLING
    steps = (torch.arange(samples) + 0.5) / samples  # (samples,) in (0, 1)
    x = boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])  # (b, samples)
    y = boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])
    across, down = (axis.expand(-1, samples, samples) for axis in (x[:, None, :], y[:, :, None]))
    grid = torch.stack((across, down), dim=-1) * 2 - 1  # (b, samples, samples, 2)
    return avg_pool2d(grid_sample(films, grid, padding_mode="border", align_corners=False), _SUPERSAMPLING)


def _match_pairs(matcher: Matcher, films: UInt8[Tensor, "c h w"], reports: Sequence[str], finder: Extractor, kappa_3: int) -> _Matches:
    batches = [
        _match_batch(matcher, films[i : i + FILMS], list(reports[i : i + FILMS]), finder, 4 * kappa_3) for i in range(0, len(films), FILMS)
    ]
    joined = {name: torch.cat([getattr(batch, name) for batch in batches]) for name in ("similarity", "scores", "features", "boxes")}
    return _Matches(**joined, words=[words for batch in batches for words in batch.words])


def _match_batch(matcher: Matcher, films: UInt8[Tensor, "b h w"], reports: list[str], finder: Extractor, keep: int) -> _Matches:
    patches = matcher.encode_films(films.unsqueeze(1).float() / 255)
    words = matcher.encode_texts(reports)
    similarity = words.features.float() @ patches.features.float().transpose(1, 2)  # (b, k, n)
    best, where = similarity.max(-1)  # (b, k)
    real = words.mask.float()
    pair = (best * real).sum(1) / real.sum(1).clamp(min=1)  # s^T, Eq. (6)
    box = patches.boxes.float().gather(1, where.unsqueeze(-1).expand(-1, -1, 4))  # (b, k, 4)
    alive = (box[..., 2:] - box[..., :2]).amin(-1) * films.shape[-1] >= 1  # a dead patch shows nothing
    naming = naming_tokens(reports, words.spans, words.mask, finder) & alive
    ranked = best.masked_fill(~naming, -torch.inf)
    short = max(0, keep - ranked.shape[1])
    scores, token = torch.nn.functional.pad(ranked, (0, short), value=-torch.inf).topk(keep, dim=1)
    token = token.clamp(max=ranked.shape[1] - 1)
    feature = patches.features.float().gather(1, where.gather(1, token).unsqueeze(-1).expand(-1, -1, patches.features.shape[-1]))
    named = [[report[slice(*_whole_word(report, words.spans[c][k]))] for k in token[c].tolist()] for c, report in enumerate(reports)]
    return _Matches(pair, scores, feature, box.gather(1, token.unsqueeze(-1).expand(-1, -1, 4)), named)


def _best_pairs(similarity: Float[Tensor, " c"], reports: Sequence[str], kappa_2: int) -> list[int]:
    """The kappa_2 pairs of highest s^T; one a report text, since a text that many films share would else fill the codebook."""
    chosen: dict[str, int] = {}
    for pair in similarity.argsort(descending=True, stable=True).tolist():
        chosen.setdefault(" ".join(reports[pair].lower().split()), pair)
    return list(chosen.values())[:kappa_2]


def _distinct(matches: _Matches, pair: int, kappa_3: int) -> list[int]:
    """Places of the pair's kappa_3 best words whose patches differ."""
    seen: set[tuple[float, ...]] = set()
    places: list[int] = []
    for i, (score, box) in enumerate(zip(matches.scores[pair].tolist(), matches.boxes[pair].tolist(), strict=True)):
        if score > -np.inf and tuple(box) not in seen:
            seen.add(tuple(box))
            places.append(i)
    return places[:kappa_3]


def _token_side(vqgan: Tokenizer, side: int) -> int:
    """f: pixels along a side of one token."""
    return side // int(vqgan.encode(torch.zeros(1, 1, side, side)).shape[-1])


def _thumbnails(vqgan: Tokenizer, tokens: list[int]) -> dict[int, np.ndarray]:
    ids = torch.tensor(tokens)[:, None, None].expand(-1, _TILES, _TILES)
    drawn = (vqgan.decode(ids).clamp(0, 1) * 255).round().to(torch.uint8)[:, 0]
    return dict(zip(tokens, drawn.numpy(), strict=True))


def _read_thumbnail(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except OSError as error:
        raise InputError(f"{path}: no thumbnail ({error}); restore the file or train the codebooks again") from None


def _whole_word(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Grow a piece of a word to the word."""
    start, end = span
    while start > 0 and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while 0 < end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    return start, end


def _unit_box(box: Sequence[float]) -> UnitBox:
    x0, y0, x1, y1 = box
    return (x0, y0, x1, y1)
