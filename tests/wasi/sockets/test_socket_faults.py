"""Failing peers and systems: correct error codes, no loss of acknowledged data, no leaks."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from socket_guests import Guest, networked, v4

from wasi_trio.component._types import U8
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.runtime._streams import make_stream
from wasi_trio.wasi.sockets._addresses import Address, Family
from wasi_trio.wasi.sockets._context import NetworkContext, NetworkOptions
from wasi_trio.wasi.sockets._errors import SocketError
from wasi_trio.wasi.sockets._flows import LINGER
from wasi_trio.wasi.sockets._host import HostNetwork
from wasi_trio.wasi.sockets._memory import MemoryNetwork, MemoryTcp
from wasi_trio.wasi.sockets._tcp import TcpSocket

OK: Ok[None] = Ok(None)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(10)
        yield sock


async def connected(it: Guest, listener: socket.socket) -> tuple[Any, socket.socket]:
    """Return a socket of a guest of 0.3, and its peer."""
    sock = (await it("tcp-socket.create", "ipv4")).value
    assert await it("tcp-socket.connect", sock, v4(*listener.getsockname())) == OK
    peer, _ = listener.accept()
    peer.settimeout(10)
    return sock, peer


async def connected_in_0_2(it: Guest, listener: socket.socket) -> tuple[Any, Any, Any, socket.socket]:
    network = await it("instance-network")
    sock = (await it("create-tcp-socket", "ipv4")).value
    assert await it("tcp-socket.start-connect", sock, network, v4(*listener.getsockname())) == OK
    await it("pollable.block", await it("tcp-socket.subscribe", sock))
    received, sent = (await it("tcp-socket.finish-connect", sock)).value
    peer, _ = listener.accept()
    peer.settimeout(10)
    return sock, received, sent, peer


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


async def test_a_reset_while_receiving(listener: socket.socket) -> None:
    async with networked("p3") as it:
        sock, peer = await connected(it, listener)
        stream, outcome = await it("tcp-socket.receive", sock)
        reset(peer)
        assert await stream.receive() == b""
        assert await outcome.get() == Err(Variant("connection-reset"))


async def test_a_reset_while_sending(listener: socket.socket) -> None:
    async with networked("p3") as it:
        sock, peer = await connected(it, listener)
        writer, data = make_stream(U8)
        outcome = await it("tcp-socket.send", sock, data)
        reset(peer)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await writer.send_all(b"x" * 1000)
        assert (await outcome.get()).value.case in ("connection-reset", "connection-broken")


async def test_a_reset_while_waiting_for_room(listener: socket.socket) -> None:
    async with networked("p3") as it, trio.open_nursery() as nursery:
        sock, peer = await connected(it, listener)
        writer, data = make_stream(U8)
        outcome = await it("tcp-socket.send", sock, data)

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await writer.send_all(bytes(1 << 16))

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.1)
        reset(peer)
        assert await outcome.get() == Err(Variant("connection-reset"))


async def test_a_reset_while_sending_in_0_2(listener: socket.socket) -> None:
    async with networked("p2") as it:
        _, _, sent, peer = await connected_in_0_2(it, listener)
        reset(peer)
        outcome: Any = OK
        while outcome == OK:
            outcome = await it("output-stream.blocking-write-and-flush", sent, b"x")
        # The first call reports the reason, or that the connection is already closed.
        case = outcome.value
        assert case.case == "closed" or await it("network-error-code", case.value) == "connection-reset"
        assert await it("output-stream.check-write", sent) == Err(Variant("closed"))


async def test_a_peer_that_has_only_half_closed(listener: socket.socket) -> None:
    async with networked("p3") as it:
        sock, peer = await connected(it, listener)
        stream, ended = await it("tcp-socket.receive", sock)
        writer, data = make_stream(U8)
        outcome = await it("tcp-socket.send", sock, data)
        peer.shutdown(socket.SHUT_WR)
        assert await stream.receive() == b""
        assert await ended.get() == OK
        await writer.send_all(b"answer")
        assert peer.recv(100) == b"answer"
        await writer.aclose()
        assert await outcome.get() == OK
        assert peer.recv(100) == b""
        peer.close()


async def test_written_data_arrives_after_the_end_of_the_instance(listener: socket.socket) -> None:
    """This matters in 0.2, where a guest is told that data is written before the system has it."""
    async with networked("p2") as it:
        sock, input_, sent, peer = await connected_in_0_2(it, listener)
        written = 0
        while permit := (await it("output-stream.check-write", sent)).value:
            assert await it("output-stream.write", sent, bytes(permit)) == OK
            written += permit
        received: list[int] = []

        def receive() -> None:
            while data := peer.recv(1 << 16):
                received.append(len(data))
            peer.close()

        reader = threading.Timer(0.2, receive)
        reader.start()
        # The test owns the handles that the guest returned.
        for handle in (sent, input_, sock):
            handle.on_drop()
    await trio.to_thread.run_sync(reader.join)
    assert sum(received) == written


class LikeTheSystem(MemoryNetwork):
    """A network whose sockets do not report their room."""

    def tcp(self, family: Family) -> MemoryTcp:
        return _LikeTheSystem(self, family)


class _LikeTheSystem(MemoryTcp):
    def room(self) -> int:
        return 1 << 16

    def can_send(self) -> bool:
        return super().room() > 0


async def test_a_peer_that_takes_nothing_does_not_keep_an_instance(autojump_clock: trio.testing.MockClock) -> None:
    network = LikeTheSystem()
    server = network.tcp(Family.IPV4)
    server.bind(Address("10.0.0.9", 80))
    server.listen(1)
    began = trio.current_time()
    async with networked("p2", network=network) as it:
        sock = (await it("create-tcp-socket", "ipv4")).value
        assert await it("tcp-socket.start-connect", sock, await it("instance-network"), v4("10.0.0.9", 80)) == OK
        _, sent = (await it("tcp-socket.finish-connect", sock)).value
        while permit := (await it("output-stream.check-write", sent)).value:
            assert await it("output-stream.write", sent, bytes(permit)) == OK
    assert trio.current_time() - began == LINGER


async def test_a_connection_ends_with_the_last_handle(listener: socket.socket) -> None:
    network = HostNetwork(1000)
    async with networked("p3", network=network) as it:
        sock, peer = await connected(it, listener)
        received, outcome = await it("tcp-socket.receive", sock)
        writer, data = make_stream(U8)
        sent = await it("tcp-socket.send", sock, data)
        sock.on_drop()
        await writer.send_all(b"x")
        assert peer.recv(10) == b"x"
        await writer.aclose()
        assert await sent.get() == OK
        assert peer.recv(10) == b""
        peer.sendall(b"y")
        assert await received.receive() == b"y"
        assert network.sockets == 1
        received.close()
        assert await outcome.get() == OK
        assert network.sockets == 0
        peer.close()


async def test_a_port_is_free_after_its_connections_are_dropped() -> None:
    network = HostNetwork(1000)
    async with networked("p3", network=network) as it:
        for step in ("socket", "stream"):
            sock = (await it("tcp-socket.create", "ipv4")).value
            stream = (await it("tcp-socket.listen", sock)).value
            place = v4(port=(await it("tcp-socket.get-local-address", sock)).value.value.port)
            # Either keeps the port, in any order.
            if step == "socket":
                sock.on_drop()
                client = (await it("tcp-socket.create", "ipv4")).value
                assert await it("tcp-socket.connect", client, place) == OK
                for each in (*await stream.receive(1), client):
                    each.on_drop()
                stream.close()
            else:
                stream.close()
                assert network.sockets == 1
                sock.on_drop()
            assert network.sockets == 0


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Prevent the process from opening files within the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as next_:
        highest = next_.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_no_descriptors_are_left() -> None:
    network = HostNetwork(1000)
    async with networked("p3", network=network) as it, networked("p2", network=network) as old:
        with no_more_descriptors():
            for kind in ("tcp-socket", "udp-socket"):
                assert await it(f"{kind}.create", "ipv4") == Err(Variant("other", "too many open sockets"))
                assert await old(f"create-{kind}", "ipv4") == Err("new-socket-limit")
        assert network.sockets == 0
        assert isinstance(await it("tcp-socket.create", "ipv4"), Ok)


async def test_no_descriptors_are_left_to_accept() -> None:
    """A connection that cannot be accepted waits."""
    network = HostNetwork(1000)
    async with networked("p3", network=network) as it, networked("p2", network=network) as old:
        sock = (await it("tcp-socket.create", "ipv4")).value
        stream = (await it("tcp-socket.listen", sock)).value
        place = (await it("tcp-socket.get-local-address", sock)).value.value
        former = (await old("create-tcp-socket", "ipv4")).value
        assert await old("tcp-socket.start-bind", former, await old("instance-network"), v4()) == OK
        for step in ("finish-bind", "start-listen", "finish-listen"):
            assert await old(f"tcp-socket.{step}", former) == OK
        former_place = (await old("tcp-socket.local-address", former)).value.value
        with (
            socket.create_connection(("127.0.0.1", place.port)),
            socket.create_connection(("127.0.0.1", former_place.port)),
        ):
            await old("pollable.block", await old("tcp-socket.subscribe", former))
            with no_more_descriptors():
                assert await old("tcp-socket.accept", former) == Err("new-socket-limit")
                with trio.move_on_after(0.05) as scope:
                    await stream.receive(1)
                assert scope.cancelled_caught
            assert isinstance(await old("tcp-socket.accept", former), Ok)
            assert len(await stream.receive(1)) == 1


async def test_a_cancelled_connection_attempt() -> None:
    network = HostNetwork(1000)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        place = server.getsockname()
        others = [socket.socket() for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(place)
        async with trio.open_nursery() as nursery:
            context = NetworkContext(NetworkOptions(inherit=True, network=network), nursery)
            sock = TcpSocket(context, Family.IPV4)
            # With a full queue, the system silently accepts no more connections.
            with trio.move_on_after(0.1) as scope:
                await sock.connect_and_wait(Address(*place))
            assert scope.cancelled_caught
            with pytest.raises(SocketError, match="invalid-state"):
                sock.connect(Address(*place))
        for other in others:
            other.close()
    assert network.sockets == 0


def test_a_process_gives_itself_the_descriptors_that_it_may_have() -> None:
    """This needs a separate process with a lowered limit."""
    program = """
import resource
from wasi_trio import NetworkOptions
from wasi_trio.wasi._descriptors import GUESTS

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
NetworkOptions().prepared()
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 64
network = NetworkOptions(inherit=True).prepared().network
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 1 << 20)
network.opening()
assert GUESTS.count == 1
assert GUESTS.limit == min(hard, 1 << 20) * 3 // 4
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
