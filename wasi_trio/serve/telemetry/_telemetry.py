"""The exporters of a process's spans and metrics, from start to end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from wasi_trio._texts import get_logger, shown
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.telemetry._durations import Durations
from wasi_trio.serve.telemetry._exporting import SpanCounts, SpanThread, limited_log_rate, span_thread
from wasi_trio.serve.telemetry._metrics import MetricsThread
from wasi_trio.serve.telemetry._propagation import Propagation
from wasi_trio.serve.telemetry._requests import SpanTracer
from wasi_trio.serve.telemetry._switch import Wanted

if TYPE_CHECKING:
    from wasi_trio.serve.pool._metrics import Metrics

logger = get_logger("wasi_trio.serve")

#: The maximum time for exporting the rest at the end of a process, in seconds.
FLUSH: Final = 3.0
_NAME: Final = "wasi_trio"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The running exporters. ``tracer`` is for handlers, and ``threads`` export its data."""

    tracer: SpanTracer
    threads: tuple[SpanThread | MetricsThread, ...]
    #: Undoes the changes to the registry and to the SDK's loggers.
    undo: ExitStack

    def close(self) -> None:
        """Export the rest within ``FLUSH`` seconds. The remainder is lost.

        A thread that is blocked by a collector is abandoned, and ends with the process.
        """
        for thread in self.threads:
            thread.stop()
        until = time.monotonic() + FLUSH
        for thread in self.threads:
            thread.join(max(until - time.monotonic(), 0))
        if any(thread.is_alive() for thread in self.threads):
            logger.warning("The last spans or metrics could not be exported within %g s", FLUSH)
        self.undo.close()


def begin(wanted: Wanted, metrics: Metrics | None, worker: str | None = None) -> Telemetry:
    """Start exporting as the environment requests, until ``Telemetry.close``. Raise SettingError.

    ``metrics`` are exported if metrics are ``wanted``. ``worker`` is the number of this worker process, if any.
    """
    with ExitStack() as undo:
        undo.enter_context(limited_log_rate())
        try:
            return _begin(wanted, metrics, worker, undo)
        except Exception as error:  # from any exporter, about the environment
            raise SettingError(f"cannot set up the export from the OTEL_ variables: {shown(str(error))}") from error


def _begin(wanted: Wanted, metrics: Metrics | None, worker: str | None, undo: ExitStack) -> Telemetry:
    resource = _resource(worker)
    spans = tuple(span_thread(point.load(), resource, wanted.batches) for point in wanted.traces)
    # Used only for its sampler and its identifiers. It would otherwise wait for half a minute at the process's end.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False) if spans else None
    if metrics is not None and spans:
        counts = SpanCounts(spans)
        metrics.registry.register(counts)
        undo.callback(metrics.registry.unregister, counts)
    durations: Durations | None = None
    readers: tuple[MetricsThread, ...] = ()
    if wanted.metrics:
        assert metrics is not None
        durations = Durations()
        registry, interval, timeout = metrics.registry, wanted.interval, wanted.timeout
        exporters = [_metric_exporter(point.load()) for point in wanted.metrics]
        readers = tuple(MetricsThread(one, resource, registry, durations, interval, timeout) for one in exporters)
    limit = SpanLimits().max_span_attribute_length
    tracer = SpanTracer(provider, tuple(thread.put for thread in spans), Propagation(wanted), durations, limit)
    threads: tuple[SpanThread | MetricsThread, ...] = (*spans, *readers)
    for thread in threads:
        thread.start()
    return Telemetry(tracer, threads, undo.pop_all())


def _metric_exporter(made: Any) -> Any:
    """Create an exporter that accepts data. An exporter that reads the SDK's own metrics would find none."""
    from opentelemetry.sdk.metrics.export import MetricExporter

    if not issubclass(made, MetricExporter):
        raise SettingError(f"{made.__name__} does not accept these metrics; --admin-addr serves them for Prometheus")
    return made()


def _resource(worker: str | None) -> Resource:
    resource = Resource.create()
    own: dict[str, Any] = {}
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        own[SERVICE_NAME] = _NAME
    if worker is not None:
        own["wasi_trio.worker"] = worker
    return resource.merge(Resource(own))


@contextmanager
def exporting(wanted: Wanted, metrics: Metrics | None, worker: str | None = None) -> Iterator[SpanTracer]:
    """Call ``begin``, and ``close`` at the end of the block. Yield the tracer for handlers."""
    telemetry = begin(wanted, metrics, worker)
    try:
        yield telemetry.tracer
    finally:
        telemetry.close()
