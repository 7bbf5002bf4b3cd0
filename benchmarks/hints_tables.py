"""What the hints are worth, in rows for BENCHMARKS.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sections import made_by, plain_table, section

SIDES = {"reports": "CXR to report, by keywords", "drawings": "Report to CXR, by keypatches"}


@section("What the hints bring", "hints", "`python benchmarks/hints.py STUDIES`")
def hints(found: dict[str, Any]) -> Iterator[str]:
    """Each direction without hints, with another's and with its own, and the differences film by film."""
    yield (
        f"{made_by(found)}\n{found['films']} films of the {found['split']} split, seed {found['seed']}. Shuffled hints are another film's "
        "or report's; nats a token are those of the true report, or of the true film's codes: less is better. Differences are of the same "
        "films, with 95 % intervals over films and two-sided p.\n"
    )
    for side, title in SIDES.items():
        rows, less = found[side]["rows"], found[side]["matched less"]
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        table = [[hint, *(number(row.get(name)) for name in names)] for hint, row in rows.items()]
        table += [[f"matched less {hint}", *(number(row.get(name)) for name in names)] for hint, row in less.items()]
        yield f"### {title}\n\n" + plain_table(["hints", *names], table)


def number(of: dict[str, Any] | None) -> str:
    """With its interval and p, where it has them; empty for none."""
    if of is None:
        return ""
    interval = "" if of["low"] is None else f" ({of['low']:.3f} to {of['high']:.3f})"
    return f"{of['value']:.3f}{interval}" + (f", p {of['p']:.3f}" if "p" in of else "")
