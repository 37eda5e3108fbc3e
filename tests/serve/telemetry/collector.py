"""An OpenTelemetry collector over HTTP in this process. It keeps and parses everything that it receives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """The data received at ``url``. While ``stalled``, it never responds. Otherwise it responds with ``status``."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Span] = []
        #: The latest data of each process by the names of metrics.
        self.metrics: dict[str, dict[str, Any]] = {}
        self.resources: list[dict[str, Any]] = []
        self.batches = 0
        self.stalled = False
        self.status = 200
        self._released = threading.Event()
        self._changed = threading.Condition()

    def take(self, path: str, data: bytes) -> None:
        self.batches += 1
        if self.stalled:
            self._released.wait(60)
            return
        with self._changed:
            if path == "/v1/traces":
                for traces in ExportTraceServiceRequest.FromString(data).resource_spans:
                    resource = values(traces.resource.attributes)
                    for scope in traces.scope_spans:
                        self.spans += scope.spans
                        self.resources += [resource] * len(scope.spans)
            else:
                assert path == "/v1/metrics"
                for told in ExportMetricsServiceRequest.FromString(data).resource_metrics:
                    process = values(told.resource.attributes)["service.instance.id"]
                    for scope in told.scope_metrics:
                        for metric in scope.metrics:
                            self.metrics.setdefault(metric.name, {})[process] = metric
            self._changed.notify_all()

    def release(self) -> None:
        self.stalled = False
        self._released.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when ``condition`` holds. It is checked whenever data arrives."""

        def wait() -> None:
            with self._changed:
                assert self._changed.wait_for(condition, 60), self.spans

        await trio.to_thread.run_sync(wait)

    async def spans_of(self, count: int) -> list[Span]:
        """Return all spans, once this many have arrived."""
        await self.until(lambda: len(self.spans) >= count)
        assert len(self.spans) == count, self.spans
        return self.spans


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            collector.take(self.path, data)
            self.send_response(collector.status)
            if 300 <= collector.status < 400:
                self.send_header("location", "/new" + self.path)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # the exporter has given up

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        collector.release()
        server.shutdown()
        server.server_close()
        thread.join()


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
