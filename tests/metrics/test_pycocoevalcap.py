"""Report scores against pycocoevalcap run plainly, from its own tokenizer to its scores, on drawn and on real reports."""

import csv

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from cyclicxr.data.phantom import draw_phantom
from cyclicxr.metrics import ptb
from cyclicxr.metrics.report import score_reports

needs_java = pytest.mark.skipif(ptb.java() is None, reason="there is no Java here")
STAND_IN = 0.002  # the most that a score may differ without Java
METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr")


def plainly(references, hypotheses):
    """What pycocoevalcap's own classes make of the two."""
    tokenizer = PTBTokenizer()
    gold, written = (tokenizer.tokenize({name: [{"caption": text}] for name, text in side.items()}) for side in (references, hypotheses))
    bleu, _ = Bleu(4).compute_score(gold, written, verbose=0)
    meteor = Meteor()
    scores = dict(zip(METRICS[:4], bleu, strict=True)) | {"METEOR": meteor.compute_score(gold, written)[0]}
    for pipe in (meteor.meteor_p.stdout, meteor.meteor_p.stderr):
        pipe.close()
    return scores | {"ROUGE-L": Rouge().compute_score(gold, written)[0], "CIDEr": Cider().compute_score(gold, written)[0]}


def drawn():
    reports = [draw_phantom(seed, size=32).report for seed in range(60)]
    names = [f"p{i}" for i in range(30)]
    return dict(zip(names, reports[:30], strict=True)), dict(zip(names, reports[30:], strict=True))


def real(openi):
    """400 real reports, each against another that shares its length: of train and val, for test is never looked at."""
    with (openi / "studies.csv").open(encoding="utf-8") as table:
        reports = [" ".join(row["report"].split()) for row in csv.DictReader(table) if row["split"] != "test"]
    reports = sorted(reports[::3][:401], key=len)
    names = [f"r{i}" for i in range(400)]
    return dict(zip(names, reports, strict=False)), dict(zip(names, reports[1:], strict=True))


@needs_java
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.parametrize("kind", ["drawn", pytest.param("real", marks=pytest.mark.slow)])
def test_scores_equal_pycocoevalcap(kind, request):
    pairs = drawn() if kind == "drawn" else real(request.getfixturevalue("openi"))
    found = score_reports(*pairs)
    for metric, expected in plainly(*pairs).items():
        assert found[metric] == pytest.approx(expected, abs=1e-4), metric


@needs_java
@pytest.mark.parametrize("kind", ["drawn", pytest.param("real", marks=pytest.mark.slow)])
def test_scores_without_java_differ_little(kind, request, monkeypatch):
    pairs = drawn() if kind == "drawn" else real(request.getfixturevalue("openi"))
    with_java = score_reports(*pairs)
    monkeypatch.setattr(ptb, "java", lambda: None)
    without = score_reports(*pairs)
    assert without.tokenizer != with_java.tokenizer
    for metric in METRICS:
        assert without[metric] == pytest.approx(with_java[metric], abs=STAND_IN), metric
