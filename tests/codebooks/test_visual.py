from __future__ import annotations

import dataclasses

import pytest
import torch

from cyclicxr.codebooks.entities import extractor
from cyclicxr.codebooks.visual import VisualCodebook, crop, naming_tokens
from cyclicxr.config import CodebooksConfig
from cyclicxr.types import InputError

CONFIG = CodebooksConfig(pairs=2, keypatches_per_pair=2, keypatches_per_token=1, max_keypatches=3)


def build(matcher, vqgan, films, reports, cfg=CONFIG) -> VisualCodebook:
    return VisualCodebook.build(matcher, vqgan, torch.stack(films), reports, [f"study-{i}" for i in range(len(films))], cfg)


def test_keypatches_are_the_best_patches_of_the_best_pairs(matcher, vqgan, draw) -> None:
    films = [draw({1: "heart"}), draw({5: "opacity", 6: "lung"}), draw({4: "effusion"})]
    reports = ["Opacity.", "Opacity, lung.", "Effusion."]
    book = build(matcher, vqgan, films, reports)
    # s^T: 0 for the first pair; 2/4 for the second (comma and full stop match nothing); 1/2 for the third: kappa_2 = 2 leaves the first out
    assert [(k.source, k.word, k.box, k.token) for k in book.keypatches] == [
        ("study-1", "Opacity", (0.25, 0.25, 0.5, 0.5), 3),
        ("study-1", "lung", (0.5, 0.25, 0.75, 0.5), 7),
        ("study-2", "Effusion", (0.0, 0.25, 0.25, 0.5), 4),
    ]
    assert book.features.argmax(1).tolist() == [3, 7, 4]  # the patches' own vectors: the word's axis


def test_stop_words_and_denied_findings_pull_no_keypatch(matcher, vqgan, draw) -> None:
    book = build(matcher, vqgan, [draw({1: "the", 2: "no", 3: "effusion", 4: "heart"})], ["The heart. No effusion."])
    assert [keypatch.word for keypatch in book.keypatches] == ["heart"]


def test_two_words_on_one_patch_give_one_keypatch(matcher, vqgan, draw) -> None:
    book = build(matcher, vqgan, [draw({3: "opacity"})], ["Opacity. Opacity. Opacities."])
    assert [keypatch.word for keypatch in book.keypatches].count("Opacity") == 1


def test_one_pair_a_report_text(matcher, vqgan, draw) -> None:
    films = [draw({1: "clear", 2: "lung"}), draw({3: "clear", 4: "lung"}), draw({5: "heart"})]
    book = build(matcher, vqgan, films, ["Clear lung.", "clear  lung.", "Heart."])
    assert [keypatch.source for keypatch in book.keypatches] == ["study-0", "study-0", "study-2"]


def test_reports_that_name_nothing_are_refused(matcher, vqgan, draw) -> None:
    with pytest.raises(InputError, match="no word of 1 reports"):
        build(matcher, vqgan, [draw({})], ["No effusion."])


def library(matcher, vqgan, draw, cfg=CONFIG) -> VisualCodebook:
    return build(
        matcher, vqgan, [draw({1: "heart", 2: "opacity"}), draw({3: "effusion", 4: "clear"})], ["Heart, opacity", "Effusion, clear"], cfg
    )


def test_each_naming_word_of_a_report_pulls_its_keypatch(matcher, vqgan, draw) -> None:
    book = library(matcher, vqgan, draw)
    text = "The HEART shows an opacity. No effusion."
    (found,) = book.match(matcher, [text])
    assert [(m.word, text[slice(*m.span)], m.token, m.source, m.score) for m in found] == [
        ("HEART", "HEART", 1, "study-0", 1.0),
        ("opacity", "opacity", 3, "study-0", 1.0),
    ]
    assert all(book.keypatches[m.index].token == m.token for m in found)


def test_a_keypatch_comes_once_and_no_more_than_the_limit(matcher, vqgan, draw) -> None:
    wide = CodebooksConfig(pairs=2, keypatches_per_pair=2, keypatches_per_token=4, max_keypatches=3)
    (found,) = library(matcher, vqgan, draw, wide).match(matcher, ["Heart. Heart. Clear."])
    assert [(m.word, m.score) for m in found] == [("Heart", 1.0), ("Clear", 1.0), ("Heart", 0.0)]
    assert len({m.index for m in found}) == 3


def test_a_text_that_names_nothing_has_no_keypatch(matcher, vqgan, draw) -> None:
    assert library(matcher, vqgan, draw).match(matcher, ["Thank you.", "", "No effusion."]) == [[], [], []]


def test_what_is_saved_is_loaded(matcher, vqgan, draw, tmp_path) -> None:
    book = library(matcher, vqgan, draw)
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "0999.png").write_bytes(b"of an older codebook")
    book.save(tmp_path)
    again = VisualCodebook.load(tmp_path)
    assert again.keypatches == book.keypatches and again.cfg == book.cfg
    assert torch.allclose(again.features, book.features, atol=1e-3)
    assert sorted(path.name for path in (tmp_path / "thumbnails").iterdir()) == ["0001.png", "0003.png", "0004.png", "0006.png"]
    assert again.match(matcher, ["Heart and opacity."]) == book.match(matcher, ["Heart and opacity."])
    assert again.thumbnail_uri(3) == book.thumbnail_uri(3)
    assert again.thumbnail_uri(3).startswith("data:image/png;base64,iVBOR")


def test_thumbnails_are_drawn_from_the_token_alone(matcher, vqgan, draw) -> None:
    thumbnail = library(matcher, vqgan, draw).thumbnails[3]
    assert thumbnail.shape == (32, 32) and (thumbnail == 3).all()


@pytest.mark.parametrize("missing", ["visual_codebook.safetensors", "thumbnails/0003.png"])
def test_a_missing_file_is_named(matcher, vqgan, draw, tmp_path, missing: str) -> None:
    library(matcher, vqgan, draw).save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=missing.rsplit("/", 1)[-1]):
        VisualCodebook.load(tmp_path)


def test_a_crop_of_the_whole_film_is_the_film_averaged() -> None:
    film = torch.rand(1, 1, 64, 64)
    whole = crop(film, torch.tensor([[0.0, 0.0, 1.0, 1.0]]), 16)
    assert torch.allclose(whole, torch.nn.functional.avg_pool2d(film, 4), atol=1e-5)


def test_a_crop_keeps_its_place_and_orientation() -> None:
    film = torch.arange(64).float().repeat(64, 1)[None, None] / 63  # brighter to the right
    piece = crop(film, torch.tensor([[0.5, 0.25, 0.75, 0.5]]), 16)[0, 0]
    assert torch.allclose(piece[0], film[0, 0, 0, 32:48], atol=1e-5)  # 16 px of film a token: pixel for pixel
    assert torch.allclose(piece, piece[:1].expand(16, 16), atol=1e-6)
    tall = crop(film.transpose(2, 3), torch.tensor([[0.5, 0.25, 0.75, 0.5]]), 16)[0, 0]
    assert torch.allclose(tall[:, 0], film[0, 0, 0, 16:32], atol=1e-5)


def test_a_dead_patch_is_no_keypatch(matcher, vqgan, draw) -> None:
    alive = matcher.encode_films

    def dead(pixels):
        patches = alive(pixels)
        boxes = patches.boxes.clone()
        boxes[:, 1, 2:] = boxes[:, 1, :2]
        return dataclasses.replace(patches, boxes=boxes)

    matcher.encode_films = dead
    book = build(matcher, vqgan, [draw({1: "heart", 2: "opacity"})], ["Heart, opacity."])
    assert [keypatch.word for keypatch in book.keypatches] == ["opacity"]


def test_naming_tokens_by_hand(matcher) -> None:
    text = "No effusion. Left lung opacity is seen."
    words = matcher.encode_texts([text])
    naming = naming_tokens([text], words.spans, words.mask, extractor(CONFIG))
    assert [text[slice(*words.spans[0][k])] for k in naming[0].nonzero().flatten().tolist()] == ["Left", "lung", "opacity"]
