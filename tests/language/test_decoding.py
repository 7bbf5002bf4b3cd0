"""Passes and choices, with numbers worked out by hand, and against Hugging Face's own forward pass."""

from __future__ import annotations

import math

import pytest
import torch

from cyclicxr.language.decoding import Cache, Session, candidates, guided, hidden_states, pick, sample, texts


def test_hidden_states_give_hugging_faces_logits(model):
    ids = torch.randint(0, 300, (2, 11))
    ours = model.model.get_output_embeddings()(hidden_states(model.model, ids, torch.arange(11).expand(2, 11)))
    assert torch.allclose(ours, model.model(ids).logits, atol=1e-5)


def test_the_cache_gives_what_the_whole_gives(model):
    ids, positions = torch.randint(0, 300, (2, 7)), torch.arange(7).expand(2, 7)
    whole = hidden_states(model.model, ids, positions)
    cache = Cache(model.model, 2, 7)
    parts = [hidden_states(model.model, ids[:, :4], positions[:, :4], None, cache)]
    parts += [hidden_states(model.model, ids[:, i : i + 1], positions[:, i : i + 1], None, cache) for i in (4, 5, 6)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_padding_at_the_front_changes_nothing(model):
    choices = torch.arange(50)
    short, long = [5, 6, 7], [9, 8, 7, 6, 5, 4, 3]
    both = Session(model.model, [short, long], choices, 0, 2)
    alone = Session(model.model, [short], choices, 0, 2)
    assert torch.allclose(both.logits()[0], alone.logits()[0], atol=1e-4)
    both.add(torch.tensor([11, 12]))
    alone.add(torch.tensor([11]))
    assert torch.allclose(both.logits()[0], alone.logits()[0], atol=1e-4)


def test_guidance_by_hand():
    even = torch.tensor([[0.5, 0.5]]).log()
    told = torch.tensor([[0.8, 0.2]]).log()
    odds = guided(told, even, 2.0).softmax(dim=1)
    assert torch.allclose(odds, torch.tensor([[16 / 17, 1 / 17]]))
    assert torch.allclose(guided(told, even, 1.0).softmax(dim=1), told.exp())


def test_guidance_does_not_see_a_constant_added_to_the_logits():
    told, even = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    assert torch.allclose(guided(told + 7, even - 3, 2.0), guided(told, even, 2.0), atol=1e-5)


@pytest.mark.parametrize(("chance", "place"), [(0.0, 0), (0.49, 0), (0.6, 1), (0.81, 2), (0.999, 2)])
def test_pick_inverts_the_cumulative_distribution(chance, place):
    logits = torch.tensor([[math.log(0.2), math.log(0.5), math.log(0.3)]])  # sorted: columns 1, 2, 0
    assert pick(logits, torch.tensor([chance]), 1.0, 3).tolist() == [[1, 2, 0][place]]


def test_top_k_and_temperature():
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log()
    assert {int(pick(logits, torch.tensor([c]), 1.0, 2)) for c in (0.0, 0.3, 0.62, 0.63, 0.99)} == {1, 2}  # .5 / .8 = .625
    assert pick(logits, torch.tensor([0.97]), 0.1, 3).tolist() == [1]  # .5^10 / (.5^10 + .3^10 + .2^10) = .994


def test_candidates_are_made_of_the_choices_alone_and_stop_at_the_end(model):
    numbers = {"end": 6, "temperature": 1.0, "top_k": 4}
    written = candidates(model.model, [7, 8, 9], torch.tensor([3, 4, 5, 6]), torch.rand(5, 12), **numbers)
    assert len(written) == 5
    assert all(set(text) <= {3, 4, 5} and len(text) <= 12 for text in written)
    assert len({len(text) for text in written}) > 1
    assert candidates(model.model, [1, 2], torch.tensor([6]), torch.rand(2, 12), **numbers) == [[], []]


def test_texts_side_by_side_are_those_written_alone(model):
    torch.manual_seed(2)
    prompts, choices, chances = [[7, 8, 9], [4], [5, 6, 7, 8, 9, 3], [8, 2]], torch.arange(3, 12), torch.rand(4, 9)
    numbers = {"padding": 0, "end": 11, "temperature": 1.0, "top_k": 9}
    together = texts(model.model, prompts, choices, chances, **numbers)
    alone = [texts(model.model, prompts[i : i + 1], choices, chances[i : i + 1], **numbers)[0] for i in range(4)]
    one_prompt = [candidates(model.model, prompts[i], choices, chances[i : i + 1], end=11, temperature=1.0, top_k=9)[0] for i in range(4)]
    assert together == alone == one_prompt
    assert len({len(text) for text in together}) > 1


def test_candidates_are_those_of_one_text_at_a_time(model):
    """The shared prompt and the dropping of finished rows change nothing: as if each were drawn by itself."""
    torch.manual_seed(1)
    choices, chances, prompt = torch.arange(3, 12), torch.rand(6, 9), [7, 8, 9]
    together = candidates(model.model, prompt, choices, chances, end=11, temperature=1.0, top_k=9)
    for written, row in zip(together, chances, strict=True):
        session, text = Session(model.model, [prompt], choices, 0, 9), []
        for chance in row:
            ids = choices[pick(session.logits(), chance[None], 1.0, 9)]
            if int(ids) == 11:
                break
            text.append(int(ids))
            session.add(ids)
        assert written == text


def test_rows_that_share_a_prompt_read_what_rows_with_a_copy_each_read(model):
    prompt, choices = [5, 6, 7, 8], torch.arange(50)
    copies, shared = Session(model.model, [prompt] * 3, choices, 0, 2), Session(model.model, [prompt], choices, 0, 2)
    shared.share(3)
    assert torch.allclose(shared.logits(), copies.logits(), atol=1e-5)
    for ids in (torch.tensor([11, 12, 13]), torch.tensor([14, 15, 16])):
        copies.add(ids)
        shared.add(ids)
        assert torch.allclose(shared.logits(), copies.logits(), atol=1e-5)


def test_a_sample_follows_from_its_chances(model):
    chances = torch.rand(2, 5)
    numbers = {"padding": 0, "guidance": 2.0, "temperature": 1.0, "top_k": 8}
    choices = torch.arange(20, 40)
    both = sample(model.model, [[1, 2], [3]], [4], choices, chances, **numbers)
    alone = sample(model.model, [[3]], [4], choices, chances[1:], **numbers)
    assert both.shape == (2, 5)
    assert both[1].tolist() == alone[0].tolist()
    assert set(both.flatten().tolist()) <= set(choices.tolist())
