"""The export of spans: a bounded queue, a thread, and rate-limited log lines.

The SDK's ``BatchSpanProcessor`` also has a thread. But it logs each dropped span on the event loop's thread, when that
is busiest. It may take half a minute to end. And its queue holds spans as objects, which only the exporter encodes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client.core import CounterMetricFamily, Metric

from wasi_trio._texts import get_logger
from wasi_trio.serve.telemetry._encoding import Envelope, encode_span
from wasi_trio.serve.telemetry._spans import Ended
from wasi_trio.serve.telemetry._switch import Batches

logger = get_logger("wasi_trio.serve")

#: The minimum interval between two log lines of the same kind, in seconds.
QUIET: Final = 60.0
#: The SDK's loggers that report each lost batch.
_LOGGERS: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
)


class OtlpSpanExporter(OTLPSpanExporter):
    """Sends encoded spans to a collector, in the way in which its base class sends objects."""

    def send(self, data: bytes) -> bool:
        """Send an OTLP request, with the environment's timeout and retries. Return whether it was accepted."""
        # The base class has no method for encoded data. pyproject.toml restricts its version to those with this client.
        result = self._client.export(data)
        status = result.status_code
        if status is not None and 300 <= status < 400:
            # The client neither follows a redirect nor takes it for an error.
            get_logger(_LOGGERS[0]).error(
                "The collector redirects spans (%d): set its new address in OTEL_EXPORTER_OTLP_ENDPOINT", status
            )
            return False
        return bool(result.success)


class SpanThread(threading.Thread):
    """Sends queued spans in batches: at intervals, and as soon as a batch is full.

    ``prepare`` converts a span into an entry of the queue, on the caller's thread. ``send`` sends entries, and returns
    whether it succeeded. A full queue drops further spans.
    """

    def __init__(
        self,
        batches: Batches,
        prepare: Callable[[Ended], Any],
        send: Callable[[list[Any]], bool],
        shut_down: Callable[[], object],
    ) -> None:
        super().__init__(name="wasi_trio spans", daemon=True)
        self._batches = batches
        self._prepare = prepare
        self._send = send
        self._shut_down = shut_down
        self._queue: deque[Any] = deque()
        self._wake = threading.Event()
        self._ending = False
        self.exported = self.dropped = self.failed = 0
        self._rate_limit = RateLimit()

    def put(self, span: Ended) -> None:
        """Queue a span. Never wait."""
        queue, batches = self._queue, self._batches
        waiting = len(queue)
        if waiting >= batches.queue:
            self.dropped += 1
            return
        queue.append(self._prepare(span))
        if waiting + 1 == batches.size:
            self._wake.set()

    def run(self) -> None:
        told = 0
        while not self._ending:
            self._wake.wait(self._batches.delay)
            self._wake.clear()
            self._export()
            lost = self.dropped + self.failed
            if lost > told and self._rate_limit.may_log():
                logger.warning("%d spans were lost: the collector refuses them, or is too slow", lost - told)
                told = lost
        self._export()
        self._shut_down()

    def _export(self) -> None:
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), self._batches.size))]
            try:
                sent = self._send(batch)
            except Exception:  # from any exporter: the next batch may succeed
                sent = False
                if self._rate_limit.may_log():
                    logger.exception("An exporter failed")
            if sent:
                self.exported += len(batch)
            else:
                self.failed += len(batch)
                if self._ending:
                    self.dropped += len(queue)
                    queue.clear()

    def stop(self) -> None:
        """Export the queued spans, and end the thread."""
        self._ending = True
        self._wake.set()


class SpanCounts:
    """The counts of exported and lost spans, for a registry."""

    def __init__(self, threads: Sequence[SpanThread]) -> None:
        self._threads = threads

    def describe(self) -> list[Metric]:
        """Return nothing, which spares the registry a collection at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metric for the registry."""
        family = CounterMetricFamily("wasi_trio_spans", "Spans, by outcome.", labels=("outcome",))
        for outcome in ("exported", "dropped", "failed"):
            family.add_metric([outcome], sum(getattr(thread, outcome) for thread in self._threads))
        yield family


def span_thread(made: type[SpanExporter], resource: Resource, batches: Batches) -> SpanThread:
    """Create the thread for an exporter's class."""
    if made is OTLPSpanExporter:
        otlp, envelope = OtlpSpanExporter(), Envelope(resource)
        return SpanThread(batches, encode_span, lambda spans: otlp.send(envelope(spans)), otlp.shutdown)
    exporter = made()

    def send(spans: Sequence[ReadableSpan]) -> bool:
        return exporter.export(spans) is SpanExportResult.SUCCESS

    return SpanThread(batches, lambda span: span.readable(resource), send, exporter.shutdown)


class RateLimit(logging.Filter):
    """A log filter that passes one record in ``QUIET`` seconds, as a warning without a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def may_log(self) -> bool:
        """Return whether another line may be logged, and count it."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + QUIET
        return True

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return True
        if not self.may_log():
            return False
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.exc_info = record.exc_text = None
        return True


@contextmanager
def limited_log_rate() -> Iterator[None]:
    """Limit the SDK's messages about a failing collector to one a minute per logger, during the block.

    The SDK's loggers belong to the process. After the block, they report to other users as before.
    """
    limits = [(get_logger(name), RateLimit()) for name in _LOGGERS]
    for sdk, limit in limits:
        # Placed first, because the other filters change records.
        sdk.filters.insert(0, limit)
    try:
        yield
    finally:
        for sdk, limit in limits:
            sdk.removeFilter(limit)
