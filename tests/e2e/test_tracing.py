"""Requests as spans: real guests and a real collector over HTTP."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.e2e.process import command, on_disk
from tests.e2e.support import Site, serve, until
from tests.e2e.test_middleware import chain, served
from tests.serve.telemetry.collector import Collector, collecting, values
from tests.serve.test_hypercorn import hypercorn
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.telemetry._switch import wanted
from wasi_trio.serve.telemetry._telemetry import begin

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = ("traceparent", f"00-{TRACE}-{PARENT}-01")
BOTH = pytest.mark.parametrize("name", ["python_p2", "python_p3"])
#: For tests, spans are sent at once.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_METRIC_EXPORT_INTERVAL": "50"}

Open = Callable[..., AbstractAsyncContextManager[HandlerOptions]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> Open:
    """Return options with a tracer that exports to the collector, configured by variables."""

    @asynccontextmanager
    async def opened(options: HandlerOptions | None = None, **variables: str) -> AsyncIterator[HandlerOptions]:
        for variable, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **SOON, **variables}.items():
            monkeypatch.setenv(variable, value)
        metrics = Metrics()
        telemetry = begin(wanted(os.environ), metrics)
        try:
            yield replace(options or HandlerOptions(), tracer=telemetry.tracer, metrics=metrics)
        finally:
            await trio.to_thread.run_sync(telemetry.close)

    return opened


def of_kind(spans: list[Span], kind: str) -> list[Span]:
    return [span for span in spans if span.kind == Span.SpanKind.Value(f"SPAN_KIND_{kind}")]


# ---- the server's span -------------------------------------------------------------------------------------


@BOTH
async def test_by_the_conventions(name: str, tracing: Open, collector: Collector) -> None:
    async with tracing() as options, serve(name, options) as site:
        await site.ask("/answer?status=404&sig=secret&x=1", "GET", b"", GIVEN, ("user-agent", "tester/1"))
        (span,) = await collector.spans_of(1)
        assert (span.name, span.kind) == ("GET", Span.SPAN_KIND_SERVER)
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
        assert abs(span.start_time_unix_nano - time.time_ns()) < 60e9
        told = values(span.attributes)
        assert told == told | {
            "http.request.method": "GET",
            "url.path": "/answer",
            "url.query": "status=404&sig=REDACTED&x=1",
            "url.scheme": "http",
            "server.address": "127.0.0.1",
            "server.port": site.port,
            "client.address": "127.0.0.1",
            "user_agent.original": "tester/1",
            "network.protocol.version": "1.1",
            "http.response.status_code": 404,
            "wasi_trio.instance": "1",
            "wasi_trio.outcome": "ok",
        }
        # 404 is not an error of the server.
        assert span.status.code == Status.STATUS_CODE_UNSET
        assert "error.type" not in told
        parts = [f"wasi_trio.{part}.duration" for part in ("queue", "instance_start", "guest")]
        assert all(0 <= told[part] <= 60 for part in parts)
        assert collector.resources[0]["service.name"] == "wasi_trio"


async def test_unknown_methods_and_names(tracing: Open, collector: Collector) -> None:
    async with tracing(OTEL_SERVICE_NAME="shop") as options, serve("hello", options) as site:
        await site.ask("/", "BREW")
        (span,) = await collector.spans_of(1)
        told = values(span.attributes)
        assert span.name == "HTTP"
        assert (told["http.request.method"], told["http.request.method_original"]) == ("_OTHER", "BREW")
        assert collector.resources[0]["service.name"] == "shop"


async def test_values_from_clients_are_bounded(tracing: Open, collector: Collector) -> None:
    long = "x" * 1200
    given = [
        ("traceparent", f"00-{TRACE}-{PARENT}-01"),
        ("tracestate", ",".join(f"k{number}=v" for number in range(250))),
        ("baggage", "k=" + "v" * 9000),
        ("user-agent", long),
    ]
    async with tracing() as options, serve("hello", options) as site:
        await site.ask(f"/{long}?{long}", "X" * 30, b"", *given)
        await site.ask("/", "GET", b"", ("traceparent", "00-" + "0" * 32 + "-" + "g" * 16 + "-zz"))
        first, second = await collector.spans_of(2)
        assert first.trace_id.hex() == TRACE
        assert not first.trace_state
        assert first.ByteSize() < 4000
        assert not second.parent_span_id


@pytest.mark.parametrize(
    ("guest_name", "path", "options", "status", "outcome"),
    [
        ("python_p2", "/answer?status=201", {}, 201, "ok"),
        ("python_p3", "/answer?status=503", {}, 503, "ok"),
        ("python_p2", "/answer?length=10&body=", {}, 500, "guest-failed"),
        ("python_p3", "/answer?length=3&body=longer", {}, 500, "guest-failed"),
        ("python_p2", "/answer?length=20&body=short", {}, 200, "cut"),
        ("python_p3", "/answer?length=20&body=short", {}, 200, "cut"),
        ("trap", "/", {}, 500, "guest-failed"),
        ("p3_trap", "/", {}, 500, "guest-failed"),
        ("sleep", "/60000", {"request_timeout": 0.1}, 504, "deadline"),
        ("p3_sleep", "/60000", {"request_timeout": 0.1}, 504, "deadline"),
    ],
)
async def test_the_status_is_the_same_everywhere(
    guest_name: str,
    path: str,
    options: dict[str, Any],
    status: int,
    outcome: str,
    tracing: Open,
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the same on the wire, in the log, in both kinds of metrics and in the span."""
    caplog.set_level(logging.INFO, "wasi_trio")
    async with tracing(HandlerOptions(**options)) as handler_options, serve(guest_name, handler_options) as site:
        answer = await site.ask(path)
        assert answer.status == status
        (span,) = await collector.spans_of(1)
        told = values(span.attributes)
        assert (told["http.response.status_code"], told["wasi_trio.outcome"]) == (status, outcome)
        failed = outcome != "ok" or status >= 500
        assert span.status.code == (Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET)
        assert told.get("error.type") == (None if not failed else str(status) if outcome == "ok" else outcome)
        (line,) = [record for record in caplog.records if f" {status} in " in record.getMessage()]
        assert line.getMessage().endswith(f": {outcome}")
        about = getattr(line, "about")  # noqa: B009
        assert (about["trace_id"], about["span_id"]) == (span.trace_id.hex(), span.span_id.hex())
        assert site.handler.metrics is not None
        assert {(key[0].value, key[1]) for key in site.handler.metrics.requests} == {(outcome, f"{status // 100}xx")}
        (point,) = await duration_points(collector, 1)
        assert values(point.attributes)["http.response.status_code"] == status
        assert values(point.attributes).get("error.type") == told.get("error.type")
        assert point.count == 1


async def duration_points(collector: Collector, count: int) -> list[Any]:
    """Return the points of the only exporting process, once they count this many requests."""

    def points() -> list[Any]:
        found = list(collector.metrics.get("http.server.request.duration", {}).values())
        return list(found[0].histogram.data_points) if found else []

    await collector.until(lambda: sum(point.count for point in points()) >= count)
    return points()


@pytest.mark.parametrize("guest_name", ["sleep", "p3_sleep"])
async def test_a_client_that_leaves(guest_name: str, tracing: Open, collector: Collector) -> None:
    async with tracing() as options, serve(guest_name, options) as site:
        async with site.client() as client:
            await client.start("/60000")
            await until(lambda: site.handler.active == 1)
        (span,) = await collector.spans_of(1)
        told = values(span.attributes)
        assert (told["wasi_trio.outcome"], told["error.type"]) == ("client-left", "client-left")
        assert "http.response.status_code" not in told


async def test_a_full_queue_of_requests(tracing: Open, collector: Collector) -> None:
    full = HandlerOptions(max_concurrent_requests=1, max_queued_requests=0)
    async with tracing(full) as options, serve("sleep", options) as site, site.client() as client:
        await client.start("/60000")
        await until(lambda: site.handler.active == 1)
        assert (await site.ask("/1")).status == 503
        (span,) = await collector.spans_of(1)
        told = values(span.attributes)
        assert (told["http.response.status_code"], told["error.type"]) == (503, "overloaded")
        assert "wasi_trio.instance" not in told


async def test_processor_time(tracing: Open, collector: Collector) -> None:
    async with tracing(HandlerOptions(max_cpu_time=10.0)) as options, serve("p3_compute", options) as site:
        await site.ask("/1")
        (span,) = await collector.spans_of(1)
        assert 0 < values(span.attributes)["wasi_trio.guest.cpu_time"] < 10


@pytest.mark.parametrize(
    ("guest_name", "function"),
    [("sleep", "wasi:io/poll@0.2"), ("p3_sleep", "wasi:clocks/monotonic-clock@0.3")],
)
async def test_waiting_host_calls_are_events(
    guest_name: str, function: str, tracing: Open, collector: Collector
) -> None:
    async with tracing() as options, serve(guest_name, options) as site:
        await site.ask("/20")
        (span,) = await collector.spans_of(1)
        (event,) = span.events
        assert event.name.startswith(function) and "#" in event.name
        assert 0.015 < values(event.attributes)["wasi_trio.host_call.duration"] < 60
        assert span.start_time_unix_nano <= event.time_unix_nano <= span.end_time_unix_nano


# ---- requests that guests send -----------------------------------------------------------------------------


def upstream(site: Site, path: str = "/headers") -> str:
    return f"http://127.0.0.1:{site.port}{path}"


def headers_in(text: str) -> dict[str, str]:
    """Return the headers in a guest's report about a request that it received."""
    document = json.loads(text)
    if "headers" not in document:  # python_p3 adds a line about a response
        document = json.loads(document["body"])
    return dict(document["headers"])


@BOTH
async def test_requests_of_a_guest_continue_the_trace(name: str, tracing: Open, collector: Collector) -> None:
    """The guest copies no header."""
    given = [GIVEN, ("tracestate", "vendor=1"), ("baggage", "user=7,plan=x")]
    async with tracing() as options, serve(name, options) as site:
        answer = await site.ask(f"/fetch?url={upstream(site)}?X-Amz-Signature%3Dsecret", "GET", b"", *given)
        spans = await collector.spans_of(3)
        (client,) = of_kind(spans, "CLIENT")
        (outer,) = [span for span in of_kind(spans, "SERVER") if span.parent_span_id.hex() == PARENT]
        (inner,) = [span for span in of_kind(spans, "SERVER") if span is not outer]
        assert {span.trace_id.hex() for span in spans} == {TRACE}
        assert client.parent_span_id == outer.span_id
        assert inner.parent_span_id == client.span_id
        assert {span.trace_state for span in spans} == {"vendor=1"}
        got = headers_in(answer.body.decode())
        # The guest sees the context of its own request's span.
        assert got["traceparent"] == f"00-{TRACE}-{inner.span_id.hex()}-01"
        assert (got["tracestate"], got["baggage"]) == ("vendor=1", "user=7,plan=x")
        told = values(client.attributes)
        assert told == {
            "http.request.method": "GET",
            "server.address": "127.0.0.1",
            "server.port": site.port,
            "url.full": f"{upstream(site)}?X-Amz-Signature=REDACTED",
            "network.protocol.version": "1.1",
            "http.response.status_code": 200,
        }


@BOTH
async def test_a_failing_request(name: str, tracing: Open, collector: Collector) -> None:
    async with tracing() as options, serve(name, options) as site:
        await site.ask("/fetch?url=http://127.0.0.1:1/")
        await site.ask(f"/fetch?url={upstream(site, '/nothing')}")
        spans = await collector.spans_of(5)
        refused, missing = of_kind(spans, "CLIENT")
        assert values(refused.attributes)["error.type"] == "connection-refused"
        assert (values(missing.attributes)["error.type"], missing.status.code) == ("404", Status.STATUS_CODE_ERROR)


async def test_concurrent_requests_in_one_instance(tracing: Open, collector: Collector) -> None:
    """Each goes to its own trace."""
    count = 8
    async with tracing() as options, serve("python_p3", options) as site:
        await site.ask("/hello")

        async def ask(number: int) -> None:
            # They come back to the same instance, interleaved.
            url = upstream(site, "/sleep?ms=50")
            await site.ask(f"/fetch?url={url}&n={number}", "GET", b"", ("traceparent", f"00-{number:032x}-{PARENT}-01"))

        async with trio.open_nursery() as nursery:
            for number in range(1, count + 1):
                nursery.start_soon(ask, number)
        spans = await collector.spans_of(1 + 3 * count)
        assert len(set(site.instances)) < count
        by_id = {span.span_id: span for span in spans}
        clients = of_kind(spans, "CLIENT")
        assert len({span.trace_id for span in clients}) == count
        for client in clients:
            parent = by_id[client.parent_span_id]
            assert parent.trace_id == client.trace_id
            assert values(parent.attributes)["url.query"].endswith(f"n={int(client.trace_id.hex(), 16)}")


async def test_guests_with_their_own_spans_and_traces(
    tracing: Open, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wasi_trio.serve.telemetry._requests import TracedRequest
    from wasi_trio.wasi.http._body import Body
    from wasi_trio.wasi.http._messages import Request

    async with tracing() as options, serve("hello", options) as site:
        await site.ask("/", "GET", b"", GIVEN)
        assert options.tracer is not None
        traced = TracedRequest(options.tracer, trio.current_time())  # type: ignore[arg-type]
        traced.trace_id, traced.span_id, traced.flags, traced.recording = 1, 2, 1, True
        own = Request("GET", "http", "x", "/", [("Traceparent", b"00-%032x-%016x-01" % (1, 3))], Body.empty())
        sent = traced.sends(own)
        assert sent is not None
        assert own.headers == [("traceparent", b"00-%032x-%016x-01" % (1, sent.span_id))]
        other = Request("GET", "http", "x", "/", [("traceparent", b"00-%032x-%016x-01" % (9, 3))], Body.empty())
        traced.sends(other)
        assert other.headers == [("traceparent", b"00-%032x-%016x-01" % (9, 3))]
        sent.ended(None)
        spans = await collector.spans_of(2)
        (client,) = of_kind(spans, "CLIENT")
        assert int.from_bytes(client.parent_span_id) == 3
        assert values(client.attributes)["error.type"] == "cancelled"


async def test_a_chain_of_components(tmp_path: Path, tracing: Open, collector: Collector) -> None:
    async with (
        tracing() as options,
        chain(tmp_path, "p3_middleware", "p3_hello", options=options) as (outer, _),
        served(outer) as client,
    ):
        await client.ask("/", "GET", b"", GIVEN)
        spans = await collector.spans_of(2)
        (server,) = of_kind(spans, "SERVER")
        (behind,) = of_kind(spans, "INTERNAL")
        assert behind.parent_span_id == server.span_id
        # Clients have sent one request.
        assert sum(point.count for point in await duration_points(collector, 1)) == 1


# ---- sampling ----------------------------------------------------------------------------------------------


@BOTH
async def test_unsampled_contexts_are_propagated(name: str, tracing: Open, collector: Collector) -> None:
    async with tracing() as options, serve(name, options) as site:
        unsampled = ("traceparent", f"00-{TRACE}-{PARENT}-00")
        answer = await site.ask(f"/fetch?url={upstream(site)}", "GET", b"", unsampled)
        got = headers_in(answer.body.decode())["traceparent"]
        assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", got)
        await site.ask("/hello")
        (span,) = await collector.spans_of(1)
        assert values(span.attributes)["url.path"] == "/hello"


async def test_configured_samplers_and_propagators(tracing: Open, collector: Collector) -> None:
    variables = {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_PROPAGATORS": "none"}
    async with tracing(**variables) as options, serve("python_p2", options) as site:
        answer = await site.ask("/headers", "GET", b"", GIVEN)
        assert headers_in(answer.body.decode())["traceparent"] == GIVEN[1]
        (point,) = await duration_points(collector, 1)
        assert point.count == 1  # sampling does not affect metrics
        assert collector.spans == []


# ---- metrics -----------------------------------------------------------------------------------------------


async def test_metrics_equal_the_registry(tracing: Open, collector: Collector) -> None:
    async with tracing(OTEL_TRACES_EXPORTER="none") as options, serve("hello", options) as site:
        for _ in range(3):
            await site.ask("/")

        def ended() -> bool:
            found = list(collector.metrics.get("wasi_trio_requests", {}).values())
            return bool(found) and sum(point.as_double for point in found[0].sum.data_points) == 3

        await collector.until(ended)
        (requests,) = collector.metrics["wasi_trio_requests"].values()
        assert requests.sum.is_monotonic
        assert values(requests.sum.data_points[0].attributes) == {
            "component": "hello",
            "outcome": "ok",
            "status": "2xx",
        }
        (wait,) = collector.metrics["wasi_trio_queue_wait_seconds"].values()
        (point,) = wait.histogram.data_points
        assert (wait.unit, point.count, sum(point.bucket_counts)) == ("s", 3, 3)
        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
        (live,) = collector.metrics["wasi_trio_instances_live"].values()
        assert live.HasField("gauge")
        (point,) = await duration_points(collector, 3)
        assert values(point.attributes) == {
            "http.request.method": "GET",
            "url.scheme": "http",
            "http.response.status_code": 200,
            "network.protocol.version": "1.1",
        }
        assert collector.spans == []


# ---- failing collectors ------------------------------------------------------------------------------------


async def test_a_dead_collector_is_logged_once(
    tracing: Open, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    async with tracing(**variables) as options, serve("hello", options) as site:
        for _ in range(30):
            assert (await site.ask("/")).status == 200
    lines = [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert len(lines) <= 2  # one for spans, one for metrics
    assert all(record.levelno == logging.WARNING and record.exc_info is None for record in lines)


async def test_a_stalled_collector_and_a_full_queue(
    tracing: Open, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.stalled = True
    variables = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2", "OTEL_METRICS_EXPORTER": "none"}
    async with tracing(**variables) as options, serve("hello", options) as site:
        await site.ask("/")
        await until(lambda: collector.batches > 0)
        for _ in range(20):
            assert (await site.ask("/")).status == 200
        assert options.metrics is not None
        text = options.metrics.exposition().decode()
        assert 'wasi_trio_spans_total{outcome="dropped"} 16.0' in text
        collector.release()
        await collector.spans_of(4)  # the stall lost the first one
    assert "spans were lost" in caplog.text


async def test_the_drain_does_not_wait_for_a_stalled_collector(tmp_path: Path, collector: Collector) -> None:
    collector.stalled = True
    before = ("env", f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}", "OTEL_BSP_SCHEDULE_DELAY=10")
    async with command(tmp_path, on_disk(tmp_path, "hello"), before=before) as server:
        assert (await server.ask("/")).status == 200
        await until(lambda: collector.batches > 0)
        server.signal(signal.SIGTERM)
        with trio.fail_after(20):  # the collector stalls for a minute
            assert await server.ended() == 0
        assert "The last spans or metrics could not be exported within 3 s" in server.stderr
        assert "Traceback" not in server.stderr


# ---- every way to serve ------------------------------------------------------------------------------------


async def test_serve_exports_to_its_end(tmp_path: Path, collector: Collector) -> None:
    """Unsent spans are exported when it drains. JSON log lines contain the trace and the span."""
    before = ("env", f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}", "OTEL_BSP_SCHEDULE_DELAY=600000")
    options = ("--access-log", "json", "--log-format", "json", "--verbose")
    async with command(tmp_path, on_disk(tmp_path, "hello"), *options, before=before) as server:
        await server.ask("/", "GET", b"", GIVEN)
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        (span,) = await collector.spans_of(1)
        access = json.loads(server.stdout)
        assert (access["trace_id"], access["span_id"], access["status"]) == (TRACE, span.span_id.hex(), 200)
        (line,) = [json.loads(line) for line in server.stderr.splitlines() if '"GET / 200' in line]
        assert (line["trace_id"], line["span_id"]) == (TRACE, span.span_id.hex())
        assert "http.server.request.duration" in collector.metrics


async def test_workers(tmp_path: Path, collector: Collector) -> None:
    before = ("env", f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}", *(f"{key}={value}" for key, value in SOON.items()))
    options = ("--workers", "2", "--max-concurrent-connections", "1")
    async with command(tmp_path, on_disk(tmp_path, "hello"), *options, before=before) as server:
        async with server.client() as one, server.client() as other:
            await one.ask("/")
            await other.ask("/")
        await collector.spans_of(2)
        workers = {resource["wasi_trio.worker"] for resource in collector.resources}
        assert workers == {"1", "2"}
        assert len({resource["service.instance.id"] for resource in collector.resources}) == 2
        await collector.until(lambda: len(collector.metrics.get("wasi_trio_instances_live", ())) == 2)


async def test_hypercorn(tmp_path: Path, collector: Collector) -> None:
    path = on_disk(tmp_path, "hello")
    variables = {"WASI_TRIO_COMPONENT": str(path), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **SOON}
    arguments = ("-k", "trio", "-b", "127.0.0.1:0", "-w", "2")

    def ask() -> None:
        with hypercorn(tmp_path, *arguments, **variables) as server:
            (url, _) = server.find(r"Running on (http://127\.0\.0\.1:\d+)", count=2)
            assert httpx.get(f"{url}/x", headers=dict([GIVEN]), trust_env=False, timeout=60).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            server.ends()

    await trio.to_thread.run_sync(ask)
    (span,) = await collector.spans_of(1)
    told = values(span.attributes)
    assert (span.trace_id.hex(), told["url.path"], told["network.protocol.version"]) == (TRACE, "/x", "1.1")
    assert told["client.address"] == "127.0.0.1"


async def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    import subprocess
    import sys

    result = await trio.run_process(
        [sys.executable, "-m", "wasi_trio", "serve", str(on_disk(tmp_path, "hello"))],
        env={**os.environ, "OTEL_TRACES_EXPORTER": "jaegr"},
        check=False,
        capture_stderr=True,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 2
    (line,) = result.stderr.decode().splitlines()
    assert "OTEL_TRACES_EXPORTER: 'jaegr' is not installed" in line
