"""The options of the engine, which all commands with a component have: features, and limits of compilation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import wasmtime

from tests.cli.terminal import ran
from tests.guests import wat
from wasi_trio.component._features import BY_NAME, option_name

COMMANDS = ("serve", "run", "inspect", "compile")
TAIL_CALL = "(component (core module (func $f return_call $f)))"
GC = "(component (core module (type (struct (field i32)))))"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home directory with an empty cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def hello(tmp_path: Path) -> str:
    path = tmp_path / "hello.wasm"
    path.write_bytes(wat.load("hello"))
    return str(path)


def write(folder: Path, text: str) -> str:
    path = folder / "app.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    return str(path)


def refused(*arguments: str) -> str:
    """Return the message of a command that ends because of invalid input."""
    code, out, err = ran(*arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_the_timeout_of_compilation(command: str, hello: str) -> None:
    line = refused(command, "--compile-timeout", "1ms", hello)
    assert line == (f"wasi_trio: error: {hello}: compiling it takes longer than 0.001 s; increase --compile-timeout")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_timeout_of_parsing_text(command: str, tmp_path: Path) -> None:
    path = tmp_path / "hello.wat"
    path.write_text(wat.source("hello"))
    assert f"{path}: compiling it takes longer than 0.001 s" in refused(command, "--compile-timeout", "1ms", str(path))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_message_about_a_disabled_feature_names_its_option(command: str, tmp_path: Path) -> None:
    text = GC if command == "inspect" else TAIL_CALL
    name = "gc" if command == "inspect" else "tail-call"
    component = write(tmp_path, text)
    assert (
        f"{component}: it uses the WebAssembly feature {name}, which is off; the option -W {name} enables it"
        in refused(command, component)
    )


def test_enabling_a_feature(tmp_path: Path) -> None:
    component = write(tmp_path, TAIL_CALL)
    assert ran("compile", "-W", "tail-call,gc", component)[0] == 0
    assert ran("compile", "--wasm", "tail-call=y", component)[0] == 0
    assert "feature tail-call" in refused("compile", "-W", "tail-call", "-W", "tail-call=n", component)


def test_disabling_a_feature(tmp_path: Path) -> None:
    component = write(tmp_path, '(component (type $m (map string u32)) (export "m" (type $m)))')
    assert ran("inspect", component)[0] == 0
    assert "the option -W component-model-map enables it" in refused(
        "inspect", "-W", "component-model-map=n", component
    )


def test_compilation_without_limits(hello: str) -> None:
    assert ran("compile", "--compile-timeout", "none", "--compile-memory", "none", hello)[0] == 0


def test_the_list_names_every_feature_with_its_risk() -> None:
    code, out, err = ran("run", "-W", "help")
    assert (code, err) == (0, "")
    for feature in BY_NAME.values():
        assert re.search(
            rf"^  -W {option_name(feature.name)}\[=y\|n\].*\n +{re.escape(feature.risk)}$", out, re.MULTILINE
        )
