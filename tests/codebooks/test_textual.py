from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from cyclicxr.codebooks.entities import extractor
from cyclicxr.codebooks.textual import Calibration, CodebookKeyword, TextualCodebook, keyword_auc
from cyclicxr.config import CodebooksConfig
from cyclicxr.types import InputError

CONFIG = CodebooksConfig(keywords_per_group=2, keywords_per_patch=1, max_keywords=2, keyword_threshold=0.0, reader="patch")


def to_films(*drawn: torch.Tensor) -> torch.Tensor:
    return torch.stack(drawn).unsqueeze(1).float() / 255


def keywords(*texts: str) -> list[CodebookKeyword]:
    return [CodebookKeyword(text, "sign symptom", 1, 0) for text in texts]


def test_the_most_affirmed_entities_of_each_group_are_the_keywords() -> None:
    reports = ["Opacity in the left lung. No effusion."] * 3 + ["Nodule. No opacity."] * 2 + ["Mass. Effusion. Mass. Mass."]
    book = TextualCodebook.build(reports, extractor(CONFIG), CONFIG)
    assert [(k.text, k.count, k.negated) for k in book.keywords] == [
        ("left lung", 3, 0),
        ("pleural effusion", 1, 3),
        ("opacity", 3, 2),
        ("nodule", 2, 0),  # kappa_0 = 2: "mass", said thrice but in one report, is not in
    ]


def test_what_reports_only_deny_is_no_keyword() -> None:
    book = TextualCodebook.build(["No effusion.", "No effusion. Clear lungs."], extractor(CONFIG), CONFIG)
    assert {keyword.text for keyword in book.keywords} == {"clear", "lung"}


def test_reports_that_name_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no entity in 2 reports"):
        TextualCodebook.build(["Guten Tag", ""], extractor(CONFIG), CONFIG)


def test_affirmed_marks_each_report() -> None:
    book = TextualCodebook(keywords("opacity", "nodule"), CONFIG)
    assert book.affirmed(["Opacities. No nodule.", "Nodules", ""], extractor(CONFIG)).tolist() == [
        [True, False],
        [False, True],
        [False, False],
    ]


def test_a_keyword_is_as_similar_as_its_words_are_on_average(matcher, draw) -> None:
    book = TextualCodebook(keywords("pleural effusion", "heart"), CONFIG)
    vectors = book.embed(matcher)
    features = matcher.encode_films(to_films(draw({3: "effusion", 5: "heart"}))).features[0]
    assert (features @ vectors.T)[[3, 5, 0]].tolist() == [[0.5, 0.0], [0.0, 1.0], [0.0, 0.0]]


def test_keywords_are_embedded_once(matcher, draw) -> None:
    book = TextualCodebook(keywords("heart"), CONFIG)
    films = to_films(draw({1: "heart"}), draw({}))
    book.calibrate(matcher, [films], torch.tensor([[True], [False]]))
    book.match(matcher, films)
    assert matcher.calls == 1


def test_calibration_by_hand(matcher, draw) -> None:
    """Similarities 1, 1, 0, 0: mean and deviation .5, scores 1, 1, -1, -1; two affirm: shift 2 x 2/(2 + 10) = 1/3, prevalence 2.5/5."""
    book = TextualCodebook(keywords("heart"), CONFIG)
    films = to_films(draw({1: "heart"}), draw({9: "heart"}), draw({}), draw({}))
    book.calibrate(matcher, iter(films.split(3)), torch.tensor([[True], [True], [False], [False]]))
    found = {name: float(value) for name, value in vars(book.calibration).items()}
    assert found == pytest.approx({"mean": 0.5, "std": 0.5, "shift": 1 / 3, "prevalence": 0.5})


def test_new_films_temper_what_training_films_promised(matcher, draw) -> None:
    """The affirming film scores 4, the other 0: a shift of 2 is kept whole and one of 8 halved; without the word, none is left."""
    affirmed = torch.tensor([[True, False], [False, False]])
    for words, kept in (({1: "heart"}, 1.0), ({1: "background"}, 0.0)):
        book = calibrated(("heart", 2.0, 0.5), ("opacity", 0.0, 0.5))
        assert book.temper(matcher, [to_films(draw(words), draw({}))], affirmed) == kept
        assert book.calibration.shift.tolist() == [2.0 * kept, 0.0]
    book = calibrated(("heart", 8.0, 0.5), ("opacity", 0.0, 0.5))
    assert book.temper(matcher, [to_films(draw({1: "heart"}), draw({}))], affirmed) == 0.5  # 4 seen of 8 promised
    assert book.calibration.shift.tolist() == [4.0, 0.0]


def test_probability_by_hand() -> None:
    """Shift 2, prevalence 1/5: the means are 1.6 and -.4, their middle .6; at the middle the score says nothing, one above it 2 logits."""
    book = Calibration(*(torch.tensor([x]) for x in (0.0, 1.0, 2.0, 0.2)))
    assert book.probability(torch.tensor([0.6])).item() == pytest.approx(0.2)
    assert book.probability(torch.tensor([1.6])).item() == pytest.approx(1 / (1 + 4 * math.exp(-2)))
    assert book.gain(torch.tensor([0.6])).item() == pytest.approx(0, abs=1e-6)
    p = 1 / (1 + 4 * math.exp(-2))
    assert book.gain(torch.tensor([1.6])).item() == pytest.approx(p * math.log(p / 0.2), rel=1e-5)


def calibrated(*rows: tuple[str, float, float], cfg: CodebooksConfig = CONFIG) -> TextualCodebook:
    """Keyword, shift, prevalence; a score is four times the similarity."""
    _, shift, prevalence = (list(column) for column in zip(*rows, strict=True))
    ones = torch.ones(len(rows))
    return TextualCodebook(
        keywords(*(row[0] for row in rows)), cfg, Calibration(0 * ones, ones / 4, torch.tensor(shift), torch.tensor(prevalence))
    )


def test_a_film_keeps_what_tells_most_with_its_patch(matcher, draw) -> None:
    book = calibrated(("heart", 1.0, 0.5), ("opacity", 3.0, 0.1), ("clear", 0.0, 0.5), ("effusion", 3.0, 0.1))
    first, second = book.match(matcher, to_films(draw({2: "heart", 7: "opacity", 9: "clear"}), draw({4: "clear"})))
    assert [(match.text, match.patch, match.score, match.keyword) for match in first] == [("opacity", 7, 4.0, 1), ("heart", 2, 4.0, 0)]
    assert second == []  # "clear" is there, but the matcher can't tell (shift 0): it says nothing


def test_no_more_than_max_keywords_and_none_below_the_threshold(matcher, draw) -> None:
    film = to_films(draw({2: "heart", 7: "opacity", 9: "effusion"}))
    rows = [("heart", 1.0, 0.5), ("opacity", 3.0, 0.1), ("effusion", 3.0, 0.2)]
    assert [match.text for match in calibrated(*rows).match(matcher, film)[0]] == ["opacity", "effusion"]  # max_keywords = 2
    # at score 4 all three are nearly sure (p > .98): they tell about log(1/prevalence) = .69, 2.30, 1.61 nats
    strict = CodebooksConfig(keyword_threshold=0.7, max_keywords=5)
    assert [match.text for match in calibrated(*rows, cfg=strict).match(matcher, film)[0]] == ["opacity", "effusion"]


def test_each_patch_proposes_kappa_1_keywords(matcher, draw) -> None:
    """A patch of "effusion": score 4 for "effusion", 2 for "pleural effusion" (half its words); kappa_1 = 1 leaves the second out."""
    film = to_films(draw({2: "effusion"}))
    rows = [("pleural effusion", 3.0, 0.1), ("effusion", 3.0, 0.1)]
    books = [calibrated(*rows, cfg=CodebooksConfig(keywords_per_patch=kappa)) for kappa in (1, 2)]
    assert [[match.text for match in book.match(matcher, film)[0]] for book in books] == [["effusion"], ["effusion", "pleural effusion"]]


def test_what_is_saved_is_loaded(matcher, draw, tmp_path) -> None:
    book = calibrated(("heart", 1.0, 0.5), ("opacity", 3.0, 0.1))
    book.save(tmp_path / "textual_codebook.json")
    again = TextualCodebook.load(tmp_path / "textual_codebook.json")
    film = to_films(draw({2: "heart", 7: "opacity"}))
    assert again.keywords == book.keywords and again.cfg == book.cfg
    assert again.match(matcher, film) == book.match(matcher, film)


@pytest.mark.parametrize("content", ["", "{}", '{"keywords": [{"text": "a"}], "config": {}}', "[]"])
def test_a_broken_file_is_named(tmp_path, content: str) -> None:
    path = tmp_path / "textual_codebook.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"textual_codebook\.json"):
        TextualCodebook.load(path)


def test_keyword_auc_by_hand(matcher, draw) -> None:
    book = calibrated(("heart", 1.0, 0.5), ("opacity", 1.0, 0.5), ("effusion", 1.0, 0.5))
    films = to_films(draw({1: "heart", 2: "opacity"}), draw({1: "heart"}), draw({2: "opacity"}), draw({}))
    affirmed = torch.tensor([[True, False, False], [True, True, False], [False, True, False], [False, False, False]])
    # opacity: positives score 0 and 1, negatives 1 and 0: of four pairs one right, one wrong, two ties
    assert keyword_auc(book, matcher, [films], affirmed) == {"heart": 1.0, "opacity": 0.5}


def test_read_off_the_whole_film_a_keyword_has_the_place_of_its_patch(matcher, draw, tmp_path) -> None:
    """The report says effusion where the film has an enlarged heart: no patch is like the word, the film as a whole tells it."""
    cfg = dataclasses.replace(CONFIG, reader="film", keyword_threshold=0.01)
    book = TextualCodebook(keywords("effusion", "heart"), cfg)
    films = to_films(*[draw({3: "enlarged", 5: "heart"}), draw({5: "heart"})] * 10)
    book.calibrate(matcher, iter(films.split(7)), torch.tensor([[True, True], [False, True]] * 10))
    ill, well = book.match(matcher, films[:2])
    assert [match.text for match in ill] == ["effusion"] and not well  # every report says heart: it tells nothing
    assert ill[0].probability > 0.5
    book.save(tmp_path / "textual_codebook.json")
    assert [match.text for match in TextualCodebook.load(tmp_path / "textual_codebook.json").match(matcher, films[:1])[0]] == ["effusion"]


def test_the_chance_of_each_finding_by_hand(matcher, draw) -> None:
    """Score 4 of a keyword with shift 1 and prevalence .5: logit 0 + 1 (4 - 0); score 0 of shift 3, .1: logit(.1) + 3 (0 - 3 x .4)."""
    book = calibrated(("heart", 1.0, 0.5), ("opacity", 3.0, 0.1), ("clear", 1.0, 0.5))
    book.keywords = (*book.keywords[:2], dataclasses.replace(book.keywords[2], group="detailed description"))
    film = to_films(draw({2: "heart", 9: "clear"}))
    (chances,) = book.chances(matcher, matcher.encode_films(film))
    assert chances == pytest.approx({"heart": 1 / (1 + math.exp(-4)), "opacity": 1 / (1 + 9 * math.exp(3.6))})


def test_a_report_names_its_findings_the_rarest_first_and_then_the_rest() -> None:
    book = calibrated(("heart", 1.0, 0.01), ("opacity", 1.0, 0.5), ("nodule", 1.0, 0.1), cfg=dataclasses.replace(CONFIG, max_keywords=2))
    book.keywords = (dataclasses.replace(book.keywords[0], group="biological structure"), *book.keywords[1:])
    reports = ["The heart is normal. Opacities and nodules.", "No nodule. An opacity behind the heart.", "Nothing."]
    assert book.named(reports, extractor(CONFIG)) == [["nodule", "opacity"], ["opacity", "heart"], []]
