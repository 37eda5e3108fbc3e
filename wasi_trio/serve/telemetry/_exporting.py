"""Exporting spans on a thread of its own, behind a queue that is bounded, and without a word too many.

The SDK's ``BatchSpanProcessor`` has such a thread. But it logs each span that is dropped, on the thread that drops it,
which is the event loop's and has much to do when a queue is full; it may take half a minute to end; and spans wait in
it as objects, which are encoded only by the exporter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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

#: seconds between two lines of one kind
QUIET: Final = 60.0
#: the SDK's loggers that say something of each batch that is lost
_LOGGERS: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
)


class OtlpSpanExporter(OTLPSpanExporter):
    """Sends spans that are bytes to a collector as its base sends those that are objects."""

    def send(self, data: bytes) -> bool:
        """Send a request of OTLP's, in time and with retries as the environment says; whether it was taken."""
        # The base has no method for this. pyproject.toml admits the releases that have this client.
        return bool(self._client.export(data).success)


class SpanThread(threading.Thread):
    """Sends what is put into a queue, in batches: every now and then, and as soon as there are enough for one.

    ``prepare`` makes of a span what the queue has, on the thread that puts it. ``send`` sends such, and says whether
    that was possible. While the queue is full what is put into it is dropped.
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
        self._quiet = Quiet()

    def put(self, span: Ended) -> None:
        """Have a span sent; never waits."""
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
            if lost > told and self._quiet.may_speak():
                logger.warning("%d spans were lost: the collector does not take them, or not as fast", lost - told)
                told = lost
        self._export()
        self._shut_down()

    def _export(self) -> None:
        queue = self._queue
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), self._batches.size))]
            try:
                sent = self._send(batch)
            except Exception:  # whatever an exporter raises: the next batch may fare better
                sent = False
                if self._quiet.may_speak():
                    logger.exception("an exporter failed")
            if sent:
                self.exported += len(batch)
            else:
                self.failed += len(batch)
                if self._ending:
                    self.dropped += len(queue)
                    queue.clear()

    def stop(self) -> None:
        """Have it send what there is, and end."""
        self._ending = True
        self._wake.set()


class SpanCounts:
    """How many spans threads have sent and lost, for a registry."""

    def __init__(self, threads: Sequence[SpanThread]) -> None:
        self._threads = threads

    def describe(self) -> list[Metric]:
        """Nothing, which spares the registry a collection when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        family = CounterMetricFamily("wasi_trio_spans", "Spans, by what became of them.", labels=("outcome",))
        for outcome in ("exported", "dropped", "failed"):
            family.add_metric([outcome], sum(getattr(thread, outcome) for thread in self._threads))
        yield family


def span_thread(made: type[SpanExporter], resource: Resource, batches: Batches) -> SpanThread:
    """The thread for an exporter's class."""
    if made is OTLPSpanExporter:
        otlp, envelope = OtlpSpanExporter(), Envelope(resource)
        return SpanThread(batches, encode_span, lambda spans: otlp.send(envelope(spans)), otlp.shutdown)
    exporter = made()

    def send(spans: Sequence[ReadableSpan]) -> bool:
        return exporter.export(spans) is SpanExportResult.SUCCESS

    return SpanThread(batches, lambda span: span.readable(resource), send, exporter.shutdown)


class Quiet(logging.Filter):
    """Lets one record pass in ``QUIET`` seconds, as a warning without a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def may_speak(self) -> bool:
        """Whether it is time for another line, which is counted as said."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + QUIET
        return True

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return True
        if not self.may_speak():
            return False
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.exc_info = record.exc_text = None
        return True


def quieten() -> None:
    """Have the SDK's exporters say in a line a minute that a collector does not answer."""
    for name in _LOGGERS:
        sdk = get_logger(name)
        if not any(isinstance(one, Quiet) for one in sdk.filters):
            # First, as the others work on what passes.
            sdk.filters.insert(0, Quiet())
