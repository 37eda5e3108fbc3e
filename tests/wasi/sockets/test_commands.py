"""Commands that listen, on real sockets."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial

import pytest
import trio
from socket_guests import WatchedNetwork, command, descriptors

from tests.guests import wat
from wasi_trio import NetworkOptions, WasiOptions
from wasi_trio.testing import Network, run
from wasi_trio.wasi._descriptors import raise_limit
from wasi_trio.wasi.sockets._addresses import Family
from wasi_trio.wasi.sockets._memory import MemoryNetwork, MemoryTcp
from wasi_trio.wasi.sockets._transports import Direction

ECHOES = pytest.mark.parametrize("name", ["tcp", "p3_tcp"])


async def everything(stream: trio.SocketStream) -> bytes:
    return b"".join([piece async for piece in stream])


@ECHOES
async def test_an_echo(name: str) -> None:
    data = bytes(range(256)) * 40_000
    async with command(name, WatchedNetwork()) as port:
        for _ in range(3):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream, trio.open_nursery() as nursery:

                async def send(stream: trio.SocketStream = stream) -> None:
                    await stream.send_all(data)
                    await stream.send_eof()

                nursery.start_soon(send)
                assert await everything(stream) == data


@ECHOES
async def test_a_peer_that_resets(name: str) -> None:
    """The guest loses only that connection, and nothing leaks."""
    network = WatchedNetwork()
    async with command(name, network) as port:
        before = network.sockets
        for _ in range(20):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(b"x" * 1000)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.aclose()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"still there")
            assert await stream.receive_some() == b"still there"
            await stream.send_eof()
            assert await everything(stream) == b""
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"x")
            await stream.receive_some()
            assert network.sockets == before + 1
    assert network.sockets == 0


async def test_a_thousand_idle_connections() -> None:
    raise_limit()
    network = WatchedNetwork()
    before = descriptors()
    async with command("p3_tcp", network) as port:
        streams = []
        for number in range(1000):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(b"%d" % number)
            streams.append(stream)
        for number, stream in enumerate(streams):
            assert await stream.receive_some() == b"%d" % number
        assert network.sockets == 1001
        # All are still open, and the first is answered like the last.
        for stream in (streams[0], streams[-1]):
            await stream.send_all(b"again")
            assert await stream.receive_some() == b"again"
        for stream in streams:
            await stream.aclose()
    assert network.sockets == 0
    assert descriptors() <= before + 1


@ECHOES
async def test_a_stalled_peer(name: str) -> None:
    """A guest that cannot write stops reading, and continues when it can write; no data is lost."""
    async with command(name, WatchedNetwork()) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        sent = 0
        while True:
            with trio.move_on_after(0.5) as scope:
                await stream.wait_send_all_might_not_block()
            if scope.cancelled_caught:
                break
            sent += await stream.socket.send(bytes(1 << 16))
        received = 0
        while received < sent:
            received += len(await stream.receive_some())
        assert received == sent
        await stream.send_eof()
        assert await everything(stream) == b""


async def test_more_connections_than_there_may_be_wait() -> None:
    network = WatchedNetwork()
    async with command("p3_tcp", network, max_sockets=3) as port:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        for stream in streams:
            await stream.send_all(b"x")
        for stream in streams[:2]:
            assert await stream.receive_some() == b"x"
        assert network.sockets == 3
        await streams[0].send_eof()
        assert await everything(streams[0]) == b""
        assert await streams[2].receive_some() == b"x"


@ECHOES
async def test_nothing_is_left_behind(name: str) -> None:
    """At its end a guest may have idle, half-closed, stalled and unaccepted connections."""
    network = WatchedNetwork()
    before = descriptors()
    async with command(name, network) as port:
        idle, half, stalled, *others = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(6)]
        await idle.send_all(b"x")
        await idle.receive_some()
        await half.send_eof()
        with trio.move_on_after(0.5):
            while True:
                await stalled.send_all(bytes(1 << 16))
    assert network.sockets == 0
    for stream in (idle, half, stalled, *others):
        # The end or a reset: data that was sent but not read is lost.
        with suppress(trio.BrokenResourceError):
            await everything(stream)
        await stream.aclose()
    assert descriptors() <= before + 1


class Endless(MemoryTcp):
    """A peer that always has data, and always accepts data."""

    taken = 0

    def receive(self, limit: int) -> bytes:
        return bytes(min(limit, 1000))

    def can_receive(self) -> bool:
        return True

    def send(self, data: bytes | memoryview) -> int:
        self.taken += len(data)
        return len(data)

    def shut_down(self, direction: Direction) -> None:
        pass


class Eager(MemoryNetwork):
    """A network whose first connection is endless."""

    def __init__(self) -> None:
        super().__init__()
        self.endless = Endless(self, Family.IPV4)

    def tcp(self, family: Family) -> MemoryTcp:
        return _Eager(self, family)


class _Eager(MemoryTcp):
    network: Eager

    def accept(self) -> MemoryTcp:
        if not self.network.endless.taken:
            self.network.endless.taken = 1
            return self.network.endless
        return super().accept()

    def can_receive(self) -> bool:
        return not self.network.endless.taken or super().can_receive()


async def test_one_connection_does_not_keep_the_others_waiting() -> None:
    network = Eager()
    test = Network()
    test._memory = network
    options = WasiOptions(network=NetworkOptions(inherit=True, network=network))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run, wat.source("p3_tcp"), ["80"], wasi=options))
        async with await test.connect("127.0.0.1", 80) as stream:
            for number in range(10):
                await stream.send_all(b"%d" % number)
                assert await stream.receive_some() == b"%d" % number
        assert network.endless.taken > 1000
        nursery.cancel_scope.cancel()
