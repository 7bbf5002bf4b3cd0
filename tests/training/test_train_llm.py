"""The language model's training at toy width, on material made by hand."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import pytest
import torch

from cyclicxr.checkpoint import load_state, save_state
from cyclicxr.config import LanguageConfig, Preset
from cyclicxr.language.prompt import drawing_prompt, report_prompt
from cyclicxr.training.llm_material import Material
from cyclicxr.training.train_llm import LanguageTrainer, new_model, validation_report

TOY = LanguageConfig(
    vocabulary=300,
    width=32,
    layers=2,
    heads=2,
    context=96,
    dropout=0.1,
    epochs=2,
    batch=6,
    learning_rate=5e-3,
    drawing_repeats=1,
    report_repeats=2,
    film_variants=2,
    max_report_tokens=24,
)
FINDINGS = ("effusion", "cardiomegaly", "granuloma", "nothing")
CODES, TOKENS = 16, 9


def material(n: int, seed: int) -> Material:
    """The films of variant 0 are all one code, which the report names; the others are noise, so that only the keyword tells."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(len(FINDINGS), (n,), generator=generator).tolist()
    codes = torch.randint(CODES, (4, n, TOKENS), generator=generator)
    codes[0] = torch.tensor(which)[:, None]
    hints = [[FINDINGS[i]] for i in which]
    reports = [f"{FINDINGS[i]}{' seen' * (row % 3)}." for row, i in enumerate(which)]
    return Material(codes, [hints] * 4, hints, [[i] for i in which], reports, [f"study {i}" for i in range(n)])


def trainer(cfg: LanguageConfig = TOY, n: int = 20) -> LanguageTrainer:
    torch.manual_seed(0)
    train, val = material(n, 0), material(6, 1)
    return LanguageTrainer(new_model(train, cfg, CODES, TOKENS, torch.randn(CODES, 4)), train, val, Preset(language=cfg))


def test_an_epoch_draws_each_film_once_and_reports_it_twice():
    batches = trainer().batches(0)
    seen = sorted(index for batch in batches for index in batch)
    assert seen == list(range(60))
    assert all(len([i for i in batch if i >= 20]) == 2 * len([i for i in batch if i < 20]) for batch in batches if len(batch) == 6)
    assert all({i < 20 for i in batch} == {True, False} for batch in batches)


def test_films_may_be_drawn_more_often_than_they_are_reported():
    toy = trainer(dataclasses.replace(TOY, drawing_repeats=2, report_repeats=1))
    batches = toy.batches(0)
    assert sorted(index for batch in batches for index in batch) == list(range(60))
    assert all(sum(toy._is_drawing(i) for i in batch) == 4 for batch in batches if len(batch) == 6)
    assert [toy._is_drawing(i) for i in (0, 39, 40, 59)] == [True, True, False, False]
    assert toy.name(3) == toy.name(23) == toy.name(43) == "study 3"
    assert toy.share([1, 2, 21, 22, 41, 42], 0, 2) == [1, 21, 41]
    assert torch.isfinite(torch.tensor(toy.step(batches[0], 0.1)["loss"]))


def test_reports_may_be_learned_alone():
    toy = trainer(dataclasses.replace(TOY, drawing_repeats=0, report_repeats=1))
    batches = toy.batches(0)
    assert sorted(index for batch in batches for index in batch) == list(range(20))
    assert toy.share([1, 2, 3, 4], 1, 2) == [2, 4]
    learned = toy.step(batches[0], 0.1)
    assert learned["loss"] == learned["report"]
    assert "drawing" not in learned


def test_batches_follow_from_seed_and_epoch_alone():
    assert trainer().batches(1) == trainer().batches(1)
    assert trainer().batches(0) != trainer().batches(1)


def test_a_batch_holds_reports_of_like_length():
    toy = trainer(n=90)
    reports = [[i for i in batch if i >= 90] for batch in toy.batches(0)]
    spread = [max(toy.lengths[i % 90] for i in rows) - min(toy.lengths[i % 90] for i in rows) for rows in reports]
    assert sum(spread) / len(spread) < 0.5 * (max(toy.lengths) - min(toy.lengths))


def test_a_run_taken_up_from_its_checkpoint_has_the_same_weights(tmp_path: Path):
    whole, first, second = trainer(), trainer(), trainer()
    batches = whole.batches(0)[:6]

    def run(toy: LanguageTrainer, steps: range) -> None:
        for step in steps:
            torch.manual_seed(step)  # as the loop does
            toy.step(batches[step], step / 6)

    run(whole, range(6))
    run(first, range(3))
    save_state(tmp_path / "llm.safetensors", first.state())
    torch.rand(5)
    second.restore(load_state(tmp_path / "llm.safetensors"))
    run(second, range(3, 6))
    states = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert not torch.equal(states[0]["model.gpt_neox.embed_in.weight"], first.model.state_dict()["model.gpt_neox.embed_in.weight"])


def test_dropped_hints_are_a_share_of_all():
    half = trainer(dataclasses.replace(TOY, keyword_dropout=0.5))
    torch.manual_seed(0)
    bare, hinted = (
        len(report_prompt(half.model.vocabulary, half.train.codes[0, 0].tolist(), hints).ids) for hints in ([], half.train.keywords[0][0])
    )
    lengths = [half._report(0, 1.0).prompt for _ in range(200)]
    assert set(lengths) == {bare, hinted}
    assert 70 < lengths.count(bare) < 130


def test_some_drawings_are_learned_without_a_report():
    toy = trainer(dataclasses.replace(TOY, guidance_dropout=0.5, keyword_dropout=0.0))
    torch.manual_seed(0)
    lengths = [toy._drawing(0).prompt for _ in range(200)]
    assert len(set(lengths)) == 2
    assert 70 < lengths.count(min(lengths)) < 130


def test_behind_the_true_reports_drawings_are_learned_from_generated_ones():
    toy = trainer(dataclasses.replace(TOY, keyword_dropout=0.0, guidance_dropout=0.0))
    drawn, reported, first = toy._drawing(0), toy._report(0, 1.0), toy.batches(0)
    identity = toy.identity()
    generated = dataclasses.replace(toy.train, reports=["A granuloma here."] * 20, keypatches=[[7]] * 20)
    toy.go_on_from(generated)
    said, words = generated.reports[0], toy.model.vocabulary
    assert toy._drawing(0).ids[: toy._drawing(0).prompt] == drawing_prompt(words, said, [7], TOY.max_report_tokens, toy.train.named[0]).ids
    assert toy._drawing(0).ids[toy._drawing(0).prompt :] == drawn.ids[drawn.prompt :]  # the film itself
    assert toy._report(0, 1.0).ids[reported.prompt :] == reported.ids[reported.prompt :]  # the true report
    assert toy.batches(0) == trainer().batches(TOY.epochs) != first
    assert toy.identity() != identity
    toy.step(toy.batches(0)[0], 0.05)
    assert toy.optimizer.param_groups[0]["lr"] == pytest.approx(0.3 * TOY.learning_rate)


def test_it_learns_to_name_the_keyword_and_to_draw_the_report():
    toy = trainer(dataclasses.replace(TOY, width=64, dropout=0.0, keyword_dropout=0.0, learning_rate=3e-3, batch=24), n=60)
    for epoch in range(14):
        for batch in toy.batches(epoch):
            toy.step(batch, 0.3)
    losses = toy.validate()
    assert losses["report loss"] < 0.5
    assert losses["report loss"] < losses["report loss without keywords"]
    assert losses["drawing loss"] < losses["drawing loss without report"]
    toy.model.eval()
    noise = torch.randint(CODES, (4, TOKENS))
    written = toy.model.candidates(noise, [[finding] for finding in FINDINGS])
    assert all(statistics.fmean(finding in text for text in texts) > 0.8 for finding, texts in zip(FINDINGS, written, strict=True))
    drawn = toy.model.draw([f"{finding} seen." for finding in FINDINGS], [[i] for i in range(4)], seed=0)
    assert float((drawn == torch.arange(4)[:, None]).float().mean()) > 0.8


def test_validation_asks_as_will_be_asked():
    toy = trainer()
    asked = validation_report(toy.model, toy.val, 0)
    prompt = report_prompt(toy.model.vocabulary, toy.val.codes[0, 0].tolist(), toy.val.keywords[0][0])
    assert asked.ids[: asked.prompt] == prompt.ids


def test_layers_computed_again_give_the_same_loss_and_gradients():
    found = []
    for again in (False, True):
        toy = trainer(dataclasses.replace(TOY, dropout=0.0, checkpointing=again))
        toy.model.train()
        batch = toy._batch([toy._drawing(i) for i in range(3)])
        loss = toy.model.loss(batch)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in toy.model.parameters())])
    for kept, computed in zip(*found, strict=True):
        torch.testing.assert_close(kept, computed, atol=1e-6, rtol=0)


def test_a_share_holds_drawings_and_reports_or_nothing():
    toy = trainer()
    batch = [0, 1, 2, 20, 21, 22, 23, 24]
    assert toy.share(batch, 0, 2) == [0, 20, 22] and toy.share(batch, 1, 2) == [1, 21, 23]
    assert toy.share([0, 20, 21, 22], 0, 2) == []
    assert toy.share(batch, 0, 1) == batch


def test_examples_are_called_by_their_studies():
    assert trainer().name(41) == "study 1"
