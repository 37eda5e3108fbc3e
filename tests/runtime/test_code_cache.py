"""The configuration of wasmtime's cache of compiled code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wasi_trio.runtime._code_cache import cache_configuration, cache_folder
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._wasmtime import WasmtimeError, assemble

#: Uses of a module after which wasmtime recompresses its code by default.
OFTEN = 256
BY_DEFAULT = "optimized-compression = 3"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the home directory, which is the only way on macOS to place wasmtime's files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def compiled(engine: Engine, name: str) -> None:
    """Compile a unique module, or find it in the cache."""
    engine.compile(assemble(f'(module (func (export "{name}")))'.encode()))


def statistics() -> set[Path]:
    return set(cache_folder().rglob("*.stats"))


def uses(file: Path) -> int:
    """Return how often code was found in the cache, as far as wasmtime has counted."""
    return int(file.read_text().split()[2])


def test_frequently_used_code_is_not_recompressed(home: Path) -> None:
    first, second = "first", "second"
    files = []
    with Engine() as engine:
        for name in (first, second):
            before = statistics()
            while not (new := statistics() - before):
                compiled(engine, name)  # wasmtime writes it on another thread
            files += new
        files[0].write_text(f"usages = {OFTEN - 1}\n{BY_DEFAULT}\n")
        while uses(files[0]) < OFTEN:
            compiled(engine, first)
        # wasmtime works sequentially, so it has finished with the first file when it counts the second again.
        count = uses(files[1])
        while uses(files[1]) == count:
            compiled(engine, second)
    assert files[0].read_text().splitlines()[1] == BY_DEFAULT


def test_a_users_configuration_takes_precedence(home: Path) -> None:
    assert cache_configuration() == Path(cache_configuration.__code__.co_filename).with_name("cache.toml")
    macos = sys.platform == "darwin"
    folder = "Library/Application Support/BytecodeAlliance.wasmtime" if macos else "config/wasmtime"
    theirs = home / folder / "config.toml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text('[cache]\nno-such-setting = "1"\n')
    assert cache_configuration() == theirs
    with pytest.raises(WasmtimeError, match="no-such-setting"):
        Engine()
