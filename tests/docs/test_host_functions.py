"""docs/host-functions.md: run its Python, parse its WIT, and let a component call its functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from tests.bindgen.support import HERE, Written, assembled, running
from tests.docs.blocks import ROOT, fenced
from tests.guests import wat
from tests.runtime import async_guests
from tests.runtime.test_async_host_functions import WAT, Api
from wasi_trio import Component, Engine, Imports, Instance, LinkError, Ok, WasiContext, link_wasi

PAGE = ROOT / "docs" / "host-functions.md"
SHOP = (Path(__file__).parent / "shop.wat").read_text()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's Python defines, run from start to end beside a folder with its WIT."""
    (tmp_path / "wit").mkdir()
    monkeypatch.chdir(tmp_path)
    blocks = fenced(PAGE)
    for number, block in enumerate(blocks):
        if block.language == "wit":
            Path(f"wit/{number}.wit").write_text(block.text)
    names: dict[str, Any] = {"__name__": "page", "outcome": Ok(None)}
    for block in blocks:
        if block.language == "python":
            lines = "\n" * (block.line - 1)  # so that a traceback names the line in the page
            exec(compile(lines + block.text, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def shop(tmp_path: Path) -> str:
    path = tmp_path / "shop.wasm"
    path.write_bytes(wasmtime.wat2wasm(SHOP))
    return str(path)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    bindings = Written(tmp_path)
    yield bindings
    bindings.forget()


def test_every_block_is_of_a_known_kind() -> None:
    assert {block.language for block in fenced(PAGE)} == {"python", "wit"}


async def test_a_component_that_is_run(page: dict[str, Any], shop: str) -> None:
    assert await page["run"](shop) == "used"


async def test_a_component_that_is_served(page: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "hello.wasm"
    path.write_bytes(wat.load("hello"))
    await page["serve"](str(path))


async def test_a_class_for_each_instance(page: dict[str, Any], shop: str) -> None:
    with Engine() as engine:
        imports = Imports({"acme:shop/catalog@1.0.0": page["LimitedCatalog"]})
        linked = link_wasi(Component.load(engine, shop), imports)
        instance = await Instance.instantiate(linked, WasiContext())
        try:
            assert await instance.call("run") == "used"
        finally:
            instance.close()


async def test_an_object_for_all_instances(page: dict[str, Any], shop: str) -> None:
    """It may be of any class, even one whose objects compare equal and have no hash, such as a dataclass."""

    @dataclass
    class SharedCatalog(page["Catalog"]):  # type: ignore[misc]
        context: object = None
        lookups: int = 0

        def tags(self) -> list[str]:
            self.lookups += 1
            return [f"looked up {self.lookups} times", "used"]

    with Engine() as engine:
        catalog = SharedCatalog()
        linked = link_wasi(Component.load(engine, shop), Imports({"acme:shop/catalog@1.0.0": catalog}))
        for lookups in (1, 2):
            instance = await Instance.instantiate(linked, WasiContext())
            try:
                assert await instance.call("run") == "used"
            finally:
                instance.close()
            assert catalog.lookups == lookups


async def test_calls_of_exports(page: dict[str, Any], written: Written) -> None:
    written(HERE / "math.wit", name="math_bindings")
    async with running(assembled("math.wat")) as instance:
        assert await page["count"](instance) == 6
        assert await page["count_typed"](instance) == 6
        assert await instance.call("acme:math/math@1.0.0", "[static]counter.live") == 0


async def test_streams_and_futures(page: dict[str, Any]) -> None:
    class Text(Api, page["Text"]):  # type: ignore[misc]
        upper, greet = page["Text"].upper, page["Text"].greet

    async with async_guests.running(WAT, {"test:host/api": Text}) as instance:
        assert await instance.call("upper") == "A FEW WORDS"
        assert await instance.call("greet", None, "trio") == "Hello, trio!"


def test_types_are_compared_with_the_wit(page: dict[str, Any], shop: str) -> None:
    with Engine() as engine:
        page["link"](Component.load(engine, shop))
        other = SHOP.replace('"price-in-cents" u32', '"price-in-cents" s32')
        with pytest.raises(LinkError) as caught:
            page["link"](Component.compile(engine, bytes(wasmtime.wat2wasm(other))))
        (line,) = caught.value.mismatched
        assert line.startswith("acme:shop/catalog@1.0.0 find: ")


def test_the_line_about_a_function_of_another_type() -> None:
    text = """(component
      (import "wasi:io/streams@0.2.3" (instance $streams
        (export "input-stream" (type $input-stream (sub resource)))
        (export "[method]input-stream.read"
          (func (param "self" (borrow $input-stream)) (param "len" u32) (result (list u8)))))))"""
    with Engine() as engine, pytest.raises(LinkError) as caught:
        link_wasi(Component.compile(engine, bytes(wasmtime.wat2wasm(text))))
    (line,) = caught.value.mismatched
    assert f"    {line}\n" in PAGE.read_text("utf-8")


def test_what_is_missing_is_listed(shop: str) -> None:
    with Engine() as engine, pytest.raises(LinkError) as caught:
        link_wasi(Component.load(engine, shop))
    assert "acme:shop/catalog@1.0.0 tags" in caught.value.missing
