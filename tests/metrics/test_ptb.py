"""The words that are counted: Stanford's where Java is, the stand-in without, and that the two agree."""

import csv
import subprocess

import numpy as np
import pytest

from cyclicxr.metrics import ptb

TEXTS = ["No effusion. Heart size (normal) is 5.5-cm.", "", "1. Stable; unchanged..  2. T8-T9 XXXX,\nlungs\u2028clear"]
WORDS = [
    ["no", "effusion", "heart", "size", "-lrb-", "normal", "-rrb-", "is", "5.5-cm"],
    [],
    ["1", "stable", "unchanged", "2", "t8-t9", "xxxx", "lungs", "clear"],
]
needs_java = pytest.mark.skipif(ptb.java() is None, reason="there is no Java here")


@pytest.fixture
def no_java(monkeypatch):
    monkeypatch.setattr(ptb, "java", lambda: None)


@needs_java
def test_the_ptb_tokenizer_keeps_each_report_on_its_line():
    assert ptb.tokenize(TEXTS) == WORDS
    assert ptb.tokenize(["", " "]) == [[], []]


@pytest.mark.usefixtures("no_java")
def test_the_stand_in_gives_the_same_words_and_says_that_it_stood_in():
    assert ptb.tokenize(TEXTS) == WORDS
    assert "no Java" in ptb.tokenizer_name()


@needs_java
def test_the_stand_in_agrees_on_real_reports(openi, monkeypatch):
    with (openi / "studies.csv").open(encoding="utf-8") as table:
        reports = [row["report"] for row in csv.DictReader(table)][:1000]
    stanford = ptb.tokenize(reports)
    monkeypatch.setattr(ptb, "java", lambda: None)
    same = sum(one == other for one, other in zip(stanford, ptb.tokenize(reports), strict=True))
    assert same / len(reports) > 0.98


@needs_java
def test_meteor_adds_up_and_scores_an_empty_report():
    with ptb.open_meteor() as meteor:
        counts = meteor.statistics(["heart size normal", "no effusion"] * 50, ["the heart is normal size", ""] * 50)
        assert counts.shape == (100, 23)
        one, other, both = meteor.scores(np.stack([counts[0], counts[1], counts[:2].sum(0)]))
        same = meteor.statistics(["lungs clear"], ["lungs clear"])
        alone, with_same = meteor.scores(np.stack([same[0], counts[0] + same[0]]))
    assert other == 0
    assert 0 < both < one < 1
    assert alone == 1
    assert one < with_same < 1


def test_a_java_that_does_not_run_counts_as_none(monkeypatch, tmp_path):
    stub = tmp_path / "java"  # as macOS has one, which only tells where to get Java
    stub.write_text("#!/bin/sh\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    ptb.java.cache_clear()
    try:
        assert subprocess.run(["java"], check=False).returncode == 1
        assert ptb.java() is None
        with ptb.open_meteor() as meteor:
            assert meteor is None
    finally:
        ptb.java.cache_clear()
