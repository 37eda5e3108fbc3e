"""What workers report to their supervisor, and how that adds up: the admin address of several processes.

A worker sends a report every second and one at its end, from a thread of its own: so it also tells that its event loop
stands still. A report is JSON behind its length. The supervisor asks for nothing, so no worker can hold it up.
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

#: seconds between two reports of a worker
INTERVAL: Final = 1.0
#: seconds after which a worker that has not reported is held up as a whole, as C code can that keeps Python's lock
SILENCE: Final = 5.0
#: bytes of a report; a supervisor hears no more of a worker that sends a larger one
MOST: Final = 16 << 20
#: what is added up when its worker has ended: the others say how something is at the moment
_COUNTS: Final = frozenset({"counter", "histogram"})
#: how the names of metrics begin that say something of one process
_OF_PROCESS: Final = "process_"

#: a sample's name and labels
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
    """How a process is, and what it has counted. ``obstacle`` is why it wants no requests, in a word, or None."""

    obstacle: str | None = "starting"
    families: list[Family] = field(default_factory=list)
    pool: list[dict[str, Any]] = field(default_factory=list)

    def encode(self) -> bytes:
        """With its length before it."""
        # Not by asdict, which copies all of it: for a large pool that takes 10 ms.
        families = [
            {"name": one.name, "meaning": one.meaning, "kind": one.kind, "samples": one.samples}
            for one in self.families
        ]
        content = {"obstacle": self.obstacle, "families": families, "pool": self.pool}
        data = json.dumps(content, separators=(",", ":")).encode()
        return len(data).to_bytes(4) + data

    @classmethod
    def decode(cls, data: bytes) -> Report:
        """Without its length; raises ValueError."""
        try:
            content = json.loads(data)
            families = [
                Family(**{**family, "samples": [(name, labels, value) for name, labels, value in family["samples"]]})
                for family in content["families"]
            ]
            return cls(content["obstacle"], families, content["pool"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no report: {error}") from None


def report_of(site: Site) -> Report:
    """How a process is; may be called on any thread."""
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
    """Send reports of a process on a socket, which is closed in the end, on a thread."""
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
            logger.debug("the supervisor hears no reports any more")
        except Exception:
            logger.exception("nothing is reported to the supervisor any more")


# ---- the supervisor ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heard:
    """What is known of workers; replaced as a whole, as it is read on another thread."""

    #: of each that lives, the latest report and when it came
    latest: Mapping[int, tuple[Report, float]] = field(default_factory=dict)
    #: what those had counted that have ended, and how many were replaced
    past: Mapping[str, Family] = field(default_factory=dict)
    replaced: int = 0


class Totals:
    """What workers have reported, added up: the admin address shows it as it would one process.

    A worker is told from others by its number. What is counted goes on with whoever takes its place. ``clock`` gives
    seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.draining = False
        self._clock = clock
        self._heard = _Heard()
        #: takeovers of what has changed, by how they went
        self.reloads = {"ok": 0, "failed": 0}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def hear(self, number: int, channel: trio.abc.ReceiveStream) -> None:
        """Take the reports of a worker until there are no more."""
        data = bytearray()
        try:
            async for more in channel:
                data += more
                while len(data) >= 4:
                    size = int.from_bytes(data[:4])
                    if size > MOST:
                        raise ValueError(f"a report of {size} bytes")
                    if len(data) < 4 + size:
                        break
                    heard = self._heard
                    report = Report.decode(bytes(data[4 : 4 + size]))
                    self._heard = replace(heard, latest={**heard.latest, number: (report, self._clock())})
                    del data[: 4 + size]
        except trio.BrokenResourceError:
            logger.debug("worker %d has ended in the middle of a report", number)
        except ValueError as error:
            logger.error("worker %d sends what is no report: %s", number, error)

    def ended(self, number: int) -> None:
        """A worker is gone, and will be replaced unless all of them are to end."""
        heard = self._heard
        latest, past = dict(heard.latest), heard.past
        report, _ = latest.pop(number, (None, 0.0))
        if report is not None:
            counts = [family for family in report.families if family.kind in _COUNTS and not _is_of_process(family)]
            past = _added([*past.values(), *counts])
        self._heard = _Heard(latest, past, heard.replaced + (not self.draining))

    @property
    def obstacle(self) -> str | None:
        """Why no requests should be sent here; None while a worker wants them."""
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
        """Of each worker its number, its latest report, and why no requests should be sent to it."""
        now = self._clock()
        return [
            (number, report, "silent" if now - came > SILENCE else report.obstacle)
            for number, (report, came) in sorted(self._heard.latest.items())
        ]

    def exposition(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing, which spares the registry a collection when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        heard = self._heard
        meaning = "Worker processes that live and have reported."
        yield GaugeMetricFamily("wasi_trio_workers", meaning, len(heard.latest))
        meaning = "Worker processes that ended before they were told to."
        yield CounterMetricFamily("wasi_trio_workers_replaced", meaning, heard.replaced)
        yield reloads_family(self.reloads)
        families = list(heard.past.values())
        for number, (report, _) in sorted(heard.latest.items()):
            families += (_of_worker(family, number) if _is_of_process(family) else family for family in report.families)
        for family in _added(families).values():
            metric = Metric(family.name, family.meaning, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


def _is_of_process(family: Family) -> bool:
    return family.name.startswith(_OF_PROCESS)


def _of_worker(family: Family, number: int) -> Family:
    """The same with a label that says which process it is about."""
    samples = [(name, {"worker": str(number), **labels}, value) for name, labels, value in family.samples]
    return Family(family.name, family.meaning, family.kind, samples)


def _added(families: Iterable[Family]) -> dict[str, Family]:
    """Families by name, in which samples of the same name and labels are added."""
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
