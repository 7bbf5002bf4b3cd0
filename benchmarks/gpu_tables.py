"""What a GPU showed, in words and rows for BENCHMARKS.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sections import made_by, plain_table, section


@section("On a GPU", "gpu", "`python benchmarks/gpu.py`")
def gpu(found: dict[str, Any]) -> Iterator[str]:
    """Each piece that was run, beside the speed that the card's products of matrices reach in the same run."""
    card = found["gpu"]
    where = f"{card['name']}, {card['GiB']:.0f} GiB, CUDA {card['CUDA']}" if "GiB" in card else card["name"]
    yield f"{made_by(found)}\n{where}. All weights are random; films are drawn chests. Medians of rounds in turn.\n"
    for piece, write in PIECES.items():
        if piece in found:
            yield from write(found[piece], found)


def _speeds(of: dict[str, Any], _: dict[str, Any]) -> Iterator[str]:
    reached = ", ".join(f"{speed:,.0f} TFLOP/s in {kind}" for kind, speed in of["TFLOP/s"].items())
    yield f"A product of two large matrices of random numbers reaches {reached}; a copy moves {of['GB/s']:,.0f} GB/s, read and written.\n"


def _maxsim(of: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    errors = {name: row for name, row in of["errors"].items() if name != "pairs"}
    yield (
        f"### Similarities\n\n{of['n']} patches, {of['k']} words, {of['d']} wide. Against the plain way in float64, "
        f"{of['errors']['pairs']} pairs, reports of 8 to {of['k']} words; a gradient's error is mostly of places whose maximum is another "
        "by rounding.\n"
    )
    rows = [[name, f"{row['similarities, largest']:.1e}", f"{row['gradients, relative']:.1e}"] for name, row in errors.items()]
    yield plain_table(["products in", "similarities, largest error", "gradients, relative error"], rows)
    rows = [row for one in of["rows"] for row in _ways(one, found)]
    yield plain_table(["pairs", "way", "ms, both passes", "GiB beyond the inputs", "share of the card's speed"], rows)


def _ways(one: dict[str, Any], found: dict[str, Any]) -> Iterator[list[str]]:
    """A row a way; the share is that of the forward product alone, all that has to be multiplied, in the time of both passes."""
    for way in ("ours", "ours, bfloat16 vectors", "einsum, max", "einsum, amax"):
        seconds = one["seconds"].get(way)
        if seconds is None:
            yield [f"{one['pairs']}", way, "out of memory", "–", "–"]
            continue
        kind = "bfloat16" if "bfloat16" in way else "float32"
        share = _share(one["TFLOP"], seconds, kind, found)
        yield [f"{one['pairs']}", way, f"{1000 * seconds:,.1f}", f"{one['GiB'][way]:.2f}", share]


def _encoders(of: list[dict[str, Any]], _: dict[str, Any]) -> Iterator[str]:
    yield "### Adaptive patches\n\nThe image encoder, forward in bfloat16 and backward, beside the same with a fixed patch embedding.\n"
    header = ["preset", "films", "ms, adaptive", "ms, fixed", "GiB, adaptive", "GiB, fixed", "time ratio", "memory ratio"]
    rows = []
    for row in of:
        seconds, memory = row["seconds"], row["GiB"]
        ratio = f"{memory['adaptive'] / memory['fixed']:.3f}" if memory["fixed"] else "–"
        numbers = [f"{1000 * seconds[kind]:,.1f}" for kind in seconds] + [f"{memory[kind]:.2f}" for kind in memory]
        rows.append([row["preset"], f"{row['films']}", *numbers, f"{row['time ratio']:.3f}", ratio])
    yield plain_table(header, rows)


def _matcher(of: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"### A training step of the matcher\n\nPreset paper, {of['batch']} pairs, {of['weights'] / 1e6:,.0f} M weights, "
        f"{of['TFLOP']:.1f} TFLOP, forward in bfloat16, similarities in float32. GiB are weights, moments and all that a step takes; the "
        "prediction is that of the data sheet of one H100 (One machine to many). Compiled: the transformer layers of both encoders.\n"
    )
    ways = {**of["ways"], **({"compiled": found["matcher, compiled"]} if "matcher, compiled" in found else {})}
    rows = [
        [name, f"{1000 * way['seconds']:,.0f}", f"{sum(way['GiB'].values()):.1f}", _share(of["TFLOP"], way["seconds"], "bfloat16", found)]
        for name, way in ways.items()
    ]
    yield plain_table(["", "ms", "GiB", "share of the card's speed"], [*rows, *_predicted(of)])
    total = sum(part["seconds"] for part in of["parts"].values())
    parts = [
        [name, f"{1000 * part['seconds']:,.1f}", f"{part['seconds'] / total:.0%}", f"{part['TFLOP']:.2f}"]
        for name, part in of["parts"].items()
    ]
    yield plain_table(["part, each until the card is done", "ms", "share", "TFLOP"], parts)


def _generation(of: dict[str, Any], _: dict[str, Any]) -> Iterator[str]:
    yield (
        "### Writing tokens\n\nSampled alike from half of the ids behind one prompt, bfloat16, without guidance; 'generate' is that of "
        "`transformers` with a logits processor for the ids.\n"
    )
    rows = [
        [name, f"{one['weights'] / 1e6:,.0f}", f"{row['batch']}", *(f"{row['tokens/s'][way]:,.0f}" for way in ("ours", "generate")),
         f"{row['times as fast']:.2f}"]
        for name, one in of.items() for row in one["rows"]
    ]  # fmt: skip
    yield plain_table(["", "M weights", "rows", "tokens/s, ours", "tokens/s, generate", "times as fast"], rows)


def _language(of: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"### A training step of a language model of dolly-v2-3b's shape\n\n{of['weights'] / 1e9:.2f} G weights, all trained, "
        f"{of['examples']} examples of {of['tokens']} tokens, layers computed again backwards: {of['tokens/s']:,.0f} tokens/s.\n"
    )
    row = [f"{1000 * of['seconds']:,.0f}", f"{sum(of['GiB'].values()):.1f}", _share(of["TFLOP"], of["seconds"], "bfloat16", found)]
    yield plain_table(["", "ms", "GiB", "share of the card's speed"], [["measured", *row], *_predicted(of)])


def _predicted(of: dict[str, Any]) -> list[list[str]]:
    of = of["predicted"]
    return [["predicted", f"{1000 * of['seconds']:,.0f}", f"{of['GiB']:.1f}", "–"]] if of else []


def _share(tflop: float, seconds: float, kind: str, found: dict[str, Any]) -> str:
    return f"{tflop / seconds / found['speeds']['TFLOP/s'][kind]:.0%}" if "speeds" in found else "–"


PIECES = {
    "speeds": _speeds,
    "maxsim": _maxsim,
    "encoders": _encoders,
    "matcher": _matcher,
    "generation": _generation,
    "language step": _language,
}
