"""RadGraph F1 from annotations that RadGraph's own model made in its own environment; knows no model and finds no entity itself.

The file is what the `radgraph` package returns, as JSON: key -> {"text", "entities": {number -> {"tokens", "label", "relations":
[[kind, number]]}}}. Annotations are found by their text, white space aside, since RadGraph puts spaces around punctuation.

Source: Jain et al., RadGraph (NeurIPS 2021); F1 as the `radgraph` package's rewards "simple", "partial" and "complete" define it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cyclicxr.checkpoint import read_json
from cyclicxr.types import InputError

LEVELS = ("entities", "entities and whether related", "entities and relations")
Annotations = Mapping[str, tuple[frozenset[Hashable], ...]]  # text without white space -> what is matched on each of `LEVELS`


def read_annotations(path: Path) -> Annotations:
    """Read RadGraph's annotations.

    Raises:
        InputError: no such file, or not of that form.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: not RadGraph's annotations; give the JSON that its package returns")
    annotations = {}
    for key, annotation in found.items():
        try:
            annotations[_spaceless(annotation["text"])] = _matched(annotation["entities"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError(f"{path}: '{key}' is no RadGraph annotation (text, entities with tokens, label, relations)") from None
    return annotations


def radgraph_f1(annotations: Annotations, references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, Float[np.ndarray, " n"]]:
    """RadGraph F1 of each of n pairs on each level, in [0, 1]: "RadGraph F1 (entities)" and so on. An empty hypothesis scores 0.

    Args:
        annotations: of every text that is not empty.
        references: true reports.
        hypotheses: written ones.

    Raises:
        InputError: a text without annotation.
    """
    texts = dict.fromkeys(text for text in [*references, *hypotheses] if text.strip())
    missing = [text for text in texts if _spaceless(text) not in annotations]
    if missing:
        shown = " ".join(missing[0].split())[:60]
        raise InputError(f"RadGraph: {len(missing)} of {len(texts)} texts lack an annotation, first '{shown}'; annotate all texts")
    nothing = tuple(frozenset[Hashable]() for _ in LEVELS)
    pairs = [[annotations.get(_spaceless(text), nothing) for text in pair] for pair in zip(references, hypotheses, strict=True)]
    return {
        f"RadGraph F1 ({level})": np.array([_f1(true[i], said[i]) for true, said in pairs], dtype=float) for i, level in enumerate(LEVELS)
    }


def _matched(entities: Mapping[str, Mapping[str, Any]]) -> tuple[frozenset[Hashable], ...]:
    simple: set[Hashable] = set()
    partial: set[Hashable] = set()
    complete: set[Hashable] = set()
    for entity in entities.values():
        words, label, relations = entity["tokens"], entity["label"], entity["relations"]
        simple.add((words, label))
        partial.add((words, label, bool(relations)))
        complete |= {(words.lower(), label, kind, entities[other]["tokens"].lower()) for kind, other in relations}
        if not relations:
            complete.add((words, label))
    return frozenset(simple), frozenset(partial), frozenset(complete)


def _f1(true: frozenset[Hashable], said: frozenset[Hashable]) -> float:
    return 2 * len(true & said) / (len(true) + len(said)) if true and said else 0.0


def _spaceless(text: str) -> str:
    return "".join(text.split())
