"""Components that are stored ready to be linked: valid entries are used, and invalid ones are ignored."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import wasmtime

from wasi_trio.component._imports import Imports
from wasi_trio.runtime import _compiling, _kept_code
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance

ANSWER = """(component
    (core module $m
      (memory (export "memory") 2) (table 3 funcref) (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        unreachable)
      (func (export "f") (result i32) (i32.const 42))
      (func $start) (start $start)) ;; so it is not merged with the next
    (core module $n (import "m" "f" (func $f (result i32))) (func (export "g") (result i32) (call $f)))
    (core instance $i (instantiate $m))
    (core instance $j (instantiate $n (with "m" (instance $i))))
    (func (export "answer") (result u32) (canon lift (core func $j "g"))))"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "cache" / "wasi_trio" / "code"


@pytest.fixture
def relinked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The plans whose modules were relinked in this process."""
    found: list[Any] = []
    relink = _compiling.relink

    def noted(plan: Any) -> Any:
        found.append(plan)
        return relink(plan)

    monkeypatch.setattr(_compiling, "relink", noted)
    return found


def answer(**options: Any) -> object:
    return trio.run(partial(_answer, **options))


async def _answer(**options: Any) -> object:
    with Engine(compile_limits=CompileLimits(), **options) as engine:
        component = Component.compile(engine, bytes(wasmtime.wat2wasm(ANSWER)))
        instance = await Instance.instantiate(component.link(Imports()))
        try:
            assert instance.account.used >= 128 << 10, "its memory is measured"
            return await instance.call("answer")
        finally:
            instance.close()


def test_the_second_load_relinks_nothing(folder: Path, relinked: list[Any]) -> None:
    assert answer() == 42
    (entry,) = folder.iterdir()
    assert sorted(file.name for file in entry.iterdir()) == ["0", "1", "linking"]
    assert (entry.stat().st_mode & 0o777, (entry / "0").stat().st_mode & 0o777) == (0o700, 0o600)
    relinked.clear()
    assert answer() == 42
    assert not relinked
    assert [entry] == list(folder.iterdir())


def test_the_checksum_is_verified_after_a_write_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[int] = []
    answer()
    (entry,) = folder.iterdir()
    code = [(entry / name).read_bytes() for name in ("0", "1")]

    def crc32(data: Any) -> int:
        verified.extend(number for number, content in enumerate(code) if data[:] == content)
        return zlib.crc32(data)

    monkeypatch.setattr(_kept_code, "zlib", SimpleNamespace(crc32=crc32))
    assert answer() == 42
    assert verified == []
    (entry / "1").write_bytes(code[1])
    assert answer() == 42
    assert verified == [1]


def test_the_second_load_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer() == 42

    def never(*_: Any) -> None:
        raise AssertionError("a component that is kept is decoded")

    for name in ("decode", "plan"):
        monkeypatch.setattr(_compiling, name, never)
    assert answer() == 42


def test_progress_is_reported_for_stored_code(folder: Path) -> None:
    told: list[list[tuple[int, int]]] = []
    for _ in range(2):
        told.append([])
        with Engine(compile_limits=CompileLimits()) as engine:
            data = bytes(wasmtime.wat2wasm(ANSWER))
            Component.compile(engine, data, lambda done, total: told[-1].append((done, total)))
    assert told[1] == told[0][-1:]


def test_without_a_cache_nothing_is_stored(folder: Path, relinked: list[Any]) -> None:
    assert answer(cache=False) == 42
    assert not folder.exists()


def test_code_with_other_features_is_another_entry(folder: Path) -> None:
    answer()
    answer(features=["gc"])
    assert len(list(folder.iterdir())) == 2


def test_code_of_another_version_is_ignored(folder: Path, relinked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    answer()
    relinked.clear()
    monkeypatch.setattr(_kept_code, "_code_version", lambda: "0")
    assert answer() == 42
    assert relinked
    assert len(list(folder.iterdir())) == 2


def no_linking(entry: Path) -> None:
    (entry / "linking").unlink()


def half_a_linking(entry: Path) -> None:
    content = (entry / "linking").read_bytes()
    (entry / "linking").write_bytes(content[: len(content) // 2])


def less_than_a_checksum(entry: Path) -> None:
    (entry / "linking").write_bytes(b"12")


def _replaced(entry: Path, change: Callable[[Any], Any]) -> None:
    """Replace an entry's content and its checksum, so that the content itself is tested."""
    linking = json.dumps(change(json.loads((entry / "linking").read_bytes()[4:]))).encode()
    (entry / "linking").write_bytes(zlib.crc32(linking).to_bytes(4, "big") + linking)


def another_shape(entry: Path) -> None:
    _replaced(entry, lambda linking: [])


def a_step_less(entry: Path) -> None:
    _replaced(entry, lambda linking: linking | {"steps": linking["steps"][1:]})


def no_plan(entry: Path) -> None:
    _replaced(entry, lambda linking: linking | {"plan": [["Popen", "true"]]})


def a_bit_of_the_plan(entry: Path) -> None:
    _flip(entry / "linking")


def a_bit_of_the_code(entry: Path) -> None:
    _flip(entry / "0")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def a_longer_sealed_module(entry: Path) -> None:
    status = (entry / "0").stat()
    (entry / "0").write_bytes((entry / "0").read_bytes() + b"0")
    os.utime(entry / "0", ns=(status.st_atime_ns, status.st_mtime_ns))


def others_may_write(entry: Path) -> None:
    (entry / "0").chmod(0o666)


def a_link(entry: Path) -> None:
    (entry / "0").rename(entry / "elsewhere")
    (entry / "0").symlink_to("elsewhere")


def a_module_less(entry: Path) -> None:
    (entry / "1").unlink()


def an_empty_module(entry: Path) -> None:
    (entry / "0").write_bytes(b"")


def no_code(entry: Path) -> None:
    (entry / "0").write_bytes(bytes(1000))


@pytest.mark.parametrize(
    "spoil",
    [
        no_linking,
        half_a_linking,
        less_than_a_checksum,
        another_shape,
        a_step_less,
        no_plan,
        a_bit_of_the_plan,
        a_bit_of_the_code,
        a_longer_sealed_module,
        others_may_write,
        a_link,
        a_module_less,
        an_empty_module,
        no_code,
    ],
)
def test_an_invalid_entry_is_replaced(folder: Path, relinked: list[Any], spoil: Callable[[Path], None]) -> None:
    answer()
    (entry,) = folder.iterdir()
    spoil(entry)
    relinked.clear()
    assert answer() == 42
    assert len(relinked) == 1
    assert answer() == 42
    assert len(relinked) == 1, "it is whole again"


def test_without_a_folder_components_are_compiled(folder: Path, relinked: list[Any]) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    assert answer() == 42
    assert not relinked  # the compiler process has done it
    assert answer() == 42
    assert len(relinked) == 1


def test_the_least_recently_used_entries_are_removed(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "0").write_bytes(bytes(100))
        os.utime(tmp_path / str(number), (number, number))
    _kept_code._trim(tmp_path, 250)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["2", "3"]
    _kept_code._trim(tmp_path, 0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["3"], "the last is in use"
