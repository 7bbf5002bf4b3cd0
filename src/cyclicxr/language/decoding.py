"""Fast forward passes and token-by-token generation with a GPT-NeoX in Hugging Face form; knows ids, neither text nor films.

Generation chooses among the ids that the caller allows, by construction: no other id can come out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import GPTNeoXForCausalLM

CROWDED = 0.75  # share of a session's rows still being written, below which the others are dropped


class Cache:
    """Keys and values of all layers in memory taken once; the layers of Hugging Face call `update`, the caller `advance`.

    Args:
        model: whose layers will fill it.
        batch: rows.
        capacity: most tokens a row, prompt included.
    """

    def __init__(self, model: GPTNeoXForCausalLM, batch: int, capacity: int) -> None:
        config = model.config
        heads = config.num_attention_heads
        shape = (config.num_hidden_layers, batch, heads, capacity, config.hidden_size // heads)
        self.keys, self.values = (torch.empty(shape, dtype=model.dtype) for _ in range(2))
        self.length = 0

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Add a layer's new keys and values (b, heads, t, d) and return all of them."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, tokens: int) -> None:
        """All layers have added that many tokens."""
        self.length += tokens

    def keep(self, rows: Int[Tensor, " r"]) -> None:
        """Go on with these rows alone; a row may be named more than once."""
        self.keys, self.values = (self._of(rows, old) for old in (self.keys, self.values))

    def _of(self, rows: Tensor, old: Tensor) -> Tensor:
        layers, _, heads, capacity, width = old.shape
        new = old.new_empty(layers, len(rows), heads, capacity, width)
        new[:, :, :, : self.length] = old[:, rows, :, : self.length]
        return new


def hidden_states(
    model: GPTNeoXForCausalLM,
    ids: Int[Tensor, "b t"],
    positions: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b 1 t u"] | None = None,
    cache: Cache | None = None,
) -> Float[Tensor, "b t d"]:
    """What the output layer reads. Hugging Face's own layers, without its mask building: causal attention needs no mask when padding
    stands at the end, and positions with gaps are not taken for several packed texts.

    Args:
        model: GPT-NeoX.
        ids: token ids.
        positions: of each token.
        mask: True where a token (t) may look at a key (u, those of the cache first); None is causal.
        cache: is filled and read.
    """
    body = model.gpt_neox
    hidden = body.emb_dropout(body.embed_in(ids))
    rotation = body.rotary_emb(hidden, position_ids=positions)
    for layer in body.layers:
        hidden = layer(hidden, attention_mask=mask, layer_past=cache, position_embeddings=rotation)
    if cache is not None:
        cache.advance(ids.shape[1])
    return body.final_layer_norm(hidden)  # type: ignore[no-any-return]


class Session:
    """A batch of prompts, padded at the front, going on token by token.

    Args:
        model: GPT-NeoX.
        prompts: ids of each row.
        padding: id.
        new_tokens: most tokens that will be added.
    """

    def __init__(self, model: GPTNeoXForCausalLM, prompts: Sequence[Sequence[int]], padding: int, new_tokens: int) -> None:
        longest = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        places = torch.arange(longest + new_tokens)
        self.model, self.cache = model, Cache(model, len(prompts), longest + new_tokens)
        self.positions = (places[None] - (longest - lengths)[:, None]).clamp(min=0)  # (b, u)
        self.real = places[None] >= (longest - lengths)[:, None]  # (b, u)
        self.padded = bool((lengths < longest).any())
        self.hidden = self._forward(ids)  # (b, d)

    def logits(self, choices: Int[Tensor, " v"]) -> Float[Tensor, "b v"]:
        """Logits of the next token, of the allowed ids alone."""
        return torch.nn.functional.linear(self.hidden, self.model.get_output_embeddings().weight[choices]).float()

    def add(self, ids: Int[Tensor, " b"]) -> None:
        """Go on with one token a row."""
        self.hidden = self._forward(ids[:, None])

    def keep(self, rows: Int[Tensor, " r"]) -> None:
        """Go on with these rows alone; a row may be named more than once."""
        self.cache.keep(rows)
        self.positions, self.real, self.hidden = self.positions[rows], self.real[rows], self.hidden[rows]

    def _forward(self, ids: Tensor) -> Tensor:
        start, end = self.cache.length, self.cache.length + ids.shape[1]
        mask = None
        if self.padded:
            causal = torch.arange(end)[None] <= torch.arange(start, end)[:, None]  # (t, u)
            itself = torch.arange(end)[None] == torch.arange(start, end)[:, None]  # padding looks at itself: no empty softmax
            mask = (causal & self.real[:, None, :end] | itself)[:, None]  # (b, 1, t, u)
        return hidden_states(self.model, ids, self.positions[:, start:end], mask, self.cache)[:, -1]


@torch.inference_mode()
def candidates(
    model: GPTNeoXForCausalLM,
    prompts: Sequence[Sequence[int]],
    choices: Int[Tensor, " v"],
    chances: Float[Tensor, "b c s"],
    *,
    end: int,
    padding: int,
    temperature: float,
    top_k: int,
) -> list[list[list[int]]]:
    """c texts a row, each drawn token by token until `end` (left out) or s tokens. The prompt is read once for all of them.

    Args:
        model: GPT-NeoX, in eval mode.
        prompts: ids of each row.
        choices: allowed ids, `end` among them.
        chances: uniform numbers in [0, 1), one for each token: all the randomness there is.
        end: id that ends a text.
        padding: id.
        temperature: > 0.
        top_k: tokens to choose from.
    """
    rows, copies, most = chances.shape
    session = Session(model, prompts, padding, most)
    session.keep(torch.arange(rows).repeat_interleave(copies))
    written: list[list[int]] = [[] for _ in range(rows * copies)]
    texts, unfinished, of_text = torch.arange(rows * copies), torch.ones(rows * copies, dtype=torch.bool), chances.flatten(0, 1)
    for place in range(most):
        ids = choices[pick(session.logits(choices), of_text[texts, place], temperature, top_k)]
        unfinished &= ids != end
        for text, i in zip(texts[unfinished].tolist(), ids[unfinished].tolist(), strict=True):
            written[text].append(i)
        if not unfinished.any():
            break
        if unfinished.float().mean() < CROWDED:
            session.keep(unfinished.nonzero()[:, 0])
            texts, ids, unfinished = texts[unfinished], ids[unfinished], unfinished[unfinished]
        session.add(ids)
    return [written[row * copies : (row + 1) * copies] for row in range(rows)]


@torch.inference_mode()
def sample(
    model: GPTNeoXForCausalLM,
    prompts: Sequence[Sequence[int]],
    unconditional: Sequence[int],
    choices: Int[Tensor, " v"],
    chances: Float[Tensor, "b s"],
    *,
    padding: int,
    guidance: float,
    temperature: float,
    top_k: int,
) -> Int[Tensor, "b s"]:
    """Exactly s allowed tokens a row, with classifier-free guidance.

    Args:
        model: GPT-NeoX, in eval mode.
        prompts: ids of each row.
        unconditional: the prompt that says nothing.
        choices: allowed ids.
        chances: uniform numbers in [0, 1), one for each token: all the randomness there is.
        padding: id.
        guidance: 1 is none.
        temperature: > 0.
        top_k: tokens to choose from.
    """
    rows = len(prompts)
    doubled = [*prompts, *([unconditional] * rows if guidance != 1 else [])]
    session = Session(model, doubled, padding, chances.shape[1])
    drawn = []
    for chance in chances.unbind(dim=1):
        logits = session.logits(choices)
        if guidance != 1:
            logits = guided(logits[:rows], logits[rows:], guidance)
        ids = choices[pick(logits, chance, temperature, top_k)]
        drawn.append(ids)
        session.add(ids.repeat(len(doubled) // rows))
    return torch.stack(drawn, dim=1)


def guided(conditional: Float[Tensor, "b v"], unconditional: Float[Tensor, "b v"], guidance: float) -> Float[Tensor, "b v"]:
    """Classifier-free guidance on log-probabilities: u + g (c - u).

    c = (log .8, log .2), u = (log .5, log .5), g = 2: odds of 4 become odds of 16.
    """
    c, u = conditional.log_softmax(dim=1), unconditional.log_softmax(dim=1)
    return u + guidance * (c - u)


def pick(logits: Float[Tensor, "b v"], chance: Float[Tensor, " b"], temperature: float, top_k: int) -> Int[Tensor, " b"]:
    """Choose among the `top_k` likeliest by inverting their cumulative distribution at `chance` in [0, 1).

    Probabilities .5, .3, .2 and chance .6: the second.
    """
    values, columns = logits.topk(min(top_k, logits.shape[1]), dim=1)
    cumulative = (values / temperature).softmax(dim=1).cumsum(dim=1)
    place = (cumulative < chance[:, None]).sum(dim=1).clamp(max=columns.shape[1] - 1)
    return columns.gather(1, place[:, None])[:, 0]
