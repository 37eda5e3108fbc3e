"""Errors on the command line: one line on standard error that says what is wrong, and exit code 2."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from tests.guests import wat
from tests.guests.build import ROOT


def fails(*arguments: str) -> str:
    """Run a command that must fail. Return its line on standard error."""
    command = [sys.executable, "-m", "wasi_trio", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert done.stderr.endswith("\n")
    match = re.fullmatch("wasi_trio: error: (.+)", line)
    assert match is not None, line
    return match[1]


@pytest.fixture
def component(tmp_path: Path) -> str:
    path = tmp_path / "hello.wasm"
    path.write_bytes(wat.load("hello"))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command"),
        (["nonsense"], "No such command 'nonsense'"),
        (["serve", "--nonsense"], "No such option.*--nonsense"),
        (["serve", "--env", "A=\udcff"], "--env.*is not UTF-8 text"),
        (["serve", "--addr"], "--addr.*requires an argument"),
        (["serve", "--addr", "nonsense"], "--addr.*'nonsense' is not an address"),
        (["serve", "--addr", "127.0.0.1:99999"], "--addr.*is not an address"),
        (["serve", "--shutdown-addr", "8080"], "--shutdown-addr.*'8080' is not an address"),
        (["serve", "--env", "=VALUE"], "--env.*'=VALUE' is not of the form NAME or NAME=VALUE"),
        (["serve", "--dir", "::"], "--dir.*'::' is not of the form HOST::GUEST"),
        (
            ["serve", "--allow-outbound", "ftp://a"],
            "--allow-outbound.*'ftp://a' has an unknown protocol; use one of http, https",
        ),
        (["run", "--allow-outbound", "a:b:c"], "--allow-outbound.*'a:b:c' is not of the form HOST, HOST:PORT"),
        (["run", "--allow-outbound", "self", "x"], "--allow-outbound: 'self' means the address of a server"),
        (["serve", "--dir", "/tmp::/::rw"], "--dir.*is not of the form HOST::GUEST or HOST::GUEST::ro"),
        (["serve", "--dir", "/nope::/"], "--dir.*cannot open '/nope' as a directory: No such file or directory"),
        (["serve", "--profile", "nonsense"], "--profile.*'nonsense' is not of the form guest"),
        (["serve", "--profile", "guest,"], "--profile.*'' is not the path of a file"),
        (["serve", "--profile", "guest,/tmp"], "--profile.*'/tmp' is a directory"),
        (["serve", "--profile", "guest,/dev/null"], "--profile.*'/dev/null' is not a regular file"),
        (["run", "--profile", "guest,/dev/stdout", "x"], "--profile.*'/dev/stdout' is not a regular file"),
        (["serve", "--profile", "guest,/nope/p.json"], "--profile.*the directory '/nope' of"),
        (["serve", "--profile", f"guest,{'p' * 151}"], "--profile.*is longer than 150 bytes"),
        (["serve", "--profile", "guest,p.json,soon"], "--profile.*'soon' is not a duration"),
        (["run", "--profile", "guest,p.json,0s", "x"], "--profile.*'0s' is shorter than 1ms"),
        (["serve", "--profile", "guest,p.json,1s,2s"], "--profile.*is not of the form guest"),
        (["run", "--profile", "vtune", "x"], "--profile.*vtune is not supported; use guest,"),
        (["serve", "-H", "nonsense"], "'-H' / '--header': 'nonsense' is not of the form 'name: value'"),
        (["serve", "--header", "a: b\r\nc: d"], r"--header.*'a: b\\r\\nc: d'.*not visible ASCII"),
        (["serve", "--header", "@/nonsense"], "--header.*cannot read '/nonsense': No such file"),
        (["serve", "--idle-instance-timeout", "soon"], "--idle-instance-timeout.*'soon' is not a duration"),
        (["serve", "--idle-instance-timeout", "-1s"], "--idle-instance-timeout.*'-1s' is not a duration"),
        (
            ["serve", "--request-timeout", "1d"],
            "--request-timeout.*'1d' is not a duration such as 1s, 500ms, 2.5, 5m or 1h30m",
        ),
        (["serve", "--request-timeout", "0"], "--request-timeout.*longer than 0"),
        (
            ["serve", "--max-instance-reuse-count", "0"],
            "--max-instance-reuse-count.*'0' is not a whole number of 1 or more",
        ),
        (["serve", "--max-instance-concurrent-reuse-count", "-1"], "-reuse-count.*'-1' is not a whole number"),
        (["serve", "--workers", "1001"], "--workers.*'1001' is more than 1000 processes"),
        (["serve", "--compile-memory", "99999999999G"], "--compile-memory.*'99999999999G' is not a size in bytes"),
        (["serve", "--max-concurrent-requests", "many"], "--max-concurrent-requests.*'many' is not a whole number"),
        (["serve", "--max-concurrent-connections", "-5"], "--max-concurrent-connections.*'-5' is not a whole number"),
        (["serve", "-W", "gcc"], "'-W' / '--wasm': 'gcc' is not a feature that can be switched; the features are gc, "),
        (["run", "-W", "gc=maybe", "x"], "'-W' / '--wasm': gc must be y or n, not 'maybe'"),
        (["compile", "--compile-timeout", "0", "x"], "--compile-timeout.*longer than 0"),
        (["inspect", "--compile-memory", "much", "x"], "--compile-memory.*'much' is not a size"),
        (["serve", "-S", "nn"], "'-S' / '--wasi': -S nn is not supported: provide such an interface in Python"),
        (["run", "-S", "cli,inherit-network", "x"], "-S inherit-network is not supported: use the option --inherit-n"),
        (["serve", "-S", "http=n"], "http is always on here, and cannot be 'n'$"),
        (["serve", "-S", "nonsense"], "'nonsense' is no setting of wasmtime 49; supported are config, config-var="),
        (["serve", "-W", "simd,timeout=10s"], "-W timeout is not supported: use the options --request-timeout and "),
        (["serve", "-C", "cache=n"], "cache is always on here, and cannot be 'n'$"),
        (
            ["serve", "-O", "pooling-allocator"],
            "-O pooling-allocator is not supported: wasmtime compiles and allocates",
        ),
        (["serve", "-g", "1234"], "-g is not supported: wasmtime's C API has no debugger$"),
        (["run", "--invoke", "f()", "x"], "--invoke is not supported: run calls wasi:cli/run, and your program any"),
        (["run", "--allow-precompiled", "x"], "--allow-precompiled is not supported: the host compiles every"),
        (["run", "-S", "config=maybe", "x"], "'-S' / '--wasi': config must be y or n$"),
        (["serve", "-S", "config-var"], "config-var must have the form config-var=NAME=VALUE"),
        (["serve", "--config-var", "=hunter2"], "--config-var.*: it is not of the form NAME or NAME=VALUE$"),
        (["serve", "--config-var", "a=\udcff"], "--config-var.*: the value of a is not UTF-8 text$"),
        (
            ["serve", "--keyvalue", "a=ftp://:hunter2@h"],
            "the URL of the bucket a must have the form memory:, sqlite:FILE",
        ),
        (["serve", "--keyvalue", "a/b=memory:"], "the name of a bucket may contain only letters, digits"),
        (["serve", "--keyvalue", "a=memory:x"], "the URL of the bucket a must have the form"),
        (["serve", "--keyvalue", "a=redis://h:99999"], "the URL of the bucket a has no valid host and port$"),
        (["serve", "--keyvalue", "a=redis://h/x"], "the URL of the bucket a must have the form"),
        (["serve", "--keyvalue", "a=redis://h?timeout=1"], "the query of the URL of the bucket a must be "),
        (["serve", "--keyvalue", "a=redis://h?prefix=*"], "the query of the URL of the bucket a must be "),
        (["serve", "--keyvalue", "a=memory:", "--keyvalue", "a=memory:"], "the bucket a is given twice$"),
        (["run", "--keyvalue", "a=sqlite:/nope/a.db", "x"], "the bucket a: cannot use '/nope/a.db' as a SQLite file: "),
        (
            ["serve", "--keyvalue", "memory:", "--workers", "2"],
            "the bucket default is kept in the memory of each process",
        ),
        (["serve", "-S", "keyvalue", "--workers", "2"], "each of the 2 workers would have its own"),
        (
            ["serve", "--keyvalue", "sqlite:/tmp/a.db", "-S", "keyvalue-in-memory-data=a=b"],
            "keyvalue-in-memory-data requires the URL memory: for the bucket default$",
        ),
        (["serve", "--route", "/static=/tmp"], "--route.*'/tmp' is a folder: write '/tmp/' to serve its files$"),
        (["run"], "Missing argument 'COMPONENT'"),
        (["run", "--nonsense", "app.wasm"], "No such option.*--nonsense"),
        (["run", "--env", "", "app.wasm"], "--env.*'' is not of the form NAME or NAME=VALUE"),
        (["run", "--dir", f"{__file__}::/", "app.wasm"], "--dir.*cannot open '.*' as a directory: Not a directory"),
        (["run", "app.wasm", "\udcff"], "is not UTF-8 text"),
    ],
)
def test_options(arguments: list[str], message: str) -> None:
    assert re.search(message, fails(*arguments))


def test_messages_reveal_no_secret() -> None:
    for arguments in (
        ["--config-var", "=hunter2"],
        ["--config-var", "a=hunter2\udcff"],
        ["-S", "config-var=a=hunter2\udcff"],
        ["--keyvalue", "a=ftp://:hunter2@h"],
        ["--keyvalue", "a=redis://:hunter2@h:x"],
        ["--keyvalue", "redis://:hunter2@h?a=b"],
        ["--keyvalue", "redis://:hunter2@"],
    ):
        assert "hunter2" not in fails("serve", *arguments)


def test_a_store_that_needs_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package of this name that raises ImportError stands for a missing coredis."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['coredis'] = None\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    line = fails("serve", "--keyvalue", "a=redis://h")
    assert line.endswith("the bucket a requires coredis: pip install 'wasi-trio[redis]'")


def test_an_unreadable_file(tmp_path: Path) -> None:
    assert fails("serve", str(tmp_path / "none.wasm")).endswith("none.wasm: No such file or directory")
    assert fails("serve", str(tmp_path)).endswith(f"{tmp_path}: Is a directory")
    assert fails("run", str(tmp_path / "none.wasm")).endswith("none.wasm: No such file or directory")
    assert "not" in fails("serve", str(tmp_path / "a\nb.wasm"))


#: every argument that names a file to read
FILES = {
    "inspect": ["inspect", "FILE"],
    "compile": ["compile", "FILE"],
    "run": ["run", "FILE"],
    "serve": ["serve", "FILE"],
    "chain": ["serve", "COMPONENT", "FILE"],
    "route": ["serve", "--route", "/a=FILE"],
    "bindgen": ["bindgen", "FILE", "-o", "out"],
    "profile": ["profile", "FILE"],
    "hypercorn-config": ["serve", "--hypercorn-config", "FILE", "COMPONENT"],
    "log-config": ["serve", "--log-config", "FILE", "COMPONENT"],
    "certfile": ["serve", "--certfile", "FILE", "COMPONENT"],
    "keyfile": ["serve", "--certfile", "CERTIFICATE", "--keyfile", "FILE", "COMPONENT"],
    "header": ["serve", "--header", "@FILE", "COMPONENT"],
}


#: a pipe for each, and all other kinds for those that read files in their own way
PATHS = [(name, "pipe") for name in FILES] + [
    (name, kind)
    for name in ("inspect", "bindgen", "profile", "hypercorn-config", "keyfile")
    for kind in ("folder", "loop", "long name", "sparse", "no name")
]


@pytest.mark.parametrize(("argument", "kind"), PATHS)
def test_a_path_that_is_no_file(argument: str, kind: str, component: str, tmp_path: Path) -> None:
    """The message names the path, and the command does not wait for a pipe's writer or read a large file."""
    path = tmp_path / ("n" * 300 if kind == "long name" else "file")
    reason = {
        "pipe": "it is a pipe, and nothing writes to it|it is not a regular file",
        "folder": "Is a directory|has no world",
        "loop": "Too many levels of symbolic links",
        "long name": "File name too long",
        "sparse": "it is larger than (16|512) MiB",
        "no name": "'': the name is empty|'' is not the path of a file",
    }[kind]
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to("file")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    certificate = tmp_path / "certificate.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----\n")
    name = "" if kind == "no name" else str(path)
    line = fails(
        *(
            text.replace("FILE", name).replace("COMPONENT", component).replace("CERTIFICATE", str(certificate))
            for text in FILES[argument]
        )
    )
    assert re.search(reason, line), line
    assert name[:200] in line


CORE = b"\0asm\1\0\0\0"
PREVIEW1 = bytes(wasmtime.wat2wasm('(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))))'))
PREVIEW1_COMMAND = bytes(
    wasmtime.wat2wasm(
        """(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))) (func (export "_start")))"""
    )
)
EMBEDDED = CORE + b"\0\x10\x0fcomponent-type:"
COMPONENT = b"\0asm\x0d\0\1\0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a WebAssembly component: it is empty"),
        (b"#!/bin/sh\n\xff\xfe", "is not a WebAssembly component$"),
        (b"(component", r"app\.wasm is not well-formed text: expected `\)`, line 1, column 11$"),
        (b"(component)", "exports neither wasi:http/incoming-handler"),
        (b"\0asm", "app.wasm: "),
        (
            CORE,
            "is a core WebAssembly module; wasi_trio requires a component: .*`wasm-tools component embed`.*-py",
        ),
        (PREVIEW1, "this module is for WASI preview 1. .*--adapt wasi_snapshot_preview1.reactor.wasm` .*wasm32-wasip2"),
        (EMBEDDED, "wasi_trio requires a component: convert it with `wasm-tools component new`$"),
        (CORE + b"\0\xff", "a core WebAssembly module; wasi_trio requires a component: this module is malformed"),
        (wat.load("command"), "it is not an HTTP component; it is a command: use `python -m wasi_trio run`$"),
        (wat.load("p3_command"), "it is not an HTTP component; it is a command: use `python -m wasi_trio run`$"),
        (COMPONENT + b"\xff" * 40, "app.wasm: "),
        (COMPONENT, "exports neither wasi:http/incoming-handler"),
        (wat.load("hello")[:-40], "app.wasm: "),
    ],
)
def test_a_file_that_is_not_an_http_component(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(content)
    assert re.search(message, fails("serve", str(path)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a WebAssembly component: it is empty"),
        (
            PREVIEW1_COMMAND,
            "is a core WebAssembly module; wasi_trio requires a component: this module is for WASI preview 1. Convert "
            "it with `wasm-tools component new --adapt wasi_snapshot_preview1.command.wasm`",
        ),
        (b"(module)", "wasi_trio requires a component: convert it with `wasm-tools component embed`"),
        (b";; text\n(component)", "does not export wasi:cli/run"),
        (COMPONENT, "the component is not a command: it does not export wasi:cli/run .its exports: none.$"),
        (
            wat.load("hello"),
            "its exports: wasi:http/incoming-handler@0.2.0.; it is an HTTP component: use `python -m wasi_trio serve`",
        ),
        (
            wat.load("p3_hello"),
            "its exports: wasi:http/handler@.*; it is an HTTP component: use `python -m wasi_trio serve`",
        ),
        (wat.load("unknown_import"), "tests:nowhere/nothing@1.0.0"),
        (
            wasmtime.wat2wasm(
                """(component
                  (core module $M (func (export "run") (result i32) (i32.const 0)))
                  (core instance $m (instantiate $M))
                  (func $run (result u32) (canon lift (core func $m "run")))
                  (instance $cli (export "run" (func $run)))
                  (export "wasi:cli/run@0.2.3" (instance $cli)))"""
            ),
            "wasi:cli/run@0.2.3 run is exported with another type than WASI's",
        ),
    ],
)
def test_a_file_that_is_not_a_command(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(content)
    assert re.search(message, fails("run", str(path)))


def test_unmet_imports(tmp_path: Path) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(
        wasmtime.wat2wasm(
            """(component
              (import "acme:one/first@1.0.0" (instance (export "f" (func))))
              (import "acme:two/second" (instance (export "g" (func)) (export "h" (func))))
              (import "wasi:random/random@0.2.0" (instance (export "no-such" (func)))))"""
        )
    )
    parts = [
        f"{path}: nothing provides these imports of the component: acme:one/first@1.0.0, acme:two/second, "
        "wasi:random/random@0.2.0 no-such",
        "this host has wasi:random@0.2.12 and wasi:random@0.3.0: build the component with that WIT (`python -m "
        "wasi_trio wit` prints it)",
        "implement the others in your own Python program (see the page 'Host functions'), or compose the component "
        "with one that exports them (`wac plug`)",
    ]
    for command in ("serve", "run"):
        assert fails(command, str(path)).split("; ") == parts


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (["acme:a/b@1.0.0"], "implement acme:a/b@1.0.0 in your own Python program "),
        (["acme:a/b", "wasi:nn/graph@0.2.0"], "implement them in your own Python program "),
        (
            ["wasi:http/types@0.3.0-rc-2026-01-06"],
            "this host has wasi:http@0.2.12 and wasi:http@0.3.0: build the component with that WIT ",
        ),
        (["wasi:config/runtime@0.2.0-draft"], "this host has wasi:config@0.2.0-rc.1: build the component with that "),
        (
            ["wasi:config/store@0.2.0-rc.1", "wasi:keyvalue/store@0.2.0-draft2", "acme:a/b"],
            "wasi:config requires the option --config-var NAME=VALUE; wasi:keyvalue requires the option --keyvalue "
            "NAME=URL; implement acme:a/b in your own Python program ",
        ),
    ],
)
def test_advice_about_unmet_imports(names: list[str], advice: str, tmp_path: Path) -> None:
    path = tmp_path / "app.wasm"
    imports = "".join(f'(import "{name}" (instance (export "f" (func))))' for name in names)
    path.write_bytes(wasmtime.wat2wasm(f"(component {imports})"))
    line = fails("serve", str(path))
    assert line.startswith(f"{path}: nothing provides these imports of the component: {', '.join(names)}; {advice}")


def test_an_unmet_import_of_an_http_component(tmp_path: Path) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(wat.load("unknown_import"))
    assert "tests:nowhere/nothing@1.0.0" in fails("serve", str(path))


@pytest.mark.parametrize("option", ["--addr", "--shutdown-addr"])
def test_an_address_in_use(component: str, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        addresses = ["--addr", "127.0.0.1:0", option, address]
        assert fails("serve", *addresses, component) == f"cannot listen on {address}: Address already in use"


def test_an_address_of_another_machine(component: str) -> None:
    assert fails("serve", "--addr", "192.0.2.1:0", component).startswith("cannot listen on 192.0.2.1:0: ")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    names = ("hello", "p3_hello", "p3_middleware")
    for name in names:
        (tmp_path / f"{name}.wasm").write_bytes(wat.load(name))
    return {name: str(tmp_path / f"{name}.wasm") for name in names}


def test_the_last_component_needs_a_next_one(files: dict[str, str]) -> None:
    outer = files["p3_middleware"]
    for chain in ([outer], [outer, outer]):
        assert fails("serve", *chain) == (
            f"{outer}: nothing provides these imports of the component: wasi:http/handler@0.3.0; "
            f"name the component that answers wasi:http/handler after {outer}"
        )


def test_components_without_a_handler_import(files: dict[str, str]) -> None:
    hello, p3_hello = files["hello"], files["p3_hello"]
    message = f"{p3_hello} cannot stand in front of {hello}: it does not import wasi:http/handler"
    assert fails("serve", p3_hello, hello) == message
    message = f"{hello} cannot stand in front of {p3_hello}: it does not import wasi:http/handler"
    assert fails("serve", hello, p3_hello) == f"{message}, which WASI 0.2 does not have"
    assert "cannot read none.wasm" in fails("serve", files["p3_middleware"], "none.wasm")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no directory in which nobody can make files, root neither")
@pytest.mark.parametrize("profile", ["guest", "guest,/proc/p.json", "jitdump"])
def test_an_unwritable_profile(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir("/proc")
    assert "does not accept new files" in fails("serve", "--profile", profile)
