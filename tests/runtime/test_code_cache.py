"""What wasmtime is told about keeping compiled code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import wasmtime

from wasi_trio.runtime._code_cache import cache_configuration, cache_folder
from wasi_trio.runtime._engine import Engine

#: uses of a module after which wasmtime by itself compresses its code once more
OFTEN = 256
BY_DEFAULT = "optimized-compression = 3"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On macOS it alone says where wasmtime has its files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def compiled(engine: Engine, name: str) -> None:
    """Have a module compiled that is like no other, or found in the cache."""
    engine.compile(wasmtime.wat2wasm(f'(module (func (export "{name}")))'))


def statistics() -> set[Path]:
    return set(cache_folder().rglob("*.stats"))


def uses(file: Path) -> int:
    """How often code was found, as far as wasmtime has come with counting it."""
    return int(file.read_text().split()[2])


def test_code_that_is_used_often_is_left_as_it_is(home: Path) -> None:
    first, second = "first", "second"
    files = []
    with Engine() as engine:
        for name in (first, second):
            before = statistics()
            while not (new := statistics() - before):
                compiled(engine, name)  # wasmtime writes it on a thread of its own
            files += new
        files[0].write_text(f"usages = {OFTEN - 1}\n{BY_DEFAULT}\n")
        while uses(files[0]) < OFTEN:
            compiled(engine, first)
        # It does one thing after the other, so that it is done with the first when it counts the second again.
        count = uses(files[1])
        while uses(files[1]) == count:
            compiled(engine, second)
    assert files[0].read_text().splitlines()[1] == BY_DEFAULT


def test_a_configuration_of_the_users_own_comes_first(home: Path) -> None:
    assert cache_configuration() == Path(cache_configuration.__code__.co_filename).with_name("cache.toml")
    macos = sys.platform == "darwin"
    folder = "Library/Application Support/BytecodeAlliance.wasmtime" if macos else "config/wasmtime"
    theirs = home / folder / "config.toml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('[cache]\nno-such-setting = "1"\n')
    assert cache_configuration() == theirs
    with pytest.raises(wasmtime.WasmtimeError, match="no-such-setting"):
        Engine()
