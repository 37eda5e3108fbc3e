"""``compile`` stores code that later starts find."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.terminal import at_a_terminal, ran
from tests.guests import wat
from tests.guests.build import GUESTS, build
from wasi_trio.runtime._code_cache import CacheError, cache_folder, check_cache


def kept(folder: Path) -> set[str]:
    """Return the files in a cache, without wasmtime's statistics."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.endswith(".stats") and "/." not in f"/{name}"}


def write(folder: Path, name: str) -> str:
    path = folder / f"{name}.wasm"
    path.write_bytes(wat.load(name))
    return str(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a new cache for wasmtime in this test. On macOS the home directory determines it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "home").mkdir()
    return cache_folder()


@pytest.mark.parametrize("name", ["command", "p3_command"])
def test_later_commands_find_all_code(tmp_path: Path, cache: Path, name: str) -> None:
    component = write(tmp_path, name)
    code, out, err = ran("compile", component)
    assert (code, err) == (0, "")
    assert re.fullmatch(
        rf"{re.escape(component)}: compiled \d core modules? of \d+ bytes( \(merged into \d\))?, stored in {cache}\n",
        out,
    )
    before = kept(cache)
    assert before
    assert ran("run", component)[:2] == (0, "Hello, world!\n")
    assert kept(cache) == before


def test_the_modules_are_those_of_inspect(tmp_path: Path, cache: Path) -> None:
    """The component has several modules, of which the host makes one."""
    component = write(tmp_path, "p3_hello")
    modules = json.loads(ran("inspect", "--json", component)[1])["modules"]
    assert len(modules) > 1
    size = sum(module["size"] for module in modules)
    line = f"{component}: compiled {len(modules)} core modules of {size} bytes (merged into 1), stored in {cache}\n"
    assert ran("compile", component)[1] == line


def test_several(tmp_path: Path, cache: Path) -> None:
    components = [write(tmp_path, name) for name in ("hello", "p3_middleware", "unknown_import")]
    code, out, err = ran("compile", *components)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines] == components
    assert lines[0].endswith(f"stored in {cache}")
    assert lines[1].endswith(f"stored in {cache}")
    assert "; but nothing provides these imports of the component: tests:nowhere/nothing@1.0.0" in lines[2]
    again = kept(cache)
    assert ran("compile", *components) == (0, out, "")
    assert kept(cache) == again


def test_nothing_is_compiled_if_one_file_is_invalid(tmp_path: Path, cache: Path) -> None:
    module = tmp_path / "module.wasm"
    module.write_bytes(b"\0asm\1\0\0\0")
    code, out, err = ran("compile", write(tmp_path, "hello"), str(module))
    assert (code, out) == (2, "")
    assert err.startswith(f"wasi_trio: error: {module} is a core WebAssembly module; wasi_trio requires a component: ")
    assert not kept(cache)


def test_a_malformed_component(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "cut.wasm"
    path.write_bytes(wat.load("hello")[:-40])
    code, out, err = ran("compile", str(path))
    assert (code, out) == (2, "")
    assert err.startswith(f"wasi_trio: error: {path}: malformed component: ")


def test_an_unusable_cache(tmp_path: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "modules").write_text("no folder")
    code, out, err = ran("compile", write(tmp_path, "hello"))
    assert (code, out) == (2, "")
    assert err == f"wasi_trio: error: compiled code cannot be stored in {cache}: File exists\n"


def test_the_folder_in_wasmtimes_configuration(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    for config in (tmp_path / "config" / "wasmtime", cache.parents[1] / "Application Support" / cache.name):
        config.mkdir(parents=True)
        (config / "config.toml").write_text(f"[cache]\ndirectory = {str(other)!r}\n")
    assert check_cache() == other
    component = write(tmp_path, "command")
    code, out, _ = ran("compile", component)
    assert code == 0
    assert out.endswith(f"stored in {other}\n")
    assert kept(other)


def test_an_unreadable_configuration(tmp_path: Path, cache: Path) -> None:
    config = tmp_path / "config" / "wasmtime"
    for folder in (config, cache.parents[1] / "Application Support" / cache.name):
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text("[cache\n")
    with pytest.raises(CacheError, match=r"cannot read .*config\.toml: "):
        check_cache()
    code, _, err = ran("compile", write(tmp_path, "hello"))
    assert code == 2
    assert re.fullmatch(r"wasi_trio: error: cannot read .*config\.toml: .*\n", err)


def test_a_progress_bar_on_a_terminal(tmp_path: Path, cache: Path) -> None:
    component = write(tmp_path, "hello")
    with at_a_terminal("compile", component) as terminal:
        assert terminal.finish() == 0
    assert "━" in terminal.text
    assert f"{component}: compiled 2 core modules of " in terminal.text.replace("\n", "")
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")  # the cursor is visible again


def test_an_interrupt(tmp_path: Path, cache: Path) -> None:
    """It arrives during the compilation of the first component, which takes much longer than sending the signal."""
    with at_a_terminal("compile", *(str(build(name)) for name in GUESTS)) as terminal:
        while b"\x1b[?25l" not in terminal.said:  # the bar hides the cursor
            assert terminal.read(), terminal.text
        terminal.interrupt()
        assert terminal.finish() == 130
    assert terminal.said.rindex(b"\x1b[?25h") > terminal.said.rindex(b"\x1b[?25l")
    assert "Traceback" not in terminal.text
    assert f"stored in {cache}" not in terminal.text
