"""A poll of many sockets of the system waits with one more descriptor, and without a task for each socket."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from socket_guests import v4

from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._descriptors import GUESTS, raise_limit
from wasi_trio.wasi.p2._clocks import MonotonicClock
from wasi_trio.wasi.p2._io import Pollable
from wasi_trio.wasi.p2._poll import Poll
from wasi_trio.wasi.p2._sockets import Network, TcpCreateSocket, UdpCreateSocket
from wasi_trio.wasi.sockets._context import NetworkOptions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems wait in tasks")

COUNT = 300
NETWORK = Network()


class Sockets:
    """UDP sockets of an instance on ports of 127.0.0.1, and their pollables."""

    def __init__(self, context: WasiContext, count: int) -> None:
        self.ports: list[int] = []
        self.streams: list[Any] = []
        for _ in range(count):
            sock = UdpCreateSocket(context).create_udp_socket("ipv4").value
            sock.start_bind(NETWORK, v4())
            sock.finish_bind()
            self.ports.append(sock.local_address().value.value.port)
            self.streams.append(sock.stream(None).value[0])
            sock.on_drop()
        self.pollables: list[Pollable] = [stream.subscribe() for stream in self.streams]

    def send_to(self, index: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", self.ports[index]))


@pytest.fixture
async def context() -> AsyncIterator[WasiContext]:
    raise_limit()
    async with trio.open_nursery() as nursery:
        yield WasiContext(WasiOptions(network=NetworkOptions(inherit=True)), nursery=nursery)
        nursery.cancel_scope.cancel()


class OnEvent(Pollable):
    def __init__(self) -> None:
        self.event = trio.Event()

    def ready(self) -> bool:
        return self.event.is_set()

    async def block(self) -> None:
        await self.event.wait()


def epolls() -> int:
    """Return the number of this process's epoll descriptors. Those of sockets would vary with garbage collection."""
    count = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor of the folder itself
            count += str(path.readlink()) == "anon_inode:[eventpoll]"
    return count


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def poll_until(context: WasiContext, pollables: list[Pollable], act: Any) -> tuple[list[int], int]:
    """Poll, and call ``act`` once the poll waits. Return the indices, and the number of tasks that waited for them."""
    result: list[int] = []
    before = tasks()

    async def poll() -> None:
        result.extend(await Poll(context).poll(pollables))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        waiting = tasks() - before - 1
        act()
    return result, waiting


@pytest.mark.parametrize("count", [2, COUNT])
async def test_one_of_many_sockets(context: WasiContext, count: int) -> None:
    sockets = Sockets(context, count)
    opened, counted = epolls(), GUESTS.count
    for index in (0, count - 1):
        assert await poll_until(context, sockets.pollables, lambda index=index: sockets.send_to(index)) == ([index], 0)
        sockets.streams[index].receive(1)
    assert (epolls(), GUESTS.count) == (opened, counted)


async def test_sockets_and_other_pollables(context: WasiContext) -> None:
    """One task waits for all sockets, and another for the event."""
    sockets = Sockets(context, 5)
    event = OnEvent()
    listener = TcpCreateSocket(context).create_tcp_socket("ipv4").value
    for result in (listener.start_bind(NETWORK, v4()), listener.finish_bind(), listener.start_listen()):
        assert result.value is None
    listener.finish_listen()
    port = listener.local_address().value.value.port
    pollables = [*sockets.pollables, listener.subscribe(), event]
    with socket.socket() as client:
        assert await poll_until(context, pollables, lambda: client.connect(("127.0.0.1", port))) == ([5], 2)
    listener.accept()
    assert await poll_until(context, pollables, event.event.set) == ([6], 2)


async def test_a_stream_of_bytes(context: WasiContext) -> None:
    sockets = Sockets(context, 1)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        sock = TcpCreateSocket(context).create_tcp_socket("ipv4").value
        assert sock.start_connect(NETWORK, v4(port=server.getsockname()[1])).value is None
        await sock.subscribe().block()
        received, _ = sock.finish_connect().value
        peer, _ = server.accept()
        with peer:
            pollables = [*sockets.pollables, received.subscribe()]
            assert await poll_until(context, pollables, lambda: peer.sendall(b"x")) == ([1], 0)
            assert received.read(10).value == b"x"
            assert await poll_until(context, pollables, peer.close) == ([1], 0)


async def test_a_timer_and_a_cancellation_end_the_wait(context: WasiContext) -> None:
    sockets = Sockets(context, COUNT)
    opened, counted = epolls(), GUESTS.count
    timer = MonotonicClock(context).subscribe_duration(10_000_000)
    assert await Poll(context).poll([*sockets.pollables, timer]) == [COUNT]
    with trio.move_on_after(0.01) as scope:
        await Poll(context).poll(sockets.pollables)
    assert scope.cancelled_caught
    assert (epolls(), GUESTS.count) == (opened, counted)


async def test_tasks_wait_without_a_descriptor(context: WasiContext) -> None:
    sockets = Sockets(context, 5)
    GUESTS.count += 1 << 30
    assert await poll_until(context, sockets.pollables, lambda: sockets.send_to(3)) == ([3], 5)
