"""A guest polls a pollable whose stream, socket or future it has dropped: the poll returns, or it waits without work.

The WIT permits a trap instead. A host that returned from each wait with nothing ready would turn its loop forever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from wasi_trio.component._values import Variant
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.p2._http_bodies import IncomingBody
from wasi_trio.wasi.p2._http_messages import FutureIncomingResponse
from wasi_trio.wasi.p2._io import Pollable
from wasi_trio.wasi.p2._poll import Poll
from wasi_trio.wasi.p2._sockets import IpNameLookup, Network, TcpCreateSocket, TcpSocket, UdpCreateSocket
from wasi_trio.wasi.sockets._context import NetworkOptions
from wasi_trio.wasi.sockets._memory import MemoryNetwork
from wasi_trio.wasi.sockets._values import Ipv4SocketAddress

NETWORK = Network()


class Endless(MemoryNetwork):
    """Never finds a name."""

    async def look_up(self, name: str) -> list[str]:
        await trio.sleep_forever()
        raise AssertionError


def local(port: int = 0) -> Variant:
    return Variant("ipv4", Ipv4SocketAddress(port, (127, 0, 0, 1)))


@asynccontextmanager
async def context() -> AsyncIterator[WasiContext]:
    network = NetworkOptions(inherit=True, allow_ip_name_lookup=True, network=Endless())
    async with trio.open_nursery() as nursery:
        yield WasiContext(WasiOptions(network=network), nursery=nursery)
        nursery.cancel_scope.cancel()


def listener(context: WasiContext) -> TcpSocket:
    sock = TcpCreateSocket(context).create_tcp_socket("ipv4").value
    for result in (sock.start_bind(NETWORK, local()), sock.finish_bind(), sock.start_listen(), sock.finish_listen()):
        assert result.value is None
    assert isinstance(sock, TcpSocket)
    return sock


def connection(context: WasiContext) -> tuple[Any, ...]:
    """Return a connected socket and its streams."""
    listening = listener(context)
    sock = TcpCreateSocket(context).create_tcp_socket("ipv4").value
    sock.start_connect(NETWORK, local(listening.local_address().value.value.port))
    return sock, *sock.finish_connect().value


def datagrams(context: WasiContext) -> Any:
    sock = UdpCreateSocket(context).create_udp_socket("ipv4").value
    sock.start_bind(NETWORK, local())
    sock.finish_bind()
    incoming, _ = sock.stream(None).value
    sock.on_drop()
    return incoming


SOURCES: dict[str, Callable[[WasiContext], Any]] = {
    "look-up": lambda context: IpNameLookup(context).resolve_addresses(NETWORK, "endless.test").value,
    "listener": listener,
    "input": lambda context: connection(context)[1],
    "datagrams": datagrams,
    "body": lambda context: IncomingBody(Body()).stream().value,
    "trailers": lambda context: IncomingBody.finish(IncomingBody(Body())),
    "response": lambda context: FutureIncomingResponse(),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("count", [1, 2, 100])
async def test_a_dropped_source(name: str, count: int) -> None:
    async with context() as given, trio.open_nursery() as nursery:
        sources = [SOURCES[name](given) for _ in range(min(count, 10))]
        pollables: list[Pollable] = [sources[number % len(sources)].subscribe() for number in range(count)]
        assert not any(pollable.ready() for pollable in pollables)
        for source in sources:
            source.on_drop()
        nursery.start_soon(Poll(given).poll, pollables)
        with trio.fail_after(30):
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_dropped_look_up_is_ready() -> None:
    async with context() as given:
        stream = SOURCES["look-up"](given)
        pollable = stream.subscribe()
        stream.on_drop()
        assert pollable.ready()
