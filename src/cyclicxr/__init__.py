"""Chest X-ray to report and back, with the evidence shown: AdaMatch-Cyclic (ACL 2024).

`load` opens a model; what it can do is in `cyclicxr.cycle`. Importing this package loads no deep-learning library.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cyclicxr.types import InputError, Result

if TYPE_CHECKING:
    import cyclicxr.cycle

__version__ = "0.1.0"

__all__ = ["InputError", "Result", "__version__", "load"]


def load(name_or_dir: str | Path | None = None) -> cyclicxr.cycle.Model:
    """Open a model.

    Args:
        name_or_dir: a model directory, or the name of a model in the package; None is the small model that ships.

    Returns:
        The model, with `report(image)`, `draw(text)`, `cycle(image)` and `explain(image, text)`.

    Raises:
        InputError: there is no such model, or its directory is not whole.
    """
    from cyclicxr.cycle import Model

    return Model.load(name_or_dir)
