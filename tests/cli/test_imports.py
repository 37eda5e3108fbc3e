"""The imports of a command: only the large modules that it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.guests.wat import load

#: Modules that a WASI command must not import if it only writes output and is already compiled.
NEEDLESS = {
    "hypercorn",
    "prometheus_client",
    "rich",
    "tomllib",
    "wasi_trio.component.wit._parser",
    "wasi_trio.runtime._apart",
    "wasi_trio.runtime._compiler_process",
    "wasi_trio.runtime._profile_sampling",
    "wasi_trio.serve._command",
    "wasmtime.component",
    "zipfile",
}


@pytest.fixture
def component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "command.wasm"
    path.write_bytes(load("command"))
    return path


def imported(*arguments: str) -> set[str]:
    """Return the modules that a command has imported at its end."""
    command = [sys.executable, "-X", "importtime", "-m", "wasi_trio", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    assert lines, result.stderr
    return {line.rpartition("|")[2].strip() for line in lines}


def test_the_imports_of_a_warm_command(component: Path) -> None:
    cold = imported("run", str(component))
    assert "wasi_trio.runtime._apart" in cold, "the test would not see it"
    warm = imported("run", str(component))
    assert "wasi_trio.cli._run" in warm
    assert sorted(NEEDLESS & warm) == []
