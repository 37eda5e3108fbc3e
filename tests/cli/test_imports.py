"""The imports of a command: only the large modules that it needs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.guests.wat import load

#: Modules that neither a command nor a server without HTTP/2, TLS and outgoing requests must import if its component is
#: already compiled.
NEEDLESS = {
    "decimal",
    "difflib",
    "email",
    "h11",
    "h2",
    "prometheus_client",
    "rich",
    "wasi_trio.cli._tools",
    "wasi_trio.component._binary",
    "wasi_trio.component._definitions",
    "wasi_trio.component._planning",
    "wasi_trio.component.merging",
    "wasi_trio.component.wit._parser",
    "wasi_trio.runtime._apart",
    "wasi_trio.runtime._compiler_process",
    "wasi_trio.runtime._profile_file",
    "wasi_trio.runtime._profile_sampling",
    "wasi_trio.wasi.http._client",
    "wasi_trio.wasi.http._connection",
    "wasmtime",
    "zipfile",
}
#: Modules that a WASI command must not import if it only writes output.
NEEDLESS_FOR_RUN = NEEDLESS | {
    "httptools",
    "hypercorn",
    "logging.config",
    "tomllib",
    "wasi_trio.cli._serve_command",
    "wasi_trio.serve._command",
    "wasi_trio.serve._config_file",
    "wasi_trio.serve.routing._declarations",
    "wasi_trio.serve.settings._sources",
    "wasi_trio.wasi.http._uri",
}
#: Runs the command line with the arguments, and then writes the names of all modules. Unlike -X importtime, it shows
#: modules that importlib.import_module has imported.
_PROGRAM = """
import runpy, sys
try:
    runpy.run_module("wasi_trio", run_name="__main__", alter_sys=True)
finally:
    print(*sys.modules, sep="\\n", file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def _component(folder: Path, name: str) -> str:
    path = folder / f"{name}.wasm"
    path.write_bytes(load(name))
    return str(path)


def _run(*arguments: str) -> set[str]:
    """Return the modules that a command has imported at its end."""
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.splitlines())


def _serve(*arguments: str) -> set[str]:
    """Return the modules that a server has imported after one request."""
    command = [sys.executable, "-c", _PROGRAM, "serve", "--addr", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = None
        while address is None:
            line = process.stderr.readline()
            assert line, "the server ended"
            address = re.search(r"http://[\d.]+:\d+/", line)
        with urllib.request.urlopen(address[0], timeout=60) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        return set(process.communicate(timeout=60)[1].splitlines())


def test_the_imports_of_a_warm_command(tmp_path: Path) -> None:
    component = _component(tmp_path, "command")
    cold = _run("run", component)
    assert {"wasi_trio.component.wit._parser", "wasi_trio.runtime._apart"} & cold, "the test would not see it"
    warm = _run("run", component)
    assert "wasi_trio.cli._run" in warm
    assert sorted(NEEDLESS_FOR_RUN & warm) == []


def test_the_imports_of_a_warm_server(tmp_path: Path) -> None:
    component = _component(tmp_path, "hello")
    cold = _serve(component)
    assert "wasi_trio.runtime._apart" in cold, "the test would not see it"
    warm = _serve(component)
    assert "wasi_trio.serve.http._server" in warm
    assert sorted(NEEDLESS & warm) == []
