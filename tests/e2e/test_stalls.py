"""Host functions that block a server's thread: clients get answers at the deadline, and others right after that."""

from __future__ import annotations

import functools
import time

import pytest
import trio
import trio.testing

from tests.e2e.support import engine, serve, until
from tests.guests import wat
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.serve._loading import link
from wasi_trio.serve.pool._options import HandlerOptions


def pass_deadlines() -> None:
    """Advance a virtual clock, so that deadlines pass when a call blocks, on a busy machine, too."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(10)


class Work:
    """acme:host/work. The number in the path selects the behaviour."""

    def work(self, which: int) -> None:
        if which == 1:
            pass_deadlines()
            time.sleep(1000)
        elif which == 2:
            pass_deadlines()
            while True:
                pass

    async def later(self, which: int) -> None:
        await trio.sleep_forever()


@functools.cache
def guest(name: str) -> LinkedComponent:
    return link(engine(), wat.load(name), name, Imports({"acme:host/work": Work()}))


@pytest.mark.parametrize("name", ["host_call", "p3_host_call"])
@pytest.mark.parametrize("path", ["/1", "/2"])
async def test_a_blocking_call_is_answered_at_the_deadline(
    name: str, path: str, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(guest(name), HandlerOptions(request_timeout=1)) as site:
        for _ in range(2):
            assert (await site.ask(path)).status == 504
            assert (await site.ask("/0")).status in (200, 204)
        mock_clock.rate = 1
        await until(lambda: site.instances[0].dead is not None)
        assert site.handler.watchdog.interruptions == 2
    assert f"of {name}: the host function acme:host/work work blocks the event loop" in caplog.text
    assert f"GET {path}" in caplog.text


async def test_other_waiting_requests_are_answered(mock_clock: trio.testing.MockClock) -> None:
    async with serve(guest("host_call"), HandlerOptions(request_timeout=1)) as site, trio.open_nursery() as nursery:
        statuses = []

        async def ask(path: str) -> None:
            statuses.append((path, (await site.ask(path)).status))

        async with site.client() as early:
            assert (await early.ask("/0")).status == 200
            nursery.start_soon(ask, "/1")
            for _ in range(5):
                nursery.start_soon(ask, "/0")
        while len(statuses) < 6:
            await trio.lowlevel.checkpoint()
        assert sorted(statuses)[-1] == ("/1", 504)
        assert {status for path, status in statuses if path == "/0"} <= {200, 504}
        assert (await site.ask("/0")).status == 200
