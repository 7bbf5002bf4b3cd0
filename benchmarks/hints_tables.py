"""What the hints are worth, in rows for BENCHMARKS.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sections import compared_table, made_by, section

FORMS = "`python benchmarks/hint_forms.py STUDIES`"
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


@section("Hints in other forms", "hint_forms", FORMS)
def hint_forms(found: dict[str, Any]) -> Iterator[str]:
    """Nats of the true reports by models that were told of films in different words."""
    yield (
        f"{made_by(found)}\nA language model for each form, from scratch, taught the training reports alone for {found['passes']} passes "
        f"with {found['variants']} encodings of each film, so not as long as the one that ships; {found['films']} films of the "
        f"{found['split']} split, one seed. Nats a token of the true reports with the film's own hints, another film's "
        "and none: less is better.\n"
    )
    for form, numbers in found["forms"].items():
        yield f"### {form.capitalize()}\n\n" + compared_table("hints", numbers["rows"], "matched", numbers["less"])
    own = found["own hints"]
    yield "### The film's own hints, form against form\n\n" + compared_table("form", own["rows"], own["first"], own["less"])
