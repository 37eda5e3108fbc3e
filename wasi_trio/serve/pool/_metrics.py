"""The metrics of handlers: plain integers, converted for prometheus-client on request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from wasi_trio.component._account import Budget
from wasi_trio.serve.pool._outcomes import Outcome, Retirement
from wasi_trio.wasi.http._connections import Connections

#: The bounds of measured times, in seconds.
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: The bounds of the number of requests of an instance.
REQUESTS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

_PREFIX = "wasi_trio_"


class Distribution:
    """The counts of a histogram. One thread writes them; any thread may read them."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        #: The number of values up to each bound and above the previous one, then of those above all bounds.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return cumulative counts, as Prometheus expects them."""
        so_far = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*self.bounds, float("inf")), list(self.counts), strict=True):
            so_far += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), so_far))
        return buckets


class Watched(Protocol):
    """The view of a handler that metrics read, on any thread."""

    @property
    def active(self) -> int: ...

    @property
    def waiting(self) -> int: ...

    @property
    def stalls(self) -> int: ...

    @property
    def interruptions(self) -> int: ...

    @property
    def connections(self) -> Connections | None: ...


@dataclass(frozen=True, slots=True)
class Outbound:
    """Counts of connections to other servers: open ones, idle ones among them, connections opened, and reuses."""

    open: int
    idle: int
    opened: int
    reused: int


class HandlerMetrics:
    """The metrics of one handler and of its successors.

    prometheus-client's counters take a lock for each increment, which costs microseconds a request. Only the handler's
    thread writes these counts.
    """

    def __init__(self, component: str, route: str = "") -> None:
        self.component = component
        self.route = route
        #: The number of requests by outcome and class of status, such as "2xx", or "none".
        self.requests: dict[tuple[Outcome, str], int] = {}
        self.response_seconds = Distribution(SECONDS)
        self.wait_seconds = Distribution(SECONDS)
        self.started = 0
        self.retired = dict.fromkeys(Retirement, 0)
        self.reuse = Distribution(REQUESTS)
        #: The current handlers.
        self.sources: list[Watched] = []
        #: The totals of ended handlers.
        self._past = [0, 0, 0, 0]

    def ended(self, handler: Watched) -> None:
        """Add the totals of an ended handler."""
        self.sources.remove(handler)
        self._past[0] += handler.stalls
        self._past[1] += handler.interruptions
        if handler.connections is not None:
            self._past[2] += handler.connections.opened
            self._past[3] += handler.connections.reused

    @property
    def in_progress(self) -> int:
        return sum(handler.active for handler in list(self.sources))

    @property
    def waiting(self) -> int:
        return sum(handler.waiting for handler in list(self.sources))

    @property
    def stalls(self) -> int:
        return self._past[0] + sum(handler.stalls for handler in list(self.sources))

    @property
    def interruptions(self) -> int:
        return self._past[1] + sum(handler.interruptions for handler in list(self.sources))

    @property
    def outbound(self) -> Outbound:
        """The connections of guests' requests to other servers."""
        connections = [handler.connections for handler in list(self.sources) if handler.connections is not None]
        return Outbound(
            open=sum(each.open for each in connections),
            idle=sum(each.idle for each in connections),
            opened=self._past[2] + sum(each.opened for each in connections),
            reused=self._past[3] + sum(each.reused for each in connections),
        )

    @property
    def live(self) -> int:
        """The number of current instances, including those being created."""
        return self.started - sum(self.retired.values())


class TaskCount(trio.abc.Instrument):
    """Counts the tasks of an event loop, as an instrument of ``trio.run``."""

    def __init__(self) -> None:
        self.count = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.count += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self.count -= 1


class Metrics:
    """The metrics of all handlers that have this object in their options, in one registry.

    The label ``component`` identifies a handler, in a server with routes together with the label ``route``.
    docs/metrics.md explains each metric.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry(auto_describe=False) if registry is None else registry
        #: Whether the server has routes.
        self.routed = False
        #: The number of reloads by outcome, or None if the server cannot reload.
        self.reloads: dict[str, int] | None = None
        #: The tasks of the handlers' event loop, if counted.
        self.tasks: TaskCount | None = None
        #: The memory budget of the handlers' instances.
        self.budget: Budget | None = None
        self._handlers: dict[tuple[str, str], HandlerMetrics] = {}
        #: The names used by each generation of a route.
        self._taken: dict[tuple[str, int], set[str]] = {}
        self.registry.register(self)

    def of(self, component: str, route: str = "", generation: int = 0) -> HandlerMetrics:
        """Return the metrics for another handler of a component.

        The second handler with the same name is called ``NAME#2``. The next generation of a route continues the counts
        of the same components.
        """
        taken = self._taken.setdefault((route, generation), set())
        name, count = component, 1
        while name in taken:
            count += 1
            name = f"{component}#{count}"
        taken.add(name)
        metrics = self._handlers.get((route, name))
        if metrics is None:
            metrics = self._handlers[route, name] = HandlerMetrics(name, route)
        return metrics

    def forget(self, route: str, generation: int) -> None:
        """Remove a generation of a route, and its counts if no other generation uses them."""
        names = self._taken.pop((route, generation), set())
        kept = {name for (other, _), others in self._taken.items() if other == route for name in others}
        for name in names - kept:
            del self._handlers[route, name]

    def exposition(self) -> bytes:
        """Return the whole registry in Prometheus' text format. Safe to call on any thread."""
        return generate_latest(self.registry)

    def describe(self) -> list[Metric]:
        """Return nothing, which spares the registry a collection at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics for the registry. Safe to call on any thread."""
        handlers = list(self._handlers.values())
        requests = self._counter("requests", "Finished requests by outcome and class of status.", "outcome", "status")
        started = self._counter("instances_started", "Instances started.")
        retired = self._counter("instances_retired", "Instances ended, by reason.", "reason")
        stalls = self._counter("stalls", "Host calls logged for blocking the event loop.")
        interruptions = self._counter("host_calls_interrupted", "Host calls interrupted for blocking the event loop.")
        in_progress = self._gauge("requests_in_progress", "Requests in instances.")
        waiting = self._gauge("requests_waiting", "Requests waiting for a place.")
        live = self._gauge("instances_live", "Current instances.")
        connections = self._gauge("outbound_connections", "Connections of guests' requests to other servers.", "state")
        opened = self._counter("outbound_connections_opened", "Connections opened for guests' requests.")
        reused = self._counter("outbound_connections_reused", "Requests of guests sent over a kept connection.")
        response = self._histogram("response_seconds", "Time from a request to the head of the guest's response.")
        wait = self._histogram("queue_wait_seconds", "Time from a request to the call of a guest.")
        reuse = self._histogram("instance_requests", "Requests of an instance, counted at its end.")
        for handler in handlers:
            name = [handler.route, handler.component] if self.routed else [handler.component]
            for (outcome, status), count in list(handler.requests.items()):
                requests.add_metric([*name, outcome.value, status], count)
            started.add_metric(name, handler.started)
            for reason, count in handler.retired.items():
                retired.add_metric([*name, reason.value], count)
            stalls.add_metric(name, handler.stalls)
            interruptions.add_metric(name, handler.interruptions)
            in_progress.add_metric(name, handler.in_progress)
            waiting.add_metric(name, handler.waiting)
            live.add_metric(name, handler.live)
            outbound = handler.outbound
            connections.add_metric([*name, "active"], max(outbound.open - outbound.idle, 0))
            connections.add_metric([*name, "idle"], outbound.idle)
            opened.add_metric(name, outbound.opened)
            reused.add_metric(name, outbound.reused)
            for family, distribution in (
                (response, handler.response_seconds),
                (wait, handler.wait_seconds),
                (reuse, handler.reuse),
            ):
                family.add_metric(name, distribution.buckets(), distribution.total)
        if self.reloads is not None:
            yield reloads_family(self.reloads)
        if self.tasks is not None:
            yield GaugeMetricFamily(_PREFIX + "tasks", "Tasks of the guests' event loop.", self.tasks.count)
        if self.budget is not None:
            meaning = "Bytes held by the process for all instances."
            yield GaugeMetricFamily(_PREFIX + "memory_bytes", meaning, self.budget.used)
            meaning = "Maximum bytes held by the process for all instances."
            yield GaugeMetricFamily(_PREFIX + "memory_limit_bytes", meaning, self.budget.limit)
        yield from (
            requests,
            in_progress,
            waiting,
            response,
            wait,
            started,
            retired,
            live,
            reuse,
            stalls,
            interruptions,
            connections,
            opened,
            reused,
        )

    @property
    def _labels(self) -> Sequence[str]:
        return ("route", "component") if self.routed else ("component",)

    def _counter(self, name: str, meaning: str, *labels: str) -> CounterMetricFamily:
        return CounterMetricFamily(_PREFIX + name, meaning, labels=(*self._labels, *labels))

    def _gauge(self, name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(_PREFIX + name, meaning, labels=(*self._labels, *labels))

    def _histogram(self, name: str, meaning: str) -> HistogramMetricFamily:
        return HistogramMetricFamily(_PREFIX + name, meaning, labels=self._labels)


def reloads_family(reloads: Mapping[str, int]) -> CounterMetricFamily:
    """Return the counter of a server's reloads by outcome."""
    meaning = "Reloads of changed components and settings, by outcome."
    family = CounterMetricFamily(_PREFIX + "reloads", meaning, labels=("outcome",))
    for outcome, count in reloads.items():
        family.add_metric([outcome], count)
    return family
