"""The bidirectional language model at toy width: what it learns, what it may emit, how it is saved."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cyclicxr.language.llm import LanguageModel, spread
from cyclicxr.language.prompt import collate, drawing_prompt, drawing_response, example, report_prompt, report_response
from cyclicxr.language.vocabulary import Vocabulary
from cyclicxr.types import InputError

REPORTS = ["The heart is normal in size.", "Small left pleural effusion. No pneumothorax.", "Cardiomegaly without edema."]
CODES = torch.arange(18).view(2, 9) % 16


def test_loss_is_that_of_the_response_alone(model, vocabulary):
    prompt, said = report_prompt(vocabulary, CODES[0].tolist(), ["tube"]), report_response(vocabulary, REPORTS[1], 99)
    logits = model.model(torch.tensor([[*prompt.ids, *said]])).logits[0].log_softmax(dim=1)
    by_hand = -sum(logits[len(prompt.ids) - 1 + i, token] for i, token in enumerate(said)) / len(said)
    batch = collate([example(prompt, said)], vocabulary.padding)
    assert model.loss(batch).item() == pytest.approx(by_hand.item(), rel=1e-5)
    with torch.no_grad():
        theirs = model.model(batch.ids, labels=batch.labels).loss
    assert theirs.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_padding_does_not_change_the_loss(model, vocabulary):
    examples = [
        example(report_prompt(vocabulary, CODES[0].tolist(), []), report_response(vocabulary, REPORTS[0], 99)),
        example(drawing_prompt(vocabulary, REPORTS[1], [3], 99), drawing_response(vocabulary, CODES[1].tolist())),
    ]
    tokens = [len(each.ids) - each.prompt for each in examples]
    apart = [model.loss(collate([each], vocabulary.padding)).item() for each in examples]
    together = model.loss(collate(examples, vocabulary.padding)).item()
    assert together == pytest.approx(sum(t * loss for t, loss in zip(tokens, apart, strict=True)) / sum(tokens), rel=1e-5)


def test_the_likelihood_of_a_sentence_is_the_mean_over_its_tokens_behind_what_was_said(guided_by, vocabulary):
    model = guided_by(max_report_tokens=60)
    prompt = report_prompt(vocabulary, CODES[0].tolist(), ["tube"]).ids
    before, said = vocabulary.field(REPORTS[0]), vocabulary.field(REPORTS[2])
    assert [*before, *said] == vocabulary.field(f"{REPORTS[0]} {REPORTS[2]}")
    logits = model.model(torch.tensor([[*prompt, *before, *said]])).logits[0].log_softmax(dim=1)
    first = len(prompt) + len(before)
    by_hand = sum(logits[first - 1 + i, token] for i, token in enumerate(said)) / len(said)
    together = model.likelihood(CODES, [["tube"], []], [REPORTS[0], ""], [REPORTS[2], REPORTS[1]])
    assert together[0].item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert together[1].item() == pytest.approx(model.likelihood(CODES[1:], [[]], [""], [REPORTS[1]])[0].item(), rel=1e-4)


def test_of_a_long_report_the_end_stands_before_the_sentence(model, vocabulary):
    long = " ".join(REPORTS * 4)
    kept = vocabulary.text(vocabulary.field(long)[-(model.cfg.max_report_tokens - len(vocabulary.field(REPORTS[2]))) :])
    of_long, of_kept = (model.likelihood(CODES[:1], [[]], [before], [REPORTS[2]]) for before in (long, kept))
    assert torch.allclose(of_long, of_kept)
    assert model.likelihood(CODES[:1], [[]], [REPORTS[0]], [long]).isfinite().all()


def test_reports_side_by_side_are_those_written_alone(model):
    hints = [["effusion"], ["cardiomegaly", "tube", "no edema"]]
    together = list(model.candidates(CODES, hints))
    alone = [next(model.candidates(CODES[i : i + 1], hints[i : i + 1])) for i in range(2)]
    assert [len(texts) for texts in together] == [model.cfg.candidates] * 2
    assert together == alone
    assert together[0] != together[1]


def test_of_many_films_each_is_given_its_own_report(model):
    hints = [["effusion"], ["cardiomegaly", "tube", "no edema"]]
    written = model.write(CODES, hints)
    assert written == [model.write(CODES[i : i + 1], hints[i : i + 1])[0] for i in range(2)]
    assert written[0] != written[1] != model.write(CODES, [["effusion"], []])[1]


def test_a_report_never_holds_an_image_token(model, vocabulary):
    model.model.get_output_embeddings().weight.data[vocabulary.image_choices()] *= 50  # it wants to
    assert "<img_" not in " ".join(next(model.candidates(CODES, [[], []])))


def test_a_film_is_exactly_its_number_of_codes(model):
    drawn = model.draw(REPORTS[:3], [[1], [], [2, 3, 4]], seed=0)
    assert drawn.shape == (3, 9)
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < 16


def test_a_film_follows_from_report_and_seed_whatever_stands_beside_it(model):
    together = model.draw(REPORTS[:3], [[1], [], [2]], seed=5)
    assert torch.equal(model.draw(REPORTS[2:3], [[2]], seed=5), together[2:])
    assert not torch.equal(model.draw(REPORTS[2:3], [[2]], seed=6), together[2:])


def test_keywords_are_read_by_a_model_that_learned_with_them(model):
    named = [["effusion"], []]
    reading, deaf = (
        LanguageModel(model.model, model.vocabulary, dataclasses.replace(model.cfg, drawing_keywords=reads), 9) for reads in (True, False)
    )
    drawn, unnamed = (reading.draw(REPORTS[:2], [[], []], 0, keywords) for keywords in (named, None))
    assert not torch.equal(drawn[0], unnamed[0]) and torch.equal(drawn[1], unnamed[1])
    assert torch.equal(deaf.draw(REPORTS[:2], [[], []], 0, named), deaf.draw(REPORTS[:2], [[], []], 0))


def test_several_films_of_a_report_differ_and_do_not_depend_on_what_stands_beside_it(model):
    together = model.draw(REPORTS[:2], [[1], []], seed=5, number=3)
    assert together.shape == (6, 9) and len(set(map(tuple, together.tolist()))) == 6
    assert torch.equal(model.draw(REPORTS[1:2], [[]], seed=5, number=3), together[3:])


def test_guidance_one_asks_once(guided_by):
    plain = guided_by(guidance=1.0).draw(REPORTS[:2], [[], []], seed=0)
    strong = guided_by(guidance=6.0).draw(REPORTS[:2], [[], []], seed=0)
    assert plain.shape == strong.shape
    assert not torch.equal(plain, strong)


@pytest.mark.parametrize("text", ["", " \n", "…!?"])
def test_a_text_of_no_words_is_refused(model, text):
    with pytest.raises(InputError, match="no words"):
        model.draw([text], [[]], seed=0)


def test_a_bare_hugging_face_loads_it(model, vocabulary, tmp_path):
    model.save(tmp_path / "llm", half=False)
    bare = AutoModelForCausalLM.from_pretrained(str(tmp_path / "llm"))
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path / "llm"))
    prompt = report_prompt(vocabulary, CODES[0].tolist(), ["tube"])
    ids = torch.tensor([tokenizer.encode(tokenizer.decode(prompt.ids))])
    assert ids[0].tolist() == prompt.ids
    assert torch.allclose(bare(ids).logits, model.model(ids).logits, atol=1e-6)
    assert bare.generation_config.eos_token_id == tokenizer.eos_token_id == vocabulary.end
    assert bare.generation_config.pad_token_id == tokenizer.pad_token_id


def test_saved_and_loaded_it_writes_and_draws_the_same(model, tmp_path):
    model.save(tmp_path / "llm", half=False)
    loaded = LanguageModel.load(tmp_path / "llm")
    assert list(loaded.candidates(CODES, [["tube"], []])) == list(model.candidates(CODES, [["tube"], []]))
    assert torch.equal(loaded.draw(REPORTS[:1], [[1]], seed=3), model.draw(REPORTS[:1], [[1]], seed=3))
    assert loaded.cfg == model.cfg


def test_half_precision_takes_half_the_room_and_saving_again_replaces(model, tmp_path):
    model.save(tmp_path / "llm", half=False)
    whole = (tmp_path / "llm" / "model.safetensors").stat().st_size
    model.save(tmp_path / "llm")
    assert (tmp_path / "llm" / "model.safetensors").stat().st_size < 0.6 * whole
    assert [path.name for path in tmp_path.iterdir()] == ["llm"]
    assert LanguageModel.load(tmp_path / "llm").model.dtype == torch.float32
    assert not list((tmp_path / "llm").glob("*.bin"))


def test_a_missing_file_is_named(model, tmp_path):
    model.save(tmp_path / "llm")
    (tmp_path / "llm" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no whole language model"):
        LanguageModel.load(tmp_path / "llm")
    with pytest.raises(InputError, match=r"cyclicxr\.json: no such file"):
        LanguageModel.load(tmp_path)


def test_a_pretrained_model_gets_embeddings_for_the_new_tokens(model, vocabulary, tmp_path):
    model.save(tmp_path / "dolly", half=False)
    cfg = dataclasses.replace(model.cfg, pretrained=str(tmp_path / "dolly"))
    larger = Vocabulary.extend(cfg.pretrained, "", 24)
    grown = LanguageModel.build(larger, cfg, 9).eval()
    assert grown.model.config.vocab_size == len(larger) == len(vocabulary) + 8
    old = slice(0, len(vocabulary))
    assert torch.equal(grown.model.get_input_embeddings().weight[old], model.model.get_input_embeddings().weight)
    assert grown.draw(REPORTS[:1], [[23]], seed=0).shape == (1, 9)


def test_a_pretrained_name_without_a_directory_or_a_revision_is_refused(model, vocabulary, tmp_path):
    for name in ("databricks/dolly-v2-3b", str(tmp_path / "nothing-here")):
        for build in (
            lambda name=name: LanguageModel.build(vocabulary, dataclasses.replace(model.cfg, pretrained=name), 9),
            lambda name=name: Vocabulary.extend(name, "", 24),
        ):
            with pytest.raises(InputError, match=rf"language\.pretrained: '{name}' is no directory"):
                build()


def test_codes_that_look_alike_begin_alike(model, vocabulary):
    torch.manual_seed(0)
    vectors = torch.randn(16, 4)
    vectors[1] = vectors[0]
    built = LanguageModel.build(vocabulary, model.cfg, 9, vectors)
    rows = built.model.get_input_embeddings().weight[vocabulary.image_choices()]
    near, far = (rows[0] - rows[1]).norm(), (rows[0] - rows[2:]).norm(dim=1).min()
    assert near < 0.7 * far
    assert spread(vectors, 256).std().item() == pytest.approx(0.02, rel=0.1)


def test_settings_are_readable_json(model, tmp_path):
    model.save(tmp_path / "llm")
    settings = json.loads((tmp_path / "llm" / "cyclicxr.json").read_text())
    assert settings["image_tokens"] == 9
    assert settings["language"]["width"] == model.cfg.width
