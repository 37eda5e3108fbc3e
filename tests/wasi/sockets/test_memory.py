"""The network in memory follows the rules of TCP and UDP."""

from __future__ import annotations

import pytest
import trio
from socket_guests import guest, v4

from wasi_trio.component._values import Ok
from wasi_trio.testing import Network
from wasi_trio.wasi.sockets._addresses import Address, Family
from wasi_trio.wasi.sockets._memory import ALL_DATAGRAM_BYTES, MemoryNetwork, MemoryTcp
from wasi_trio.wasi.sockets._transports import Direction

HERE = Address("10.0.0.1", 80)


def pair() -> tuple[MemoryTcp, MemoryTcp]:
    network = MemoryNetwork(capacity=10)
    server, client = network.tcp(Family.IPV4), network.tcp(Family.IPV4)
    server.bind(HERE)
    server.listen(1)
    client.connect(HERE)
    return client, server.accept()


async def test_datagrams_of_a_guest() -> None:
    network = Network()
    options = network.options()
    given = {"inherit": options.inherit, "network": options.network}
    async with guest("p3", **given) as it, network.datagrams("10.0.0.2", 53) as peer:
        sock = (await it("udp-socket.create", "ipv4")).value
        assert await it("udp-socket.send", sock, b"question", v4("10.0.0.2", 53)) == Ok()
        data, (host, port) = await peer.receive()
        assert (data, host) == (b"question", "10.0.0.1")
        await peer.send(b"answer", host, port)
        assert await it("udp-socket.receive", sock) == Ok((b"answer", v4("10.0.0.2", 53)))


async def test_a_direction_holds_so_much() -> None:
    one, other = pair()
    assert one.send(b"0123456789ab") == 10
    assert not one.can_send()
    with pytest.raises(BlockingIOError):
        one.send(b"x")
    assert other.receive(4) == b"0123"
    assert one.send(b"more and more") == 4
    assert other.receive(100) == b"456789more"
    with pytest.raises(BlockingIOError):
        other.receive(1)


async def test_the_end_of_a_direction_comes_after_its_bytes() -> None:
    one, other = pair()
    one.send(b"last")
    one.shut_down(Direction.SEND)
    with pytest.raises(BrokenPipeError):
        one.send(b"x")
    assert other.receive(100) == b"last"
    assert other.receive(100) == b""
    assert other.send(b"answer") == 6
    assert one.receive(100) == b"answer"


async def test_unwanted_data_is_discarded() -> None:
    one, other = pair()
    one.send(b"lost")
    other.shut_down(Direction.RECEIVE)
    assert other.receive(100) == b""
    assert one.send(b"any number of bytes") == 19
    assert other.can_receive()


async def test_closing_after_all_reads_is_an_end() -> None:
    one, other = pair()
    one.send(b"last")
    one.close()
    assert other.receive(100) == b"last"
    assert other.receive(100) == b""
    with pytest.raises(ConnectionResetError):
        other.send(b"x")


async def test_closing_with_unread_data_is_a_reset() -> None:
    one, other = pair()
    other.send(b"lost")
    one.send(b"lost too")
    one.close()
    with pytest.raises(ConnectionResetError):
        other.receive(100)


async def test_unaccepted_connections() -> None:
    network = MemoryNetwork()
    server = network.tcp(Family.IPV4)
    server.bind(HERE)
    clients = [network.tcp(Family.IPV4) for _ in range(3)]
    with pytest.raises(ConnectionRefusedError):
        clients[0].connect(HERE)
    server.listen(2)
    for client in clients[:2]:
        client.connect(HERE)
    with pytest.raises(ConnectionRefusedError):
        clients[2].connect(HERE)
    server.close()
    with pytest.raises(ConnectionResetError):
        clients[0].receive(1)
    ports = [client.local_address().port for client in clients[:2]]
    assert network.tcp_bound.keys() == {("10.0.0.1", port) for port in ports}


async def test_connections_that_wait_are_bounded_in_sum() -> None:
    network = MemoryNetwork(most_waiting=3)
    servers = [network.tcp(Family.IPV4) for _ in range(4)]
    for number, server in enumerate(servers):
        server.bind(replace_port(HERE, 81 + number))
        server.listen(10)
    for number in range(3):
        client = network.tcp(Family.IPV4)
        client.connect(replace_port(HERE, 81 + number))
        client.close()
    with pytest.raises(ConnectionRefusedError):
        network.tcp(Family.IPV4).connect(replace_port(HERE, 84))
    servers[0].accept()
    servers[1].close()
    for _ in range(2):
        network.tcp(Family.IPV4).connect(replace_port(HERE, 84))
    assert network.waiting == 3


async def test_datagrams_are_bounded_in_sum() -> None:
    network = MemoryNetwork()
    sender = network.udp(Family.IPV4)
    receivers = [network.udp(Family.IPV4) for _ in range(100)]
    for number, receiver in enumerate(receivers):
        receiver.bind(replace_port(HERE, 100 + number))
        for _ in range(4):
            sender.send(bytes(50_000), receiver.local_address())
    held = network.datagram_bytes
    assert ALL_DATAGRAM_BYTES - 50_000 < held <= ALL_DATAGRAM_BYTES
    receivers[0].receive()
    assert network.datagram_bytes == held - 50_000
    for receiver in receivers:
        receiver.close()
    assert network.datagram_bytes == 0


async def test_ports_are_given_and_come_back() -> None:
    network = MemoryNetwork()
    first = network.tcp(Family.IPV4)
    first.bind(replace_port(HERE, 0))
    port = first.local_address().port
    assert port >= 49152
    second = network.tcp(Family.IPV4)
    with pytest.raises(OSError, match="in use"):
        second.bind(replace_port(HERE, port))
    first.close()
    second.bind(replace_port(HERE, port))


def replace_port(address: Address, port: int) -> Address:
    return address._replace(port=port)


async def test_waiting_tasks_are_woken() -> None:
    one, other = pair()
    woken = []

    async def wait(name: str, method: object) -> None:
        await method()  # type: ignore[operator]
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "first", other.wait_readable)
        nursery.start_soon(wait, "second", other.wait_readable)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == []
        one.send(bytes(10))
    assert sorted(woken) == ["first", "second"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "room", one.wait_writable)
        await trio.testing.wait_all_tasks_blocked()
        other.close()
    assert woken[-1] == "room"
    await one.wait_readable()
