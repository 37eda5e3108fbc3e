"""The modules of the compiled wheel: the list, and constructs that mypyc does not allow in their sources.

``nox -s compiled`` runs all tests on the wheel.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.machinery
import importlib.util
import pkgutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import wasi_trio
from wasi_trio.cli._about import is_compiled

ROOT = Path(__file__).parent.parent
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
MODULES: list[str] = HOOK["custom"]["modules"]


def source(module: str) -> ast.Module:
    """Return the source of a module, which the wheel has beside the extension module."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    folder, name = Path(spec.origin).parent, module.rpartition(".")[2]
    return ast.parse((folder / f"{name}.py").read_text())


@pytest.mark.parametrize("module", MODULES)
def test_all_are_compiled_or_none_is(module: str) -> None:
    file = importlib.import_module(module).__file__
    assert file is not None
    assert file.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)) == is_compiled()


def test_the_list_is_in_order() -> None:
    assert sorted(set(MODULES)) == MODULES


def twice_evaluated(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of slices with a call as a bound. mypyc evaluates it twice for a memoryview."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Slice):
            bounds = [bound for bound in (node.lower, node.upper) if bound is not None]
            if any(isinstance(part, ast.Call | ast.NamedExpr) for bound in bounds for part in ast.walk(bound)):
                yield node.lower.lineno if node.lower is not None else bounds[0].lineno


def deleted(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that delete an attribute. mypyc refuses most of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Delete):
            yield from (target.lineno for target in node.targets if isinstance(target, ast.Attribute))


def functions_of_methods(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of functions and lambdas in methods. Each call of the compiled method leaves a cycle."""
    for class_ in ast.walk(tree):
        if not isinstance(class_, ast.ClassDef):
            continue
        for method in class_.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(method):
                    if node is not method and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                        yield node.lineno


def yields_in_blocks(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of yields in blocks that must end. Dropping a compiled generator does not end them."""
    for block in ast.walk(tree):
        if isinstance(block, ast.With | ast.AsyncWith) or (isinstance(block, ast.Try) and block.finalbody):
            for node in ast.walk(block):
                if isinstance(node, ast.Yield | ast.YieldFrom):
                    yield node.lineno


@functools.cache
def compiled_classes() -> set[str]:
    return {node.name for module in MODULES for node in ast.walk(source(module)) if isinstance(node, ast.ClassDef)}


def reused_names_of_exceptions(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of except clauses that repeat a name in a coroutine. A compiled class is its type in both."""
    for coroutine in ast.walk(tree):
        if isinstance(coroutine, ast.AsyncFunctionDef):
            names: dict[str, str] = {}
            for node in ast.walk(coroutine):
                if isinstance(node, ast.ExceptHandler) and node.name is not None and node.type is not None:
                    type_ = ast.unparse(node.type)
                    other = names.setdefault(node.name, type_)
                    if other != type_ and {other, type_} & compiled_classes():
                        yield node.lineno


def enumerations_with_init(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of ``__init__`` in enumerations. mypyc does not call it."""
    for class_ in ast.walk(tree):
        if isinstance(class_, ast.ClassDef) and any("Enum" in ast.unparse(base) for base in class_.bases):
            for method in class_.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    yield method.lineno


FAULTS = [
    twice_evaluated,
    deleted,
    functions_of_methods,
    yields_in_blocks,
    reused_names_of_exceptions,
    enumerations_with_init,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_compiled_sources_do_without(fault: object) -> None:
    assert callable(fault)
    assert [f"{module}:{line}" for module in MODULES for line in fault(source(module))] == []


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (twice_evaluated, "rest = rest[body.try_write(rest) :]"),
        (twice_evaluated, "rest = rest[: (size := 3)]"),
        (deleted, "del self.body"),
        (functions_of_methods, "class A:\n def b(self):\n  return lambda: self"),
        (functions_of_methods, "class A:\n async def b(self):\n  def c(): ..."),
        (yields_in_blocks, "def a():\n with b:\n  yield"),
        (yields_in_blocks, "def a():\n try:\n  yield from b\n finally:\n  c()"),
        (
            reused_names_of_exceptions,
            "async def a():\n try:\n  b()\n except BodyAborted as error:\n  d()\n except E as error:\n  f()",
        ),
        (enumerations_with_init, "class A(Enum):\n def __init__(self, b): ..."),
    ],
)
def test_faults_are_found(fault: object, text: str) -> None:
    assert callable(fault)
    assert list(fault(ast.parse(text))) != []


def test_what_extends_a_compiled_class_is_compiled() -> None:
    """Python can define other subclasses of a compiled class, but cannot create their objects."""
    everything = [module.name for module in pkgutil.walk_packages(wasi_trio.__path__, "wasi_trio.")]
    wrong = {
        f"{class_.__module__}.{class_.__qualname__}"
        for name in everything
        if not name.endswith("__main__")
        for class_ in vars(importlib.import_module(name)).values()
        if isinstance(class_, type) and class_.__module__.startswith("wasi_trio.")
        if class_.__module__ not in MODULES and any(base.__module__ in MODULES for base in class_.__mro__[1:])
    }
    assert wrong == set()
