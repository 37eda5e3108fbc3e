"""The export of metrics over OTLP: the metrics of ``/metrics``, and the durations of requests.

Nothing is counted twice. OpenTelemetry's API has no observable histogram, and the SDK's reader does not accept foreign
data. So a thread converts the existing counts into the SDK's data model, for the SDK's exporter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from wasi_trio._texts import get_logger
from wasi_trio.serve.telemetry._durations import BOUNDS, REST, Durations, Kind
from wasi_trio.serve.telemetry._spans import SCHEMA, SCOPE

logger = get_logger("wasi_trio.serve")

_CUMULATIVE = AggregationTemporality.CUMULATIVE
#: The units by suffixes of Prometheus names.
_UNITS = {"_seconds": "s", "_bytes": "By"}


class MetricsThread(threading.Thread):
    """Exports a registry and durations every ``interval`` seconds, and once at its end."""

    def __init__(
        self,
        exporter: MetricExporter,
        resource: Resource,
        registry: CollectorRegistry,
        durations: Durations,
        interval: float,
        timeout: float,
    ) -> None:
        super().__init__(name="wasi_trio metrics", daemon=True)
        self._exporter = exporter
        self._resource = resource
        self._registry = registry
        self._durations = durations
        self._interval = interval
        self._timeout = timeout
        self._began = time.time_ns()
        self._ending = threading.Event()

    def run(self) -> None:
        last = False
        while not last:
            last = self._ending.wait(self._interval)
            try:
                self._exporter.export(self.data(), timeout_millis=self._timeout * 1000)
            except Exception:
                logger.exception("Metrics could not be exported")
        self._exporter.shutdown()

    def stop(self) -> None:
        """Export once more, and end the thread."""
        self._ending.set()

    def data(self) -> MetricsData:
        """Return all metrics in the SDK's data model."""
        now = time.time_ns()
        metrics = [self._duration(now), *_converted(self._registry.collect(), self._began, now)]
        scope = ScopeMetrics(SCOPE, metrics, SCHEMA)
        return MetricsData([ResourceMetrics(self._resource, [scope], self._resource.schema_url)])

    def _duration(self, now: int) -> Metric:
        points = [
            _histogram_point(_attributes(kind), self._began, now, list(one.counts), BOUNDS, one.total)
            for kind, one in list(self._durations.kinds.items())
        ]
        return Metric(
            "http.server.request.duration",
            "Duration of HTTP server requests.",
            "s",
            Histogram(points, _CUMULATIVE),
        )


def _attributes(kind: Kind) -> dict[str, Any]:
    if kind == REST:
        return {"otel.metric.overflow": True}
    attributes: dict[str, Any] = {"http.request.method": kind.method, "url.scheme": kind.scheme}
    if kind.status is not None:
        attributes["http.response.status_code"] = kind.status
    if kind.failure is not None:
        attributes["error.type"] = kind.failure
    if kind.version:
        attributes["network.protocol.version"] = kind.version
    return attributes


def _histogram_point(
    attributes: Mapping[str, Any], began: int, now: int, counts: list[int], bounds: Sequence[float], total: float
) -> HistogramDataPoint:
    # The minimum and the maximum are optional in OTLP, and unknown here.
    unknown: Any = None
    return HistogramDataPoint(attributes, began, now, sum(counts), total, counts, bounds, unknown, unknown)


def _converted(families: Iterable[Family], began: int, now: int) -> Iterator[Metric]:
    for family in families:
        unit = next((unit for end, unit in _UNITS.items() if family.name.endswith(end)), "")
        data: Sum | Gauge | Histogram
        if family.type == "histogram":
            data = Histogram(_histogram_points(family, began, now), _CUMULATIVE)
        else:
            points = [
                NumberDataPoint(sample.labels, began, now, float(sample.value))
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
            data = Sum(points, _CUMULATIVE, True) if family.type == "counter" else Gauge(points)
        yield Metric(family.name, family.documentation, unit, data)


def _histogram_points(family: Family, began: int, now: int) -> list[HistogramDataPoint]:
    """Convert Prometheus' cumulative buckets, which are in order for each set of labels."""
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in family.samples:
        labels = tuple((key, value) for key, value in sample.labels.items() if key != "le")
        if sample.name.endswith("_bucket"):
            buckets.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            sums[labels] = sample.value
    points = []
    for labels, cumulative in buckets.items():
        counts, before = [], 0
        for _, count in cumulative:
            counts.append(int(count) - before)
            before = int(count)
        bounds = [bound for bound, _ in cumulative[:-1]]
        points.append(_histogram_point(dict(labels), began, now, counts, bounds, sums.get(labels, 0.0)))
    return points
