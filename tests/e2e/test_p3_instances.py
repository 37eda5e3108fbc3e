"""WASI 0.3: the choice of an instance for a request, concurrency, and the end of an instance."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

from tests.e2e.support import content, guest, handle, request, serve, until
from wasi_trio.serve.pool._failures import DeadlinePassed
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions


def limits(reuse: int | None, at_once: int | None, **more: float) -> HandlerOptions:
    return HandlerOptions(
        max_instance_reuse_count=reuse,
        max_instance_concurrent_reuse_count=at_once,
        **more,  # type: ignore[arg-type]
    )


async def test_hello() -> None:
    async with serve("p3_hello") as site, site.client() as client:
        for _ in range(3):
            answer = await client.ask("/")
            assert (answer.status, answer.body, answer.cut) == (200, b"Hello, world!\n", False)
            assert answer.headers["content-type"] == "text/plain"
        assert site.handler.started == 1
        assert len(set(site.instances)) == 1


@pytest.mark.parametrize(
    ("reuse", "at_once", "counts"),
    [
        (None, None, "123456"),
        (1, None, "111111"),
        (2, 1, "121212"),
        (4, 16, "123412"),
        (100, 1, "123456"),
    ],
)
async def test_the_reuse_count_of_instances(reuse: int | None, at_once: int | None, counts: str) -> None:
    async with serve("p3_counter", limits(reuse, at_once)) as site:
        assert "".join([(await site.ask()).body.decode().strip() for _ in counts]) == counts
        assert site.handler.started == counts.count("1")


async def test_by_default_128_times() -> None:
    async with handle("p3_counter") as pool:
        answers = [int(await pool.get()) for _ in range(258)]
        assert answers == [*range(1, 129), *range(1, 129), 1, 2]
        assert pool.handler.started == 3


@pytest.mark.parametrize(
    ("count", "reuse", "at_once", "started"),
    [
        (16, None, None, 1),
        (17, None, None, 2),
        (40, None, None, 3),
        (40, 1, None, 40),
        (40, 2, 40, 20),
        (40, 1000, 1, 40),
        (40, 1000, 7, 6),
        (40, 1000, 40, 1),
        (40, 39, 40, 2),
    ],
)
async def test_concurrent_requests(
    count: int, reuse: int | None, at_once: int | None, started: int, autojump_clock: trio.testing.MockClock
) -> None:
    """The number of instances is minimal, and all but the last are full."""
    async with handle("p3_sleep", limits(reuse, at_once)) as pool:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(pool.get, "/1000")
            await trio.testing.wait_all_tasks_blocked()
            assert (pool.handler.active, pool.handler.started) == (count, started)
        assert trio.current_time() == pytest.approx(1.0)
        assert (pool.handler.active, pool.handler.started) == (0, started)


async def test_the_limit_applies_to_each_instance() -> None:
    async with serve("p3_sleep", limits(1000, 3)) as site:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(site.ask, "/3600000")
            await until(lambda: site.handler.active == 10 and len(site.instances) == 10)
            # The distribution depends on timing. Only the limit is certain.
            assert max(Counter(site.instances).values()) <= 3
            nursery.cancel_scope.cancel()
        await until(lambda: not site.handler.active)


async def test_requests_that_waited_for_an_instance_go_to_it(autojump_clock: trio.testing.MockClock) -> None:
    """Requests that arrive while an instance is full get others. Later ones get it when it has room again."""
    async with handle("p3_sleep", limits(1000, 2, idle_instance_timeout=1e6)) as pool:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(pool.get, "/10")
            assert pool.handler.started == 2


@pytest.mark.parametrize("guest", ["p3_sleep", "p3_sync", "python_p3"])
async def test_queued_requests(guest: str, autojump_clock: trio.testing.MockClock) -> None:
    """The next request goes to the instance that has just finished one."""
    path = "/sleep?ms=10" if guest == "python_p3" else "/10"
    options = HandlerOptions(
        max_concurrent_requests=2, max_instance_concurrent_reuse_count=1, idle_instance_timeout=1e6
    )
    async with handle(guest, options) as pool:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(pool.get, path)
        assert pool.handler.started == 2


async def test_100_that_sleep_in_one_instance(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_sleep", limits(100, 100)) as pool:
        bodies = []

        async def sleep() -> None:
            bodies.append(await pool.get("/1000"))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(sleep)
        assert bodies == [b"slept\n"] * 100
        assert pool.handler.started == 1
        assert trio.current_time() == pytest.approx(1.0)


async def test_100_that_sleep_in_one_instance_over_sockets() -> None:
    """They sleep concurrently in real time. benchmarks/sleeping.py measures the cost of serving them."""
    async with serve(
        "p3_sleep", HandlerOptions(max_instance_reuse_count=1000, max_instance_concurrent_reuse_count=100)
    ) as site:
        assert (await site.ask("/0")).body == b"slept\n"
        began = trio.current_time()
        bodies = []

        async def sleep() -> None:
            bodies.append((await site.ask("/1000")).body)

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(sleep)
        assert bodies == [b"slept\n"] * 100
        assert site.handler.started == 1
        assert 1.0 <= trio.current_time() - began < 50.0, "one after the other they would take 100 s"


async def test_backpressure(autojump_clock: trio.testing.MockClock) -> None:
    """A guest that asks for one request at a time gets the next when it asks for more. Others get new instances."""
    async with handle("p3_backpressure", limits(1000, 16, idle_instance_timeout=1e6)) as pool:
        for _ in range(3):
            bodies: list[bytes] = []

            async def wait(bodies: list[bytes] = bodies) -> None:
                bodies.append(await pool.get("/1000"))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(wait)
            assert bodies == [b"1\n"] * 5
        assert pool.handler.started == 5
        assert trio.current_time() == pytest.approx(3.0)


async def test_background_work_finishes(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_background", limits(1000, 16, idle_instance_timeout=1e6)) as pool:
        assert [await pool.get("/1000") for _ in range(3)] == [b"0\n"] * 3
        assert trio.current_time() == 0
        assert pool.handler.active == 0, "the requests are over as far as their clients care"
        await trio.sleep(0.9)
        assert await pool.get("/0") == b"0\n"
        await trio.sleep(0.2)
        assert await pool.get("/0") == b"3\n"
        assert pool.handler.started == 1


@pytest.mark.parametrize("reuse", [1, 3])
async def test_background_work_keeps_a_retired_instance(reuse: int, autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_background", limits(reuse, 16)) as pool:
        for _ in range(3):
            assert await pool.get("/20000") == b"0\n"
        assert pool.handler.started == 3 // reuse
        await trio.sleep(19)
        assert pool.live == 3 // reuse
        await trio.sleep(2)
        assert pool.live == 0


async def test_leaving_waits_for_background_work(autojump_clock: trio.testing.MockClock) -> None:
    async with ProxyHandler(guest("p3_background")) as handler:
        assert await content(await handler.handle(request("/20000"))) == b"0\n"
        assert trio.current_time() == 0
    assert trio.current_time() == pytest.approx(20.0)


async def test_an_idle_instance_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_counter", limits(100, 16, idle_instance_timeout=5)) as pool:
        for pause, count in ((4, b"1\n"), (4, b"2\n"), (6, b"3\n"), (0, b"1\n")):
            assert await pool.get() == count
            await trio.sleep(pause)


async def test_an_instance_with_a_request_is_not_idle(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_sleep", limits(100, 16, idle_instance_timeout=5)) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.get, "/20000")
            await trio.sleep(2)
            nursery.start_soon(pool.get, "/1000")
            await trio.sleep(16)
            assert await pool.get("/0") == b"slept\n"
        assert trio.current_time() == pytest.approx(20.0)
        assert pool.handler.started == 1
        await trio.sleep(4.9)
        assert pool.live == 1
        await trio.sleep(0.2)
        assert pool.live == 0


async def test_requests_abandoned_before_their_start(autojump_clock: trio.testing.MockClock) -> None:
    """Their clients leave before the instance begins them, so they do not count."""
    async with handle("p3_counter", limits(6, 3, idle_instance_timeout=5)) as pool:
        for count in (b"1\n", b"2\n", b"3\n", b"4\n"):
            for _ in range(2):
                pool.handler.submit(request()).cancel()
            assert await pool.get() == count
            assert pool.handler.active == 0
        pool.handler.submit(request()).cancel()
        await trio.sleep(4.9)
        assert pool.live == 1
        await trio.sleep(0.2)
        assert pool.live == 0


async def test_a_guest_that_waits_in_a_synchronous_call(autojump_clock: trio.testing.MockClock) -> None:
    """Its instance can do nothing else, so other requests get other instances."""
    async with handle("p3_sync", limits(100, 16, idle_instance_timeout=1e6)) as pool:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(pool.get, "/1000")
                    await trio.sleep(0.1)
        assert trio.current_time() == pytest.approx(2.6)
        assert pool.handler.started == 4
        response = await pool.handler.handle(request("/0"))
        assert (response.status, dict(response.headers)["x-waited"]) == (204, b"yes")
        assert await content(response) == b""
        assert pool.handler.started == 4


async def test_a_deadline_during_a_synchronous_call(autojump_clock: trio.testing.MockClock) -> None:
    """It cannot be told, so its instance ends after the grace period."""
    options = HandlerOptions(request_timeout=10, cancel_grace=3, idle_instance_timeout=1e6)
    async with handle("p3_sync", options) as pool:
        with pytest.raises(DeadlinePassed):
            await pool.get("/3600000")
        assert trio.current_time() == pytest.approx(10)
        await trio.sleep(2.9)
        assert (pool.handler.active, pool.live) == (1, 1)
        await trio.sleep(0.2)
        assert (pool.handler.active, pool.live) == (0, 0)
        assert await pool.get("/10") == b""
