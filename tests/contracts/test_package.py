"""The package as it is installed: quick to import, one version, everything in the wheel, a model that is small enough."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import cyclicxr

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "cyclicxr"
MODELS = PACKAGE / "models"


def test_importing_the_package_loads_no_deep_learning_library() -> None:
    program = "import sys, cyclicxr; print(sorted({'torch', 'transformers', 'spacy', 'PIL'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_public_names_exist() -> None:
    assert cyclicxr.__all__ == ["InputError", "Result", "__version__", "load"]
    assert all(hasattr(cyclicxr, name) for name in cyclicxr.__all__)


def test_there_is_one_version() -> None:
    assert version("cyclicxr") == cyclicxr.__version__
    assert f"\nversion: {cyclicxr.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None and newest[1] == cyclicxr.__version__


def test_the_console_script_leads_to_the_command_line() -> None:
    (script,) = entry_points(group="console_scripts", name="cyclicxr")
    assert callable(script.load())


def test_loading_a_model_that_does_not_exist_is_the_callers_mistake() -> None:
    with pytest.raises(cyclicxr.InputError, match="no-such-model"):
        cyclicxr.load("no-such-model")


def test_the_models_that_ship_are_small_and_hold_no_pickle() -> None:
    if not MODELS.is_dir():
        pytest.skip("no model ships yet")
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 60 * 2**20
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".png", ".txt", ".jinja"}


@pytest.mark.slow
def test_the_wheel_holds_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT / "src").as_posix() for path in files} - packed == set()
    assert any(name.endswith("licenses/LICENSE") for name in packed)
