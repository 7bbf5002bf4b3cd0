"""What the language model is told of a film: the paper's words alone, and with details and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cyclicxr.codebooks.hints import FilmHints, place
from cyclicxr.codebooks.sentences import SentenceBook
from cyclicxr.codebooks.textual import MatchedKeyword, TextualCodebook
from cyclicxr.config import LanguageConfig
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.types import InputError


@dataclass
class Patches:
    """One film of two patches: left base, and in the middle."""

    features: Tensor
    boxes: Tensor
    pooled: Tensor


FILM = Patches(torch.ones(1, 2, 4), torch.tensor([[[0.7, 0.7, 0.9, 0.9], [0.4, 0.4, 0.6, 0.6]]]), torch.tensor([[0.1, 0.9]]))
WORDS = [[MatchedKeyword("effusion", "sign symptom", 2.0, 0, 0, 0.68), MatchedKeyword("heart", "biological structure", 1.0, 1, 1, 0.31)]]


class Alignment(GlobalAlignment):
    def __init__(self) -> None:
        pass

    def similarity(self, films: Tensor, texts: tuple[str, ...]) -> Tensor:
        return films


class Codebook(TextualCodebook):
    def __init__(self) -> None:
        pass

    def match_patches(self, matcher: object, patches: Patches) -> list[list[MatchedKeyword]]:
        return WORDS


def hints(**asked: object) -> FilmHints:
    book = SentenceBook(("No effusion.", "Small effusion."), torch.zeros(2), torch.ones(2))
    return FilmHints(LanguageConfig(**asked), Codebook(), Alignment(), book if asked.get("sentence_hints") else None)


def test_the_papers_hints_are_words_alone():
    assert hints().told(FILM, WORDS) == [["effusion", "heart"]]


def test_details_say_how_likely_and_where():
    assert hints(keyword_details=True).told(FILM, WORDS) == [["effusion 7 of 10 left base", "heart 3 of 10 mid"]]


def test_sentences_stand_behind_the_keywords():
    assert hints(sentence_hints=1).told(FILM, WORDS) == [["effusion", "heart", "Small effusion."]]


class Matcher:
    """The codebook here asks it nothing."""

    def encode_films(self, pixels: Tensor) -> None: ...

    def encode_texts(self, texts: list[str]) -> None: ...


def test_another_codebook_tells_its_own_words():
    found = hints().by(Codebook(), Alignment()).of(Matcher(), FILM)
    assert found == [["effusion", "heart"]]


@pytest.mark.parametrize(
    ("box", "where"),
    [
        ((0.0, 0.0, 0.2, 0.2), "right upper"),
        ((0.8, 0.0, 1.0, 0.2), "left upper"),
        ((0.0, 0.4, 0.2, 0.6), "right mid"),
        ((0.4, 0.8, 0.6, 1.0), "base"),
    ],
)
def test_the_patients_right_is_the_films_left(box: tuple[float, ...], where: str):
    assert place(box) == where


@pytest.mark.parametrize("asked", [{"keyword_details": True}, {"sentence_hints": 2}])
def test_hints_of_the_report_have_no_details(asked: dict[str, object]):
    with pytest.raises(InputError, match=r"language\.hints: 'report' has neither keyword_details nor sentence_hints"):
        LanguageConfig(hints="report", **asked)


def test_fewer_sentences_than_none_are_refused():
    with pytest.raises(InputError, match=r"language\.sentence_hints: -1 is below 0"):
        LanguageConfig(sentence_hints=-1)


def test_sentences_that_are_asked_for_and_not_there_are_missed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(TextualCodebook, "load", lambda path: Codebook())
    monkeypatch.setattr(GlobalAlignment, "load", lambda directory: Alignment())
    assert FilmHints.load(tmp_path, LanguageConfig()).sentences is None
    with pytest.raises(InputError, match=r"sentences\.json"):
        FilmHints.load(tmp_path, LanguageConfig(sentence_hints=1))
