"""The shared limit of requests of several handlers."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.serve.support import guest
from wasi_trio.serve.pool._admission import SharedLimit
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request


def request(path: str) -> Request:
    return Request("GET", "http", "x", path, [], Body.empty())


async def test_the_shared_limit(autojump_clock: MockClock) -> None:
    """Each handler's own limit would admit all of these."""
    limit = SharedLimit(3)
    options = HandlerOptions(shared_limit=limit)
    most = 0
    async with ProxyHandler(guest("sleep"), options) as first, ProxyHandler(guest("sleep"), options) as second:

        async def ask(handler: ProxyHandler) -> None:
            nonlocal most
            response = await handler.handle(request("/100"))
            most = max(most, first.active + second.active)
            assert limit.taken == first.active + second.active
            assert await response.body.receive_some() == b"slept\n"

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask, first)
                nursery.start_soon(ask, second)
    assert most == 3
    assert (limit.taken, limit.waiting) == (0, {})


async def test_handlers_take_turns(autojump_clock: MockClock) -> None:
    """Many waiting requests of one handler do not keep the next places from the others."""
    options = HandlerOptions(shared_limit=SharedLimit(1))
    done: list[str] = []
    async with ProxyHandler(guest("sleep"), options) as busy, ProxyHandler(guest("sleep"), options) as quiet:

        async def ask(handler: ProxyHandler, name: str) -> None:
            await handler.handle(request("/100"))
            done.append(name)

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask, busy, "busy")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, quiet, "quiet")
    assert sorted(done) == [*["busy"] * 6, "quiet"]
    assert done.index("quiet") <= 2


async def test_an_abandoned_request_frees_its_place(autojump_clock: MockClock) -> None:
    limit = SharedLimit(1)
    options = HandlerOptions(shared_limit=limit)
    async with ProxyHandler(guest("sleep"), options) as first, ProxyHandler(guest("sleep"), options) as second:
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.handle, request("/3600000"))
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(second.handle, request("/3600000"))
                await trio.sleep_forever()
        response = await second.handle(request("/1"))
        assert response.status == 200
        response.body.close()
    assert (limit.taken, limit.waiting) == (0, {})


async def test_another_limit() -> None:
    limit = SharedLimit(1)
    options = HandlerOptions(shared_limit=limit)
    async with ProxyHandler(guest("hello"), options) as handler:
        limit.maximum = 2
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(handler.handle, request("/"))
