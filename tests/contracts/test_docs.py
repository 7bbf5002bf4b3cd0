"""Documentation that cannot drift: generated pages are fresh, named functions and tests exist, links lead somewhere, examples parse."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import pytest

from cyclicxr.types import NOTICE

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "cyclicxr"
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAPER = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")


@lru_cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names_of(path: Path) -> set[str]:
    """Top-level names of a Python file, and `Class.member` one level down."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{child.name}" for child in node.body if isinstance(child, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def unresolved(text: str) -> list[str]:
    """References `path/file.py: name` of a text whose file or name is not there; paths from src/cyclicxr or from the root."""
    missing = []
    for path, names in re.findall(r"`([\w/]+\.py)(?:: ([\w., ]+))?`", text):
        file = next((base / path for base in (PACKAGE, ROOT) if (base / path).is_file()), None)
        there = names_of(file) if file else set()
        missing += [f"{path}: {name}" for name in names.split(", ") if name and name not in there] if file else [path]
    return missing


def equations_of(text: str) -> set[int]:
    """Numbers of the equations that a text names: "Eq. (3)", "Eqs. (7)-(9)", "Eqs. 3-4"."""
    found: set[int] = set()
    for run in re.findall(r"Eqs?\.\s*((?:\(?\d+\)?(?:\s*(?:-|,|and|to)\s*)?)+)", text):
        for first, last in re.findall(r"\(?(\d+)\)?(?:-\(?(\d+)\)?)?", run):
            found |= set(range(int(first), int(last or first) + 1))
    return found


def test_generated_pages_are_fresh() -> None:
    assert [str(path.relative_to(ROOT)) for path in generator().stale()] == [], "run `make docs`"


def test_a_stale_block_is_found() -> None:
    module = generator()
    fresh = module.filled(README)
    assert module.filled(re.sub(r"(<!-- generated: training -->\n)", r"\1a line of last year\n", fresh)) == fresh
    assert "a line of last year" not in fresh


def test_the_map_names_every_module() -> None:
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    modules = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__"]
    assert [module for module in modules if f"`{module}`: " not in text] == []
    assert re.findall(r"^- `.*`: *$", text, re.MULTILINE) == []


def test_a_name_that_does_not_exist_is_found() -> None:
    assert unresolved("`types.py: Film` and `tests/conftest.py`") == []
    assert unresolved("`types.py: Fillm`") == ["types.py: Fillm"]
    assert unresolved("`tests/no_such_test.py`") == ["tests/no_such_test.py"]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_functions_and_tests_that_are_named_exist(page: Path) -> None:
    assert unresolved(page.read_text(encoding="utf-8")) == []


def test_every_equation_has_a_function_and_a_test() -> None:
    assert "TODO" not in PAPER
    rows = [line for line in PAPER.splitlines() if line.startswith("| Eq")]
    assert set.union(*(equations_of(row) for row in rows)) == set(range(1, 12))
    for row in rows:
        *_, functions, tests, _end = row.split("|")
        assert re.search(r"`\w[\w/]*\.py: ", functions), row
        assert re.search(r"`tests/[\w/]*\.py: test_", tests), row


def test_equations_are_read_in_every_form() -> None:
    assert equations_of("Source: Eqs. (1), (2).") == {1, 2}
    assert equations_of("Eqs. (7)-(9) and Eq. 11") == {7, 8, 9, 11}
    assert equations_of("Eqs. 1-4") == {1, 2, 3, 4}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_decisions_are_numbered_and_whole() -> None:
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    for page in DECISIONS:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert re.search(r"^Status: (accepted|superseded by \d+|proposed)", text, re.MULTILINE), page.name
        bodies = re.split(r"^## (?:Context|Decision|Consequences)$", text, flags=re.MULTILINE)
        assert len(bodies) == 4 and all(len(body.split()) > 10 for body in bodies[1:]), page.name


def test_the_readme_begins_with_the_notice_and_a_command() -> None:
    first = "\n".join(README.splitlines()[:25])
    notice = re.sub(r"\W+", " ", NOTICE).strip()
    assert notice in re.sub(r"\W+", " ", first)
    assert "make demo" in first


def test_commands_of_the_docs_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in DOCS for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)}
    assert {"demo", "test", "check", "install"} <= named
    assert named - targets == set()


def test_commands_of_the_readme_are_commands_of_the_program() -> None:
    named = set(re.findall(r"^cyclicxr (\w+)", README, re.MULTILINE))
    known = set(re.findall(r"^## cyclicxr (\w+)", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert named and named - known == set()


def test_python_of_the_readme_parses_and_names_what_exists() -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert examples
    methods = set(re.findall(r"\bmodel\.(\w+)\(", "".join(examples)))
    for example in examples:
        compile(example, "README.md", "exec")
    assert {f"Model.{method}" for method in methods} <= names_of(PACKAGE / "cycle.py")


def test_make_and_ci_are_what_the_docs_say() -> None:
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert run.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in run and "\nmake test" in run
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]["markers"]
    assert [marker.split(":")[0] for marker in markers] == ["slow"]
