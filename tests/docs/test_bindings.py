"""docs/bindings.md: generate its bindings, and check and run its Python with real guests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from tests.bindgen.support import Written, assembled, running
from tests.docs.blocks import ROOT, fenced, indented
from wasi_trio import Component, Engine, LinkError, link_wasi
from wasi_trio.testing import exports

PAGE = ROOT / "docs" / "bindings.md"
BLOCKS = fenced(PAGE)
PYTHON = "\n".join(block.text for block in BLOCKS if block.language == "python")
SHOP = bytes(wasmtime.wat2wasm((ROOT / "tests" / "docs" / "shop.wat").read_text()))


@pytest.fixture
def page(bindings: Written) -> dict[str, Any]:
    """The names that the page's Python defines."""
    shop, math = (block.text for block in BLOCKS if block.language == "wit")
    bindings(shop, name="shop_bindings")
    bindings(math, name="math_bindings")
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(PYTHON, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def bindings(tmp_path: Path) -> Any:
    written = Written(tmp_path)
    yield written
    written.forget()


def checked(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    path = folder / f"page_{len(list(folder.glob('page_*.py')))}.py"
    path.write_text(program)
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", path.name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
    )


def test_every_block_is_of_a_known_kind() -> None:
    assert {block.language for block in BLOCKS} == {"python", "wit", "text"}


def test_it_passes_mypy(page: dict[str, Any], tmp_path: Path) -> None:
    done = checked(tmp_path, PYTHON)
    assert done.returncode == 0, done.stdout


def test_what_mypy_says(page: dict[str, Any], tmp_path: Path) -> None:
    wrong = PYTHON.replace("find(self, id: str)", "find(self, id: int)")
    assert 'Argument "catalog" to "imports" has incompatible type' in checked(tmp_path, wrong).stdout
    inherited = "class Catalog(acme_shop_catalog.Catalog):"
    (inheriting,) = re.findall(r"`(class Catalog\(.*?\))`", PAGE.read_text("utf-8"))
    assert inherited == f"{inheriting}:"
    wrong = wrong.replace("class Catalog:", f"from shop_bindings.imported import acme_shop_catalog\n\n\n{inherited}")
    (said,) = [block.text for block in BLOCKS if block.language == "text" and "error" in block.text]
    assert said.strip() in checked(tmp_path, wrong).stdout
    right = wrong.replace("find(self, id: int)", "find(self, id: str)")
    assert checked(tmp_path, right).returncode == 0


async def test_host_functions(page: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "shop.wasm").write_bytes(SHOP)
    assert await page["run"](str(tmp_path / "shop.wasm")) == "used"


def test_the_line_about_a_number_of_parameters(page: dict[str, Any]) -> None:
    class Catalog(page["Catalog"]):  # type: ignore[misc]
        def find(self, id: str, more: str) -> Any: ...

    Catalog.__qualname__ = "Catalog"
    with Engine() as engine, pytest.raises(LinkError) as caught:
        link_wasi(Component.compile(engine, SHOP), page["imports"](catalog=Catalog))
    assert [f"{line}\n" for line in caught.value.mismatched] == [block.text for block in indented(PAGE)][1:]


async def test_exports(page: dict[str, Any]) -> None:
    async with running(assembled("math.wat")) as instance:
        assert await page["calculate"](instance) == [(0, 1), (2, 3)]
    async with exports(page["Calculator"], assembled("math.wat")) as app:
        assert await app.math.add(1, 2) == 3


async def test_the_page_s_test(page: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "math.wasm").write_bytes(assembled("math.wat"))
    monkeypatch.chdir(tmp_path)
    await page["test_addition"]()


def test_the_package(page: dict[str, Any], tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    for path in (tmp_path / "shop_bindings").iterdir():
        if path.name != "__pycache__":
            assert f"app_bindings/{path.name}" in text
