"""Clients that leave: the guest's work for them ends at once, whatever it is, and so does the instance."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.e2e.support import Site, serve, until
from wasi_trio.serve.pool._options import HandlerOptions

HOUR = "/3600000"


async def settled(site: Site, count: int = 1) -> None:
    """Return when this number of instances have a request, and all of them wait for something."""
    await until(lambda: site.live == count)
    await trio.testing.wait_all_tasks_blocked()


async def test_while_the_guest_waits() -> None:
    async with serve("sleep") as site:
        async with site.client() as client:
            await client.start(HOUR)
            await settled(site)
            assert site.handler.active == 1
        await site.all_gone()
        assert site.instances[0].dead is not None
        assert (await site.ask("/1")).status == 200


async def test_while_the_guest_computes() -> None:
    async with serve("spin") as site:
        async with site.client() as client:
            await client.start("/")
            await until(lambda: site.live == 1)
        await site.all_gone()


async def test_while_the_guest_computes_after_the_head() -> None:
    async with serve("spin") as site:
        async with site.client() as client:
            await client.start("/1")
            assert (await client.head()).status == 200
            assert await client.content(6) == b"begun\n"
        await site.all_gone()


async def test_while_the_response_is_streamed() -> None:
    """The guest writes as fast as possible. The client has read the head and a little content."""
    async with serve("endless_body") as site:
        async with site.client() as client:
            await client.start("/1")
            assert (await client.head()).status == 200
            await client.event()
            # All buffers between the guest and the client are full.
            await trio.testing.wait_all_tasks_blocked()
            assert site.live == 1
        await site.all_gone()


async def test_while_the_guest_pauses_in_its_response() -> None:
    async with serve("endless_body") as site:
        async with site.client() as client:
            await client.start("/")
            assert (await client.head()).status == 200
            assert await client.content(6) == b"begun\n"
            await settled(site)
        await site.all_gone()


@pytest.mark.parametrize("header", [("content-length", "1000"), ("transfer-encoding", "chunked")])
@pytest.mark.parametrize("guest", ["echo", "echo_splice"])
async def test_while_the_guest_reads_the_request(guest: str, header: tuple[str, str]) -> None:
    async with serve(guest) as site:
        async with site.client() as client:
            await client.start("/", "POST", header)
            await client.write(b"a part of it")
            await client.head()
            assert await client.content(12) == b"a part of it"
            await settled(site)
        await site.all_gone()
        assert (await site.ask("/", "POST", b"all of it")).body == b"all of it"


async def test_while_the_guest_awaits_another_server(nursery: trio.Nursery) -> None:
    """That server sees that the request was abandoned."""
    asked, left = trio.Event(), trio.Event()

    async def never_answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        assert await stream.receive_some() == b""
        left.set()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, never_answer, listeners)
    async with serve("python_p2") as site:
        async with site.client() as client:
            await client.start(f"/fetch?url=http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/")
            await asked.wait()
        await left.wait()
        await site.all_gone()


async def test_while_the_request_is_queued() -> None:
    """No guest receives it, and later requests are served."""
    async with serve("sleep", HandlerOptions(max_concurrent_requests=1)) as site, site.client() as first:
        await first.start(HOUR)
        await settled(site)
        async with site.client() as second:
            await second.start("/1")
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        async with site.client() as third:
            await third.start("/2")
            await trio.testing.wait_all_tasks_blocked()
            assert site.handler.started == 1
            await trio.aclose_forcefully(first.stream)
            answer = await third.rest(await third.head())
        assert answer.body == b"slept\n"
        assert len(site.instances) == 2, "the second request's client had left"
        await site.all_gone()


@pytest.mark.parametrize("guest", ["spin_in_start", "p3_spin_in_start"])
async def test_while_the_instance_is_being_created(guest: str) -> None:
    async with serve(guest) as site, serve("hello") as other:
        for number in (1, 2):
            async with site.client() as client:
                await client.start("/")
                await until(lambda: bool(site.handler.watchdog.watched))
                assert (await other.ask()).status == 200
                assert (site.handler.active, site.handler.started) == (1, number)
            await until(lambda: not site.handler.active and not site.handler.watchdog.watched)
        assert site.instances == [], "no guest was called"


async def test_after_the_response() -> None:
    """Its client has the whole response, so the guest may continue."""
    async with serve("p3_background", HandlerOptions(max_instance_reuse_count=1_000_000)) as site:
        async with site.client() as client:
            assert (await client.ask("/100")).body == b"0\n"
        while (await site.ask("/0")).body != b"1\n":
            assert site.handler.started == 1
            assert site.instances[0].dead is None


async def test_an_instance_whose_client_left_is_not_reused() -> None:
    async with serve("sleep", HandlerOptions(max_instance_reuse_count=100)) as site:
        assert (await site.ask("/1")).status == 200
        async with site.client() as client:
            await client.start(HOUR)
            await until(lambda: len(site.instances) == 2)
            assert site.instances[0] is site.instances[1]
        await site.all_gone()
        assert (await site.ask("/1")).status == 200
        assert site.instances[2] is not site.instances[0]


async def test_many_at_once() -> None:
    async with serve("sleep") as site:
        async with trio.open_nursery() as nursery:

            async def come_and_wait() -> None:
                async with site.client() as client:
                    await client.start(HOUR)
                    await client.head()

            for _ in range(200):
                nursery.start_soon(come_and_wait)
            await settled(site, 200)
            assert site.handler.active == 200
            nursery.cancel_scope.cancel()
        await site.all_gone()
