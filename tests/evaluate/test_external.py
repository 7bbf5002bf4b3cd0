"""Another system's outputs come in the split's order; what is missing, twice, foreign or unreadable is said with its row and id."""

import numpy as np
import pytest
from PIL import Image

from cyclicxr.evaluate.external import read_external, unique_names
from cyclicxr.types import InputError

SPLIT = ["a", "b", "c"]


def written(folder, text):
    (folder / "theirs.csv").write_text(text)
    return folder / "theirs.csv"


def film(folder, name, level, side=32):
    Image.fromarray(np.full((side, side), level, np.uint8)).save(folder / name)


def test_reports_come_in_the_order_asked_for_and_empty_ones_stay(tmp_path):
    table = written(tmp_path, 'id,report,extra\nc,"Clear, as before.",1\na,,2\nb,Large heart.,3\n')
    found = read_external("R2Gen", table, ["a", "c"], SPLIT, 32)
    assert (found.name, found.reports, found.films) == ("R2Gen", ["", "Clear, as before."], None)
    assert len(found.sha256) == 64


def test_films_are_read_beside_the_table_at_the_networks_size(tmp_path):
    for name, level in (("x.png", 10), ("y.png", 200)):
        film(tmp_path, name, level, side=64)
    table = written(tmp_path, "id,image\nb,y.png\na,x.png\n")
    films = read_external("drawer", table, ["a", "b"], ["a", "b"], 16).films
    assert films.shape == (2, 16, 16)
    assert films.float().mean((1, 2)).tolist() == [10, 200]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,text\na,x\n", "need the columns id and report, or id and image; it has id, text"),
        ("report\nx\n", "need the columns id"),
        ("id,report\na,x\nb,y\na,z\nc,z\n", r"row 4: id 'a' is in row 2 already"),
        ("id,report\na,x\n", r"no row for id 'b', 'c'; give"),
        ("id,report\na,x\nb,x\nc,x\nz,x\n", r"row 5: id 'z' not of the evaluated split"),
        ("id,image\na,gone.png\nb,gone.png\nc,gone.png\n", r"row 2: id 'a': .*gone.png"),
        ("id,image\na,\nb,\nc,\n", r"row 2: id 'a' has no image"),
        ("id,image\na,theirs.csv\nb,x\nc,x\n", r"row 2: id 'a': .*theirs.csv"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        read_external("R2Gen", written(tmp_path, text), SPLIT, SPLIT, 32)
    assert "theirs.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_said(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_external("R2Gen", tmp_path / "none.csv", SPLIT, SPLIT, 32)


def test_a_name_of_ours_is_taken():
    unique_names({"R2Gen": 1}, ["this model"])
    with pytest.raises(InputError, match="this model"):
        unique_names({"this model": 1}, ["this model"])
