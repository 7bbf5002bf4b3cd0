"""A metric in its own environment: a command that works, and every way in which one does not."""

import shlex
import sys
import time

import pytest

from cyclicxr.metrics.plugin import plugin_scores
from cyclicxr.types import InputError

IDS, TRUE, SAID = ["a", "b"], ["no edema", "clear\nlungs"], ["", "clear lungs é"]


def command(script):
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"


WORDS = """
import json, sys
print("loading", file=sys.stderr)
for line in reversed(sys.stdin.readlines()):
    pair = json.loads(line)
    print(json.dumps({"id": pair["id"], "score": len(pair["hypothesis"].split()) / len(pair["reference"].split())}))
"""


def test_scores_come_back_in_the_order_of_the_pairs():
    assert plugin_scores("words", command(WORDS), IDS, TRUE, SAID).tolist() == [0, 3 / 2]


def test_many_pairs_do_not_block_the_pipe():
    ids = [str(i) for i in range(5000)]
    assert plugin_scores("words", command(WORDS), ids, ["x " * 50] * 5000, ["x"] * 5000).sum() == pytest.approx(100)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("import sys; sys.exit('no weights')", "ended with code 1 .no weights"),
        ("print('Loading weights')", "line 1 is not .*Loading weights"),
        ('print(\'{"id": "a", "score": 1}\')', "no score for 1 of 2 pairs, first 'b'"),
        ('print(\'{"id": "c", "score": 1}\')', "'c', which was not asked for"),
        ('print(\'{"id": "a", "score": 1}\\n{"id": "a", "score": 2}\')', "'a' again"),
        ('print(\'{"id": "a", "score": NaN}\')', "scores 'a' nan"),
        ('print(\'{"id": "a", "score": "high"}\')', "line 1 is not"),
        ("print(['a'])", "line 1 is not"),
    ],
)
def test_a_command_that_dies_or_babbles_is_refused(script, told):
    with pytest.raises(InputError, match=told):
        plugin_scores("m", command(script), IDS, TRUE, SAID)


@pytest.mark.parametrize("script", ["import time; time.sleep(60)", "import os, time; os.close(1); time.sleep(60)"])
def test_a_command_that_hangs_is_ended(script):
    started = time.monotonic()
    with pytest.raises(InputError, match="was ended"):
        plugin_scores("m", command(script), IDS, TRUE, SAID, silence=1.0)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("said", ["", "no-such-program --x", "'"])
def test_a_command_that_cannot_run_is_refused(said):
    with pytest.raises(InputError, match="can't be run"):
        plugin_scores("m", said, IDS, TRUE, SAID)


def test_sides_that_do_not_fit_are_refused():
    for ids, said in ((["a", "a"], SAID), (IDS, SAID[:1])):
        with pytest.raises(InputError, match="each id once"):
            plugin_scores("m", command(WORDS), ids, TRUE, said)
