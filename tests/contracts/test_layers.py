"""Imports go one way. The contract itself is in pyproject.toml; here it is run, and shown to be able to fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def lint(cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT), "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(cwd)})


def house_of_empty_rooms(folder: Path) -> Path:
    package = folder / "cyclicxr"
    for name in ("", "web", "evaluate", "training", "match", "words", "patches"):
        (package / name).mkdir(parents=True, exist_ok=True)
        (package / name / "__init__.py").write_text("")
    for name in ("cli", "cycle", "checkpoint", "config", "types"):
        (package / f"{name}.py").write_text("")
    return package


def test_the_package_keeps_the_contract() -> None:
    found = lint(ROOT / "src")
    assert found.returncode == 0, found.stdout


def test_an_empty_house_keeps_the_contract(tmp_path: Path) -> None:
    house_of_empty_rooms(tmp_path)
    assert lint(tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("module", "line", "why"),
    [
        ("types.py", "import cyclicxr.config", "cyclicxr.types is not allowed to import cyclicxr.config"),
        ("match/adamatch.py", "import cyclicxr.cycle", "cyclicxr.match is not allowed to import cyclicxr.cycle"),
        ("words/encoder.py", "import cyclicxr.patches", "cyclicxr.words is not allowed to import cyclicxr.patches"),
        ("utils.py", "", "cyclicxr.utils"),
    ],
    ids=["upwards", "over two layers", "between siblings", "stray module"],
)
def test_a_breach_is_found(tmp_path: Path, module: str, line: str, why: str) -> None:
    (house_of_empty_rooms(tmp_path) / module).write_text(line + "\n")
    found = lint(tmp_path)
    assert found.returncode != 0
    assert why in " ".join((found.stdout + found.stderr).split())
