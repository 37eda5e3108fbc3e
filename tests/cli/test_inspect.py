"""``inspect`` on a terminal, to a pipe and for scripts."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from tests.cli.terminal import COMMAND, at_a_terminal, ran
from tests.guests import wat
from tests.guests.build import build
from wasi_trio.cli._inspection import ImportReport, Inspection, TargetWorld, inspect_component
from wasi_trio.cli._report import as_lines
from wasi_trio.component import wit
from wasi_trio.component._errors import ComponentError
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._loading import LoadError, link_component


@pytest.fixture
def guest(tmp_path: Path) -> Any:
    def write(name: str) -> str:
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wat.load(name))
        return str(path)

    return write


def inspected(tmp_path: Path, text: str) -> Inspection:
    path = tmp_path / "app.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    return inspect_component(str(path))


def statuses(inspection: Inspection) -> dict[str, str]:
    return {report.name: report.status for report in inspection.imports}


# ---- the inspection --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "command", "world"),
    [
        ("hello", "serve", "wasi:http/proxy@0.2.0"),
        ("p3_hello", "serve", "wasi:http/service@0.3.0"),
        ("p3_middleware", "serve", "wasi:http/middleware@0.3.0"),
        ("command", "run", "wasi:cli/command@0.2.0"),
        ("p3_command", "run", "wasi:cli/command@0.3.0"),
    ],
)
def test_commands_for_a_component(guest: Any, name: str, command: str, world: str) -> None:
    inspection = inspect_component(guest(name))
    assert inspection.targets == (TargetWorld(command, world),)
    assert inspection.problems == ()


@pytest.mark.parametrize("name", ["python_command", "python_p2", "python_p3"])
def test_a_component_from_a_toolchain(name: str) -> None:
    path = build(name)
    inspection = inspect_component(str(path))
    assert [target.command for target in inspection.targets] == ["run" if name == "python_command" else "serve"]
    assert set(statuses(inspection).values()) == {"met"}
    assert inspection.sizes.size == path.stat().st_size
    assert "libc.so" in [module.name for module in inspection.sizes.modules]
    assert all(module.code + module.data < module.size for module in inspection.sizes.modules)
    read = wit.parse(inspection.wit)
    assert set(read.packages["root:component"].worlds["root"].exports) == set(inspection.exports)
    assert "package wasi:" not in inspection.own_wit
    assert "record function" in inspection.own_wit  # of the interface that the toolchain's runtime exports


@pytest.mark.parametrize("name", wat.names())
def test_it_agrees_with_linking(guest: Any, name: str) -> None:
    inspection = inspect_component(guest(name))
    met = all(status == "met" for status in statuses(inspection).values())
    with Engine() as engine:
        try:
            link_component(engine, wat.load(name), name)
        except LoadError:
            assert not met
        else:
            assert met


def test_imports_with_every_status(tmp_path: Path) -> None:
    inspection = inspected(
        tmp_path,
        """(component
          (import "wasi:random/random@0.2.3" (instance
            (export "get-random-u64" (func (result u64)))
            (export "get-random-bytes" (func (param "len" u32) (result (list u8))))))
          (import "wasi:random/insecure@0.2.3" (instance
            (export "get-insecure-random-u64" (func (result u64)))
            (export "no-such" (func))))
          (import "wasi:clocks/wall-clock@0.9.0" (instance (export "now" (func))))
          (import "acme:kv/store" (instance (export "bucket" (type (sub resource)))))
          (import "wasi:http/handler@0.3.0" (instance (export "handle" (func))))
          (import "wasi:cli/exit@0.2.0" (instance (export "exit" (func (param "status" (result))))))
          (import "log" (func (param "line" string))))""",
    )
    assert inspection.imports == (
        ImportReport(
            "wasi:random/random@0.2.3",
            ("get-random-u64", "get-random-bytes"),
            "mismatched",
            ("get-random-bytes: parameter len: component has u32, host has u64",),
        ),
        ImportReport("wasi:random/insecure@0.2.3", ("get-insecure-random-u64", "no-such"), "missing", ("no-such",)),
        ImportReport("wasi:clocks/wall-clock@0.9.0", ("now",), "missing", ("now",)),
        ImportReport("acme:kv/store", (), "missing", ("bucket",)),
        ImportReport(
            "wasi:http/handler@0.3.0",
            ("handle",),
            "mismatched",
            ("handle: component has func, host has async func",),
        ),
        ImportReport("wasi:cli/exit@0.2.0", ("exit",), "met"),
        ImportReport("log", ("log",), "missing", ("log",)),
    )
    assert inspection.targets == ()


def test_an_import_that_no_host_can_provide(tmp_path: Path) -> None:
    inspection = inspected(
        tmp_path,
        """(component
          (import "m" (core module (export "f" (func))))
          (import "log" (func (param "line" string))))""",
    )
    assert statuses(inspection) == {"m": "missing", "log": "unknown"}
    assert inspection.problems == ("the component imports m (a core module, which a host cannot provide)",)
    assert "import log: func(line: string);" in inspection.wit


RUN = """(component
  (core module $M (func (export "run") (result i32) (i32.const 0)))
  (core instance $m (instantiate $M))
  (func $run (result %s) (canon lift (core func $m "run")))
  (instance $cli (export "%s" (func $run)))
  (export "wasi:cli/run@%s" (instance $cli)))"""


def test_a_command_of_an_unknown_version(tmp_path: Path) -> None:
    inspection = inspected(tmp_path, RUN % ("(result)", "run", "0.4.0"))
    assert (inspection.targets, inspection.problems) == ((), ())


def test_exports_with_a_wrong_type(tmp_path: Path) -> None:
    inspection = inspected(tmp_path, RUN % ("u32", "run", "0.2.3"))
    assert inspection.targets == ()
    assert inspection.problems == (
        "wasi:cli/run@0.2.3 run is exported with another type than WASI's: result: component has u32, host has result",
    )
    inspection = inspected(tmp_path, RUN % ("(result)", "walk", "0.2.3"))
    assert inspection.problems == ("wasi:cli/run@0.2.3 is exported without the function run",)


def test_sizes(tmp_path: Path) -> None:
    inspection = inspected(
        tmp_path,
        """(component
          (core module $first (func) (func) (memory 1) (data (i32.const 0) "0123456789"))
          (component (core module $inner))
          (core module (@custom "own" "12345"))
          (@custom "of the component" "123"))""",
    )
    sizes = inspection.sizes
    assert sizes.components == 1
    assert [(module.name, module.functions) for module in sizes.modules] == [("first", 2), ("inner", 0), (None, 0)]
    assert sizes.modules[0].data > 10
    assert sizes.modules[2].size == 8 + 2 + 4 + 5
    customs = [(custom.name, custom.size, custom.module) for custom in sizes.customs]
    assert ("own", 5, 2) in customs
    assert ("of the component", 3, None) in customs


def test_names_with_control_characters(tmp_path: Path) -> None:
    inspection = inspected(tmp_path, '(component (@custom "\\1b[31m\\0a\\09\\e2\\80\\ae" "") (core module))')
    assert "\ncustom\t\\x1b[31m\\n\\t\\u202e\t0\t\n" in as_lines(inspection)


# ---- the output ------------------------------------------------------------------------------------------


def test_lines(guest: Any) -> None:
    path = guest("unknown_import")
    code, out, err = ran("inspect", path)
    assert (code, err) == (0, "")
    facts, empty, text = out.partition("\n\n")
    assert empty
    lines = [line.split("\t") for line in facts.splitlines()]
    assert lines[:3] == [
        ["file", path],
        ["size", str(Path(path).stat().st_size)],
        ["world", "wasi:http/proxy@0.2.0", "serve"],
    ]
    assert ["import", "wasi:io/streams@0.2.0", "met", ""] in lines
    assert ["import", "tests:nowhere/nothing@1.0.0", "missing", "do-nothing"] in lines
    assert ["export", "wasi:http/incoming-handler@0.2.0"] in lines
    assert {line[0] for line in lines} == {"file", "size", "world", "import", "export", "module", "custom"}
    assert text.startswith("package root:component;\n")
    assert "package tests:nowhere@1.0.0 {" in text
    assert "package wasi:" not in text


def test_wit(guest: Any) -> None:
    code, out, err = ran("inspect", "--wit", guest("hello"))
    assert (code, err) == (0, "")
    assert "[method]output-stream.write" not in out
    assert "[method]outgoing-body.write" in wit.parse(out).interface("wasi:http/types").functions


def test_json(guest: Any) -> None:
    code, out, err = ran("inspect", "--json", guest("p3_middleware"))
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["worlds"] == [{"world": "wasi:http/middleware@0.3.0", "command": "serve"}]
    assert {"name": "wasi:http/handler@0.3.0", "status": "next", "functions": ["handle"], "details": []} in found[
        "imports"
    ]
    assert found["exports"] == ["wasi:http/handler@0.3.0"]
    assert [module["name"] for module in found["modules"]] == ["Memory", "Reply", "Main"]
    assert "package wasi:http@0.3.0 {" in found["wit"]


def test_on_a_terminal(guest: Any) -> None:
    with at_a_terminal("inspect", guest("unknown_import")) as terminal:
        assert terminal.finish() == 0
    assert "\x1b[31mmissing" in terminal.text
    assert "\x1b[32mmet" in terminal.text
    assert "import\t" not in terminal.text
    plain = re.sub(r"\x1b\[[\d;]*m", "", terminal.text)
    for title in ("Imports", "Exports", "Core modules", "Custom sections"):
        assert re.search(rf"^{title} *$", plain, re.MULTILINE)
    assert re.search(r"^tests:nowhere/nothing@1\.0\.0 +1 +missing *\n +do-nothing *$", plain, re.MULTILINE)
    assert "A component for the command serve: wasi:http/proxy@0.2.0" in plain
    assert "\npackage tests:nowhere@1.0.0 {\n" in plain


def test_on_a_terminal_without_colours(guest: Any) -> None:
    with at_a_terminal("inspect", guest("unknown_import"), NO_COLOR="1") as terminal:
        assert terminal.finish() == 0
    assert "do-nothing" in terminal.text
    assert not re.search(r"\x1b\[[\d;]*3\d", terminal.text)


def test_wit_and_json_have_no_colours_on_a_terminal(guest: Any) -> None:
    for option in ("--wit", "--json"):
        with at_a_terminal("inspect", option, guest("hello")) as terminal:
            assert terminal.finish() == 0
        assert "\x1b" not in terminal.text


def test_a_pipe_never_has_colours(guest: Any) -> None:
    code, out, _ = ran("inspect", guest("hello"), FORCE_COLOR="1")
    assert code == 0
    assert "\x1b" not in out


def test_a_reader_that_leaves() -> None:
    """The text is larger than a pipe's buffer, so it is still being written."""
    command = [*COMMAND, "inspect", "--json", str(build("python_p3"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


# ---- other files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a WebAssembly component: it is empty"),
        (b"(component", "app.wasm is not well-formed text: "),
        (b"\0asm\1\0\0\0", "is a core WebAssembly module; wasi_trio requires a component"),
        (wat.load("hello")[:-40], "app.wasm: malformed component: "),
        (bytes(wasmtime.wat2wasm('(component (import "f" (func)) (import "f" (func)))')), "app.wasm: .*`f` conflicts"),
    ],
)
def test_a_file_that_is_not_a_component(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=message):
        inspect_component(str(path))


def test_a_truncated_core_module(tmp_path: Path) -> None:
    """wasmtime does not check custom sections. Only this package parses them."""
    content = wasmtime.wat2wasm('(component (core module (@custom "own" "")))')
    cut = bytes(content).replace(b"\x03own", b"\x7fown")
    path = tmp_path / "app.wasm"
    path.write_bytes(cut)
    with pytest.raises(LoadError, match=r"app\.wasm: a name extends past the end of its section"):
        inspect_component(str(path))


def test_every_corrupt_byte_gives_a_message_or_a_report(tmp_path: Path) -> None:
    data = wat.load("p3_command")
    path = tmp_path / "app.wasm"
    for at in range(8, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            inspect_component(str(path))
        except LoadError as error:
            assert "\n" not in str(error)
            assert isinstance(error.__context__, ComponentError)
