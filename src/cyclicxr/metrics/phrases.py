"""Phrases of radiology in a text, each denied, hedged or told of the past: spaCy's rulers and negspacy's negation; knows no finding.

A phrase is words separated by spaces: `a|b` is either word, `...` up to four words between that deny nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spacy.language import Language

_BETWEEN: dict[str, Any] = {"LOWER": {"NOT_IN": ["no", "not", "without", "normal", "and", "or", "."]}, "OP": "{0,4}"}
SPANS = "ruler"  # name of the spans in `doc.spans`


def phrase_reader(phrases: Mapping[str, Sequence[str]], terms: Mapping[str, Mapping[str, list[str]]]) -> Language:
    """A pipeline that marks every phrase with its label, and sets `span._.NAME` for each named set of terms.

    Args:
        phrases: label -> phrases, lower case.
        terms: extension name -> terms in negspacy's form (pseudo_negations, preceding_negations, following_negations, termination).

    Source: NegEx (Chapman et al. 2001), as negspacy writes it.
    """
    import negspacy.negation  # noqa: F401 (registers "negex"; importing spaCy takes a second, so not before it is needed)
    import spacy

    reader = spacy.blank("en")
    reader.add_pipe("sentencizer", config={"punct_chars": [".", "..", "...", "!", "?", ";"]})
    ruler: Any = reader.add_pipe("span_ruler")
    patterns = [(label, phrase) for label, listed in phrases.items() for phrase in listed]
    ruler.add_patterns([{"label": label, "pattern": _pattern(phrase)} for label, phrase in patterns])
    for name, termset in terms.items():
        settings = {"neg_termset": dict(termset), "span_keys": [SPANS], "extension_name": name}
        reader.add_pipe("negex", name=name, config=settings)
    return reader


def clinical_negations() -> Any:
    """negspacy's clinical English without what denies nothing in a film's report, to be changed: a copy, for negspacy hands all who ask the
    same lists, and a term added for one reader would be heard by every reader that is made after it."""
    from negspacy.termsets import termset

    terms = copy.deepcopy(termset("en_clinical"))
    terms.remove_patterns({"preceding_negations": ["versus", "doubt"]})
    return terms


def _pattern(phrase: str) -> list[dict[str, Any]]:
    return [_BETWEEN if word == "..." else {"LOWER": {"IN": word.split("|")}} for word in phrase.split()]
