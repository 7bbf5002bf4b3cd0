"""What the hints are worth, in rows for BENCHMARKS.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sections import compared_table, made_by, section

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
        yield f"### {title}\n\n" + compared_table("hints", found[side]["rows"], "matched", found[side]["matched less"])
