"""Invalid components are refused before the first request, with one line that gives the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from tests.e2e.support import engine
from tests.guests import wat
from wasi_trio.serve._loading import LoadError, link

EMPTY = '(core module $M (func (export "f"))) (core instance $m (instantiate $M))'
HANDLER = '(instance $h (export "handle" (func $f))) (export "wasi:http/incoming-handler@0.2.0" (instance $h))'


def imported(interface: str, function: str, type_: str, canon: str = "") -> str:
    return f"""(component
      (import "{interface}" (instance $i (export "{function}" {type_})))
      (core module $Memory (memory (export "m") 1)
        (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
      (core instance $mem (instantiate $Memory))
      (alias core export $mem "m" (core memory $memory))
      (alias core export $mem "r" (core func $realloc))
      (core func (canon lower (func $i "{function}") {canon})))"""


MEMORY = "(memory $memory) (realloc $realloc)"

REFUSED = {
    "a memory of 64 bits": (
        """(component
          (core module $M
            (memory (export "m") i64 1)
            (func (export "f") (result i32) (i32.const 0)))
          (core instance $m (instantiate $M))
          (func (export "f") (result string) (canon lift (core func $m "f") (memory (core memory $m "m")))))""",
        "the WebAssembly feature memory64, which is off",
    ),
    "component values": ('(component (import "v" (value u32)))', "component-level values"),
    "threads": ("(component (core func (canon thread.index)))", "thread.index"),
    "error contexts": ("(component (core func (canon error-context.drop)))", "error-context"),
    "another result": (
        imported("wasi:cli/environment@0.2.0", "get-environment", "(func (result u32))"),
        "wasi:cli/environment@0.2.0 get-environment: result: component has u32, host has list<tuple<string, string>>",
    ),
    "another parameter": (
        imported("wasi:random/random@0.2.0", "get-random-bytes", '(func (param "len" u32) (result (list u8)))', MEMORY),
        "wasi:random/random@0.2.0 get-random-bytes",
    ),
    "a parameter too many": (
        imported("wasi:clocks/monotonic-clock@0.2.0", "now", '(func (param "a" u32) (result u64))'),
        "wasi:clocks/monotonic-clock@0.2.0 now",
    ),
    "a function that WASI has not": (
        imported("wasi:random/random@0.2.0", "get-lucky-number", "(func (result u32))"),
        "wasi:random/random@0.2.0 get-lucky-number",
    ),
    "a version that is none": (
        imported("wasi:random/random@0.9.0", "get-random-u64", "(func (result u64))"),
        "wasi:random/random@0.9.0",
    ),
    "an interface of nobody's": (imported("acme:kv/store", "get", "(func)"), "acme:kv/store"),
    "a function by an interface's name": (
        '(component (import "wasi:cli/environment@0.2.0" (func $f)) (core func (canon lower (func $f))))',
        "wasi:cli/environment@0.2.0",
    ),
    "a module to be given by the host": (
        '(component (import "acme:some/module" (core module)))',
        "acme:some/module (a core module, which a host cannot provide)",
    ),
    "no handler": (f'(component {EMPTY} (func (export "f") (canon lift (core func $m "f"))))', "incoming-handler"),
    "a handler that takes nothing": (
        f'(component {EMPTY} (func $f (canon lift (core func $m "f"))) {HANDLER})',
        "handle is exported with another type",
    ),
    "a handler that takes numbers": (
        f"""(component
          (core module $M (func (export "f") (param i32 i32)))
          (core instance $m (instantiate $M))
          (func $f (param "request" u32) (param "response-out" u32) (canon lift (core func $m "f")))
          {HANDLER})""",
        "handle is exported with another type",
    ),
    "a handler of WASI 0.3 that takes nothing": (
        f"""(component {EMPTY} (func $f (canon lift (core func $m "f")))
          (instance $h (export "handle" (func $f))) (export "wasi:http/handler@0.3.0" (instance $h)))""",
        "wasi:http/handler@0.3.0 handle is exported with another type",
    ),
    "a handler of another WASI": (
        f"""(component {EMPTY} (func $f (canon lift (core func $m "f")))
          (instance $h (export "handle" (func $f))) (export "wasi:http/handler@0.4.0" (instance $h)))""",
        "the component exports wasi:http/handler@0.4.0, but the server supports",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(LoadError) as caught:
        link(engine(), bytes(wasmtime.wat2wasm(text)), "app.wasm")
    message = str(caught.value)
    assert message.startswith("app.wasm: ")
    assert "\n" not in message
    assert reason in message


def test_all_missing_imports_are_listed() -> None:
    text = wat.source("unknown_import").replace(
        '(import "tests:nowhere',
        '(import "tests:elsewhere/other" (instance (export "f" (func))))\n(import "tests:nowhere',
    )
    with pytest.raises(LoadError, match=r"tests:elsewhere/other.*tests:nowhere/nothing@1\.0\.0"):
        link(engine(), bytes(wasmtime.wat2wasm(text)), "app.wasm")


@pytest.mark.parametrize("name", ["another result", "a memory of 64 bits", "a handler that takes nothing"])
def test_on_the_command_line_it_is_bad_input(name: str, tmp_path: Path) -> None:
    text, reason = REFUSED[name]
    path = tmp_path / "app.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    command = [sys.executable, "-m", "wasi_trio", "serve", "--addr", "127.0.0.1:0", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert reason in result.stderr
