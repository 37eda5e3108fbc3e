"""The ownership of kept connections, and the limits on their number and age."""

from __future__ import annotations

import errno
import os
import socket
from functools import partial

import pytest
import trio
import trio.testing
from http_kept import OK, Server, fixed
from http_origin import failure

from wasi_trio.component._values import Variant
from wasi_trio.wasi._descriptors import GUESTS, Share
from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi.http._client import Client
from wasi_trio.wasi.http._connections import KeepAlive


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    return Server(nursery)


# ---- ownership ---------------------------------------------------------------------------------------------


async def test_kept_connections_require_a_current_permission(server: Server) -> None:
    await server.serving(fixed(OK))
    allowed = True
    server.client = Client(allow_address=lambda address: allowed)
    await server.get()
    allowed = False
    assert await failure(server.get()) == Variant("destination-IP-prohibited")
    assert server.connections.open == 0


@pytest.mark.parametrize("entries", [["10.0.0.0/8"], ["example.test"]])
async def test_the_allow_list_holds_for_kept_connections(server: Server, entries: list[str]) -> None:
    await server.serving(fixed(OK))
    await server.get(outbound=Outbound.parse(["127.0.0.1"]))
    assert await failure(server.get(outbound=Outbound.parse(entries))) == Variant("destination-IP-prohibited")


async def test_a_name_does_not_get_the_connection_of_another(server: Server) -> None:
    """Both names have the same address, but a server may distinguish them by connection, as TLS does by server name."""

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

        async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    await server.serving(fixed(OK))
    for host in ("a.test", "b.test", "127.0.0.1", "a.test"):
        await server.get(host=host)
    assert [len(requests) for requests in server.seen] == [2, 1, 1]


async def test_a_client_does_not_get_the_connection_of_one_with_other_terms(server: Server) -> None:
    await server.serving(fixed(OK))
    await server.get()
    server.client = Client(allow_address=lambda address: True)
    await server.get()
    assert [len(requests) for requests in server.seen] == [1, 1]


# ---- bounds ------------------------------------------------------------------------------------------------


async def at_once(server: Server, count: int, **options) -> None:  # type: ignore[no-untyped-def]
    """Send ``count`` concurrent requests, each on its own connection."""
    asked = trio.Semaphore(0)
    go_on = trio.Event()

    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        asked.release()
        await go_on.wait()
        await stream.send_all(OK)

    await server.serving(reply)
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(partial(server.get, **options))
        for _ in range(count):
            await asked.acquire()
        go_on.set()


@pytest.mark.parametrize("bounds", [KeepAlive(max_idle=2), KeepAlive(max_idle_per_host=2)])
async def test_the_number_of_kept_connections_is_bounded(nursery: trio.Nursery, bounds: KeepAlive) -> None:
    server = Server(nursery, bounds)
    await at_once(server, 5)
    assert (server.connections.open, server.connections.idle, GUESTS.count) == (2, 2, 2)


@pytest.mark.parametrize("bounds", [KeepAlive(max_idle=0), KeepAlive(max_idle_per_host=0), KeepAlive(idle_timeout=0)])
async def test_disabled_pools_keep_nothing(nursery: trio.Nursery, bounds: KeepAlive) -> None:
    server = await Server(nursery, bounds).serving(fixed(OK))
    for _ in range(2):
        assert await server.get() == b"ok"
    assert [len(requests) for requests in server.seen] == [1, 1]


async def test_those_of_one_host_make_room_for_another_s(nursery: trio.Nursery) -> None:
    first = Server(nursery, KeepAlive(max_idle=2))
    await at_once(first, 2)
    second = await Server(nursery).serving(fixed(OK))
    second.connections = first.connections
    await second.get()
    await first.get()
    await second.get()
    assert len(second.seen) == 1
    assert first.connections.idle == 2


@pytest.mark.parametrize(
    ("bounds", "headers"),
    [
        (KeepAlive(idle_timeout=5), b""),
        (KeepAlive(max_age=5), b""),
        (KeepAlive(idle_timeout=60), b"Keep-Alive: timeout=1\r\n"),
    ],
)
async def test_connections_grow_old(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock, bounds: KeepAlive, headers: bytes
) -> None:
    server = Server(nursery, bounds)
    await server.serving(fixed(b"HTTP/1.1 200 OK\r\n" + headers + b"Content-Length: 2\r\n\r\nok"))
    await server.get()
    (connection,) = server.connections._idle
    mock_clock.jump(connection.idle_until - trio.current_time())
    await server.get()
    assert [len(requests) for requests in server.seen] == [1, 1]


async def test_an_idle_connection_is_closed_by_itself(nursery: trio.Nursery) -> None:
    server = await Server(nursery, KeepAlive(idle_timeout=0.01)).serving(fixed(OK))
    await server.get()
    with trio.fail_after(10):
        while server.connections.open:
            await trio.lowlevel.checkpoint()
    assert GUESTS.count == 0
    assert server.connections not in GUESTS.spare


async def test_a_connection_that_its_server_closed_is_closed_here_soon(nursery: trio.Nursery) -> None:
    server = await Server(nursery, KeepAlive(idle_timeout=3600, max_age=3600)).serving(fixed(OK))
    await server.get()
    await server.streams[0].aclose()
    with trio.fail_after(10):
        while server.connections.open:
            await trio.lowlevel.checkpoint()


async def test_cancelling_the_nursery_closes_them() -> None:
    async with trio.open_nursery() as nursery:
        server = await Server(nursery).serving(fixed(OK))
        await server.get()
        assert server.connections.idle == 1
        nursery.cancel_scope.cancel()
    assert (server.connections.open, GUESTS.count) == (0, 0)


# ---- descriptors -------------------------------------------------------------------------------------------


async def test_a_kept_connection_yields_its_descriptor(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await at_once(server, 2)
    monkeypatch.setattr(Share, "limit", 2)
    GUESTS.reserve()
    assert (server.connections.idle, GUESTS.count) == (1, 2)
    GUESTS.reserve()
    assert (server.connections.idle, GUESTS.count) == (0, 2)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        GUESTS.reserve()
    GUESTS.release()
    GUESTS.release()


async def test_no_socket_is_closed_from_another_thread(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.serving(fixed(OK))
    await server.get()
    monkeypatch.setattr(Share, "limit", 1)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        await trio.to_thread.run_sync(GUESTS.reserve)
    assert server.connections.idle == 1


async def test_a_server_that_sends_without_end_as_it_is_left(server: Server) -> None:
    """Closing the connection does not wait for the server."""

    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(bytes(1 << 16))

    await server.serving(reply)
    response = await server.send(connections=server.connections)
    await response.body.receive_some()
    response.body.close()
    with trio.fail_after(10):
        while server.connections.open:
            await trio.lowlevel.checkpoint()
