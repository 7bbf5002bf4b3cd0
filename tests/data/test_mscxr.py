"""A made-up MS-CXR, as CSV and as COCO JSON, whole and spoilt."""

import csv
import json
from pathlib import Path

import pytest

from cyclicxr.data.mscxr import read_mscxr
from cyclicxr.types import InputError

COLUMNS = ["dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height", "split"]
FILMS = {"a": "files/p10/p10000001/s50000001/a.jpg", "b": "files/p10/p10000002/s50000002/b.jpg"}
ROWS = [
    ["a", "Pneumonia", "left lower lobe opacity", FILMS["a"], 100, 200, 50, 60, 2544, 3056, "test"],
    ["b", "Edema", "mild edema", FILMS["b"], 0, 10, 400, 290, 400, 300, "test"],
    ["a", "Pneumonia", "left lower lobe  opacity", FILMS["a"], 1000, 2000, 500, 600, 2544, 3056, "test"],
    ["a", "Edema", "mild edema", FILMS["a"], 5, 5, 10, 10, 2544, 3056, "test"],
]


def write_csv(folder: Path, rows=ROWS, columns=COLUMNS) -> Path:
    for path in FILMS.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"film")
    with (folder / "MS_CXR_Local_Alignment_v1.1.0.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return folder / "MS_CXR_Local_Alignment_v1.1.0.csv"


def write_json(folder: Path) -> Path:
    write_csv(folder)
    sizes = {"a": (2544, 3056), "b": (400, 300)}
    images = [
        {"id": i, "file_name": f"{name}.jpg", "path": FILMS[name], "width": sizes[name][0], "height": sizes[name][1]}
        for i, name in enumerate(FILMS)
    ]
    categories = [{"id": 7, "name": "Pneumonia"}, {"id": 9, "name": "Edema"}]
    annotations = [
        {"id": i, "image_id": int(row[0] == "b"), "category_id": 7 if row[1] == "Pneumonia" else 9, "bbox": row[4:8], "label_text": row[2]}
        for i, row in enumerate(ROWS)
    ]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "MS_CXR_Local_Alignment_v1.1.0.json").write_text(json.dumps(whole))
    return folder / "MS_CXR_Local_Alignment_v1.1.0.json"


def test_boxes_of_one_phrase_on_one_film_are_together(tmp_path: Path):
    first, second, third = read_mscxr(write_csv(tmp_path))
    assert (first.category, first.phrase) == ("Pneumonia", "left lower lobe opacity")
    assert first.boxes == ((100, 200, 150, 260), (1000, 2000, 1500, 2600))
    assert first.image == tmp_path / FILMS["a"]
    assert (second.image, second.boxes, second.width, second.height) == (tmp_path / FILMS["b"], ((0, 10, 400, 300),), 400, 300)
    assert third.boxes == ((5, 5, 15, 15),)


def test_json_says_the_same_as_csv(tmp_path: Path):
    assert read_mscxr(write_json(tmp_path)) == read_mscxr(write_csv(tmp_path))


def test_films_may_lie_elsewhere(tmp_path: Path):
    table = write_csv(tmp_path)
    (tmp_path / "boxes").mkdir()
    moved = table.rename(tmp_path / "boxes" / table.name)
    assert read_mscxr(moved, tmp_path)[0].image == tmp_path / FILMS["a"]
    with pytest.raises(InputError, match=r"no film .*MIMIC-CXR-JPG"):
        read_mscxr(moved)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({6: 0}, "no area"),
        ({7: -5}, "no area"),
        ({4: 2540}, "leaves its film of 2544 x 3056"),
        ({5: -20}, "leaves its film"),
        ({4: "left"}, "`x` is 'left', no number"),
        ({5: "nan"}, "`y` is 'nan', no number"),
        ({3: "files/p10/other.jpg"}, "no film"),
        ({3: ""}, "no path"),
        ({2: " "}, "no phrase"),
        ({8: 3000}, "another size before"),
    ],
)
def test_a_wrong_row_is_one_clear_line_that_names_it(tmp_path: Path, changes, said):
    wrong = [changes.get(i, value) for i, value in enumerate(ROWS[2])]
    with pytest.raises(InputError, match=said) as caught:
        read_mscxr(write_csv(tmp_path, [*ROWS[:2], wrong]))
    assert "row 4" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_mscxr_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no column `label_text`"):
        read_mscxr(write_csv(tmp_path, [], [name for name in COLUMNS if name != "label_text"]))
    with pytest.raises(InputError, match="holds no box"):
        read_mscxr(write_csv(tmp_path, []))
    table = write_json(tmp_path)
    whole = json.loads(table.read_text())
    for spoilt, said in (
        ({**whole, "images": []}, "annotation 0: its image"),
        ({**whole, "annotations": [{**whole["annotations"][0], "bbox": [1, 2]}]}, "bbox"),
        ([], "no list `images`"),
        ({"images": 3}, "no list `images`"),
    ):
        table.write_text(json.dumps(spoilt))
        with pytest.raises(InputError, match=said):
            read_mscxr(table)
