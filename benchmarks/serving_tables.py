"""The section of results/serving.json for BENCHMARKS.md; knows no engine, so that the page is written without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sections import made_by, plain_table, section


@section("Served by vLLM", "serving", "`python benchmarks/serving.py`, in an environment with vLLM")
def serving(found: dict[str, Any]) -> Iterator[str]:
    """Whether vLLM computes what we compute, what its masks let through, and films a second beside ours."""
    most, times = found["largest difference of a log-probability"], found["times our seconds"]
    yield (
        f"{made_by(found)}\nvLLM {found['vllm']}, float32. Largest difference of a token's log-probability from ours: "
        + ", ".join(f"{value:.1e} in the prompt of a {name}" for name, value in most.items())
        + f". {found['films together']} films of one text together, without guidance, take vLLM {times['median']:.2f} times our seconds "
        f"({times['least']:.2f} to {times['most']:.2f} in the rounds).\n"
    )
    names = list(next(iter(found["ways"].values())))
    yield plain_table(["masked by", *names], [[way, *(str(row[name]) for name in names)] for way, row in found["ways"].items()])
