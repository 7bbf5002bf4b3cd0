"""What every test may ask for: OpenI where it is present, drawn studies, and hypothesis profiles (`fuzz` tries far more examples)."""

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


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studies table of 24 drawn chests of 128 pixels, in three splits."""
    from cyclicxr.data.phantom import write_phantom_studies  # here: importing the package before OMP_NUM_THREADS is set would be too early

    return write_phantom_studies(tmp_path_factory.mktemp("phantoms"), count=24, seed=0, size=128)
