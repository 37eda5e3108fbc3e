"""A guest that computes endlessly: other requests are served, and it can be stopped at any time."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.support import serve, until
from wasi_trio.runtime._engine import Limits
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
