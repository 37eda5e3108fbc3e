"""Guests that send requests to another server: the number, the sharing and the end of their connections."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.e2e.process import command, on_disk
from tests.e2e.support import content, guest, request
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi.http._messages import Request

GUESTS_OF_BOTH = ["forward", "p3_forward"]
OFTEN = {"max_instance_reuse_count": 1_000_000}


class Upstream:
    """A server that counts its connections and their requests."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[int] = []
        self.open = 0

    async def handle(self, stream: trio.SocketStream) -> None:
        number = len(self.requests)
        self.requests.append(0)
        self.open += 1
        try:
            received = b""
            async for data in stream:
                received += data
                while b"\r\n\r\n" in received:
                    received = received.partition(b"\r\n\r\n")[2]
                    self.requests[number] += 1
                    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfine\n")
        except trio.BrokenResourceError:
            return  # the client was ended in the middle
        finally:
            self.open -= 1


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1"))
        server.port = listeners[0].socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()


def to(server: Upstream) -> Request:
    asked = request()
    asked.authority = f"127.0.0.1:{server.port}"
    return asked


async def ask(handler: ProxyHandler, server: Upstream, times: int = 1) -> None:
    for _ in range(times):
        assert await content(await handler.handle(to(server))) == b"fine\n"


@pytest.mark.parametrize("name", GUESTS_OF_BOTH)
async def test_one_connection_for_each_concurrent_request(name: str) -> None:
    metrics = Metrics()
    async with upstream() as server:
        async with ProxyHandler(guest(name), HandlerOptions(metrics=metrics, **OFTEN)) as handler:
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(ask, handler, server, 100)
            assert sum(server.requests) == 400
            assert 1 <= len(server.requests) <= 4
            text = metrics.exposition().decode()
            opened = len(server.requests)
            assert f'outbound_connections{{component="{name}",state="idle"}} {opened}.0' in text
            assert f'outbound_connections{{component="{name}",state="active"}} 0.0' in text
            assert f'outbound_connections_opened_total{{component="{name}"}} {opened}.0' in text
            assert f'outbound_connections_reused_total{{component="{name}"}} {400 - opened}.0' in text
        assert GUESTS.count == 0
        with trio.fail_after(10):
            while server.open:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("name", GUESTS_OF_BOTH)
async def test_instances_of_a_component_share_them_and_components_do_not(name: str) -> None:
    fresh = HandlerOptions(max_instance_reuse_count=1)
    async with upstream() as server, ProxyHandler(guest(name), fresh) as one, ProxyHandler(guest(name), fresh) as other:
        for handler in (one, one, other, one, other):
            await ask(handler, server)
        assert sorted(server.requests) == [2, 3]


async def test_requests_after_the_handler_has_begun_to_drain() -> None:
    """They are answered, and their connections close afterwards."""
    async with upstream() as server:
        async with ProxyHandler(guest("p3_forward")) as handler:
            await ask(handler, server)
            handler.begin_to_drain()
            await ask(handler, server)
        assert sum(server.requests) == 2
        assert GUESTS.count == 0


@pytest.mark.parametrize(("options", "expected"), [((), [3]), (("--outbound-idle-timeout", "0s"), [1, 1, 1])])
async def test_the_command_line(tmp_path: Path, options: tuple[str, ...], expected: list[int]) -> None:
    async with upstream() as server, command(tmp_path, on_disk(tmp_path, "p3_forward"), *options) as process:
        stream = await trio.open_tcp_stream("127.0.0.1", process.port)
        async with stream:
            for _ in range(3):
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n" % server.port)
                received = b""
                while not received.endswith(b"fine\n"):
                    more = await stream.receive_some()
                    assert more, received
                    received += more
                assert received.startswith(b"HTTP/1.1 200 ")
        assert server.requests == expected


@pytest.mark.parametrize("name", GUESTS_OF_BOTH)
async def test_no_request_leaves_objects_in_cycles(name: str) -> None:
    """Collecting them would block the event loop at times."""
    async with upstream() as server, ProxyHandler(guest(name), HandlerOptions(**OFTEN)) as handler:
        await ask(handler, server, 5)
        gc.collect()
        gc.disable()
        try:
            await ask(handler, server, 200)
            assert gc.collect() < 100
        finally:
            gc.enable()
