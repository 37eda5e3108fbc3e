"""Host functions that block the event loop: the watchdog logs them, and interrupts them at the deadline."""

from __future__ import annotations

import functools
import hashlib
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from tests.guests import wat
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._loading import link
from wasi_trio.serve.pool._failures import DeadlinePassed, GuestFailed
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._watchdog import Watchdog
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request, Response

Run = Callable[[Callable[[], Awaitable[None]]], None]

#: The actions of ``Work.work`` by the number in the path. 0 returns at once.
LOOP, SLEEP, RECEIVE, HASH, STUBBORN, FAST, BRIEF = range(1, 8)
#: The actions of ``Work.later``.
LATER_AT_ONCE, LATER_LOOP, LATER_AFTER_WAITING, LATER_WAITS = range(100, 104)


class Work:
    """The host's ``acme:host/work``, as user code. ``released`` ends calls that cannot be interrupted.

    ``clock`` is the event loop's. It stands still, so that a deadline passes only when a call passes it: at the
    beginning of each blocking call, or in ``pass_deadlines``.
    """

    def __init__(self) -> None:
        self.clock = trio.testing.MockClock()
        self.released = threading.Event()
        self.ours, self.theirs = socket.socketpair()

    def release(self) -> None:
        self.released.set()
        self.theirs.send(b".")

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    def pass_deadlines(self) -> None:
        self.clock.jump(1000)

    def work(self, which: int) -> None:
        if which not in (0, FAST, BRIEF):
            self.pass_deadlines()
        if which == LOOP:
            while True:
                pass
        elif which == SLEEP:
            while not self.released.is_set():
                time.sleep(0.2 if threading.current_thread() is not threading.main_thread() else 1000)
        elif which == RECEIVE:
            self.ours.recv(1)
        elif which == HASH:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 4_000_000)
        elif which == STUBBORN:
            self.stubborn()
        elif which == FAST:
            pass
        elif which == BRIEF:
            time.sleep(0.03)

    def stubborn(self) -> None:
        try:
            while True:
                pass
        except BaseException:
            self.released.set()
        while True:
            pass

    async def later(self, which: int) -> None:
        if which == LATER_LOOP:
            self.work(LOOP)
        elif which == LATER_AFTER_WAITING:
            await trio.lowlevel.checkpoint()
            self.work(LOOP)
        elif which == LATER_WAITS:
            await trio.sleep_forever()


@pytest.fixture(params=["the main thread", "another thread"])
def run(request: pytest.FixtureRequest, work: Work) -> Run:
    """Run an async function under trio on a thread, with the clock of ``work``."""
    if request.param == "the main thread":
        return functools.partial(trio.run, clock=work.clock)

    def run_elsewhere(main: Callable[[], Awaitable[None]]) -> None:
        failures: list[BaseException] = []

        def target() -> None:
            try:
                trio.run(main, clock=work.clock)
            except BaseException as error:  # raised again in the test's thread
                failures.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    return run_elsewhere


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.close()


@functools.cache
def engine() -> Engine:
    return Engine()


def handler(work: Work, guest: str, **options: object) -> ProxyHandler:
    linked = link(engine(), wat.load(guest), guest, Imports({"acme:host/work": work}))
    return ProxyHandler(linked, HandlerOptions(**options))  # type: ignore[arg-type]


async def get(handler: ProxyHandler, which: int) -> Response:
    return await handler.handle(Request("GET", "http", "example.test", f"/{which}?some", [], Body.empty()))


class Log(logging.Handler):
    """The messages of the watchdog. ``on_record`` is called with each, on the watchdog's thread."""

    def __init__(self, on_record: Callable[[], None]) -> None:
        super().__init__()
        self.records: list[str] = []
        self.on_record = on_record

    def emit(self, record: logging.LogRecord) -> None:
        if threading.current_thread().name == "wasi_trio watchdog":
            self.records.append(record.getMessage())
            self.on_record()


@contextmanager
def logged(on_record: Callable[[], None] = lambda: None) -> Iterator[list[str]]:
    log = Log(on_record)
    logger = logging.getLogger("wasi_trio.serve")
    logger.addHandler(log)
    try:
        yield log.records
    finally:
        logger.removeHandler(log)


@pytest.mark.parametrize("guest", ["host_call", "p3_host_call"])
@pytest.mark.parametrize("which", [LOOP, SLEEP, RECEIVE, HASH, STUBBORN, LATER_LOOP, LATER_AFTER_WAITING])
def test_a_blocking_call_is_interrupted_at_the_deadline(which: int, guest: str, run: Run, work: Work) -> None:
    async def main() -> None:
        async with handler(work, guest, request_timeout=1) as proxy:
            with pytest.raises(DeadlinePassed):
                await get(proxy, which)
            assert (await get(proxy, 0)).status in (200, 204)
            assert proxy.started == 2, "the instance that was interrupted has been dropped"
            assert proxy.watchdog.interruptions == 1

    with logged(work.release) as records:
        run(main)
    (record,) = records
    head, *stack = record.split("\n")
    function = "later" if which >= 100 else "work"
    assert head == (
        f"instance 1 of {guest}: the host function acme:host/work {function} blocks the event loop past a "
        f"request's deadline and is interrupted, with these active requests: GET /{which}?some"
    )
    assert stack[0] == "Stack of the stalled thread (most recent call last):"
    assert f", in {function}" in stack[1]


def test_a_call_that_catches_the_interruption_is_interrupted_again(run: Run, work: Work) -> None:
    async def main() -> None:
        async with handler(work, "host_call", request_timeout=1) as proxy:
            with pytest.raises(DeadlinePassed):
                await get(proxy, STUBBORN)
            assert proxy.watchdog.interruptions == 1

    run(main)
    assert work.released.is_set()


def test_without_a_deadline_a_stall_is_only_logged(run: Run, work: Work) -> None:
    async def main() -> None:
        async with handler(work, "host_call", stall_limit=0.05) as proxy:
            assert (await get(proxy, HASH)).status == 200
            assert proxy.watchdog.interruptions == 0

    with logged() as records:
        run(main)
    # A busy machine may suspend the thread during another call.
    (record,) = [record for record in records if "acme:host/work" in record]
    assert record.startswith("instance 1 of host_call: the host function acme:host/work work has blocked the event")
    assert "pbkdf2_hmac" in record


def test_a_stall_is_interrupted_if_configured(run: Run, work: Work) -> None:
    async def main() -> None:
        async with handler(work, "host_call", stall_limit=0.5, interrupt_stalls=True) as proxy:
            with pytest.raises(GuestFailed, match="blocked the event loop"):
                await get(proxy, LOOP)
            assert (await get(proxy, 0)).status == 200

    run(main)


def test_a_waiting_call_blocks_nothing(run: Run, work: Work) -> None:
    async def main() -> None:
        async with waiting(work) as proxy:
            assert engine().host_call is None
            work.pass_deadlines()
        assert proxy.watchdog.interruptions == 0

    run(main)


@pytest.mark.parametrize("guest", ["host_call", "p3_host_call"])
@pytest.mark.parametrize("which", [FAST, BRIEF])
def test_healthy_requests_are_not_interrupted(which: int, guest: str, run: Run, work: Work) -> None:
    async def main() -> None:
        async with handler(work, guest, request_timeout=30) as proxy:
            statuses: list[int] = []

            async def ask() -> None:
                for _ in range(5):
                    statuses.append((await get(proxy, which)).status)

            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(ask)
            assert statuses == [200 if guest == "host_call" else 204] * 40
            assert proxy.watchdog.interruptions == proxy.watchdog.stalls == 0

    with logged() as records:
        run(main)
    assert records == []


def test_blocking_outside_of_calls_is_not_interrupted(run: Run, work: Work) -> None:
    async def main() -> None:
        async with waiting(work) as proxy:
            stalls = proxy.watchdog.stalls
            work.pass_deadlines()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 300_000)
            assert proxy.watchdog.stalls == stalls
        assert proxy.watchdog.interruptions == 0

    run(main)


@asynccontextmanager
async def waiting(work: Work) -> AsyncIterator[ProxyHandler]:
    """Make a request whose host call waits. It misses its deadline at the end of the block."""
    async with handler(work, "host_call", request_timeout=1, stall_limit=0.01) as proxy, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(DeadlinePassed):
                await get(proxy, LATER_WAITS)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        yield proxy


def test_the_ticker_may_look_during_the_stop(work: Work) -> None:
    """It has found a call that blocks, and starts the watchdog's thread."""
    component = link(engine(), wat.load("host_call"), "host_call", Imports({"acme:host/work": work}))

    async def main() -> None:
        for number in range(400):
            watchdog = Watchdog(component, None, interrupt_stalls=False)
            watchdog.start()
            look = engine().ticker.watchers[-1]
            together = threading.Barrier(2)

            def look_twice(together: threading.Barrier = together, look: Callable[[], None] = look) -> None:
                look()
                together.wait()
                look()

            looking = threading.Thread(target=look_twice)
            looking.start()
            together.wait()
            for _ in range(20 * number):  # so that the two meet at every point
                pass
            watchdog.stop()
            looking.join()

    nobody = SimpleNamespace(root=SimpleNamespace(context=None))
    engine().host_call = (work.work, nobody, True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        trio.run(main)
    finally:
        sys.setswitchinterval(interval)
        engine().host_call = None
    assert "wasi_trio watchdog" not in [thread.name for thread in threading.enumerate()]
