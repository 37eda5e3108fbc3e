"""Before a server drains, it tells balancers and clients to go elsewhere, and still accepts requests."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import h11
import pytest
import trio

from tests.balancer.load import Load
from tests.e2e.process import Process, command, on_disk
from tests.e2e.support import Client

DELAY = ["--admin-addr", "127.0.0.1:0", "--drain-delay"]


async def readiness(server: Process) -> int:
    async with Client(server.admin_port) as client:
        return (await client.ask("/readyz")).status


async def not_ready(server: Process) -> None:
    while await readiness(server) != 503:  # noqa: ASYNC110 - another process must be asked
        await trio.sleep(0.005)


async def closes(client: Client) -> bool:
    """Return whether the response to a request announces the end of its connection."""
    assert (await client.ask("/")).status == 200
    return client.protocol.our_state is h11.MUST_CLOSE


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_requests_are_accepted_during_the_delay(tmp_path: Path, workers: str) -> None:
    options = [*DELAY, "3600s", "--workers", workers]
    async with command(tmp_path, on_disk(tmp_path, "hello"), *options) as server:
        while await readiness(server) != 200:  # noqa: ASYNC110 - another process must be asked
            await trio.sleep(0.01)
        async with server.client() as kept, server.client() as fresh:
            assert not await closes(kept)
            server.signal(signal.SIGTERM)
            await not_ready(server)
            # The worker of the kept connection may receive the order a moment after the admin address.
            while not await closes(kept):  # noqa: ASYNC110 - another process must be asked
                await trio.sleep(0.005)
            assert await closes(fresh)
            assert server.process.poll() is None
        server.signal(signal.SIGTERM)
        await server.ended()
        assert "Traceback" not in server.stderr


async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "hello"), *DELAY, "3600s") as server:
        assert (await server.ask()).status == 200
        server.signal(signal.SIGTERM)
        await not_ready(server)
        server.signal(signal.SIGTERM)
        await server.ended()


@pytest.mark.parametrize("name", ["hello", "p3_hello"])
async def test_no_request_is_lost_when_one_of_two_servers_ends(tmp_path: Path, name: str) -> None:
    """Like a balancer, the client reuses connections, and sends nothing to a server that is not ready."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    component = on_disk(tmp_path, name)
    async with (
        command(folders[0], component, *DELAY, "3s") as one,
        command(folders[1], component, *DELAY, "3s") as other,
        trio.open_nursery() as nursery,
    ):
        ready = [one.port, other.port]
        turns = itertools.count()
        load = Load(lambda: ready[next(turns) % len(ready)])

        async def look() -> None:
            await not_ready(one)
            ready.remove(one.port)

        async def end() -> None:
            while load.sent < 200:
                await trio.lowlevel.checkpoint()
            one.signal(signal.SIGTERM)
            assert await one.ended() == 0

        nursery.start_soon(look)
        nursery.start_soon(end)
        while one.process.poll() is None or load.sent < 1000:
            await load.run(200)
        assert load.lost == []
        assert load.answered["GET"] >= 500
        assert load.answered["POST"] >= 500
        assert ready == [other.port]
