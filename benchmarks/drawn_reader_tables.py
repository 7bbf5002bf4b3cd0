"""What two readers find on drawn films, in rows for BENCHMARKS.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sections import compared_table, load, made_by, met, section

from cyclicxr.evaluate.drawn_findings import MEAN
from cyclicxr.evaluate.verdicts import DRAWN

AREA = 0.70  # that drawn films are to reach for each finding of the goal


@section("What another reader finds on drawn films", "drawn_reader", "`python benchmarks/drawn_reader.py STUDIES`")
def drawn_reader(found: dict[str, Any]) -> Iterator[str]:
    """AUC of findings on each set of films, by the model's own classifier and by one that had no part in it."""
    yield (
        f"{made_by(found)}\n{found['films']} films of the {found['split']} split. The VQ-GAN was trained with features of the model's own "
        "classifier, and among drawings the global alignment chooses; the other reader was trained for this table alone: another seed, "
        "fixed patches, eight passes over the findings. AUC with 95 % intervals over films; differences: the same films, p two-sided.\n"
    )
    for reader, tables in found["readers"].items():
        yield f"### Read by {reader}\n\n" + compared_table("films", tables["rows"], "drawn", tables["drawn less"])


def drawn_reader_targets(results: Path) -> Iterator[list[str]]:
    """The goal, as the reader sees it that had no part in the model."""
    found = load("drawn_reader", results)
    if found:
        *_, (reader, tables) = found["readers"].items()
        for name, of in tables["rows"][DRAWN].items():
            if name != MEAN:
                asked = f"drawn films: AUC of {name} at least {AREA:.2f}, read by {reader}"
                yield [asked, f"{of['value']:.3f} [{of['low']:.3f}, {of['high']:.3f}]", met(of["value"] >= AREA)]
