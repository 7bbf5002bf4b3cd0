"""Sentences as hints: which are kept, by hand how much a film calls for each, and the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cyclicxr.codebooks.sentences import FILE, SentenceBook, said_by
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.types import InputError

TEXTS = ("Heart is normal.", "Large effusion.")


class Alignment(GlobalAlignment):
    """Similarity of a film with each sentence is what its pooled patches say."""

    def __init__(self) -> None:
        pass

    def similarity(self, films: Tensor, texts: tuple[str, ...]) -> Tensor:
        assert texts == TEXTS
        return films


def test_sentences_that_enough_reports_say_are_kept_the_most_frequent_first():
    """Twice in one report counts once; a sentence of one word is none."""
    reports = ["Heart normal. No effusion. Heart normal.", "No effusion. Stable.", "No effusion. Stable. Odd thing.", "Heart normal."]
    assert said_by(reports, 2) == ["No effusion.", "Heart normal."]


def test_no_sentence_is_said_often_enough():
    with pytest.raises(InputError, match=r"language\.sentence_hints: no sentence is in 3 of 2 reports"):
        said_by(["Heart normal.", "No effusion."], 3)


def test_a_film_calls_for_what_it_is_more_like_than_films_usually_are():
    """Usual .6 +- .2 and .1 +- .1: the film's .7 and .3 are .5 and 2 deviations above."""
    book = SentenceBook.build(torch.tensor([[0.4, 0.0], [0.8, 0.2]]), TEXTS)
    torch.testing.assert_close((book.mean, book.std), (torch.tensor([0.6, 0.1]), torch.tensor([0.2, 0.1])))
    film = torch.tensor([[0.7, 0.3]])
    assert book.match(Alignment(), film, 1) == [["Large effusion."]]
    assert book.match(Alignment(), film, 5) == [["Large effusion.", "Heart is normal."]]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path):
    book = SentenceBook(TEXTS, torch.tensor([0.5, 0.1]), torch.tensor([0.2, 0.1]))
    book.save(tmp_path)
    again = SentenceBook.load(tmp_path)
    assert again.texts == book.texts
    torch.testing.assert_close((again.mean, again.std), (book.mean, book.std))


@pytest.mark.parametrize("text", ["{}", '[{"text": "a b"}]', "[1]", "3"])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, text: str):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=r"sentences\.json"):
        SentenceBook.load(tmp_path)
