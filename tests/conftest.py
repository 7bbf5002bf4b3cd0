"""What every test may ask for: OpenI where it is present, drawn studies, and hypothesis profiles (`fuzz` tries far more examples)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from cyclicxr.config import Preset

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


@pytest.fixture(scope="session")
def toy_preset() -> Preset:
    """`openi-small` at toy width and 64 pixels: every stage takes a few steps."""
    from cyclicxr.config import OPENI_SMALL, override

    return override(OPENI_SMALL, TOY_NUMBERS)


@pytest.fixture(scope="session")
def toy_run(phantoms: Path, toy_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory that `pipeline.train` filled from the phantoms: all stages, `model/` whole, its contents worth nothing."""
    from cyclicxr.training import pipeline

    return pipeline.train(phantoms, toy_preset, tmp_path_factory.mktemp("toy") / "run").root


TOY_NUMBERS = {
    "encoder.size": 64,
    "encoder.widths": (8, 8, 16, 16),
    "encoder.convolutions": (0, 1, 1, 0),
    "encoder.attentions": (0, 0, 1, 1),
    "encoder.heads": (1, 1, 2, 2),
    "encoder.size_scale": 0.6,
    "classifier.min_films": 2,
    "classifier.epochs": 1,
    "classifier.batch": 6,
    "words.vocabulary": 200,
    "words.width": 16,
    "words.layers": 1,
    "words.heads": 2,
    "words.max_tokens": 64,
    "words.epochs": 1,
    "match.width": 16,
    "match.epochs": 1,
    "match.batch": 6,
    "codebooks.keywords_per_group": 8,
    "codebooks.pairs": 20,
    "codebooks.keypatches_per_pair": 2,
    "vqgan.codes": 32,
    "vqgan.code_width": 8,
    "vqgan.channels": 16,
    "vqgan.multipliers": (1, 1, 1),
    "vqgan.epochs": 1,
    "vqgan.decoder_epochs": 1,
    "vqgan.batch": 6,
    "vqgan.adversarial_start": 0.5,
    "vqgan.discriminator_channels": 4,
    "vqgan.discriminator_crop": 32,
    "language.vocabulary": 300,
    "language.width": 32,
    "language.layers": 2,
    "language.heads": 2,
    "language.context": 192,
    "language.epochs": 1,
    "language.batch": 12,
    "language.film_variants": 2,
    "language.max_report_tokens": 24,
}
