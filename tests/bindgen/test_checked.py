"""Bindings of all of WASI and of all components of the tests pass formatters and type checkers.

``nox -s bindings`` adds pyright, and first builds the components that require a toolchain.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

import wasi_trio.wasi.wit as wit
from tests.bindgen.support import HERE, assembled, files
from tests.docs.blocks import ROOT
from tests.guests import wat
from tests.guests.build import cache_folder
from wasi_trio.bindgen import generate
from wasi_trio.component.wit import load
from wasi_trio.wasi.wit import FEATURES

#: components that the validator refuses on purpose
NOT_VALID = {"set_twice"}


def worlds() -> Iterator[tuple[Path, str]]:
    """Yield every world of WASI 0.2 and 0.3 with its directory."""
    for generation in ("p2", "p3"):
        folder = Path(wit.__path__[0]) / generation
        for name, package in load([folder], FEATURES).packages.items():
            version = name.partition("@")[2]
            yield from ((folder, f"{package.name}/{world}@{version}") for world in package.worlds)


def components() -> Iterator[tuple[str, bytes]]:
    """Yield the guests in text form, those of the pages, and those that a toolchain has built for other tests."""
    for name in wat.names():
        yield name, wat.load(name)
    yield "math", assembled("math.wat")
    yield "shop", bytes(wasmtime.wat2wasm((ROOT / "tests" / "docs" / "shop.wat").read_text()))
    built = {}
    for path in sorted(cache_folder().rglob("*.wasm"), key=lambda path: path.stat().st_mtime):
        # Only the newest of each, because the cache also holds those of earlier sources.
        built[re.sub(r"-[0-9a-f]{16}", "", str(path.relative_to(cache_folder()).with_suffix("")))] = path
    for name, path in built.items():
        yield re.sub(r"\W", "_", name), path.read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bindings of everything, without duplicates."""
    folder = tmp_path_factory.mktemp("bindings")
    for source, world in worlds():
        generate(source, folder / re.sub(r"\W", "_", world), world)
    for golden in ("everything", "two_versions", "calculator"):
        shutil.copytree(HERE / "golden" / golden, folder / golden)
    source = folder.parent / "component.wasm"
    seen: set[tuple[tuple[str, str], ...]] = set()
    count = 0
    for name, data in components():
        source.write_bytes(data)
        made = folder / f"c_{name}"
        generate(source, made)
        count += 1
        content = tuple(files(made))
        if content in seen:
            shutil.rmtree(made)
        seen.add(content)
    assert count >= 20
    return folder


def checked(folder: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_ruff(written: Path) -> None:
    checked(written, "ruff", "format", "--check", "--no-cache", "--line-length", "120", ".")


def test_mypy(written: Path) -> None:
    packages = sorted(path.name for path in written.iterdir() if path.is_dir())
    checked(written, "mypy", "--strict", "--python-version", "3.11", *packages)


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_pyright(written: Path) -> None:
    checked(written, "pyright", "--pythonpath", sys.executable, ".")
