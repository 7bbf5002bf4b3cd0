"""What every test may ask for: the OpenI studies where they are present, and hypothesis profiles (`fuzz` tries far more examples)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).parents[1]

settings.register_profile("tests", deadline=None, derandomize=True, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", parent=settings.get_profile("tests"), derandomize=False, max_examples=3000, print_blob=True)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def openi() -> Path:
    """The folder of the OpenI studies (`studies.csv` and `images/`); they are not part of the repository."""
    folder = ROOT.parent / "shared" / "data" / "openi"
    if not (folder / "studies.csv").is_file():
        pytest.skip(f"the OpenI studies are not at ../{folder.relative_to(ROOT.parent)}")
    return folder
