"""The reports of workers to their supervisor, and their totals, which the admin address shows.

A worker sends a report every second and one at its end. A separate thread sends them, so they also reach the supervisor
from a worker with a blocked event loop. A report is JSON with a length in front. The supervisor sends nothing, so no
worker can block it.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from wasi_trio._texts import get_logger
from wasi_trio.serve.pool._metrics import reloads_family
from wasi_trio.serve.process._admin import Site

logger = get_logger("wasi_trio.serve")

#: The interval of reports, in seconds.
INTERVAL: Final = 1.0
#: The time without a report after which a worker counts as silent, in seconds. C code that keeps the GIL can cause it.
SILENCE: Final = 5.0
#: The maximum size of a report in bytes. The supervisor stops reading from a worker that exceeds it.
MAX_SIZE: Final = 16 << 20
#: The kinds of metrics that are kept after a worker's end. The others describe a moment.
_COUNTS: Final = frozenset({"counter", "histogram"})
#: The name prefix of metrics that describe one process.
_OF_PROCESS: Final = "process_"

#: The name and the labels of a sample.
Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class Family:
    """The samples of one metric."""

    name: str
    meaning: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


@dataclass(slots=True)
class Report:
    """The state and the metrics of a process. ``obstacle`` is the reason in one word to send no requests, or None."""

    obstacle: str | None = "starting"
    families: list[Family] = field(default_factory=list)
    pool: list[dict[str, Any]] = field(default_factory=list)

    def encode(self) -> bytes:
        """Encode the report, with its length in front."""
        # asdict() would copy everything, which takes 10 ms for a large pool.
        families = [
            {"name": one.name, "meaning": one.meaning, "kind": one.kind, "samples": one.samples}
            for one in self.families
        ]
        content = {"obstacle": self.obstacle, "families": families, "pool": self.pool}
        data = json.dumps(content, separators=(",", ":")).encode()
        return len(data).to_bytes(4) + data

    @classmethod
    def decode(cls, data: bytes) -> Report:
        """Decode a report without its length. Raise ValueError."""
        try:
            content = json.loads(data)
            families = [
                Family(**{**family, "samples": [(name, labels, value) for name, labels, value in family["samples"]]})
                for family in content["families"]
            ]
            return cls(content["obstacle"], families, content["pool"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a report: {error}") from None


def report_of(site: Site) -> Report:
    """Return the report of a process. Safe to call on any thread."""
    families = [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [(sample.name, sample.labels, sample.value) for sample in metric.samples],
        )
        for metric in site.collect()
    ]
    return Report(site.obstacle, families, site.pool())


# ---- workers -----------------------------------------------------------------------------------------------


@contextmanager
def reporting(channel: socket.socket, site: Site) -> Iterator[None]:
    """Send reports on a socket from a thread during the block. Close the socket at the end."""
    reporter = _Reporter(channel, site)
    reporter.start()
    try:
        yield
    finally:
        reporter.ending.set()
        reporter.join()


class _Reporter(threading.Thread):
    def __init__(self, channel: socket.socket, site: Site) -> None:
        super().__init__(name="wasi_trio reports", daemon=True)
        self.ending = threading.Event()
        self._channel = channel
        self._site = site

    def run(self) -> None:
        try:
            with self._channel:
                last = False
                while not last:
                    last = self.ending.wait(INTERVAL)
                    self._channel.sendall(report_of(self._site).encode())
        except OSError:
            logger.debug("The supervisor no longer receives reports")
        except Exception:
            logger.exception("Reports to the supervisor have ended")


# ---- the supervisor ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Received:
    """The data about workers. It is replaced as a whole, because another thread reads it."""

    #: The latest report of each live worker, and the time of its arrival.
    latest: Mapping[int, tuple[Report, float]] = field(default_factory=dict)
    #: The counts of ended workers, and the number of replaced ones.
    past: Mapping[str, Family] = field(default_factory=dict)
    replaced: int = 0


class Totals:
    """The totals of all workers' reports. The admin address shows them like those of one process.

    A worker is identified by its number. A replacement continues the counts of the worker before. ``clock`` returns
    seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.draining = False
        self._clock = clock
        self._received = _Received()
        #: The number of reloads by outcome.
        self.reloads = {"ok": 0, "failed": 0}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def receive(self, number: int, channel: trio.abc.ReceiveStream) -> None:
        """Receive the reports of a worker until their end."""
        data = bytearray()
        try:
            async for more in channel:
                data += more
                while len(data) >= 4:
                    size = int.from_bytes(data[:4])
                    if size > MAX_SIZE:
                        raise ValueError(f"a report of {size} bytes")
                    if len(data) < 4 + size:
                        break
                    received = self._received
                    report = Report.decode(bytes(data[4 : 4 + size]))
                    self._received = replace(received, latest={**received.latest, number: (report, self._clock())})
                    del data[: 4 + size]
        except trio.BrokenResourceError:
            logger.debug("worker %d ended in the middle of a report", number)
        except ValueError as error:
            logger.error("worker %d sent an invalid report: %s", number, error)

    def ended(self, number: int) -> None:
        """Handle the end of a worker. It is replaced unless the server drains."""
        received = self._received
        latest, past = dict(received.latest), received.past
        report, _ = latest.pop(number, (None, 0.0))
        if report is not None:
            counts = [family for family in report.families if family.kind in _COUNTS and not _is_of_process(family)]
            past = _added([*past.values(), *counts])
        self._received = _Received(latest, past, received.replaced + (not self.draining))

    @property
    def obstacle(self) -> str | None:
        """The reason for which clients should send no requests, or None while a worker accepts some."""
        if self.draining:
            return "draining"
        obstacles = [obstacle for _, _, obstacle in self._reports()]
        if not obstacles or None in obstacles:
            return None if obstacles else "starting"
        return "stalled" if "stalled" in obstacles else obstacles[0]

    def pool(self) -> list[dict[str, Any]]:
        return [
            {**process, "worker": number, "obstacle": obstacle}
            for number, report, obstacle in self._reports()
            for process in report.pool
        ]

    def _reports(self) -> list[tuple[int, Report, str | None]]:
        """Return the number, the latest report and the obstacle of each worker."""
        now = self._clock()
        return [
            (number, report, "silent" if now - came > SILENCE else report.obstacle)
            for number, (report, came) in sorted(self._received.latest.items())
        ]

    def exposition(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing, which spares the registry a collection at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics for the registry."""
        received = self._received
        meaning = "Live worker processes that have reported."
        yield GaugeMetricFamily("wasi_trio_workers", meaning, len(received.latest))
        meaning = "Worker processes that ended unexpectedly and were replaced."
        yield CounterMetricFamily("wasi_trio_workers_replaced", meaning, received.replaced)
        yield reloads_family(self.reloads)
        families = list(received.past.values())
        for number, (report, _) in sorted(received.latest.items()):
            families += (_of_worker(family, number) if _is_of_process(family) else family for family in report.families)
        for family in _added(families).values():
            metric = Metric(family.name, family.meaning, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


def _is_of_process(family: Family) -> bool:
    return family.name.startswith(_OF_PROCESS)


def _of_worker(family: Family, number: int) -> Family:
    """Return the samples with a label for the worker's number."""
    samples = [(name, {"worker": str(number), **labels}, value) for name, labels, value in family.samples]
    return Family(family.name, family.meaning, family.kind, samples)


def _added(families: Iterable[Family]) -> dict[str, Family]:
    """Return the families by name, with the samples of the same name and labels added."""
    sums: dict[str, tuple[Family, dict[Key, float]]] = {}
    for family in families:
        _, values = sums.setdefault(family.name, (family, {}))
        for name, labels, value in family.samples:
            key = _key(name, labels)
            values[key] = values.get(key, 0) + value
    return {name: Family(name, first.meaning, first.kind, _samples(values)) for name, (first, values) in sums.items()}


def _key(name: str, labels: Mapping[str, str]) -> Key:
    return name, tuple(labels.items())


def _samples(values: Mapping[Key, float]) -> list[tuple[str, dict[str, str], float]]:
    return [(name, dict(labels), value) for (name, labels), value in values.items()]
