"""Type checkers know each public name of the packages, and no others, as the import system does."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import wasi_trio

ROOT = Path(wasi_trio.__file__).parent
#: The packages that import a name when a program first uses it.
LAZY = sorted(
    ".".join(("wasi_trio", *path.parent.relative_to(ROOT).parts))
    for path in ROOT.rglob("__init__.py")
    if "import lazily" in path.read_text()
)


def checked(program: Path, text: str) -> list[str]:
    """Return the errors that mypy reports for a user's program."""
    program.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--hide-error-context", program.name],
        cwd=program.parent,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def test_some_packages_are_lazy() -> None:
    assert {f"wasi_trio{name}" for name in ("", ".runtime", ".serve", ".testing", ".wasi")} <= set(LAZY)


@pytest.mark.parametrize("package", LAZY)
def test_names_at_run_time(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Bogus'"):
        module.Bogus  # noqa: B018


def test_names_for_type_checkers(tmp_path: Path) -> None:
    names = []
    for package in LAZY:
        for node in ast.parse((ROOT.joinpath(*package.split(".")[1:]) / "__init__.py").read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names += [(package, name) for name in ast.literal_eval(node.value)]
    assert len(names) > 100
    right = [f"from {package} import {name} as _{number}" for number, (package, name) in enumerate(names)]
    wrong = [f"from {package} import Bogus" for package in LAZY]
    errors = checked(tmp_path / "program.py", "\n".join(right + wrong) + "\n")
    assert [error.split(": error: ")[1].split("  [")[0].split(";")[0] for error in errors] == [
        f'Module "{package}" has no attribute "Bogus"' for package in LAZY
    ]
