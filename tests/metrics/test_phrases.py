"""What several readers of negations share, and what none may change for another."""

from __future__ import annotations

from cyclicxr.codebooks.entities import LexiconExtractor
from cyclicxr.metrics.chexpert import label_reports
from cyclicxr.metrics.phrases import clinical_negations


def test_terms_added_for_one_reader_are_not_heard_by_another():
    first = clinical_negations()
    first.add_patterns({"pseudo_negations": ["no mild"]})
    first.remove_patterns({"preceding_negations": ["no"]})
    second = clinical_negations().get_patterns()
    assert "no mild" not in second["pseudo_negations"]
    assert "no" in second["preceding_negations"]


def test_a_denial_is_one_whichever_reader_was_made_first():
    """The labeler holds "no mild" to deny nothing; the codebooks' extractor, made after it, heard that too."""
    label_reports(["There are no mild degenerative changes."])
    found = LexiconExtractor().extract("There are no mild degenerative changes.")
    assert {entity.text: entity.negated for entity in found}["degenerative change"]
