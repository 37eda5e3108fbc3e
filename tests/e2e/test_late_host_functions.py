"""Host functions that do not end when cancelled: clients are answered at once, and the guest unwinds later."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.e2e.support import Pool, engine, logged, request
from tests.guests import wat
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.serve._loading import link
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import DeadlinePassed, ShuttingDown
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._states import State

#: The numbers in the path for the guests host_call and p3_host_call.
IN_A_THREAD, SHIELDED, SWALLOWING, SWALLOWING_ONCE = range(100, 104)
SORTS = pytest.mark.parametrize("which", [IN_A_THREAD, SHIELDED, SWALLOWING, SWALLOWING_ONCE])
GUESTS = pytest.mark.parametrize("guest", ["host_call", "p3_host_call"])
TIMEOUT = 5.0


class Work:
    """acme:host/work. ``later`` ends when it is told to, or soon after, and never because of a cancellation."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.over = trio.Event()
        self._may_end = trio.Event()
        self._thread_may_end = threading.Event()

    def let_end(self) -> None:
        self._may_end.set()
        self._thread_may_end.set()

    def work(self, which: int) -> None:
        raise AssertionError

    async def later(self, which: int) -> None:
        self.began.set()
        if which == IN_A_THREAD:
            await trio.to_thread.run_sync(self._thread_may_end.wait)
        elif which == SHIELDED:
            with trio.CancelScope(shield=True):
                await self._may_end.wait()
        elif which == SWALLOWING:
            while not self._may_end.is_set():
                with contextlib.suppress(trio.Cancelled):
                    await self._may_end.wait()
        else:
            with contextlib.suppress(trio.Cancelled):
                await trio.sleep_forever()
            with trio.CancelScope(shield=True):
                await self._may_end.wait()
        self.over.set()


class Current:
    """Refers to the host function's object of the current test, because a component is linked once for all tests."""

    work_of_test: Work

    def work(self, which: int) -> None:
        self.work_of_test.work(which)

    async def later(self, which: int) -> None:
        await self.work_of_test.later(which)


CURRENT = Current()


@functools.cache
def linked(guest: str) -> LinkedComponent:
    return link(engine(), wat.load(guest), guest, Imports({"acme:host/work": CURRENT}))


@asynccontextmanager
async def handling(guest: str, options: HandlerOptions) -> AsyncIterator[tuple[Pool, Work]]:
    CURRENT.work_of_test = work = Work()
    try:
        async with ProxyHandler(linked(guest), options) as handler:
            yield Pool(handler), work
    finally:
        work.let_end()


async def answered(exchange: Exchange) -> None:
    """Return when the exchange is answered, and nothing more can happen at this time."""
    done = trio.Event()
    if exchange.answered:
        return
    exchange.notify = done.set
    await done.wait()


@GUESTS
@SORTS
async def test_answered_at_the_deadline(
    guest: str, which: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The guest unwinds when the host function has returned, and does not continue."""
    options = HandlerOptions(request_timeout=TIMEOUT, max_instance_reuse_count=9, cancel_grace=1.0)
    async with handling(guest, options) as (pool, work):
        exchange = pool.handler.submit(request(f"/{which}"))
        await answered(exchange)
        assert trio.current_time() == TIMEOUT
        assert isinstance(exchange.failure, DeadlinePassed)
        assert not work.over.is_set()
        work.let_end()
        await work.over.wait()
        await trio.sleep(10)  # longer than the grace period
        assert exchange.state is State.ENDED
    assert logged(caplog)[-1] == f"instance 1: GET /{which}: no response within {TIMEOUT:g} s"
    assert pool.live == 0


@GUESTS
@pytest.mark.parametrize("which", [IN_A_THREAD, SHIELDED, SWALLOWING_ONCE])  # no clock jumps while one tries and tries
async def test_other_requests_are_served(guest: str, which: int, autojump_clock: trio.testing.MockClock) -> None:
    async with handling(guest, HandlerOptions(request_timeout=TIMEOUT, cancel_grace=0.1)) as (pool, work):
        first = pool.handler.submit(request(f"/{which}"))
        await answered(first)
        second = pool.handler.submit(request(f"/{which}"))
        await answered(second)
        assert trio.current_time() == 2 * TIMEOUT
        assert isinstance(second.failure, DeadlinePassed)
        work.let_end()
    assert pool.live == 0


@GUESTS
@SORTS
async def test_a_client_that_leaves_waits_for_nothing(
    guest: str, which: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with handling(guest, HandlerOptions(cancel_grace=0.1)) as (pool, work):
        with trio.move_on_after(TIMEOUT) as scope:
            await pool.handler.handle(request(f"/{which}"))
        assert scope.cancelled_caught
        assert trio.current_time() == TIMEOUT
        assert not work.over.is_set()
        work.let_end()
    assert pool.live == 0


@GUESTS
@SORTS
async def test_answered_at_the_end_of_the_drain_timeout(
    guest: str, which: int, autojump_clock: trio.testing.MockClock
) -> None:
    """The handler can only be left when the host function has ended."""
    answered_at: list[float] = []
    options = HandlerOptions(drain_timeout=TIMEOUT)
    async with trio.open_nursery() as nursery, handling(guest, options) as (pool, work):
        exchange = pool.handler.submit(request(f"/{which}"))
        await work.began.wait()

        async def watch() -> None:
            await answered(exchange)
            answered_at.append(trio.current_time())
            assert not work.over.is_set()
            work.let_end()

        nursery.start_soon(watch)
    assert answered_at == [TIMEOUT]
    assert isinstance(exchange.failure, ShuttingDown)
    assert work.over.is_set()


@GUESTS
async def test_a_handler_without_requests_is_left_at_once(guest: str, autojump_clock: trio.testing.MockClock) -> None:
    async with handling(guest, HandlerOptions(drain_timeout=TIMEOUT)):
        pass
    assert trio.current_time() == 0
