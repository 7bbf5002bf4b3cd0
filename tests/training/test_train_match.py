"""Training of the matcher: groups, what is frozen, the centred start, dead patches in the log, and that pairs are told apart."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from cyclicxr.checkpoint import write_preset
from cyclicxr.config import Preset
from cyclicxr.data.phantom import draw_phantom
from cyclicxr.match.global_alignment import learn_texts
from cyclicxr.match.maxsim import maxsim
from cyclicxr.match.peers import SIMILARITY
from cyclicxr.patches.classifier import FilmClassifier
from cyclicxr.training import train_match
from cyclicxr.training.corpus import Corpus
from cyclicxr.training.loop import RunDirectory, seconds_spent
from cyclicxr.training.train_match import MatchTraining, groups_of, similarities, train
from cyclicxr.training.train_words import WORDS
from cyclicxr.types import InputError, Study

REPORTS = ["Moderate cardiomegaly today.", "Left pleural effusion seen.", "Clear lungs, normal heart.", "A nodule, right upper lobe."]
FINDINGS = [["cardiomegaly"], ["left effusion"], [], ["nodule"]]


def corpus(split: str, n: int = 8) -> Corpus:
    """Four kinds of film, each with the report of its kind."""
    films = [torch.from_numpy(draw_phantom(i, FINDINGS[i % 4], size=64).pixels.copy()) for i in range(n)]
    studies = [Study(f"{split}{i}", f"{split}{i}", "", REPORTS[i % 4], split) for i in range(n)]
    return Corpus(studies, torch.stack(films))


def with_numbers(preset: Preset, **numbers: object) -> Preset:
    """Eight reports have few terms."""
    return dataclasses.replace(preset, match=dataclasses.replace(preset.match, **{"global_least": 1, **numbers}))


@pytest.fixture(scope="module")
def classifier(toy_preset: Preset) -> FilmClassifier:
    torch.manual_seed(1)
    return FilmClassifier(toy_preset.encoder, ["normal"])


def training(preset: Preset, classifier: FilmClassifier) -> MatchTraining:
    torch.manual_seed(0)
    return MatchTraining(corpus("train"), corpus("val", 4), preset, classifier)


def test_identical_reports_are_one_group_whatever_their_case():
    assert groups_of(["Clear.", "Effusion.", "CLEAR.", "clear"]).tolist() == [0, 1, 0, 2]


def test_grouping_is_a_setting(toy_preset: Preset, classifier: FilmClassifier):
    assert training(with_numbers(toy_preset, group_identical=True), classifier).groups.tolist() == [0, 1, 2, 3] * 2
    assert training(with_numbers(toy_preset, group_identical=False), classifier).groups.tolist() == list(range(8))


def test_the_image_encoder_begins_as_the_classifiers(toy_preset: Preset, classifier: FilmClassifier):
    found = training(toy_preset, classifier).model.image.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in classifier.encoder.state_dict().items())


def test_frozen_stages_keep_their_weights_and_the_others_learn(toy_preset: Preset, classifier: FilmClassifier):
    toy = training(with_numbers(toy_preset, frozen_stages=2), classifier)
    before = {name: tensor.clone() for name, tensor in toy.model.named_parameters()}
    toy.step(list(range(8)), 0.5)
    moved = {name for name, tensor in toy.model.named_parameters() if not torch.equal(tensor, before[name])}
    assert not [name for name in moved if name.startswith(("image.stages.0.", "image.stages.1."))]
    assert any(name.startswith("image.stages.2.") for name in moved)
    assert {"log_temperature", "project.weight", "text.project.weight", "text.bert.embeddings.word_embeddings.weight"} <= moved
    assert not [name for name in moved if name.startswith("image.stages.3.")]  # stage 3 is matched: nothing flows behind it


def test_the_image_encoder_has_a_rate_of_its_own(toy_preset: Preset, classifier: FilmClassifier):
    """share 0: all of it stays, while the projections move."""
    toy = training(with_numbers(toy_preset, frozen_stages=0, image_rate=0.0), classifier)
    before = {name: tensor.clone() for name, tensor in toy.model.named_parameters()}
    toy.step(list(range(8)), 0.5)
    moved = {name for name, tensor in toy.model.named_parameters() if not torch.equal(tensor, before[name])}
    assert moved and not [name for name in moved if name.startswith("image.")]


def still(preset: Preset, **numbers: object) -> Preset:
    """Without dropout."""
    return dataclasses.replace(
        with_numbers(preset, **numbers),
        encoder=dataclasses.replace(preset.encoder, dropout=0.0),
        words=dataclasses.replace(preset.words, dropout=0.0),
    )


def test_patches_and_words_start_around_0(toy_preset: Preset, classifier: FilmClassifier):
    """Before their length is taken away, the patches of the first batch and its words have mean 0 in each direction."""
    preset = still(toy_preset, batch=8, aligned_start=False)
    toy = training(preset, classifier)
    toy.start()
    rows = toy.batches(0)[0]
    with torch.no_grad():
        tokens = toy.model.tokens([toy.reports[i] for i in rows])
        words = toy.model.text(tokens.ids, tokens.attention)[tokens.mask]
        patches = toy.model.project(toy.model.image(toy.train.films(rows))[preset.match.stage - 1].features).flatten(0, 1)
    assert words.mean(dim=0).abs().max() < 1e-4 and patches.mean(dim=0).abs().max() < 1e-4
    assert words.std(dim=0).min() > 1e-2


def test_an_aligned_start_puts_films_and_reports_where_the_reports_differ(
    toy_preset: Preset, classifier: FilmClassifier, monkeypatch: pytest.MonkeyPatch
):
    """The mean word of each report, and the mean patch of each film, lie nearest to what the report says, before a single step; the
    biggest difference of four reports has three directions."""
    monkeypatch.setattr(train_match, "mixed_precision", nullcontext)
    monkeypatch.setattr(train_match, "FILM_PENALTY", 1e-3)
    monkeypatch.setattr(train_match, "WORD_PENALTY", 1e-3)
    toy = training(still(toy_preset, batch=3, width=3), classifier)
    before = toy.model.project.weight.norm(), toy.model.text.project.weight.norm()
    toy.start()
    said = torch.from_numpy(learn_texts(toy.reports, toy.config, toy.preset.seed)[1][:, :3]).float()
    with torch.no_grad():
        tokens = toy.model.tokens(toy.reports)
        words = toy.model.text(tokens.ids, tokens.attention)
        films = toy.model.project(toy.model.image(toy.train.films(list(range(8))))[toy.config.stage - 1].features).mean(1)
    reports = (words * tokens.mask.unsqueeze(2)).sum(1) / tokens.mask.sum(1, keepdim=True)
    for means in (reports, films):
        assert means.mean(0).abs().max() < 1e-3 * means.abs().max()
        nearest = functional.normalize(means, dim=1) @ functional.normalize(said, dim=1).T  # four reports, each twice
        assert (nearest.argmax(1) % 4).tolist() == [0, 1, 2, 3] * 2
    after = toy.model.project.weight.norm(), toy.model.text.project.weight.norm()
    torch.testing.assert_close(after, before)


def test_an_aligned_start_leaves_the_directions_that_reports_lack_as_they_are(toy_preset: Preset, classifier: FilmClassifier):
    toy = training(still(toy_preset, global_dimensions=2), classifier)
    before = toy.model.project.weight.clone()
    toy.start()
    assert torch.equal(toy.model.project.weight[2:], before[2:]) and not torch.equal(toy.model.project.weight[:2], before[:2])


def test_the_bert_reads_before_the_matcher_learns_and_only_then(toy_preset: Preset, classifier: FilmClassifier, tmp_path: Path):
    """Twice the run, the second one resumed behind the matcher's last step: the reports are not read again."""
    both = Corpus(corpus("train").studies + corpus("val", 4).studies, torch.cat([corpus("train").pixels, corpus("val", 4).pixels]))
    preset = with_numbers(toy_preset, epochs=1)
    run = RunDirectory(tmp_path)
    write_preset(run.model, preset)
    classifier.save(run.model)
    train(both, preset, run, resume=False)
    log = tmp_path / "logs" / f"{WORDS}.jsonl"
    read, kept = log.read_text(), (run.model / "match.safetensors").read_bytes()
    assert '"hidden words"' in read
    assert run.records()["match"]["seconds"] == pytest.approx(seconds_spent(run, WORDS) + seconds_spent(run, "match"))
    run.checkpoint(WORDS).unlink()
    train(both, preset, run, resume=True)
    assert log.read_text() == read and (run.model / "match.safetensors").read_bytes() == kept


def test_dead_patches_are_counted(toy_preset: Preset, classifier: FilmClassifier):
    """A bias of -1 for the width makes ReLU(Tanh(f3)) = 0 for every patch of the stage that is matched."""
    toy = training(with_numbers(toy_preset, image_rate=0.0), classifier)
    assert toy.step([0, 1, 2, 3], 0.5)["dead patches"] == 0.0
    with torch.no_grad():
        toy.model.image.stages[2].patches.heads.bias[2] = -1.0
    numbers = toy.step([0, 1, 2, 3], 0.5)
    assert numbers["dead patches"] == 1.0 and numbers["mean side"] > 0  # half of the sides: the heights live


def test_a_batch_of_a_single_pair_has_nothing_to_tell_apart(toy_preset: Preset, classifier: FilmClassifier):
    """Its own report is the only candidate: log 1 = 0, no gradient, and every weight stays a number."""
    toy = training(toy_preset, classifier)
    numbers = toy.step([0], 0.5)
    assert numbers["loss"] == numbers["gradient norm"] == 0.0
    assert all(p.isfinite().all() for p in toy.model.parameters())


def test_similarities_are_those_of_whole_reports(toy_preset: Preset, classifier: FilmClassifier):
    toy = training(toy_preset, classifier)
    toy.model.eval()
    to_text, to_image = similarities(toy.model, toy.train, batch=3)
    assert to_text.shape == to_image.shape == (8, 8)
    with torch.no_grad():
        words = toy.model.encode_texts(toy.train.reports)
        expected = maxsim(toy.model.encode_films(toy.train.films(list(range(8)))).features, words.features, words.mask)
    for found, exact in zip((to_text, to_image), expected, strict=True):
        torch.testing.assert_close(found, exact, atol=0.03, rtol=0)  # bf16


def test_validation_is_retrieval_over_the_whole_split(toy_preset: Preset, classifier: FilmClassifier):
    numbers = training(toy_preset, classifier).validate()
    assert set(numbers) == {f"{way} {name}" for way in ("i2t", "t2i") for name in ("R@1", "R@5", "R@10", "chance@10")}
    assert numbers["i2t R@5"] == numbers["t2i R@10"] == 100.0 or numbers["i2t R@5"] == numbers["t2i R@10"] == 1.0  # four candidates


def test_the_bert_has_a_rate_of_its_own(toy_preset: Preset, classifier: FilmClassifier):
    """share 0: all of it stays, while both projections move."""
    toy = training(with_numbers(toy_preset, text_rate=0.0), classifier)
    before = {name: tensor.clone() for name, tensor in toy.model.named_parameters()}
    toy.step(list(range(8)), 0.5)
    moved = {name for name, tensor in toy.model.named_parameters() if not torch.equal(tensor, before[name])}
    assert {"project.weight", "text.project.weight"} <= moved
    assert not [name for name in moved if name.startswith("text.bert.")]


@pytest.mark.parametrize("similarity", ["pooled", "attention"])
def test_a_peer_is_trained_and_validated_by_its_own_similarity(toy_preset: Preset, classifier: FilmClassifier, similarity: str):
    toy = training(with_numbers(toy_preset, similarity=similarity, learning_rate=2e-2), classifier)
    toy.start()
    losses = [toy.step(list(range(8)), 0.3)["loss"] for _ in range(12)]
    assert losses[-1] < losses[0]
    toy.model.eval()
    to_text, to_image = similarities(toy.model, toy.train)
    assert torch.equal(to_text, to_image)  # no peer is of two minds
    with torch.no_grad():
        words = toy.model.encode_texts(toy.train.reports)
        expected = SIMILARITY[similarity](toy.model.encode_films(toy.train.films(list(range(8)))).features, words.features, words.mask)
    torch.testing.assert_close(to_text, expected[0], atol=0.05, rtol=0)  # bf16


def test_a_share_of_the_sentences_is_shown_and_it_follows_the_seed(
    toy_preset: Preset, classifier: FilmClassifier, monkeypatch: pytest.MonkeyPatch
):
    toy = training(with_numbers(toy_preset, sentence_share=0.5), classifier)
    toy.reports = ["Large heart. Clear lungs. No effusion. A nodule."] * 8
    shown, tokenize = [], toy.model.tokens
    monkeypatch.setattr(toy.model, "tokens", lambda texts: shown.append(texts) or tokenize(texts))
    for _ in range(2):
        torch.manual_seed(3)
        toy.step(list(range(8)), 0.5)
    assert shown[0] == shown[1] and len(set(shown[0])) > 1
    assert all(text.count(".") == 2 for text in shown[0])


@pytest.mark.slow
def test_it_learns_to_tell_four_kinds_of_film_apart(toy_preset: Preset, classifier: FilmClassifier):
    toy = training(still(toy_preset, learning_rate=2e-2, batch=8, frozen_stages=0, image_rate=1.0), classifier)
    toy.start()
    losses = []
    for step in range(120):
        torch.manual_seed(step)
        losses.append(toy.step(list(range(8)), 0.3)["loss"])
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]


def test_the_stage_needs_a_classifier(toy_preset: Preset, tmp_path: Path):
    run = RunDirectory(tmp_path)
    write_preset(run.model, toy_preset)
    both = Corpus(corpus("train").studies + corpus("val", 4).studies, torch.cat([corpus("train").pixels, corpus("val", 4).pixels]))
    with pytest.raises(InputError, match=r"findings\.json"):
        train(both, toy_preset, run, resume=False)


def test_unit_length_survives_bf16(toy_preset: Preset, classifier: FilmClassifier):
    toy = training(toy_preset, classifier)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        patches = toy.model.encode_films(toy.train.films([0, 1])).features
    assert patches.dtype == torch.float32
    torch.testing.assert_close(functional.normalize(patches, dim=-1), patches)
