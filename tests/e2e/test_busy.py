"""A guest that computes endlessly: other requests are served, and it can be stopped at any time."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.e2e.support import handle, request, serve, until
from wasi_trio.runtime._engine import Limits
from wasi_trio.runtime._run_queue import run_queue
from wasi_trio.runtime._ticker import Ticker
from wasi_trio.serve.pool._options import HandlerOptions


async def test_other_requests_are_answered() -> None:
    async with serve("python_p2") as site:
        async with site.client() as spinning:
            await spinning.start("/spin")
            await until(lambda: site.live == 1)
            for number in range(1, 11):
                assert (await site.ask("/hello")).body == b"Hello, world!\n"
                assert (await site.ask("/echo", "POST", b"x" * number)).body == b"x" * number
            assert site.instances[0].dead is None, "it spins still"
            assert site.handler.active == 1
        await site.all_gone()


async def test_several_spinning_guests() -> None:
    async with serve("spin") as busy, serve("hello") as site, trio.open_nursery() as nursery:

        async def spin() -> None:
            async with busy.client() as client:
                await client.start("/")
                await client.head()

        for _ in range(3):
            nursery.start_soon(spin)
        await until(lambda: busy.live == 3)
        for _ in range(3):
            assert (await site.ask()).status == 200
        nursery.cancel_scope.cancel()
    # serve() has waited for the handlers, so all of them have ended


async def test_a_stream_continues() -> None:
    async with serve("spin") as busy, serve("echo") as site, busy.client() as spinning, site.client() as client:
        await client.start("/", "POST", ("transfer-encoding", "chunked"))
        await spinning.start("/")
        await until(lambda: busy.live == 1)
        await client.write(b"0")
        await client.head()
        assert await client.content(1) == b"0"
        for number in range(1, 10):
            await client.write(b"%d" % number)
            assert await client.content(1) == b"%d" % number


class PreEmptions(trio.abc.Instrument):
    """Counts the pre-emptions of guests in total, and their maximum in one turn of the loop."""

    def __init__(self) -> None:
        self.total = self.maximum = self._before = 0
        queue = run_queue()
        go_on = queue.go_on

        async def counted(component: Any, ticker: Ticker, computed: float) -> None:
            self.total += 1
            await go_on(component, ticker, computed)

        queue.go_on = counted  # type: ignore[method-assign]

    def before_io_wait(self, timeout: float) -> None:
        self.maximum = max(self.maximum, self.total - self._before)
        self._before = self.total


@pytest.mark.parametrize(("guest", "path"), [("spin", "/"), ("p3_spin", "/0"), ("p3_spin", "/2")])
async def test_few_guests_of_a_turn_compute_for_a_tick(guest: str, path: str) -> None:
    """One that has already computed for long, and one that has not. These guests become able to run together."""
    pre_emptions = PreEmptions()
    trio.lowlevel.add_instrument(pre_emptions)
    async with handle(guest, HandlerOptions(max_instance_concurrent_reuse_count=1)) as pool:
        for _ in range(20):
            pool.handler.submit(request(path))
        await until(lambda: pre_emptions.total > 200)
    trio.lowlevel.remove_instrument(pre_emptions)
    assert pre_emptions.maximum <= 2


@pytest.mark.parametrize(("guest", "path"), [("spin", "/"), ("python_p2", "/spin")])
async def test_a_deadline_ends_it(guest: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(guest, HandlerOptions(request_timeout=0.1)) as site:
        assert (await site.ask(path)).status == 504
        assert "no response within 0.1 s" in caplog.text
        await site.all_gone()


async def test_a_call_that_cannot_be_suspended_traps(caplog: pytest.LogCaptureFixture) -> None:
    """In realloc it blocks the event loop, but only for the limited time."""
    async with serve("spin_in_realloc", HandlerOptions(limits=Limits(nested_seconds=0.05))) as site:
        assert (await site.ask("/path")).status == 500
        assert "cannot be suspended" in caplog.text
