"""Keywords read off the film as a whole: the ridge regression by hand, and the file."""

from __future__ import annotations

import pytest
import torch

from cyclicxr.checkpoint import save_tensors
from cyclicxr.codebooks.reader import WEIGHTS, learn_held_out, learn_reader, load_reader, save_reader
from cyclicxr.types import InputError

FILMS, SAID = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]), torch.tensor([[False], [True], [False], [True]])


def test_the_reader_by_hand():
    """Standard films x = -1, 1, -1, 1 and centred answers y = x/2: weight sum(xy) / (sum(xx) + penalty) = 2 / 30004. Without
    the first film x = 1, -1, 1 has mean 1/3 and deviation .9428: standardised .7071, -1.4142, .7071, weight 1.4142 / 30003, and the film
    itself stands at -1.4142: -2 / 30003; the others likewise.
    """
    reader, held_out = learn_reader(FILMS, SAID)
    assert reader.read(FILMS).flatten().tolist() == pytest.approx([x * 2 / 30004 for x in (-1, 1, -1, 1)])
    assert held_out.flatten().tolist() == pytest.approx([x * 2 / 30003 for x in (-1, 1, -1, 1)], rel=1e-4)


def test_each_stretch_of_films_has_a_reader_that_it_did_not_teach():
    films, said = torch.randn(12, 3), torch.rand(12, 4) > 0.5
    parts = learn_held_out(films, said)
    assert [film for part, _ in parts for film in part] == list(range(12))
    for number, (part, reader) in enumerate(parts):
        others = [film for film in range(12) if film not in part]
        changed = films.clone()
        changed[list(part)] += 100 * torch.randn(len(part), 3)
        again = learn_held_out(changed, said)[number][1]
        assert torch.equal(again.read(films[others]), reader.read(films[others]))


def test_what_is_saved_is_loaded(tmp_path):
    reader, _ = learn_reader(torch.randn(20, 6), torch.rand(20, 3) > 0.5)
    save_reader(reader, tmp_path)
    films = torch.randn(4, 6)
    assert torch.allclose(load_reader(tmp_path).read(films), reader.read(films), rtol=5e-3, atol=1e-6)


def test_another_file_is_refused(tmp_path):
    save_tensors(tmp_path / WEIGHTS, {"weights": torch.zeros(2, 2)})
    with pytest.raises(InputError, match="no reader of keywords; restore the file or train the codebooks again"):
        load_reader(tmp_path)
