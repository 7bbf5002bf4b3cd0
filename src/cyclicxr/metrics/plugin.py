"""Metrics of other projects (RaTEScore, GREEN, RadCliQ, RadGraph …), each run by a command in its own environment; knows none of them.

The command reads a JSON line `{"id", "reference", "hypothesis"}` a pair from standard input and writes a line `{"id", "score"}` a pair to
standard output, in any order; all else it says belongs on standard error.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cyclicxr.types import InputError

SILENCE = 1800.0  # seconds without a line after which a command is ended: large models load for minutes
_SHOWN = 120  # letters of a line that a message shows


def plugin_scores(
    name: str, command: str, ids: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], silence: float = SILENCE
) -> Float[np.ndarray, " n"]:
    """The score that a command gives each of n pairs.

    Args:
        name: of the metric, for messages.
        command: as on a command line, but not run through a shell.
        ids: of the pairs, each once.
        references: true reports.
        hypotheses: written ones, an empty one too.
        silence: seconds without a line after which the command is ended.

    Raises:
        InputError: sides of different length, an id twice, or a command that can't be run, fails, says nothing for `silence` seconds,
            writes what is no score, or leaves a pair out.
    """
    if not len(ids) == len(references) == len(hypotheses) or len(set(ids)) != len(ids):
        raise InputError(f"metric '{name}': give one reference and one hypothesis for each id, and each id once")
    place = {study: i for i, study in enumerate(ids)}
    scores = np.full(len(ids), np.nan)
    pairs = zip(ids, references, hypotheses, strict=True)
    lines = [json.dumps({"id": study, "reference": true, "hypothesis": said}, ensure_ascii=False) for study, true, said in pairs]
    for number, line in enumerate(_answers(name, command, lines, silence), start=1):
        study, score = _parsed(name, number, line)
        if study not in place:
            raise InputError(f"metric '{name}': line {number} has id '{study}', which was not asked for; answer each id once")
        if not math.isnan(scores[place[study]]):
            raise InputError(f"metric '{name}': line {number} has id '{study}' again; answer each id once")
        scores[place[study]] = score
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        raise InputError(f"metric '{name}': no score for {len(missing)} of {len(ids)} pairs, first '{ids[missing[0]]}'; answer all")
    return scores


def _answers(name: str, command: str, lines: Sequence[str], silence: float) -> Iterator[str]:
    """Lines of the command's output that are not empty; it is ended with all it started when the reader stops."""
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        asked.write("".join(f"{line}\n" for line in lines).encode())
        asked.seek(0)
        process = _started(name, command, asked.fileno(), said.fileno())
        assert process.stdout is not None
        with process.stdout:
            try:
                rest = b""
                while chunk := _read(name, process.stdout.fileno(), silence):
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole if line.strip())
                if rest.strip():
                    yield rest.decode(errors="replace")
                code = _ended(name, process, silence)
            finally:
                _end(process)
        if code:
            said.seek(0)
            last = (said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(f"metric '{name}': its command ended with code {code} ({last[:_SHOWN]}); run it by hand: {command}")


def _started(name: str, command: str, asked: int, said: int) -> subprocess.Popen[bytes]:
    try:
        words = shlex.split(command)
        return subprocess.Popen(words, bufsize=0, stdin=asked, stdout=subprocess.PIPE, stderr=said, start_new_session=True)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"metric '{name}': its command can't be run ({error}): {command}") from None


def _read(name: str, output: int, silence: float) -> bytes:
    if not select.select([output], [], [], silence)[0]:
        raise InputError(f"metric '{name}': its command wrote nothing for {silence:g} s and was ended; does it read its input to the end?")
    return os.read(output, 2**16)


def _ended(name: str, process: subprocess.Popen[bytes], silence: float) -> int:
    try:
        return process.wait(silence)
    except subprocess.TimeoutExpired:
        raise InputError(f"metric '{name}': its command closed its output and did not end in {silence:g} s; it was ended") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # nothing of it is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _parsed(name: str, number: int, line: str) -> tuple[str, float]:
    try:
        found: Any = json.loads(line)
        study, score = found["id"], float(found["score"])
    except (ValueError, TypeError, KeyError):
        shown = line.strip()[:_SHOWN]
        raise InputError(
            f'metric \'{name}\': line {number} is not {{"id": …, "score": number}}: {shown}; write anything else to standard error'
        ) from None
    if not math.isfinite(score):
        raise InputError(f"metric '{name}': line {number} scores '{study}' {score}; give a finite number")
    return str(study), score
