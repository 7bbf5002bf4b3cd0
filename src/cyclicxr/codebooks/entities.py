"""Report -> entities in the paper's four groups, each with its negation; knows no film and no codebook.

Two extractors share one interface: a lexicon of chest radiology (offline, the default) and a token-classification transformer in the
form of BioEN [35]. Negation is negspacy's in both, with radiology's own phrases; a hedge ("may represent") is no negation.
Source: section 3.2.1, "Building textual codebook".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from cyclicxr.config import CodebooksConfig
from cyclicxr.pretrained import load_pretrained
from cyclicxr.types import Entity, InputError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span

GROUPS = ("biological structure", "detailed description", "disease disorder", "sign symptom")
SETTING = "codebooks.extractor ('rules' or a token-classification model)"
FINDINGS = ("disease disorder", "sign symptom")
PART = 4000  # [ours] characters, longer than any report of OpenI or MIMIC-CXR is wont to be
_SENTENCE_END = re.compile(r"[.!?;]\s+")
# "No effusion in the left lung" denies the effusion, not the lung.
_NEGATABLE = ("detailed description", "disease disorder", "sign symptom")


@runtime_checkable
class Extractor(Protocol):
    """Finds the entities of a report."""

    def extract(self, text: str) -> list[Entity]:
        """Entities in reading order; none overlap."""


class LexiconExtractor:
    """Longest match first against the package's lexicon, whose variants and plurals lead to one normal form."""

    def __init__(self) -> None:
        self._pipeline = _lexicon_pipeline()

    def extract(self, text: str) -> list[Entity]:
        """Entities in reading order.

        Args:
            text: a report or a part of one; "" has none.

        Returns:
            Entities whose `text` is the lexicon's normal form; biological structures are never negated.
        """
        return [_entity(span, span.ent_id_, start) for start, part in _parts(text) for span in self._pipeline(part).ents]


class TransformerExtractor:
    """A token-classification transformer whose labels are BIO tags of the four groups (d4data/biomedical-ner-all's names).

    Args:
        name: directory or hub id.
        revision: of the hub id; "" is its default.

    Raises:
        InputError: it can't be loaded, or has no label of the four groups.
    """

    def __init__(self, name: str, revision: str = "") -> None:
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        self._tokenizer: Any = load_pretrained(AutoTokenizer.from_pretrained, SETTING, name, revision)
        self._model: Any = load_pretrained(AutoModelForTokenClassification.from_pretrained, SETTING, name, revision).eval()
        labels: dict[int, str] = self._model.config.id2label
        self._tags = [_tag(labels[i]) for i in range(len(labels))]
        if not any(group in GROUPS for _, group in self._tags):
            found = ", ".join(sorted(labels.values())[:6])
            raise InputError(f"codebooks.extractor: '{name}' labels {found}, …; none is Biological_structure, Detailed_description, …")
        self._pipeline = _sentence_pipeline()
        self._normal = {surface: normal for surface, (_, normal) in _surfaces().items()}

    def extract(self, text: str) -> list[Entity]:
        """Entities in reading order; `text` is the lexicon's normal form where it has one, else the lower-cased words."""
        return [entity for start, part in _parts(text) for entity in self._extract(part, start)]

    def _extract(self, text: str, offset: int) -> list[Entity]:
        doc = self._pipeline.make_doc(text)
        doc = self._pipeline.get_pipe("sentencizer")(doc)
        spans = [span for sentence in doc.sents for span in self._spans(doc, sentence)]
        doc.ents = tuple(spans)
        doc = self._pipeline.get_pipe("negex")(doc)
        return [_entity(span, self._normal.get(span.text.lower(), " ".join(span.text.lower().split())), offset) for span in doc.ents]

    def _spans(self, doc: Doc, sentence: Span) -> list[Span]:
        """Words of one sentence, each tagged by its first piece, joined while the group goes on ("first" aggregation)."""
        import torch

        words = [token for token in sentence if not token.is_space]
        encoded = self._tokenizer([token.text for token in words], is_split_into_words=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            found = self._model(**encoded).logits[0].argmax(-1).tolist()
        tags: dict[int, tuple[str, str]] = {}
        for word, label in zip(encoded.word_ids(0), found, strict=True):
            if word is not None:
                tags.setdefault(word, self._tags[label])
        runs: list[tuple[int, int, str]] = []
        for i, token in enumerate(words):
            begins, group = tags.get(i, ("O", ""))
            if group not in GROUPS:
                continue
            goes_on = begins == "I" and runs and runs[-1][1] == token.i and runs[-1][2] == group
            if goes_on:
                runs[-1] = (runs[-1][0], token.i + 1, group)
            else:
                runs.append((token.i, token.i + 1, group))
        return [_labelled(doc, start, end, group) for start, end, group in runs]


def extractor(cfg: CodebooksConfig) -> Extractor:
    """The extractor that the config names, built once."""
    return _built(cfg.extractor, cfg.revision)


@lru_cache(maxsize=20_000)
def findings_in(cfg: CodebooksConfig, sentence: str) -> tuple[Entity, ...]:
    """Findings that a sentence names, denied ones too, as the config's extractor reads it; kept, for reports repeat their sentences."""
    return tuple(entity for entity in extractor(cfg).extract(sentence) if entity.group in FINDINGS)


def affirmed_findings(cfg: CodebooksConfig, sentence: str) -> frozenset[str]:
    """Findings that a sentence names and does not deny."""
    return frozenset(entity.text for entity in findings_in(cfg, sentence) if not entity.negated)


@lru_cache(maxsize=2)
def _built(name: str, revision: str) -> Extractor:
    return LexiconExtractor() if name == "rules" else TransformerExtractor(name, revision)


@lru_cache(maxsize=1)
def _surfaces() -> dict[str, tuple[str, str]]:
    """Surface form -> (group, normal form): each term, its variants, and the plurals of nouns."""
    lexicon = _packaged("lexicon.json")
    entries = [((group, term), [term, *variants]) for group, terms in lexicon.items() for term, variants in terms.items()]
    listed = {surface: entry for entry, surfaces in entries for surface in surfaces}
    plurals = {_plural(surface): entry for surface, entry in listed.items() if entry[0] != "detailed description"}
    return {**plurals, **listed}


def _plural(noun: str) -> str:
    if noun.endswith(("x", "ch", "sh", "ss")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith("osis") or noun.endswith("asis"):
        return noun[:-2] + "es"
    return noun if noun.endswith("s") else noun + "s"


def _sentence_pipeline() -> Language:
    import negspacy.negation  # noqa: F401  (registers the component)
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer", config={"punct_chars": [".", "..", "...", "!", "?", ";"]})
    pipeline.add_pipe("negex", config={"neg_termset": _termset(), "ent_types": list(_NEGATABLE)})
    return pipeline


def _lexicon_pipeline() -> Language:
    pipeline = _sentence_pipeline()
    ruler: Any = pipeline.add_pipe("entity_ruler", before="negex", config={"phrase_matcher_attr": "LOWER"})
    ruler.add_patterns([{"label": group, "pattern": surface, "id": term} for surface, (group, term) in _surfaces().items()])
    return pipeline


def _termset() -> dict[str, list[str]]:
    """negspacy's clinical English, with radiology's phrases and without its hedges; a new clause ends a negation."""
    from negspacy.termsets import termset

    ours = _packaged("negations.json")
    theirs: dict[str, list[str]] = termset("en_clinical").get_patterns()
    return {kind: sorted({*phrases, *ours[kind]} - {*ours["not_negations"]}) for kind, phrases in theirs.items()}


def _packaged(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("cyclicxr.codebooks").joinpath(name).read_text(encoding="utf-8"))
    return found


def _tag(label: str) -> tuple[str, str]:
    """ "B-Disease_disorder" -> ("B", "disease disorder"); a label without a prefix goes on with its neighbour."""
    prefix, _, name = label.partition("-")
    if prefix not in ("B", "I") or not name:
        prefix, name = "I", label
    return prefix, name.replace("_", " ").lower()


def _labelled(doc: Doc, start: int, end: int, group: str) -> Span:
    from spacy.tokens import Span

    return Span(doc, start, end, label=group)


def _entity(span: Span, text: str, offset: int) -> Entity:
    return Entity(text, span.label_, bool(span._.negex), offset + span.start_char, offset + span.end_char)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Where each part of a text begins, and the part: whole sentences, `PART` characters or the rest of a sentence more. negspacy's time
    goes with the square of a text's sentences."""
    start = 0
    while start < len(text):
        end = _SENTENCE_END.search(text, start + PART)
        yield start, text[start : end.end() if end else len(text)]
        start = end.end() if end else len(text)
