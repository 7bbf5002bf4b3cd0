"""What a large language model needs, in rows for BENCHMARKS.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sections import load, made_by, met, plain_table, section

MOST = 12.0  # GiB of resident memory
MOST_LOST = 0.02  # nats a token


@section("A language model of three billion weights", "large_model", "`python benchmarks/large_model.py STUDIES`")
def large_model(found: dict[str, Any]) -> Iterator[str]:
    """Memory and speed of dolly-v2-3b's shape, and what few bits cost the shipped model."""
    prompt = next(iter(found["large"].values()))["prompt tokens"]
    yield (
        f"{made_by(found)}\n{found['weights'] / 1e9:.2f} billion random weights in dolly-v2-3b's shape, read from shards of bfloat16; one "
        f"text of {found['tokens']} tokens behind a film's prompt of {prompt:.0f}, medians. Memory is a process's own peak beyond "
        f"its imports, loading included. In float32 the weights alone would be {4 * found['weights'] / 2**30:.1f} GiB. Twenty products of "
        f"1,024 x 1,024 float32 matrices took {found['yardstick, s']:.2f} s just before.\n"
    )
    kept = ("weights, GiB", "peak, GiB", "load, s", "prompt, s", "tokens/s")
    yield plain_table(["weights", *kept], [[kind, *(f"{of[name]:.2f}" for name in kept)] for kind, of in found["large"].items()])
    yield (
        f"The shipped model on the reports of {found['films']} validation films, no keyword told: nats a token, mean over reports, and how "
        "far they are from float32.\n"
    )
    names = list(next(iter(found["losses"].values())))
    yield plain_table(["weights", *names], [[kind, *(f"{of[name]:.4f}" for name in names)] for kind, of in found["losses"].items()])


def large_model_targets(results: Path) -> Iterator[list[str]]:
    """Rows of the table of goals."""
    found = load("large_model", results)
    if found is None:
        return
    for kind, of in found["large"].items():
        yield [f"3 billion weights in {kind}: at most {MOST:.0f} GiB resident", f"{of['peak, GiB']:.1f} GiB", met(of["peak, GiB"] <= MOST)]
    more = found["losses"]["int8"]["more than float32"]
    yield [f"int8: at most {MOST_LOST} nats a token more than float32", f"{more:.4f}", met(more <= MOST_LOST)]
