"""The benefit of concurrent reuse for guests that wait, and the cost of deadlines for guests that do not."""

from __future__ import annotations

import math
import statistics
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import Server
from benchmarks.serving import REUSE, Load
from tests.guests import wat

#: connections to the waiting guest, and its wait in milliseconds
CONNECTIONS = 64
WAIT = 40


def report(settings: Settings) -> Report:
    """Measure the number of instances under load, and request rates with and without deadlines."""
    report = Report("The pool: concurrent reuse of instances, and deadlines")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        report.rows += _instances(folder, settings)
        report.rows += _deadlines(folder, settings)
    return report


def _guest(folder: Path, name: str) -> Path:
    path = folder / f"{name}.wasm"
    path.write_bytes(wat.load(name))
    return path


def _instances(folder: Path, settings: Settings) -> list[Row]:
    guest = _guest(folder, "p3_sleep")
    live = {}
    for at_once in ("16", "1"):
        options = ("--admin-addr", "127.0.0.1:0", "--max-instance-concurrent-reuse-count", at_once)
        with servers.ours(guest, *options) as server:
            server.get(f"/{WAIT}", CONNECTIONS, settings.seconds(0.5))
            with _Instances(server) as instances:
                server.get(f"/{WAIT}", CONNECTIONS, max(0.5, settings.seconds(4)))
            live[at_once] = instances.mean
    saved = (1 - live["16"] / live["1"]) * 100
    one = ("one request each", live["1"])
    return [
        Row(f"instances at a time, {CONNECTIONS} connections that wait for {WAIT} ms", live["16"], "", one),
        Row("instances saved by concurrent reuse", saved, "%", ("the seed", 64.0), at_least=90),
    ]


class _Instances(threading.Thread):
    """Counts a server's instances repeatedly within its block."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._stopped = threading.Event()
        self._counts: list[float] = []

    def run(self) -> None:
        while not self._stopped.wait(0.05):
            self._counts.append(self._server.metric("instances_live"))

    def __enter__(self) -> _Instances:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()

    @property
    def mean(self) -> float:
        return statistics.mean(self._counts)


def _deadlines(folder: Path, settings: Settings) -> list[Row]:
    rows = []
    for version, name, options in (
        ("0.2", "hello", ("--max-instance-reuse-count", str(REUSE))),
        ("0.3", "p3_hello", ()),
    ):
        guest = _guest(folder, name)
        with servers.ours(guest, *options) as free, servers.ours(guest, *options, "--request-timeout", "1s") as bound:
            loads = Load(free), Load(bound)
            for load in loads:
                load.run(settings.seconds(0.5))
            # Many short alternating turns, so that other load on the machine affects both.
            for _ in range(settings.repetitions(25)):
                for load in loads:
                    load.measure(settings.seconds(0.4))
        without, with_ = loads
        what = f"WASI {version}, with --request-timeout 1s"
        rows.append(Row(what, with_.rate, "req/s", ("without", without.rate), ratio_at_least=0.95))
        if not math.isnan(without.cost):
            rows.append(Row("processor time per request", with_.cost, "µs", ("without", without.cost)))
    return rows
