"""Fast forward passes and token-by-token generation with a GPT-NeoX in Hugging Face form; knows ids, neither text nor films.

Generation chooses among the ids that the caller allows, by construction: no other id can come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, GPTNeoXForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

ATTENTION = "shared_prompt"  # name of `attend` among Hugging Face's attention functions
CROWDED = 0.75  # share of a session's rows still being written, below which the others are dropped


class Cache:
    """Keys and values of all layers in memory taken once; the layers of Hugging Face call `update`, the caller `advance`.

    Args:
        model: whose layers will fill it.
        batch: rows.
        capacity: most tokens a row, prompt included.

    Attributes:
        length: tokens a row so far.
        prompt: keys and values (layers, heads, p, d) of a prompt that all rows share; None where each row holds its own.
    """

    def __init__(self, model: GPTNeoXForCausalLM, batch: int, capacity: int) -> None:
        config = model.config
        heads = config.num_attention_heads
        shape = (config.num_hidden_layers, batch, heads, capacity, config.hidden_size // heads)
        self.keys, self.values = (torch.empty(shape, dtype=model.dtype, device=model.device) for _ in range(2))
        self.length = 0
        self.prompt: tuple[Tensor, Tensor] | None = None

    @property
    def held(self) -> int:
        """Tokens that each row holds for itself: all but those of a shared prompt."""
        return self.length - (0 if self.prompt is None else self.prompt[0].shape[2])

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Add a layer's new keys and values (b, heads, t, d) and return all that the rows hold for themselves."""
        start, end = self.held, self.held + keys.shape[2]
        self.keys[layer, :, :, start:end] = keys
        self.values[layer, :, :, start:end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, tokens: int) -> None:
        """All layers have added that many tokens."""
        self.length += tokens

    def share(self, copies: int) -> None:
        """Go on with copies of the one row. What it holds is kept once, as the prompt of all: a copy each would have to be read anew for
        every token that is written.
        """
        layers, _, heads, capacity, width = self.keys.shape
        self.prompt = self.keys[:, 0, :, : self.length].contiguous(), self.values[:, 0, :, : self.length].contiguous()
        self.keys, self.values = (self.keys.new_empty(layers, copies, heads, capacity - self.length, width) for _ in range(2))

    def keep(self, rows: Int[Tensor, " r"]) -> None:
        """Go on with these rows alone."""
        self.keys, self.values = (self._of(rows, old) for old in (self.keys, self.values))

    def _of(self, rows: Tensor, old: Tensor) -> Tensor:
        layers, _, heads, capacity, width = old.shape
        new = old.new_empty(layers, len(rows), heads, capacity, width)
        new[:, :, :, : self.held] = old[:, rows, :, : self.held]
        return new


def attend(
    module: nn.Module,
    query: Float[Tensor, "b h t d"],
    key: Float[Tensor, "b h u d"],
    value: Float[Tensor, "b h u d"],
    mask: Tensor | None,
    *,
    scaling: float,
    prompt: tuple[Tensor, Tensor] | None = None,
    **options: Any,
) -> tuple[Float[Tensor, "b t h d"], None]:
    """Hugging Face's attention; with a prompt that all rows share, of one token a row (t = 1) over the prompt and its own keys.

    The softmax is over both together, so that nothing but the order of summation differs from rows that hold a copy each.
    """
    if prompt is None:
        whole: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **options)
        return whole
    layer: Any = module.layer_idx
    keys, values = (part[layer] for part in prompt)  # (h, p, d)
    asked = (query[:, :, 0] * scaling).transpose(0, 1)  # (h, b, d)
    shared = asked @ keys.transpose(1, 2)  # (h, b, p)
    own = (asked.transpose(0, 1).unsqueeze(2) @ key.transpose(2, 3)).squeeze(2)  # (b, h, u)
    weights = torch.cat([shared.transpose(0, 1), own], dim=2).softmax(dim=2)
    of_prompt, of_own = torch.split(weights, [keys.shape[1], key.shape[2]], dim=2)
    read = (of_prompt.transpose(0, 1) @ values).transpose(0, 1) + (of_own.unsqueeze(2) @ value).squeeze(2)  # (b, h, d)
    return read.unsqueeze(1), None


AttentionInterface.register(ATTENTION, attend)


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
    prompt = None if cache is None else cache.prompt
    for layer in body.layers:
        hidden = layer(hidden, attention_mask=mask, layer_past=cache, position_embeddings=rotation, prompt=prompt)
    if cache is not None:
        cache.advance(ids.shape[1])
    return body.final_layer_norm(hidden)  # type: ignore[no-any-return]


class Session:
    """A batch of prompts, padded at the front, going on token by token.

    Args:
        model: GPT-NeoX.
        prompts: ids of each row.
        choices: allowed ids of the tokens that will be added.
        padding: id.
        new_tokens: most tokens that will be added.
    """

    def __init__(
        self, model: GPTNeoXForCausalLM, prompts: Sequence[Sequence[int]], choices: Int[Tensor, " v"], padding: int, new_tokens: int
    ) -> None:
        longest = max(len(prompt) for prompt in prompts)
        where = model.device
        ids = torch.tensor([[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=where)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=where)
        places = torch.arange(longest + new_tokens, device=where)
        self.answers = model.get_output_embeddings().weight[choices]  # (v, d), gathered once for all tokens
        self.model, self.cache = model, Cache(model, len(prompts), longest + new_tokens)
        self.positions = (places[None] - (longest - lengths)[:, None]).clamp(min=0)  # (b, u)
        self.real = places[None] >= (longest - lengths)[:, None]  # (b, u)
        self.padded = bool((lengths < longest).any())
        self.hidden = self._forward(ids)  # (b, d)

    def logits(self) -> Float[Tensor, "b v"]:
        """Logits of the next token, of the allowed ids alone."""
        return nn.functional.linear(self.hidden, self.answers).float()

    def add(self, ids: Int[Tensor, " b"]) -> None:
        """Go on with one token a row."""
        self.hidden = self._forward(ids[:, None])

    def share(self, copies: int) -> None:
        """Go on with copies of the one prompt."""
        self.cache.share(copies)
        self.positions, self.real, self.hidden = (rows.expand(copies, -1) for rows in (self.positions, self.real, self.hidden))

    def keep(self, rows: Int[Tensor, " r"]) -> None:
        """Go on with these rows alone."""
        self.cache.keep(rows)
        self.positions, self.real, self.hidden = self.positions[rows], self.real[rows], self.hidden[rows]

    def _forward(self, ids: Tensor) -> Tensor:
        start, end = self.cache.length, self.cache.length + ids.shape[1]
        mask = None
        if self.padded:
            places = torch.arange(end, device=ids.device)
            causal = places[None] <= places[start:, None]  # (t, u)
            itself = places[None] == places[start:, None]  # padding looks at itself: no empty softmax
            mask = (causal & self.real[:, None, :end] | itself)[:, None]  # (b, 1, t, u)
        return hidden_states(self.model, ids, self.positions[:, start:end], mask, self.cache)[:, -1]


@torch.inference_mode()
def candidates(
    model: GPTNeoXForCausalLM,
    prompt: Sequence[int],
    choices: Int[Tensor, " v"],
    chances: Float[Tensor, "c s"],
    *,
    end: int,
    temperature: float,
    top_k: int,
) -> list[list[int]]:
    """c texts behind one prompt, each drawn token by token until `end` (left out) or s tokens. The prompt is read once for all of them.

    Args:
        model: GPT-NeoX with `ATTENTION`, in eval mode.
        prompt: ids.
        choices: allowed ids, `end` among them.
        chances: uniform numbers in [0, 1), one for each token: all the randomness there is.
        end: id that ends a text.
        temperature: > 0.
        top_k: tokens to choose from.
    """
    choices = choices.to(model.device)
    session = Session(model, [prompt], choices, end, chances.shape[1])
    session.share(len(chances))
    return _written(session, choices, chances, end, temperature, top_k)


@torch.inference_mode()
def texts(
    model: GPTNeoXForCausalLM,
    prompts: Sequence[Sequence[int]],
    choices: Int[Tensor, " v"],
    chances: Float[Tensor, "b s"],
    *,
    padding: int,
    end: int,
    temperature: float,
    top_k: int,
) -> list[list[int]]:
    """A text behind each prompt, side by side; as `candidates` otherwise.

    Args:
        model: as there, and likewise the others.
        prompts: ids of each row.
        choices: allowed ids.
        chances: a row's, one for each token.
        padding: id.
        end: id that ends a text.
        temperature: > 0.
        top_k: tokens to choose from.
    """
    choices = choices.to(model.device)
    return _written(Session(model, prompts, choices, padding, chances.shape[1]), choices, chances, end, temperature, top_k)


def _written(
    session: Session, choices: Int[Tensor, " v"], chances: Float[Tensor, "b s"], end: int, temperature: float, top_k: int
) -> list[list[int]]:
    """The texts of a session's rows, each until its end."""
    chances = chances.to(choices.device)
    rows, most = chances.shape
    written: list[list[int]] = [[] for _ in range(rows)]
    going, unfinished = torch.arange(rows, device=choices.device), torch.ones(rows, dtype=torch.bool, device=choices.device)
    for place in range(most):
        ids = choices[pick(session.logits(), chances[going, place], temperature, top_k)]
        unfinished &= ids != end
        for row, i in zip(going[unfinished].tolist(), ids[unfinished].tolist(), strict=True):
            written[row].append(i)
        if not unfinished.any():
            break
        if unfinished.float().mean() < CROWDED:
            session.keep(unfinished.nonzero()[:, 0])
            going, ids, unfinished = going[unfinished], ids[unfinished], unfinished[unfinished]
        session.add(ids)
    return written


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
    choices, chances = choices.to(model.device), chances.to(model.device)
    doubled = [*prompts, *([unconditional] * rows if guidance != 1 else [])]
    session = Session(model, doubled, choices, padding, chances.shape[1])
    drawn = []
    for chance in chances.unbind(dim=1):
        logits = session.logits()
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
