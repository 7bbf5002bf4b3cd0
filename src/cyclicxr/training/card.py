"""The model card, written from what each stage recorded; knows no metric of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclicxr.checkpoint import write_atomically
from cyclicxr.config import Preset
from cyclicxr.types import NOTICE

_TEXT = """# Model card: {name}

**{notice}**

AdaMatch-Cyclic: chest X-ray to report and back. Written by `cyclicxr train` from the records of its stages.

## Data
The studies table's `train` split alone; numbers below are from its `val` split. The weights in the package were trained on OpenI
(Indiana University, Demner-Fushman et al., JAMIA 2016; CC BY-NC-ND 4.0): 2,765 frontal films of as many patients, 256 x 256 px.
The directory holds no film and no report; keypatch thumbnails are decoded from one image token each.

## What each stage learned (validation split)
{tables}

## Limits
- Trained on few films of one institution from one country; adults; frontal views squashed to a square. Nothing else was tested.
- Reports are fluent whether or not they are right. Rare findings are missed; negations follow the training reports' habits.
- Evidence boxes show which patch matched a word best, not where a finding is. How often the two meet is measured by
  `cyclicxr evaluate --tasks grounding`.
- The consistency of a sentence is a rough sign, not a check that can be relied on.
- A drawn film is no patient's and must not be used as one.
"""


def write_card(directory: Path, preset: Preset, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `MODEL_CARD.md` of a model directory."""
    tables = "\n\n".join(_table(stage, numbers) for stage, numbers in records.items())
    with write_atomically(directory / "MODEL_CARD.md") as temporary:
        temporary.write_text(_TEXT.format(name=preset.name, notice=NOTICE, tables=tables), encoding="utf-8")


def _table(stage: str, numbers: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {_number(value)} |" for name, value in numbers.items() if not isinstance(value, (list, dict))]
    return "\n".join([f"### {stage}", "| | |", "|---|---|", *rows])


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
