"""Components of any 0.2 and 0.3 version, and the additions of 0.3.1."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from tests.guests import wat
from wasi_trio.component._errors import LinkError
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._instance import Instance
from wasi_trio.testing import LoadError, component
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._imports import link_wasi
from wasi_trio.wasi._loading import compile_component, open_engine


def of_version(name: str, track: str, version: str) -> str:
    """Return a guest as the toolchain of another release would build it."""
    return re.sub(rf"@{re.escape(track)}\.\d+", f"@{version}", wat.source(name))


@pytest.mark.parametrize("version", ["0.2.0", "0.2.9", "0.2.10", "0.2.12", "0.2.99"])
async def test_guests_of_any_0_2(version: str) -> None:
    async with component(of_version("echo", "0.2", version)) as app:
        assert await (await app.post("/", content="hello")).read() == b"hello"


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.3.2", "0.3.99"])
async def test_guests_of_any_0_3(version: str) -> None:
    async with component(of_version("p3_echo", "0.3", version)) as app:
        assert await (await app.post("/", content="hello")).read() == b"hello"


@pytest.mark.parametrize("version", ["0.3.0-rc-2026-03-15", "0.4.0"])
async def test_others_are_refused(version: str) -> None:
    with pytest.raises(LoadError, match=re.escape(version)):
        async with component(of_version("p3_echo", "0.3", version)):
            raise AssertionError("it cannot be run")


async def test_additions_of_later_releases_are_missing() -> None:
    """Only the addition is reported, because the host implements the rest of its interface."""
    text = """(component
      (import "wasi:random/random@0.3.1" (instance $random
        (export "get-random-u64" (func (result u64)))
        (export "get-random-u65" (func (result u64)))))
      (core func $f (canon lower (func $random "get-random-u65")))
      (func (export "f") (result u64) (canon lift (core func $f))))"""
    with open_engine() as engine, pytest.raises(LinkError) as caught:
        link_wasi(compile_component(engine, bytes(wasmtime.wat2wasm(text)), "it"))
    assert caught.value.missing == ("wasi:random/random@0.3.1 get-random-u65",)


# ---- additions of 0.3.1 ------------------------------------------------------------------------------------

IMPLEMENTS = """(component
  (import "primary" (implements "wasi:random/random@{version}") (external-id "a source of its own") (instance $one
    (export "get-random-u64" (func (result {type})))))
  (import "secondary" (implements "wasi:random/random@{version}") (instance $two
    (export "get-random-u64" (func (result {type})))))
  (core func $one (canon lower (func $one "get-random-u64")))
  (core func $two (canon lower (func $two "get-random-u64")))
  (func (export "one") (result {type}) (canon lift (core func $one)))
  (func (export "two") (result {type}) (canon lift (core func $two))))"""


class Seven:
    def get_random_u64(self) -> int:
        return 7


@pytest.mark.parametrize("version", ["0.2.12", "0.3.0", "0.3.1"])
async def test_an_import_may_name_its_interface(version: str) -> None:
    """That interface satisfies it, unless the host has an implementation for its own name."""
    data = bytes(wasmtime.wat2wasm(IMPLEMENTS.format(version=version, type="u64")))
    with open_engine() as engine:
        compiled = compile_component(engine, data, "it")
        linked = link_wasi(compiled)
        instance = await Instance.instantiate(linked, WasiContext())
        assert await instance.call("one") != await instance.call("two")
        instance.close()
        instance = await Instance.instantiate(link_wasi(compiled, Imports({"primary": Seven()})), WasiContext())
        assert await instance.call("one") == 7 != await instance.call("two")
        instance.close()


def test_it_has_the_types_of_the_implemented_interface() -> None:
    data = bytes(wasmtime.wat2wasm(IMPLEMENTS.format(version="0.3.1", type="u32")))
    with open_engine() as engine, pytest.raises(LinkError) as caught:
        link_wasi(compile_component(engine, data, "it"))
    named = [line.partition(":")[0] for line in caught.value.mismatched]
    assert named == ["primary get-random-u64", "secondary get-random-u64"]


def test_the_implemented_interface_may_be_missing() -> None:
    data = bytes(wasmtime.wat2wasm(IMPLEMENTS.format(version="0.4.0", type="u64")))
    with open_engine() as engine, pytest.raises(LinkError, match="primary, secondary"):
        link_wasi(compile_component(engine, data, "it"))


async def test_maps() -> None:
    text = """(component
      (core module $M
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "size") (param $at i32) (param $count i32) (result i32) (local.get $count)))
      (core instance $m (instantiate $M))
      (func (export "size") (param "m" (map u32 u32)) (result u32)
        (canon lift (core func $m "size") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"""
    with open_engine() as engine:
        linked = link_wasi(compile_component(engine, bytes(wasmtime.wat2wasm(text)), "it"))
        instance = await Instance.instantiate(linked, WasiContext())
        assert await instance.call("size", None, {1: 2, 3: 4, 5: 6}) == 3
        instance.close()


@pytest.mark.parametrize("command", ["inspect", "compile"])
def test_the_command_line_admits_them(command: str, tmp_path: Path) -> None:
    path = tmp_path / "it.wasm"
    path.write_bytes(wasmtime.wat2wasm(IMPLEMENTS.format(version="0.3.1", type="u64")))
    arguments = [sys.executable, "-m", "wasi_trio", command, str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
