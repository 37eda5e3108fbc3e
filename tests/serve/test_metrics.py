"""The metrics and log lines of a handler: exact values for every end of a request and an instance."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families
from wasmtime import wat2wasm

from tests.e2e.support import content, request, until
from tests.guests import wat
from tests.serve.support import engine, guest
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve._loading import link
from wasi_trio.serve.pool._failures import ExchangeFailed, GuestFailed
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.http._body import BodyAborted

HOUR = "/3600000"

Numbers = dict[str | tuple[str, ...], float]


def read(metrics: Metrics, name: str) -> Numbers:
    """Return the exposed values of a metric above 0, by its labels other than the component."""
    values: Numbers = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            if sample.name == f"wasi_trio_{name}" and sample.value:
                _component, *labels = sample.labels.values()
                values[tuple(labels) if len(labels) > 1 else "".join(labels)] = sample.value
    return values


def value(metrics: Metrics, name: str) -> float:
    return read(metrics, name).get("", 0)


@asynccontextmanager
async def counting(name: str, **options: Any) -> AsyncIterator[tuple[ProxyHandler, Metrics]]:
    metrics = Metrics()
    async with ProxyHandler(guest(name), HandlerOptions(metrics=metrics, **options)) as handler:
        yield handler, metrics


async def ask(handler: ProxyHandler, path: str = "/", method: str = "GET") -> None:
    """Send a request, whatever its result."""
    try:
        await content(await handler.handle(request(path, method)))
    except (ExchangeFailed, BodyAborted) as error:
        logging.getLogger(__name__).info("answered with %s", error)


ONCE = {"max_instance_reuse_count": 1}
MANY = {"max_instance_reuse_count": 1_000_000}
BRIEFLY = {"request_timeout": 0.1, "cancel_grace": 0.1}
#: The deadline passes before a call that cannot be suspended exceeds its own limit.
SLOW_TRAPS: Any = {"limits": Limits(nested_seconds=1)}


@pytest.mark.parametrize(
    ("name", "path", "options", "outcome", "reason"),
    [
        ("hello", "/", {}, ("ok", "2xx"), "reuse-count"),
        ("hello", "/", {"max_instance_reuse_count": 2}, ("ok", "2xx"), "shutdown"),
        ("trap", "/", {}, ("guest-failed", "5xx"), "trap"),
        ("trap_after_headers", "/", {}, ("cut", "2xx"), "trap"),
        ("trap_in_post_return", "/", {}, ("ok", "2xx"), "trap"),
        ("trap_in_start", "/", {}, ("instantiation-failed", "5xx"), "failed-to-start"),
        ("exit", "/", {}, ("guest-failed", "5xx"), "exit"),
        ("exit", "/2", {}, ("ok", "2xx"), "exit"),
        ("no_response", "/", {}, ("guest-failed", "5xx"), "reuse-count"),
        ("dropped_body", "/", {}, ("cut", "2xx"), "reuse-count"),
        ("spin", "/", BRIEFLY, ("deadline", "5xx"), "deadline"),
        ("spin_in_realloc", "/", BRIEFLY | SLOW_TRAPS, ("deadline", "5xx"), "deadline"),
        ("sleep", HOUR, BRIEFLY, ("deadline", "5xx"), "deadline"),
        ("p3_hello", "/", {}, ("ok", "2xx"), "shutdown"),
        ("p3_hello", "/", ONCE, ("ok", "2xx"), "reuse-count"),
        ("p3_sync", "/0", ONCE, ("ok", "2xx"), "reuse-count"),
        ("p3_trap", "/", {}, ("guest-failed", "5xx"), "trap"),
        ("p3_trap", "/3", {}, ("cut", "2xx"), "trap"),
        ("p3_exit", "/", {}, ("guest-failed", "5xx"), "exit"),
        ("p3_exit", "/2", {}, ("ok", "2xx"), "exit"),
        ("p3_no_response", "/1", {}, ("guest-failed", "5xx"), "shutdown"),
        ("p3_spin", "/", BRIEFLY, ("deadline", "5xx"), "deadline"),
        ("p3_spin_in_realloc", "/", BRIEFLY | SLOW_TRAPS, ("deadline", "5xx"), "deadline"),
        ("p3_sleep", HOUR, BRIEFLY, ("deadline", "5xx"), "shutdown"),
        ("p3_cancel", "/2", BRIEFLY, ("deadline", "5xx"), "deadline"),
    ],
)
async def test_how_a_request_and_its_instance_end(
    name: str, path: str, options: dict[str, Any], outcome: tuple[str, str], reason: str
) -> None:
    async with counting(name, **options) as (handler, metrics):
        await ask(handler, path)
    assert read(metrics, "requests_total") == {outcome: 1}
    assert read(metrics, "instances_retired_total") == {reason: 1}
    assert value(metrics, "instances_started_total") == 1
    assert value(metrics, "instances_live") == 0
    assert value(metrics, "requests_in_progress") == 0
    assert value(metrics, "response_seconds_count") == (outcome[1] == "2xx")
    made = reason != "failed-to-start"
    assert value(metrics, "queue_wait_seconds_count") == made
    assert (value(metrics, "instance_requests_count"), value(metrics, "instance_requests_sum")) == (made, made)


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    # A guest of WASI 0.3 is asked to end its work, and one of these does.
    [("sleep", HOUR, "cancelled"), ("p3_sleep", HOUR, "shutdown"), ("p3_cancel", "/2", "cancelled")],
)
async def test_a_client_that_leaves_before_the_response(
    name: str, path: str, reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with counting(name) as (handler, metrics):
        with trio.move_on_after(1):
            await ask(handler, path)
        assert read(metrics, "requests_total") == {("client-left", "none"): 1}
    assert read(metrics, "instances_retired_total") == {reason: 1}
    assert value(metrics, "response_seconds_count") == 0


@pytest.mark.parametrize(("name", "reason"), [("endless_body", "cancelled"), ("p3_endless_body", "shutdown")])
async def test_a_client_that_leaves_in_the_middle_of_the_response(
    name: str, reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with counting(name) as (handler, metrics):
        exchange = handler.submit(request("/1"))
        await exchange.wait()
        exchange.cancel()
    assert read(metrics, "requests_total") == {("client-left", "2xx"): 1}
    assert read(metrics, "instances_retired_total") == {reason: 1}


async def test_a_guest_that_continues_too_long_after_its_response() -> None:
    async with counting("spin", post_response_timeout=0.1) as (handler, metrics):
        response = await handler.handle(request("/1"))
        assert await response.body.receive_some() == b"begun\n"  # the guest has written it, and spins now
        response.body.close()
    assert read(metrics, "requests_total") == {("client-left", "2xx"): 1}
    assert read(metrics, "instances_retired_total") == {"deadline": 1}


async def test_a_trap_after_the_client_has_left_is_a_quiet_line(caplog: pytest.LogCaptureFixture) -> None:
    """The guest traps because a write fails: its body has lost its reader."""
    async with counting("endless_body") as (handler, metrics):
        response = await handler.handle(request("/1"))
        await trio.testing.wait_all_tasks_blocked()  # the body is full
        assert response.body.take(1 << 20)  # the guest continues, and finds at its next write that
        response.body.close()  # nobody reads
    assert read(metrics, "requests_total") == {("client-left", "2xx"): 1}
    assert "instance 1, at GET /1, trapped after its client left" in caplog.messages
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_continuing_too_long_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with counting("spin_in_post_return", post_response_timeout=0.1) as (handler, metrics):
        await ask(handler)
    assert read(metrics, "requests_total") == {("ok", "2xx"): 1}
    assert "instance 1: GET /: the guest continued for too long after its response" in caplog.messages


async def test_waiting_requests(autojump_clock: trio.testing.MockClock) -> None:
    async with counting(
        "sleep", max_concurrent_requests=1, max_queued_requests=3, request_timeout=0.75, max_instance_reuse_count=9
    ) as (handler, metrics):
        first, second, late, leaves = (handler.submit(request(path)) for path in ("/500", "/125", HOUR, HOUR))
        refused = handler.submit(request())
        assert refused.answered
        assert value(metrics, "requests_in_progress") == 1
        assert value(metrics, "requests_waiting") == 3
        leaves.cancel()
        assert value(metrics, "requests_waiting") == 2
        assert read(metrics, "requests_total") == {("overloaded", "5xx"): 1, ("client-left", "none"): 1}
        await first.wait()
        await second.wait()
        with pytest.raises(ExchangeFailed):
            await late.wait()
    assert read(metrics, "requests_total") == {
        ("overloaded", "5xx"): 1,
        ("client-left", "none"): 1,
        ("ok", "2xx"): 2,
        ("deadline", "5xx"): 1,
    }
    # The first request waited for nothing, the second for the first, and the third for both.
    assert value(metrics, "queue_wait_seconds_count") == 3
    assert value(metrics, "queue_wait_seconds_sum") == pytest.approx(0.5 + 0.625)
    assert value(metrics, "response_seconds_sum") == pytest.approx(0.5 + 0.625)
    assert value(metrics, "requests_waiting") == 0


async def test_a_deadline_that_passes_while_waiting(autojump_clock: trio.testing.MockClock) -> None:
    async with counting("endless_body", max_concurrent_requests=1, request_timeout=1) as (handler, metrics):
        under_way = handler.submit(request())
        await under_way.wait()
        with pytest.raises(ExchangeFailed):
            await handler.handle(request())
        assert read(metrics, "requests_total") == {("deadline", "5xx"): 1}
        assert value(metrics, "requests_waiting") == 0
        under_way.cancel()
    assert value(metrics, "queue_wait_seconds_count") == 1
    assert value(metrics, "instances_started_total") == 1


#: 64 MiB of memory, and no other limit that the guests reach.
SMALL: Any = {"limits": Limits(memory=64 << 20)}
GROWING_P3 = wat.source("p3_sync").replace(
    "(call $request.drop (local.get $request))",
    "(call $request.drop (local.get $request)) (drop (memory.grow (i32.const 160)))",
)


async def test_an_instance_of_wasi_02_that_grows_ends_between_requests() -> None:
    """It grows to its limit in one request. The server may measure it in the next."""
    async with counting("grow_memory", **MANY, **SMALL) as (handler, metrics):
        await _ask_until_one_ends(handler, metrics)


async def test_an_instance_of_wasi_03_that_grows_ends_between_requests() -> None:
    """It grows by 10 MiB in each request, until the host refuses that."""
    metrics = Metrics()
    component = link(engine(), bytes(wat2wasm(GROWING_P3)), "growing")
    async with ProxyHandler(component, HandlerOptions(metrics=metrics, **MANY, **SMALL)) as handler:
        await _ask_until_one_ends(handler, metrics)


async def _ask_until_one_ends(handler: ProxyHandler, metrics: Metrics) -> None:
    with trio.fail_after(60):
        while not read(metrics, "instances_retired_total"):
            await ask(handler)
    assert read(metrics, "instances_retired_total") == {"memory": 1}
    assert read(metrics, "requests_total").keys() == {("ok", "2xx")}


@pytest.mark.parametrize("name", ["counter", "p3_counter"])
async def test_how_often_instances_are_used(name: str, autojump_clock: trio.testing.MockClock) -> None:
    async with counting(name, max_instance_reuse_count=3, max_instance_concurrent_reuse_count=1) as (handler, metrics):
        for _ in range(5):
            await ask(handler)
        await until(lambda: value(metrics, "instances_live") == 1)
        assert value(metrics, "instances_started_total") == 2
        await trio.sleep(1.5)
        assert read(metrics, "instances_retired_total") == {"reuse-count": 1, "idle": 1}
        assert value(metrics, "instances_live") == 0
    assert value(metrics, "instance_requests_count") == 2
    assert value(metrics, "instance_requests_sum") == 5
    buckets = list(read(metrics, "instance_requests_bucket").items())
    assert buckets[:2] == [("2.0", 1), ("4.0", 2)]
    assert buckets[-1] == ("+Inf", 2)


async def test_a_head_request_does_not_count_as_client_left() -> None:
    async with counting("p3_endless_body") as (handler, metrics):
        response = await handler.handle(request("/1", "HEAD"))
        response.body.close()
        await until(lambda: bool(read(metrics, "requests_total")))
        assert read(metrics, "requests_total") == {("ok", "2xx"): 1}


class Fails:
    """The host's ``acme:host/work``."""

    def work(self, which: int) -> None:
        raise ValueError("the user's mistake")

    async def later(self, which: int) -> None:
        raise ValueError("the user's mistake")


@pytest.mark.parametrize("name", ["host_call", "p3_host_call"])
@pytest.mark.parametrize("path", ["/1", "/100"])
async def test_a_host_function_that_fails(name: str, path: str) -> None:
    metrics = Metrics()
    linked = link(engine(), wat.load(name), name, Imports({"acme:host/work": Fails()}))
    async with ProxyHandler(linked, HandlerOptions(metrics=metrics)) as handler:
        await ask(handler, path)
    assert read(metrics, "requests_total") == {("guest-failed", "5xx"): 1}
    assert read(metrics, "instances_retired_total") == {"host-error": 1}


class FailsInTheBackground:
    """The host's ``acme:host/work``. A task that it starts in the instance's nursery fails while the guest waits."""

    def __init__(self, context: WasiContext) -> None:
        self.context = context

    def work(self, which: int) -> None:
        pass

    async def later(self, which: int) -> None:
        async def fail() -> None:
            raise ValueError("the user's mistake")

        self.context.nursery.start_soon(fail)
        await trio.sleep_forever()


@pytest.mark.parametrize("name", ["host_call", "p3_host_call"])
async def test_a_failing_background_task(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The failure ends its own instance alone, and is logged."""
    metrics = Metrics()
    linked = link(engine(), wat.load(name), name, Imports({"acme:host/work": FailsInTheBackground}))
    async with ProxyHandler(linked, HandlerOptions(metrics=metrics)) as handler:
        with pytest.raises(GuestFailed, match="a background task of the instance failed in the host"):
            await handler.handle(request("/100"))
        assert (await handler.handle(request("/0"))).status in (200, 204)
    assert "ValueError: the user's mistake" in caplog.text
    assert read(metrics, "instances_retired_total")["host-error"] == 1


async def test_shutdown_during_a_request() -> None:
    for name in ("sleep", "p3_sleep"):
        metrics = Metrics()
        with trio.CancelScope() as scope:
            async with ProxyHandler(guest(name), HandlerOptions(metrics=metrics)) as handler:
                handler.submit(request(HOUR))
                await until(lambda metrics=metrics: bool(value(metrics, "queue_wait_seconds_count")))  # type: ignore[misc]
                scope.cancel()
        assert read(metrics, "requests_total") == {("shutdown", "5xx"): 1}
        assert read(metrics, "instances_retired_total") == {"shutdown": 1}


async def test_handlers_are_distinguished() -> None:
    metrics = Metrics()
    options = HandlerOptions(metrics=metrics)
    async with ProxyHandler(guest("hello"), options) as one, ProxyHandler(guest("hello"), options) as other:
        await ask(one)
        await ask(other)
        await ask(other)
    ok = {"outcome": "ok", "status": "2xx"}
    assert metrics.registry.get_sample_value("wasi_trio_requests_total", {"component": "hello", **ok}) == 1
    assert metrics.registry.get_sample_value("wasi_trio_requests_total", {"component": "hello#2", **ok}) == 2


async def test_lines_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wasi_trio.serve")
    async with ProxyHandler(guest("hello")) as handler:
        await ask(handler, "/path?query")
    async with ProxyHandler(guest("hello")) as handler:
        await ask(handler, "/line\nforged")
    async with ProxyHandler(guest("trap_in_start")) as handler:
        await ask(handler)
    lines = [re.sub(r"\d+\.\d ms", "N ms", record.message) for record in caplog.records if record.levelname == "INFO"]
    assert [line for line in lines if not line.startswith("answered")] == [
        "instance 1 of hello starts",
        "GET /path?query 200 in N ms, instance 1: ok",
        "instance 1 of hello ended after 1 request: reuse-count",
        "instance 1 of hello starts",
        "GET /line\\nforged 200 in N ms, instance 1: ok",
        "instance 1 of hello ended after 1 request: reuse-count",
        "instance 1 of trap_in_start starts",
        "GET / 503 in N ms, no instance: instantiation-failed",
        "instance 1 of trap_in_start ended after 0 requests: failed-to-start",
    ]


async def test_without_metrics_no_lines_below_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wasi_trio.serve")
    async with ProxyHandler(guest("hello")) as handler:
        await ask(handler)
    assert not caplog.records
