"""The whole cycle with a toy model that the pipeline trained on phantoms: its words are worth nothing, its form is everything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image

import cyclicxr
from cyclicxr import cycle
from cyclicxr.checkpoint import sha256_of
from cyclicxr.codebooks.support import Support
from cyclicxr.config import override
from cyclicxr.cycle import FLAGGED, Model, Stopwatch, _boxes
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.match.evidence import WordEvidence
from cyclicxr.match.global_alignment import GlobalAlignment
from cyclicxr.types import InputError, PatchRecord, Result

VALIDATOR = Draft202012Validator(json.loads(files("cyclicxr").joinpath("result.schema.json").read_text(encoding="utf-8")))
WIDTH, HEIGHT = 120, 80  # of the film: no square

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def model(toy_run: Path) -> Model:
    return cyclicxr.load(toy_run / "model")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "wide film.png"
    Image.fromarray(draw_phantom(3, ["left effusion"], size=128).pixels).resize((WIDTH, HEIGHT)).save(path)
    return path


@pytest.fixture(scope="module")
def results(model: Model, film: Path) -> dict[str, Result]:
    return {
        "report": model.report(film),
        "cycle": model.cycle(film, seed=1),
        "explain": model.explain(film, "Small left pleural effusion.\nNo pneumothorax!"),
        "draw": model.outcome_draw("Small left pleural effusion. No pneumothorax.", seed=1).result,
    }


KINDS = ("report", "cycle", "explain", "draw")


def boxes(node: Any) -> Iterator[list[float]]:
    """Every box in pixels of a result's JSON; those of keypatches are in shares of another film."""
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key == "box":
            yield child
        elif key == "boxes":
            yield from child
        elif key != "keypatches":
            yield from boxes(child)


@slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_what_the_schema_says(results: dict[str, Result], kind: str):
    VALIDATOR.validate(json.loads(json.dumps(results[kind].to_json(), allow_nan=False)))


@slow
@pytest.mark.parametrize("kind", KINDS)
def test_boxes_lie_inside_the_original_film(results: dict[str, Result], kind: str):
    found = list(boxes(json.loads(json.dumps(results[kind].to_json()))))
    width, height = (64, 64) if kind == "draw" else (WIDTH, HEIGHT)
    assert len(found) > 16
    assert all(0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height for x0, y0, x1, y1 in found)
    assert max(x1 for _, _, x1, _ in found) > 0.9 * width and max(y1 for *_, y1 in found) > 0.9 * height


@slow
@pytest.mark.parametrize("kind", KINDS)
def test_words_and_sentences_are_where_they_say(results: dict[str, Result], kind: str):
    result = results[kind]
    for part in (*result.words, *result.sentences):
        assert result.report[part.start : part.end] == part.text
    for part in (*result.words, *result.keywords):
        assert part.box == result.patches[part.patch].box
    for sentence in result.sentences:
        assert len(sentence.boxes) <= 3 and set(sentence.boxes) <= {patch.box for patch in result.patches}


@slow
def test_the_shift_leads_from_the_fixed_centre_to_the_middle_of_the_box(results: dict[str, Result]):
    patches = results["report"].patches
    assert [patch.anchor for patch in patches[:2]] == [pytest.approx((WIDTH / 8, HEIGHT / 8)), pytest.approx((3 * WIDTH / 8, HEIGHT / 8))]
    for patch in patches:
        x0, y0, x1, y1 = patch.box
        middle = (patch.anchor[0] + patch.shift[0], patch.anchor[1] + patch.shift[1])
        assert middle == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2), abs=1e-4)


@slow
def test_a_result_names_its_film_and_its_model(results: dict[str, Result], model: Model, film: Path):
    image = results["report"].image
    assert image is not None and (image.path, image.sha256, image.width, image.height) == (str(film), sha256_of(film), WIDTH, HEIGHT)
    assert results["draw"].image is None
    assert all(result.model == model.info and len(model.info["revision"]) == 12 for result in results.values())
    assert [set(results[kind].timings) for kind in KINDS] == [
        {"read", "match", "write", "evidence"},
        {"read", "match", "write", "evidence", "keypatches", "draw", "decode", "consistency"},
        {"read", "match"},
        {"keypatches", "draw", "decode", "match"},
    ]


@slow
def test_consistency_is_measured_by_a_cycle_alone(results: dict[str, Result]):
    assert all(s.consistency is not None and s.flagged == (s.consistency < FLAGGED) for s in results["cycle"].sentences)
    for kind in ("report", "explain", "draw"):
        assert all(s.consistency is None and not s.flagged for s in results[kind].sentences)


@slow
def test_explain_keeps_the_text_that_was_asked_about(results: dict[str, Result]):
    result = results["explain"]
    assert result.report == "Small left pleural effusion.\nNo pneumothorax!"
    assert [word.text for word in result.words] == ["Small", "left", "pleural", "effusion", "No", "pneumothorax"]
    assert len(result.sentences) == 2 and result.synthetic is None and result.keypatches == ()


@slow
def test_the_same_film_gives_the_same_report_and_the_same_seed_the_same_drawing(model: Model, film: Path, results: dict[str, Result]):
    assert model.report(film).report == results["report"].report == results["cycle"].report
    text = "Small left pleural effusion."
    drawings = [np.asarray(model.draw(text, seed)) for seed in (1, 1, 2)]
    assert np.array_equal(drawings[0], drawings[1]) and not np.array_equal(drawings[0], drawings[2])


@slow
def test_the_same_weights_have_the_same_revision(toy_run: Path, model: Model):
    assert cyclicxr.load(str(toy_run / "model")).info == model.info


class Fit(GlobalAlignment):
    """Of three films of "Effusion." the second is nearest, of any other text the third."""

    def __init__(self) -> None:
        pass

    def similarity(self, films: torch.Tensor, texts: list[str]) -> torch.Tensor:
        assert films.shape[0] == 3 and len(texts) == 1
        return torch.tensor([[-0.9], [0.9], [0.1]]) if texts == ["Effusion."] else torch.tensor([[0.1], [0.2], [0.3]])


@slow
def test_of_several_drawings_the_nearest_that_is_a_chest_film_is_kept(toy_run: Path, monkeypatch: pytest.MonkeyPatch):
    model = cyclicxr.load(toy_run / "model")
    texts, hints = ["Effusion.", "Clear lungs."], [[], []]
    model.preset = override(model.preset, {"language.drawings": 3})
    model.alignment = Fit()
    drawn = model.llm.draw(texts, hints, 0, model._named(texts), 3)
    for scores, kept in (([0.9, 0.9, 0.9], [1, 5]), ([0.9, 0.1, 0.9], [2, 5]), ([0.9, 0.1, 0.4], [0, 3]), ([0.1, 0.1, 0.1], [1, 5])):
        monkeypatch.setattr(cycle, "frontal_scores", lambda films, scores=scores: torch.tensor(scores))
        codes, films = model._drawn(texts, hints, 0, Stopwatch())
        assert torch.equal(codes, drawn[kept])
        assert torch.allclose(films, model._decode(drawn[kept]), atol=1e-5)


@slow
def test_a_drawing_is_a_grey_picture_of_the_networks_size(model: Model):
    drawn = model.draw("Clear lungs.")
    assert (drawn.size, drawn.mode) == ((64, 64), "L")
    outcome = model.outcome_draw("Clear lungs.", seed=0)
    assert outcome.film is None and outcome.drawn is not None and outcome.drawn.tobytes() == drawn.tobytes()
    synthetic = outcome.result.synthetic
    assert synthetic is not None and len(synthetic.tokens) == 16 and all(0 <= token < 32 for token in synthetic.tokens)


@slow
def test_pictures_of_a_cycle_are_the_original_at_its_own_size_and_the_drawing(model: Model, film: Path):
    outcome = model.outcome_cycle(film)
    assert outcome.film is not None and outcome.film.size == (WIDTH, HEIGHT) and outcome.drawn is not None
    with Image.open(film) as original:
        greys = np.asarray(original.convert("L"), float)
    found = np.asarray(outcome.film, float)
    assert np.corrcoef(found.ravel(), greys.ravel())[0, 1] > 0.99


@slow
def test_keypatches_show_no_patient(results: dict[str, Result]):
    for patch in (*results["cycle"].keypatches, *results["draw"].keypatches):
        assert patch.thumbnail.startswith("data:image/png;base64,") and patch.source.startswith("phantom_")


@slow
def test_many_at_once_are_as_one_by_one(model: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cycle, "FILMS", 2)
    films = torch.stack([torch.from_numpy(draw_phantom(seed, size=64).pixels.copy()) for seed in range(3)])
    together = model.write_reports(films)
    assert len(together) == 3 and together == [model.write_reports(film[None])[0] for film in films]
    drawn = model.draw_films(["Clear lungs.", "Small effusion.", "Pneumothorax."], seed=0)
    assert drawn.shape == (3, 64, 64) and drawn.dtype == torch.uint8


@slow
def test_sentences_are_scored_on_the_films_they_are_asked_of(model: Model, monkeypatch: pytest.MonkeyPatch):
    films = torch.stack([torch.from_numpy(draw_phantom(seed, size=64).pixels.copy()) for seed in range(3)])
    texts, rows = ["Small left effusion.", "Clear lungs.", "Small left effusion."], [2, 0, 1]
    monkeypatch.setattr(model, "support", Support(1.0, 1.0, 0.0, 0.5))  # the toy's own was fitted on a handful, and is sure of everything
    support = model.sentence_support(films, rows, texts)
    assert support.shape == (3,) and ((support > 0) & (support < 1)).all() and support[0] != support[2]
    likely = model.sentence_likelihood(films, rows, ["", "The heart is normal.", ""], texts)
    assert likely.shape == (3,) and (likely < 0).all()
    monkeypatch.setattr(cycle, "FILMS", 1)
    assert torch.allclose(model.sentence_support(films[[1]], [0], texts[2:]), support[2:], atol=1e-5)
    assert torch.allclose(model.sentence_likelihood(films, rows[1:], ["The heart is normal.", ""], texts[1:]), likely[1:], atol=1e-4)


@slow
@pytest.mark.parametrize("text", ["", "   \n", "\u200b"])
def test_a_text_of_no_words_is_one_clear_line(model: Model, film: Path, text: str):
    for ask in (lambda: model.draw(text), lambda: model.explain(film, text)):
        with pytest.raises(InputError, match="words") as caught:
            ask()
        assert "\n" not in str(caught.value)


@slow
def test_a_file_that_is_no_film_is_one_clear_line(model: Model, tmp_path: Path):
    (tmp_path / "x.png").write_bytes(b"cat")
    for ask in (model.report, model.cycle):
        with pytest.raises(InputError, match=r"x\.png"):
            ask(tmp_path / "x.png")


@slow
@pytest.mark.parametrize(
    "part",
    [
        "match.safetensors",
        "vqgan.safetensors",
        "textual_codebook.json",
        "visual_codebook.safetensors",
        "support.json",
        "llm/model.safetensors",
        "llm/tokenizer.json",
        "findings.json",
    ],
)
def test_a_model_that_is_not_whole_is_one_clear_line(toy_run: Path, tmp_path: Path, part: str):
    copy = tmp_path / "model"
    shutil.copytree(toy_run / "model", copy)
    (copy / part).unlink()
    with pytest.raises(InputError, match=str(copy)) as caught:
        cyclicxr.load(copy)
    assert "\n" not in str(caught.value)


@slow
def test_evaluation_and_inference_need_no_classifier(toy_run: Path, tmp_path: Path, film: Path):
    copy = tmp_path / "model"
    shutil.copytree(toy_run / "model", copy)
    (copy / "classifier.safetensors").unlink()
    assert cyclicxr.load(copy).classifier is None


def test_a_model_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cycle, "MODELS", tmp_path)
    with pytest.raises(InputError, match=r"model 'large'.*no models"):
        cyclicxr.load("large")
    (tmp_path / "small").mkdir()
    with pytest.raises(InputError, match="one of small"):
        cyclicxr.load(tmp_path / "elsewhere")


def test_boxes_of_a_sentence_are_those_of_its_best_words():
    """Of characters 0-20, best first: patch 2 (.9), 0 (.8), 2 again, 1 (.5), 3 (.1). "The" is glue, and "next" another sentence's."""
    patches = tuple(PatchRecord((float(i), 0.0, i + 1.0, 1.0), (0.0, 0.0), (0.0, 0.0)) for i in range(6))
    words = [
        WordEvidence("heart", 0, 5, 0.8, 0),
        WordEvidence("the", 6, 9, 1.0, 5),
        WordEvidence("big", 10, 13, 0.9, 2),
        WordEvidence("lung", 14, 16, 0.5, 1),
        WordEvidence("air", 16, 18, 0.6, 2),
        WordEvidence("rib", 18, 20, 0.1, 3),
        WordEvidence("next", 21, 25, 1.0, 4),
    ]
    assert [box[0] for box in _boxes(words, 0, 20, patches)] == [2.0, 0.0, 1.0]


@slow
def test_a_sentence_that_only_the_drawing_supports_is_flagged(model: Model, film: Path, monkeypatch: pytest.MonkeyPatch):
    """Support .2 by the original and .9 by the drawing: .2 x (1 - .7) = .06, below the limit; .9 by both: .9, above it."""
    values = iter([torch.tensor([0.2, 0.9]), torch.tensor([0.9, 0.9])])
    monkeypatch.setattr(Support, "probability", lambda self, found: next(values))
    result = model.explain(film, "Left effusion. Clear lungs.")
    patches = model.matcher.encode_films(torch.rand(1, 1, 64, 64))
    first, second = model._check(result.sentences, patches, patches)
    assert (first.consistency, second.consistency) == (pytest.approx(0.06), pytest.approx(0.9))
    assert (first.flagged, second.flagged) == (True, False)


def test_a_stopwatch_adds_up_by_stage(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 1.0, 5.0, 7.5, 8.0, 9.0])
    monkeypatch.setattr(cycle.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch()
    for stage in ("match", "match", "write"):
        with watch(stage):
            pass
    assert watch.seconds == {"match": 3.5, "write": 1.0}


@slow
def test_a_film_that_is_no_frontal_is_refused_unless_forced(model: Model, results: dict[str, Result], tmp_path: Path):
    negative = tmp_path / "negative.png"
    Image.fromarray(255 - draw_phantom(3, size=128).pixels).save(negative)
    for ask in (model.report, model.cycle, lambda image, **options: model.explain(image, "Clear lungs.", **options)):
        with pytest.raises(InputError, match=r"negative\.png: looks inverted"):
            ask(negative)
        image = ask(negative, force=True).image
        assert image is not None and image.frontal is not None and image.frontal.reason == "inverted"
    taken = results["report"].image
    assert taken is not None and taken.frontal is not None and taken.frontal.reason == "" and taken.frontal.score > 0.5
