"""What the similarities, adaptive patches and a training step cost, in words and rows for BENCHMARKS.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Table = tuple[list[str], list[list[str]]]


def maxsim_text(found: dict[str, Any]) -> str:
    times = ", ".join(f"{of['times as fast']:.1f} times with {name}" for name, of in found["lengths"].items())
    difference = max(of["largest difference"] for of in found["lengths"].values())
    return (
        f"{found['pairs']} films of {found['n']} patches and as many reports of {found['k']} words at most, {found['d']} wide, float32, "
        f"forward and backward, medians of {found['times']} rounds in turn; decision 34. As fast as the better plain way: {times}; "
        f"{found['times less memory']:.0f} times less memory; similarities and gradients differ by {difference:.1g} at most. A product of "
        f"two large matrices reaches {found['GFLOP/s']:.0f} GFLOP/s in this run, by which the forward product alone needs "
        f"{found['bound, seconds']:.2f} s, {found['share of the bound']:.0%} of the time of both passes."
    )


def maxsim_table(found: dict[str, Any]) -> Table:
    ways = list(found["MB"])
    rows = [[f"s, {name}", *(f"{of['seconds'][way]:.2f}" for way in ways)] for name, of in found["lengths"].items()]
    return ["", *ways], [*rows, ["MB beyond the inputs", *(f"{found['MB'][way]:,.0f}" for way in ways)]]


def encoder_text(found: dict[str, Any]) -> str:
    return (
        "The image encoder, forward and backward, beside the same with a fixed patch embedding in place of AdaPatch; medians of "
        f"{found['times']} rounds in turn. Memory is beyond weights, gradients and films."
    )


def encoder_table(found: dict[str, Any]) -> Table:
    header = ["preset", "films", "ms a film, adaptive", "ms a film, fixed", "MB, adaptive", "MB, fixed", "time ratio", "memory ratio"]
    rows = []
    for name, of in found["presets"].items():
        numbers = [f"{of[what][kind]:,.0f}" for what in ("ms a film", "MB") for kind in ("adaptive", "fixed")]
        rows.append([name, str(of["batch"]), *numbers, f"{of['time ratio']:.3f}", f"{of['memory ratio']:.3f}"])
    return header, rows


def step_text(found: dict[str, Any]) -> str:
    return (
        f"Preset openi-small, {found['batch']} pairs of {found['tokens']:.0f} tokens, {found['seconds']:.2f} s a step, medians of "
        f"{found['times']}. A product of two large matrices reaches {found['GFLOP/s']:.0f} GFLOP/s in the same run; at that speed each "
        "part's products alone take what the last column says, and no part can take less."
    )


def step_table(found: dict[str, Any]) -> Table:
    speed = found["GFLOP/s"]
    rows = [
        [name, f"{of['seconds']:.3f}", f"{of['share']:.0%}", f"{of['GFLOP']:.1f}", f"{of['GFLOP'] / speed:.3f}"]
        for name, of in found["parts"].items()
    ]
    return ["part", "s", "share", "GFLOP", "s at the least"], rows


def goals(maxsim: dict[str, Any] | None, encoder: dict[str, Any] | None) -> Iterator[tuple[str, str, bool]]:
    """What was asked for, what was reached, whether that is enough."""
    if maxsim:
        times, less = next(iter(maxsim["lengths"].values()))["times as fast"], maxsim["times less memory"]
        yield "patch-word similarity: at least 3 x the speed of the plain einsum", f"{times:.1f} x", times >= 3
        yield "patch-word similarity: at least 40 x less memory", f"{less:.0f} x", less >= 40
    for name, of in encoder["presets"].items() if encoder else ():
        for what in ("time", "memory"):
            ratio = of[f"{what} ratio"]
            yield f"adaptive patches, {name}: at most 1.05 x the {what} of fixed ones", f"{ratio:.2f} x", ratio <= 1.05
