"""What holds for every file: sizes, docstrings, imports, no pickle, no silenced error, nothing of one person's machine.

Each rule is a function of one file's text, tried on a text that breaks it before it is trusted with the package.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = sorted((ROOT / "src" / "cyclicxr").rglob("*.py"))
TEXTS = sorted(
    path
    for part in ("src/cyclicxr", "tests", "docs", "benchmarks", ".ci")
    for path in (ROOT / part).rglob("*")
    if path.suffix in {".py", ".md", ".json", ".html", ".j2", ".css", ".js", ".txt", ".toml", ""} and path.is_file()
) + sorted(path for path in ROOT.iterdir() if path.suffix in {".md", ".toml", ".txt", ".cff"} or path.name in {"Makefile", "LICENSE"})

PROMISED = {
    method.name
    for path in SOURCE
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)
    for method in node.body
    if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
}
MOST_LINES = 450
FORBIDDEN = {
    "torchvision",
    "timm",
    "pickle",
    "dill",
    "cloudpickle",
    "shelve",
    "open_clip",
    "lpips",
    "torch_fidelity",
    "torchxrayvision",
}
HOMES = re.compile(r"(?<![\w.<])/(?:work|home|root|Users|mnt|scratch|data)/[\w.]")
REGISTRIES = re.compile(r"pypi\.(?:org|python)|pythonhosted\.|download\.pytorch|anaconda\.org|registry\.npmjs|index-url", re.IGNORECASE)


def forbidden_imports(text: str) -> list[str]:
    return sorted(FORBIDDEN & {name.split(".")[0] for name in imported(text)})


def pickling_calls(text: str) -> list[str]:
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    names = [ast.unparse(call) for call in calls]
    allow_pickle = [k for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) for k in node.keywords if k.arg == "allow_pickle"]
    forbidden = {"torch.load", "torch.save", "joblib.load", "joblib.dump", "eval", "exec"}
    return [n for n in names if n in forbidden] + ["allow_pickle" for _ in allow_pickle]


def silenced_errors(text: str) -> list[str]:
    """Bare `except`, and handlers of everything that do not raise again."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        catches_all = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
        if node.type is None or (catches_all and not any(isinstance(child, ast.Raise) for child in ast.walk(node))):
            found.append(f"line {node.lineno}")
    return found


def empty_docstrings(text: str) -> list[str]:
    """The module and its public functions, classes and methods that have no docstring, or one that only repeats the name.

    Without a docstring may be a method of one statement, which speaks by its name, and one that a protocol of the package documents.
    """
    tree = ast.parse(text)
    found = [] if says_something(ast.get_docstring(tree), "") else ["module"]
    silent = [(name, node) for name, node in public(tree) if not says_something(ast.get_docstring(node), name)]
    excused = {name for name, node in silent if "." in name and (len(node.body) == 1 or node.name in PROMISED)}
    return found + [name for name, _ in silent if name not in excused]


def public(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{node.name}.")


def says_something(docstring: str | None, name: str) -> bool:
    words = re.findall(r"[a-z]+", (docstring or "").lower())
    told = set(re.findall(r"[a-z]+", name.lower())) | {"the", "a", "an", "of"}
    return len(words) >= 2 and bool(set(words) - told)


def bare_tensors(text: str) -> list[str]:
    """Public functions with a tensor whose axes neither the hint nor, as "(b, n, d)", the docstring says."""
    found = []
    for name, node in public(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            hints = [argument.annotation for argument in [*node.args.args, *node.args.kwonlyargs]] + [node.returns]
            bare = any(hint is not None and ast.unparse(hint) in {"Tensor", "torch.Tensor"} for hint in hints)
            if bare and not re.search(r"\(\w+(?:, \w+)*,?\)", ast.get_docstring(node) or ""):
                found.append(name)
    return found


def imported(text: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def machine_paths(text: str) -> list[str]:
    return HOMES.findall(text)


def registry_hosts(text: str) -> list[str]:
    return REGISTRIES.findall(text)


def too_long(text: str) -> list[str]:
    return [f"{text.count(chr(10))} lines"] if text.count("\n") > MOST_LINES else []


RULES: list[tuple[Callable[[str], list[str]], str]] = [
    (forbidden_imports, "def f():\n    from torchvision.ops import nms\n"),
    (pickling_calls, "import torch\nx = torch.load('weights.pt')\n"),
    (silenced_errors, "try:\n    f()\nexcept:\n    raise\n"),
    (silenced_errors, "try:\n    f()\nexcept Exception as error:\n    print(error)\n"),
    (empty_docstrings, '"""A module that says what it does."""\nclass Film:\n    """Film."""\n'),
    (empty_docstrings, '"""A module that says what it does."""\ndef read_film(path: str) -> None: ...\n'),
    (empty_docstrings, "x = 1\n"),
    (
        empty_docstrings,
        '"""Says what it does."""\nclass Film:\n    """A decoded film."""\n    def f(self):\n        a = 1\n        return a\n',
    ),
    (bare_tensors, "def maxsim(patches: Tensor) -> float:\n    return 0.0\n"),
    (too_long, "x = 1\n" * (MOST_LINES + 1)),
    (machine_paths, "open('/" + "home/ann/films')"),
    (registry_hosts, "pip install --extra-" + "index-url x"),
]
OF_SOURCE = [rule for rule in dict.fromkeys(rule for rule, _ in RULES) if rule not in (machine_paths, registry_hosts)]


@pytest.mark.parametrize(("rule", "bad"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_breach_is_found(rule: Callable[[str], list[str]], bad: str) -> None:
    assert rule(bad)


@pytest.mark.parametrize("rule", OF_SOURCE, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Callable[[str], list[str]]) -> None:
    breaches = {str(path.relative_to(ROOT)): rule(path.read_text(encoding="utf-8")) for path in SOURCE}
    assert {path: found for path, found in breaches.items() if found} == {}


@pytest.mark.parametrize("rule", [machine_paths, registry_hosts], ids=lambda rule: rule.__name__)
def test_no_text_of_the_project_names_a_machine(rule: Callable[[str], list[str]]) -> None:
    assert len(TEXTS) > 20
    breaches = {str(path.relative_to(ROOT)): rule(path.read_text(encoding="utf-8")) for path in TEXTS if path != Path(__file__)}
    assert {path: found for path, found in breaches.items() if found} == {}


def test_every_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=;\[ ]", entry)[0].lower().replace("_", "-") for entry in project["dependencies"]}
    optional = {"tensorboard", "ray", "vllm", "peft"}  # looked for, and done without
    owners = packages_distributions()
    undeclared = {}
    for path in SOURCE:
        for name in {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))} - {"cyclicxr", *sys.stdlib_module_names}:
            if not {owner.lower().replace("_", "-") for owner in owners.get(name, [name])} & (declared | optional):
                undeclared.setdefault(name, str(path.relative_to(ROOT)))
    assert undeclared == {}


def test_constraints_pin_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(entry for extra in project["optional-dependencies"].values() for entry in extra)]
    names = {re.split(r"[<>=;\[ ]", entry)[0].lower().replace("_", "-") for entry in asked} - {"cyclicxr"}
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert names - pinned == set()
