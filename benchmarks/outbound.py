"""Requests of guests to another server, with and without persistent connections."""

from __future__ import annotations

import statistics
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import Server
from tests.guests import wat

REQUESTS = 5000
#: concurrent requests
CONNECTIONS = 16
#: requests per instance
REUSE = 1_000_000
#: the names of the guests
GUESTS = (("WASI 0.2", "forward"), ("WASI 0.3", "p3_forward"))
#: relative to a connection for each request; connecting is cheap locally, and three processes share the machine
AIM = 1.5
#: the option that closes connections after each request
OFF = ("--outbound-idle-timeout", "0s")


def report(settings: Settings) -> Report:
    """Measure the request rate through a guest that sends a request for each, and the number of its connections."""
    requests = 50 if settings.quick else REQUESTS
    report = Report(f"{requests:,} requests through a guest to another server, {CONNECTIONS} at a time")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pairs: list[tuple[str, Through, Through]] = []
        for version, name in GUESTS:
            component = folder / f"{name}.wasm"
            component.write_bytes(wat.load(name))
            reuse = ("--max-instance-reuse-count", str(REUSE))
            kept, closed = (
                Through(
                    stack.enter_context(servers.ours(component, *reuse, *options)),
                    stack.enter_context(servers.upstream()),
                )
                for options in ((), OFF)
            )
            pairs.append((version, kept, closed))
        for _, kept, closed in pairs:
            for through in (kept, closed):
                through.ask(CONNECTIONS)
        # Alternating, so that other load on the machine affects all of them.
        for _ in range(settings.repetitions(3)):
            for _, kept, closed in pairs:
                for through in (kept, closed):
                    through.measure(requests)
        for version, kept, closed in pairs:
            beside = ("a connection each", closed.rate)
            report.rows.append(Row(f"{version}, connections kept", kept.rate, "req/s", beside, ratio_at_least=AIM))
        for version, kept, closed in pairs:
            report.rows += [
                Row(f"{version}, connections opened, maximum", kept.opened, "", at_most=CONNECTIONS),
                Row(f"{version}, connections opened without reuse, maximum", closed.opened, ""),
            ]
    return report


class Through:
    """A server whose guests send requests to another server."""

    def __init__(self, server: Server, upstream: Server) -> None:
        self._server = server
        self._upstream = upstream
        self._rates: list[float] = []
        #: the maximum number of connections to the other server in one measurement
        self.opened = 0.0

    def ask(self, requests: int) -> float:
        """Return requests per second."""
        done = self._server.get_through(f"127.0.0.1:{self._upstream.port}", CONNECTIONS, requests)
        return done["requests"] / done["seconds"]

    def measure(self, requests: int) -> None:
        before = self._connections()
        self._rates.append(self.ask(requests))
        # The request for the count opens one connection.
        self.opened = max(self.opened, self._connections() - before - 1)

    def _connections(self) -> int:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self._upstream.port}/connections", timeout=60) as response:
            return int(response.read())

    @property
    def rate(self) -> float:
        """The rate in requests per second."""
        return statistics.median(self._rates)
