"""Words of a report as COCO's caption evaluation counts them, and METEOR 1.5: the two that need Java, and what stands in without it.

Java is looked for once. The jars come with `pycocoevalcap` and run as separate processes; knows no corpus metric.
"""

from __future__ import annotations

import functools
import html
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float

# What pycocoevalcap drops. Its list has "-LRB-" in capitals while its tokens are lower case: brackets stay, there and here.
_PUNCTUATION = frozenset("'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;".split())
# Where Stanford's tokenizer differs from the Treebank rules. A full stop goes from its word, except from these abbreviations (wherever they
# stand: "chest CT." is Connecticut's), from those with a capital, from those before a number, and from initials ("p.m.", "E. coli").
_ABBREVIATIONS = """jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri ala ariz calif colo conn ct dak fla ga
ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc wyo bros inc co cos corp ltd plc etc al seq
gov gen lt col capt maj sgt mr mrs ms mme dr drs prof rev hon rep sen jr sr esq ph vs alex wm jos treas det ft st ave
rd blvd mt dept est tel ext rt cf messrs adm cmdr supt asst assoc univ natl intl ste""".split()
_CAPITALISED = "Ark Del Ill La Mass Miss Ore Pa Tex Wash".split()
_KEPT = (
    rf"(?i:{'|'.join(_ABBREVIATIONS)})|{'|'.join(f'{word}|{word.upper()}' for word in _CAPITALISED)}"
    r"|(?i:nos?|figs?|pp|ca)(?=\.\s+\d)|(?:[A-Za-z]\.)+[A-Za-z]|[A-Za-z](?=\.(?:\s+[^A-Z\s]|\s+[A-Z]\.|\s*$))"
)
_FULL_STOP = re.compile(rf"(?<![\w./-])(?P<kept>(?:{_KEPT})\.)\.*(?=\s|$)|\.+(?=\s|$)")
_APART = re.compile(r"(?<!\S)[+~=*']+(?=\w)(?!'\d)|/(?=\s|$)|(?<=[a-z])-(?=\s|$)|(?<=\s)-(?=[A-Za-z])")
_ITEM = re.compile(r"(?<!\S)(\d+)\.(?=[A-Za-z])")  # "2.No effusion"
_STATISTICS = 23  # numbers that METEOR 1.5 keeps of one pair; they add up over pairs
_CHUNK = 64  # lines written before as many are read: less than a pipe holds


@functools.cache
def java() -> str | None:
    """The Java runtime's path; None where there is none that runs."""
    found = shutil.which("java")
    if found is None:
        return None
    works = subprocess.run([found, "-version"], capture_output=True, check=False).returncode == 0
    return found if works else None


def tokenizer_name() -> str:
    """Which tokenization `tokenize` uses on this machine."""
    return "PTB (Stanford CoreNLP 3.4.1)" if java() else "Treebank (nltk), no Java"


def tokenize(texts: Sequence[str]) -> list[list[str]]:
    """Lower-case words without punctuation, as pycocoevalcap's PTBTokenizer gives them.

    Without Java, nltk's Treebank rules with Stanford's abbreviations: the same words for all but a few in a thousand of OpenI's reports.
    """
    lines = [" ".join(text.split()) for text in texts]
    runtime = java()
    tokens = _stanford(runtime, lines) if runtime else [_treebank(line) for line in lines]
    return [[token for token in line if token not in _PUNCTUATION] for line in tokens]


class Meteor:
    """METEOR 1.5 (exact, stem, synonym and paraphrase matches) in a running Java process; made by `open_meteor`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def statistics(self, references: Sequence[str], hypotheses: Sequence[str]) -> Float[np.ndarray, "n 23"]:
        """What METEOR counts of each pair of tokenized texts; the counts of a corpus are their sum."""
        pairs = zip(references, hypotheses, strict=True)
        answers = self._ask([f"SCORE ||| {_field(reference)} ||| {_field(hypothesis)}" for reference, hypothesis in pairs], 1)
        counts = np.array([[float(number) for number in answer.split()] for answer in answers]).reshape(-1, _STATISTICS)
        words, matched, chunks = counts[:, :2], counts[:, 21:], counts[:, 20]
        chunks[(chunks == 1) & (words == matched).all(1)] = (
            0  # as METEOR does when it adds up: a pair that is the same has no order to fault
        )
        return counts

    def scores(self, sums: Float[np.ndarray, "r 23"]) -> Float[np.ndarray, " r"]:
        """Corpus METEOR of each row of summed counts, in [0, 1]."""
        lines = ["EVAL ||| " + " ".join(f"{number:.1f}" for number in row) for row in sums]
        return np.array([float(answer) for answer in self._ask(lines, 2)[::2]])

    def _ask(self, lines: list[str], answers_each: int) -> list[str]:
        source, sink = self._process.stdin, self._process.stdout
        assert source is not None and sink is not None
        answers: list[str] = []
        for start in range(0, len(lines), _CHUNK):
            chunk = lines[start : start + _CHUNK]
            source.write("\n".join(chunk) + "\n")
            source.flush()
            answers += [sink.readline().strip() for _ in range(answers_each * len(chunk))]
        if not all(answers):
            raise RuntimeError("METEOR: its Java process ended early (it needs some 2 GB of memory)")
        return answers


@contextmanager
def open_meteor() -> Iterator[Meteor | None]:
    """METEOR 1.5, started once for several scorings (it takes seconds to start); None where there is no Java."""
    runtime = java()
    if runtime is None:
        yield None
        return
    command = [runtime, "-Xmx2G", "-jar", str(_jar("meteor/meteor-1.5.jar")), "-", "-", "-stdio", "-l", "en", "-norm"]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, text=True, encoding="utf-8", stdin=pipe, stdout=pipe, stderr=quiet) as process:
        try:
            yield Meteor(process)
        finally:
            process.kill()


class _Stemmer:
    """nltk's Porter stemmer, each word once: reports repeat theirs."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = functools.cache(PorterStemmer().stem)


_stemmer = functools.cache(_Stemmer)


class _NoSynonyms:
    """Stands where nltk's METEOR asks WordNet, which is a download."""

    def synsets(self, word: str) -> list[str]:
        """None."""
        return []


def nltk_meteor(reference: Sequence[str], hypothesis: Sequence[str]) -> float:
    """METEOR (2005) of nltk with exact and stem matches only, in [0, 1]: another metric than METEOR 1.5, and named so."""
    from nltk.translate.meteor_score import single_meteor_score

    return float(single_meteor_score(list(reference), list(hypothesis), stemmer=_stemmer(), wordnet=_NoSynonyms()))


def _stanford(runtime: str, lines: list[str]) -> list[list[str]]:
    command = [runtime, "-cp", str(_jar("tokenizer/stanford-corenlp-3.4.1.jar")), "edu.stanford.nlp.process.PTBTokenizer"]
    command += ["-encoding", "utf-8", "-preserveLines", "-lowerCase"]
    filled = [line for line in lines if line]  # empty lines never reach Java: whether it keeps them is its own affair
    if not filled:
        return [[] for _ in lines]
    ran = subprocess.run(command, input="\n".join(filled) + "\n", capture_output=True, text=True, encoding="utf-8", check=True)
    found = ran.stdout.removesuffix("\n").split("\n")
    if len(found) != len(filled):
        raise RuntimeError(f"PTB tokenizer: {len(filled)} reports went in and {len(found)} came out")
    rest = iter(found)
    return [next(rest).split() if line else [] for line in lines]


def _treebank(line: str) -> list[str]:
    from nltk.tokenize import TreebankWordTokenizer

    line = _ITEM.sub(r"\1 ", _APART.sub(r" \g<0> ", html.unescape(line)))
    line = _FULL_STOP.sub(lambda stop: stop["kept"] or " .", line)
    words = TreebankWordTokenizer().tokenize(f"{line} .", convert_parentheses=True)  # a last full stop is never a word's own
    return [word.lower() for word in words]


def _field(text: str) -> str:
    return " ".join(text.replace("|||", " ").split())


def _jar(name: str) -> Path:
    spec = importlib.util.find_spec("pycocoevalcap")
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / name
