"""The prompts of Figs. 3 and 4, to the letter, and the examples made of them; knows the vocabulary and no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from cyclicxr.language.vocabulary import INPUT, INSTRUCTION, KEYPATCHES, KEYWORDS, RESPONSE, Vocabulary

PREAMBLE = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
REPORT_INSTRUCTION = "Utilize the entered chest X-ray images to generate comprehensive free-text radiology reports."
DRAWING_INSTRUCTION = "Create an AP chest X-ray image that matches the free-text radiology reports."
PHRASES = (PREAMBLE, f" {REPORT_INSTRUCTION}", f" {DRAWING_INSTRUCTION}")

IGNORED = -100  # the label of a token that is not learned, as in Hugging Face


@dataclass(frozen=True)
class Prompt:
    """All that the model reads before it responds.

    Args:
        ids: in order, from the preamble to the response key.
        text: the same as the figures print it, codes as numbers.
        film: which of `ids` are the input film's tokens (empty when drawing).
    """

    ids: list[int]
    text: str
    film: range


@dataclass(frozen=True)
class Example:
    """One prompt with its response.

    Args:
        ids: prompt and response.
        positions: place of each id in the whole prompt; with gaps where film tokens were left out.
        prompt: how many of `ids` are the prompt.
    """

    ids: list[int]
    positions: list[int]
    prompt: int


@dataclass(frozen=True)
class Batch:
    """Examples side by side, padded at the end.

    Args:
        ids: (b, t).
        positions: (b, t), >= 0.
        labels: (b, t) the ids of the response, `IGNORED` elsewhere.
    """

    ids: Int[Tensor, "b t"]
    positions: Int[Tensor, "b t"]
    labels: Int[Tensor, "b t"]


def report_prompt(vocabulary: Vocabulary, codes: Sequence[int], keywords: Sequence[str]) -> Prompt:
    """CXR-to-report: the film's codes row by row, and the keywords found on it. Source: Fig. 3."""
    head = vocabulary.template(f"{PREAMBLE}\n{INSTRUCTION} {REPORT_INSTRUCTION}\n{INPUT}")
    film = range(len(head), len(head) + len(codes))
    hints = _listed(keywords)
    ids = [*head, *vocabulary.image_ids(codes), *vocabulary.template(f"\n{KEYWORDS}"), *vocabulary.field(hints)]
    text = _printed(REPORT_INSTRUCTION, _numbers(codes), {KEYWORDS: hints})
    return Prompt([*ids, *vocabulary.template(f"\n{RESPONSE}")], text, film)


def has_words(report: str) -> bool:
    """Whether a report says anything that a film could be drawn from.

    >>> has_words("No effusion."), has_words(" - ")
    (True, False)
    """
    return any(letter.isalnum() for letter in report)


def drawing_prompt(
    vocabulary: Vocabulary, report: str, keypatches: Sequence[int], max_tokens: int, keywords: Sequence[str] | None = None
) -> Prompt:
    """Report-to-CXR: the report, and the codes of its keypatches. Source: Fig. 4.

    Args:
        vocabulary: of text and image tokens.
        report: one of more than `max_tokens` is cut.
        keypatches: codes.
        max_tokens: of the report.
        keywords: that the report affirms, on a line of their own (ours, as Fig. 3 has them); None, the paper's prompt, has no such line.
    """
    head = vocabulary.template(f"{PREAMBLE}\n{INSTRUCTION} {DRAWING_INSTRUCTION}\n{INPUT}")
    ids = [*head, *vocabulary.field(report)[:max_tokens]]
    hints = {} if keywords is None else {KEYWORDS: _listed(keywords)}
    for key, listed in hints.items():
        ids += [*vocabulary.template(f"\n{key}"), *vocabulary.field(listed)]
    ids += [*vocabulary.template(f"\n{KEYPATCHES}"), *vocabulary.image_ids(keypatches)]
    text = _printed(DRAWING_INSTRUCTION, " ".join(report.split()), {**hints, KEYPATCHES: _numbers(keypatches)})
    return Prompt([*ids, *vocabulary.template(f"\n{RESPONSE}")], text, range(0))


def report_response(vocabulary: Vocabulary, report: str, max_tokens: int) -> list[int]:
    """The report, cut at `max_tokens`, and the end."""
    return [*vocabulary.field(report)[:max_tokens], vocabulary.end]


def drawing_response(vocabulary: Vocabulary, codes: Sequence[int]) -> list[int]:
    """The film's codes row by row, and the end."""
    return [*vocabulary.image_ids(codes), vocabulary.end]


def example(prompt: Prompt, response: Sequence[int], film_share: float = 1.0) -> Example:
    """Prompt and response; of the film's tokens only a random share is kept (torch's global generator), each at its own position."""
    ids, positions = [*prompt.ids, *response], list(range(len(prompt.ids) + len(response)))
    left_out = round(len(prompt.film) * (1 - film_share))
    if left_out == 0:
        return Example(ids, positions, len(prompt.ids))
    gone = {prompt.film.start + i for i in torch.randperm(len(prompt.film))[:left_out].tolist()}
    kept = [place for place in positions if place not in gone]
    return Example([ids[place] for place in kept], kept, len(prompt.ids) - left_out)


def collate(examples: Sequence[Example], padding: int) -> Batch:
    """Examples as tensors, padded at the end with `padding`. Labels are the response alone. Source: Eqs. (10), (11)."""
    longest = max(len(each.ids) for each in examples)
    ids = torch.full((len(examples), longest), padding)
    positions = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    for row, each in enumerate(examples):
        n = len(each.ids)
        ids[row, :n] = torch.tensor(each.ids)
        positions[row, :n] = torch.tensor(each.positions)
        labels[row, each.prompt : n] = torch.tensor(each.ids[each.prompt :])
    return Batch(ids, positions, labels)


def _printed(instruction: str, given: str, hints: Mapping[str, str]) -> str:
    fields = {INSTRUCTION: instruction, INPUT: given, **hints, RESPONSE: ""}
    return "\n".join([PREAMBLE, *(f"{key} {value}".rstrip() for key, value in fields.items())])


def _listed(keywords: Sequence[str]) -> str:
    return ", ".join(" ".join(keyword.split()) for keyword in keywords)


def _numbers(codes: Sequence[int]) -> str:
    return ", ".join(str(code) for code in codes)
