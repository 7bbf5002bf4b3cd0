"""The sections of BENCHMARKS.md about what comes before a model: films, tables and the gate; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sections import made_by, met, plain_table, section, short


@section("Is it a frontal chest film?", "frontal_gate", "`python benchmarks/frontal_gate.py OPENI`")
def frontal_gate(found: dict[str, Any]) -> Iterator[str]:
    """What the gate refuses, of films that must pass and of others, beside two rules."""
    fast, large = (found["milliseconds"][size]["median"] for size in ("256 x 256", "2560 x 2560"))
    yield (
        f"{made_by(found)}\nShares refused (score below {found['accepted']}), with Wilson's 95 % interval. One film takes {fast:.1f} ms "
        f"(256 x 256 px; {large:.1f} ms of 2,560 x 2,560 px) after decoding.\n"
    )
    val, test, rules = found["gate"]["val"], found["gate"]["test"], found["rules"]
    header = ["films", "gate, val", "gate, test", *(f"{rule}, test" for rule in rules)]
    yield plain_table(
        header, [[name, _share(val[name]), _share(test[name]), *(_share(rule.get(name)) for rule in rules.values())] for name in test]
    )
    yield "The rules' thresholds refuse 1 % of the validation frontals.\n\n### Films that must pass\n"
    yield plain_table(["films", "refused"], [[name, _share(share)] for name, share in found["must pass"].items()])
    yield "### Pictures that are no chest films\n"
    rows = [
        [name, _share(share), ", ".join(f"{reason} {n}" for reason, n in share["reasons"].items())]
        for name, share in found["other pictures"].items()
    ]
    yield plain_table(["pictures", "refused", "as"], rows)
    yield "### Films that OpenI holds turned or under a wrong name\n"
    yield plain_table(
        ["film", "said", "score"], [[film["flag"], film["reason"] or "passes", f"{film['score']:.2f}"] for film in found["flagged films"]]
    )


def _share(share: dict[str, Any] | None) -> str:
    return f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}] of {share['n']:,}" if share else ""


def gate_targets(found: dict[str, Any] | None) -> Iterator[list[str]]:
    if found:
        test = found["gate"]["test"]
        yield ["gate: at most 1 % of frontals refused", _share(test["frontals"]), met(test["frontals"]["value"] <= 0.01)]
        for name in ("laterals", "frontals, inverted"):
            yield [f"gate: at least 95 % of {name} caught", _share(test[name]), met(test[name]["value"] >= 0.95)]


@section("A table of MIMIC-CXR's size", "mimic_rows", "`python benchmarks/mimic_rows.py`")
def mimic_rows(found: dict[str, Any]) -> Iterator[str]:
    """What a studies table of MIMIC-CXR's size costs."""
    yield (
        f"{made_by(found)}\n`cyclicxr data mimic` over made-up downloads in the official layout, with empty films and made-up reports. "
        f"The yardstick of the other tables took {found['yardstick_seconds']:.2f} s in the same run.\n"
    )
    yield plain_table(["films", "seconds", "largest memory, MiB"], [[short(value) for value in row.values()] for row in found["rows"]])


@section("Burnt-in text", "burnt_in_text", "`python benchmarks/burnt_in_text.py STUDIES`")
def burnt_in_text(found: dict[str, Any]) -> Iterator[str]:
    """How much drawn text is found, and how often some is found where none was drawn."""
    yield (
        f"{made_by(found)}\nOne line of text is drawn on each film, in one of three sizes, white or black, at a random place; films of "
        "OpenI are enlarged to 512 pixels first. It is found if half of its width is covered. A film is flagged if anything "
        "is found before text is drawn. The thresholds were chosen on some of these validation films.\n"
    )
    rows = [
        [name, str(it["films"]), f"{it['text found']:.1%}", f"{it['films flagged without text']:.1%}"]
        for name, it in found["measured"].items()
    ]
    yield plain_table(["films", "n", "text found", "flagged without text"], rows)


@section("Speed of the loader", "loader_speed", "`python benchmarks/loader_speed.py`")
def loader_speed(found: dict[str, Any]) -> Iterator[str]:
    """Films a second that are ready for a network, beside the plain way, and beside what training takes."""
    eats = f"Training takes {found['eaten']:.0f} films a second (its fastest stage). " if found["eaten"] else ""
    yield (
        f"{made_by(found)}\nFilms a second from file to 256 x 256 pixels, median of {found['times']} rounds in turn. Plainly: pydicom's "
        "`pixel_array` or Pillow, as floats, resized. Cold: this loader fills its cache, of more than 64 films with "
        f"{found['workers']} processes. Warm: shuffled batches from it, as training reads them. {eats}\n"
    )
    rows = []
    for kind, films in found["films"].items():
        plain = films["rates"]["plainly, one by one"]["median"]
        rows += [
            [kind, way, f"{rate['median']:,.0f}", f"{rate['slowest']:,.0f}", f"{rate['median'] / plain:.1f}"]
            for way, rate in films["rates"].items()
        ]
    yield plain_table(["films", "way", "films/s, median", "films/s, slowest", "median / plainly"], rows)


def loader_targets(found: dict[str, Any] | None) -> Iterator[list[str]]:
    if found and found["eaten"]:
        slowest = min(films["rates"]["ours, warm"]["slowest"] for films in found["films"].values())
        times = slowest / found["eaten"]
        yield ["the loader alone gives at least 5 x the films that training takes", f"{times:.0f} x", met(times >= 5)]
