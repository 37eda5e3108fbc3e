"""The command line's reports of traps: source lines, and unsupported options."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest

from tests.cli.test_logs import lines_of
from tests.cli.test_serve import serving
from tests.guests.dwarf import with_lines


@pytest.mark.parametrize("details", ["0", "1"])
def test_source_lines(tmp_path: Path, details: str) -> None:
    component = tmp_path / "trap.wasm"
    component.write_bytes(with_lines("trap", "guest.c", 42, 7))
    with serving(str(component), WASMTIME_BACKTRACE_DETAILS=details) as server:
        with pytest.raises(urllib.error.HTTPError):
            server.get("path?query")
        _, lines = lines_of(server)
    first = next(number for number, line in enumerate(lines) if " ERROR " in line)
    assert "instance 1, at GET /path?query, trapped: wasm trap: " in lines[first]
    assert lines[first + 1] == "    error while executing at wasm backtrace:"
    assert (lines[first + 3].strip() == "at guest.c:42:7") == (details == "1"), lines


@pytest.mark.parametrize("command", ["serve", "run"])
def test_core_dumps_are_refused(command: str) -> None:
    arguments = [sys.executable, "-m", "wasi_trio", command, "-D", "coredump=/tmp/core", "guest.wasm"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("wasi_trio: error: -D coredump is not supported: wasmtime's C API")
