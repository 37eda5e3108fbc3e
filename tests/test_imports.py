"""Imports go downward, including imports for type checkers. No modules import one another in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: From the ground up. A place may import itself and lower floors, but no other place on its floor. A nested folder or
#: module with its own entry does not belong to its parent: "serve.http" is below "serve".
FLOORS = [
    ["lazy", "_texts", "_files", "_ungrouped"],
    ["component"],
    ["runtime"],
    ["wasi", "bindings"],
    ["bindgen"],
    ["serve.http"],
    ["serve.pool"],
    ["serve"],
    ["serve.telemetry"],
    ["serve.asgi", "serve.process"],
    ["serve._command"],
    ["testing"],
    ["asgi", "cli"],
    ["__init__", "__main__"],
]

FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
FILES = {
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__"): path
    for path in (ROOT / "wasi_trio").rglob("*.py")
}
FACES = [name for name, path in FILES.items() if path.name == "__init__.py" and "lazily(" in path.read_text()]


def place(module: str) -> str:
    """Return a module's entry in the table: its own, or else that of the innermost package with an entry."""
    name = module.removeprefix("wasi_trio").removeprefix(".") or "__init__"
    while name not in FLOOR_OF:
        assert name, f"{module} has no place among the floors"
        name = name.rpartition(".")[0]
    return name


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: a relative import"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in members}
    return found & FILES.keys()


IMPORTS = {module: imported(path) for module, path in FILES.items()}


def test_downward() -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        # A package's own name stands for its content.
        if place(module) != place(other)
        and not (module in FACES and other.startswith(f"{module}."))
        and FLOOR_OF[place(module)] <= FLOOR_OF[place(other)]
    ]
    assert wrong == []


def test_no_circles() -> None:
    TopologicalSorter(IMPORTS).prepare()


@pytest.mark.parametrize("face", FACES)
def test_public_names(face: str) -> None:
    package = import_module(face)
    assert all(hasattr(package, name) for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))
