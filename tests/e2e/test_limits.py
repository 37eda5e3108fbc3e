"""The limits of a request: deadlines of calls that cannot be suspended, the queue, and the time after the response."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.e2e.support import PATIENCE, Client, guest, handle, request, serve, told, until
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve._listening import bind
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.pool._exchange import ExchangeFailed, ShuttingDown
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._outcomes import Outcome, Retirement
from wasi_trio.wasi.http._body import BodyAborted

HOUR = 3600.0


def count(metrics: Metrics, name: str, component: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"wasi_trio_{name}_total", {"component": component, **labels})


@pytest.mark.parametrize("path", ["/", "/1"])
async def test_the_deadline_of_a_call_that_cannot_be_suspended(path: str) -> None:
    options = HandlerOptions(request_timeout=0.1, limits=Limits(nested_seconds=1))
    async with serve("spin_in_realloc", options) as site:
        answer = await site.ask(path)
        assert answer.status == 504
        await site.all_gone()


async def test_requests_beyond_the_queue_are_refused() -> None:
    options = HandlerOptions(max_concurrent_requests=1, max_queued_requests=1)
    async with serve("p3_sleep", options) as site, site.client() as working, site.client() as waiting:
        await working.start("/3600000")
        await until(lambda: site.handler.active == 1)
        await waiting.start("/0")
        await until(lambda: site.handler.waiting == 1)
        for _ in range(3):
            answer = await site.ask()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        await trio.aclose_forcefully(working.stream)
        assert (await waiting.head()).status == 200


# ---- pauses within a response ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["endless_body", "p3_endless_body"])
async def test_a_response_that_pauses_is_cut(
    name: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    options = HandlerOptions(body_timeout=7, cancel_grace=2, idle_instance_timeout=HOUR, metrics=metrics)
    async with handle(name, options) as pool:
        response = await pool.handler.handle(request("/0"))
        assert await response.body.receive_some() == b"begun\n"
        with pytest.raises(BodyAborted, match="HTTP-response-timeout"):
            await response.body.receive_some()
        assert trio.current_time() == pytest.approx(7)
        assert told(caplog, "the guest's response paused for more than 7 s")
        await trio.sleep(3)  # the grace period of WASI 0.3
        assert (pool.handler.active, pool.live) == (0, 0)
        assert count(metrics, "instances_retired", name, reason=Retirement.DEADLINE.value) == 1
        assert count(metrics, "requests", name, outcome=Outcome.CUT.value, status="2xx") == 1


@pytest.mark.parametrize("name", ["endless_body", "p3_endless_body"])
async def test_an_unread_response_is_not_a_pause(name: str, autojump_clock: trio.testing.MockClock) -> None:
    async with handle(name, HandlerOptions(body_timeout=7)) as pool:
        response = await pool.handler.handle(request("/1"))
        for _ in range(3):
            await trio.sleep(100)
            assert await response.body.receive_some()
        assert pool.live == 1


async def test_a_pause_is_seen_by_the_client(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    options = HandlerOptions(body_timeout=0.05, cancel_grace=0.05)
    async with serve("p3_endless_body", options) as site, site.client() as client:
        await client.start("/0")
        answer = await client.head()
        assert (answer.status, await client.content(6)) == (200, b"begun\n")
        mock_clock.rate = 1
        answer = await client.rest(answer)
        assert (answer.body, answer.cut) == (b"", True)
        await site.all_gone()


# ---- work after a response -------------------------------------------------------------------------------


async def test_work_after_a_response_is_bounded(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its instance is dropped, but only after its other requests."""
    metrics = Metrics()
    options = HandlerOptions(post_response_timeout=5, idle_instance_timeout=HOUR, metrics=metrics)
    async with handle("python_p3", options) as pool, trio.open_nursery() as nursery:
        assert await pool.get("/background?ms=3000") == b"started\n"
        assert await pool.get("/background?ms=3600000") == b"started\n"
        answers: list[bytes] = []

        async def sleep() -> None:
            answers.append(await pool.get("/sleep?ms=20000"))

        nursery.start_soon(sleep)
        await trio.sleep(4.5)
        assert await pool.get("/hello") == b"Hello, world!\n"
        assert pool.handler.started == 1
        await trio.sleep(1)
        assert told(
            caplog, "instance 1: GET /background?ms=3600000: the guest continued for too long after its response"
        )
        assert await pool.get("/hello") == b"Hello, world!\n"
        assert (pool.handler.started, pool.live) == (2, 2)
        await trio.sleep(20)
        assert answers
        assert pool.live == 1
        assert count(metrics, "instances_retired", "python_p3", reason=Retirement.DEADLINE.value) == 1


async def test_work_after_a_response_is_bounded_for_each_request_of_an_instance(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    options = HandlerOptions(post_response_timeout=5, max_instance_reuse_count=9, idle_instance_timeout=HOUR)
    async with handle("sleep_after_response", options) as pool:
        for _ in range(3):
            assert await pool.get("/3000") == b"answered\n"
            await trio.sleep(6)
        assert (pool.handler.started, pool.live) == (1, 1)
        assert await pool.get("/6000") == b"answered\n"
        await trio.sleep(5.5)
        assert told(caplog, "instance 1: GET /6000: the guest continued for too long after its response")
        assert pool.live == 0
        assert await pool.get("/0") == b"answered\n"
        assert pool.handler.started == 2


async def test_a_guest_that_waits_without_a_request_does_not_keep_the_handler(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its client has left, and its body is closed. At the end of the grace period it is abandoned."""
    async with ProxyHandler(guest("p3_endless_body"), HandlerOptions(cancel_grace=3)) as handler:
        exchange = handler.submit(request("/0"))
        response = await exchange.wait()
        assert await response.body.receive_some() == b"begun\n"  # it waits from here on
        exchange.cancel()
    assert trio.current_time() == pytest.approx(3)
    assert handler.active == 0


# ---- the time for leaving the handler --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sleep", "p3_sleep"])
async def test_leaving_the_handler_ends_slow_requests(name: str, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        failed: list[ExchangeFailed] = []
        async with ProxyHandler(guest(name), HandlerOptions(drain_timeout=10)) as handler:

            async def ask(path: str) -> None:
                try:
                    await handler.handle(request(path))
                except ExchangeFailed as failure:
                    failed.append(failure)

            nursery.start_soon(ask, "/9000")
            nursery.start_soon(ask, "/11000")
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == pytest.approx(10)
        await trio.testing.wait_all_tasks_blocked()
        assert [(type(failure), failure.status) for failure in failed] == [(ShuttingDown, 503)]
        assert handler.active == 0


@pytest.mark.parametrize("name", ["sleep", "p3_sleep"])
async def test_leaving_the_handler_ends_queued_requests(name: str, autojump_clock: trio.testing.MockClock) -> None:
    failed: list[ExchangeFailed] = []
    async with trio.open_nursery() as nursery:
        async with ProxyHandler(guest(name), HandlerOptions(drain_timeout=10, max_concurrent_requests=1)) as handler:

            async def ask() -> None:
                with pytest.raises(ShuttingDown) as caught:
                    await handler.handle(request("/3600000"))
                failed.append(caught.value)

            for _ in range(3):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert (handler.active, handler.waiting) == (1, 2)
        assert trio.current_time() == pytest.approx(10)
        assert (handler.active, handler.waiting) == (0, 0)
    assert len(failed) == 3


async def test_a_server_cuts_slow_responses() -> None:
    """This holds if the client does not read, too."""
    options = HandlerOptions(drain_timeout=0.05)
    listener = bind(("127.0.0.1", 0))
    stop = trio.Event()
    with trio.fail_after(PATIENCE):
        async with ProxyHandler(guest("endless_body"), options) as handler, trio.open_nursery() as nursery:
            server = Server(HandlerService(handler), drain_timeout=0.05)
            nursery.start_soon(server.run, [listener], stop)
            async with Client(listener.getsockname()[1]) as client:
                await client.start("/1")
                answer = await client.head()
                assert handler.active == 1
                stop.set()
                await until(lambda: not nursery.child_tasks)
                assert (await client.rest(answer)).cut
