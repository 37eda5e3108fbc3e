"""wasi:sockets 0.2, call by call: the results of 0.3 for shared calls, and the calls that only 0.2 has."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import trio
from socket_guests import LOOPBACK6, Guest, calls, networked, v4, v6

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant

OK: Ok[None] = Ok(None)


class Datagram(NamedTuple):
    data: bytes
    remote_address: Variant | None


@pytest.fixture(scope="module")
def called(request: pytest.FixtureRequest) -> Iterator[set[str]]:
    yield from calls("p2", request)


@pytest.fixture
async def guest(called: set[str]):
    async with networked("p2") as made:
        yield made
    called |= made.called


class Sockets:
    """The calls that most tests begin with."""

    def __init__(self, guest: Guest, network: Any) -> None:
        self.guest = guest
        self.network = network

    async def tcp(self, family: str = "ipv4") -> Any:
        return (await self.guest("create-tcp-socket", family)).value

    async def udp(self, family: str = "ipv4") -> Any:
        return (await self.guest("create-udp-socket", family)).value

    async def bind(self, sock: Any, address: Variant, kind: str = "tcp-socket") -> Any:
        outcome = await self.guest(f"{kind}.start-bind", sock, self.network, address)
        return await self.guest(f"{kind}.finish-bind", sock) if outcome == OK else outcome

    async def listener(self) -> tuple[Any, Variant]:
        sock = await self.tcp()
        assert await self.bind(sock, v4()) == OK
        assert await self.guest("tcp-socket.start-listen", sock) == OK
        assert await self.guest("tcp-socket.finish-listen", sock) == OK
        return sock, (await self.guest("tcp-socket.local-address", sock)).value

    async def connect(self, sock: Any, address: Variant) -> Any:
        outcome = await self.guest("tcp-socket.start-connect", sock, self.network, address)
        if outcome != OK:
            return outcome
        ready = await self.guest("tcp-socket.subscribe", sock)
        await self.guest("pollable.block", ready)
        assert await self.guest("pollable.ready", ready)
        return await self.guest("tcp-socket.finish-connect", sock)

    async def pair(self) -> tuple[Any, Any]:
        """Return both ends of a connection: each a socket, its input and its output."""
        listener, address = await self.listener()
        client = await self.tcp()
        streams = (await self.connect(client, address)).value
        await self.guest("pollable.block", await self.guest("tcp-socket.subscribe", listener))
        return (client, *streams), (await self.guest("tcp-socket.accept", listener)).value


@pytest.fixture
async def sockets(guest: Guest) -> Sockets:
    return Sockets(guest, await guest("instance-network"))


def refused() -> Variant:
    """Return an address without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return v4(port=sock.getsockname()[1])


async def test_binding(guest: Guest, sockets: Sockets) -> None:
    sock = await sockets.tcp()
    assert await guest("tcp-socket.local-address", sock) == Err("invalid-state")
    assert await guest("tcp-socket.finish-bind", sock) == Err("not-in-progress")
    assert await guest("tcp-socket.start-bind", sock, sockets.network, v4()) == OK
    assert await guest("tcp-socket.start-bind", sock, sockets.network, v4()) == Err("concurrency-conflict")
    assert await guest("tcp-socket.start-listen", sock) == Err("concurrency-conflict")
    assert await guest("tcp-socket.start-connect", sock, sockets.network, v4(port=80)) == Err("concurrency-conflict")
    assert await guest("tcp-socket.finish-bind", sock) == OK
    assert await guest("tcp-socket.finish-bind", sock) == Err("not-in-progress")
    assert (await guest("tcp-socket.local-address", sock)).value.value.port > 0
    assert await guest("tcp-socket.start-bind", sock, sockets.network, v4()) == Err("invalid-state")
    assert await guest("tcp-socket.remote-address", sock) == Err("invalid-state")


async def test_the_pollable_of_a_socket_in_each_state(guest: Guest, sockets: Sockets) -> None:
    """A guest may wait for every operation before it finishes it, as many do for listen."""
    sock = await sockets.tcp()
    pollable = await guest("tcp-socket.subscribe", sock)
    assert await guest("pollable.ready", pollable)
    assert await guest("tcp-socket.start-bind", sock, sockets.network, v4()) == OK
    await guest("pollable.block", pollable)
    assert await guest("tcp-socket.finish-bind", sock) == OK
    assert await guest("pollable.ready", pollable)
    assert await guest("tcp-socket.start-listen", sock) == OK
    with trio.fail_after(10):
        await guest("pollable.block", pollable)
    assert await guest("pollable.ready", pollable)
    assert await guest("tcp-socket.finish-listen", sock) == OK
    assert not await guest("pollable.ready", pollable)


async def test_listening(guest: Guest, sockets: Sockets) -> None:
    sock = await sockets.tcp()
    assert await guest("tcp-socket.start-listen", sock) == Err("invalid-state")
    assert await guest("tcp-socket.finish-listen", sock) == Err("not-in-progress")
    assert await guest("tcp-socket.accept", sock) == Err("invalid-state")
    assert await guest("tcp-socket.is-listening", sock) is False
    sock, address = await sockets.listener()
    assert await guest("tcp-socket.is-listening", sock) is True
    assert await guest("tcp-socket.accept", sock) == Err("would-block")
    assert await guest("tcp-socket.start-listen", sock) == Err("invalid-state")
    assert await guest("tcp-socket.start-bind", sock, sockets.network, v4()) == Err("invalid-state")
    assert await guest("tcp-socket.start-connect", sock, sockets.network, address) == Err("invalid-state")
    assert await guest("tcp-socket.set-listen-backlog-size", sock, 5) == OK
    assert await sockets.bind(await sockets.tcp(), address) == Err("address-in-use")


@pytest.mark.parametrize(
    "address",
    [v4("0.0.0.0", 80), v4("224.0.0.1", 80), v4("255.255.255.255", 80), v4(port=0), v6(*LOOPBACK6, port=80)],
)
async def test_connecting_to_invalid_destinations(guest: Guest, sockets: Sockets, address: Variant) -> None:
    sock = await sockets.tcp()
    assert await sockets.connect(sock, address) == Err("invalid-argument")
    assert await sockets.connect(sock, refused()) == Err("connection-refused")
    assert await guest("tcp-socket.finish-connect", sock) == Err("not-in-progress")
    assert await sockets.connect(sock, refused()) == Err("invalid-state")


@pytest.mark.parametrize(
    ("family", "address", "outcome"),
    [
        ("ipv4", v4("224.0.0.1"), Err("invalid-argument")),
        ("ipv4", v4("255.255.255.255"), Err("invalid-argument")),
        ("ipv4", v4("192.0.2.1"), Err("address-not-bindable")),
        ("ipv4", v6(*LOOPBACK6), Err("invalid-argument")),
        ("ipv6", v6(0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1), Err("invalid-argument")),
        ("ipv6", v6(*LOOPBACK6), OK),
    ],
)
async def test_bind_addresses(sockets: Sockets, family: str, address: Variant, outcome: object) -> None:
    assert await sockets.bind(await sockets.tcp(family), address) == outcome


async def test_a_connection(guest: Guest, sockets: Sockets) -> None:
    (client, client_in, client_out), (server, server_in, server_out) = await sockets.pair()
    assert await guest("tcp-socket.remote-address", client) == await guest("tcp-socket.local-address", server)
    assert await guest("tcp-socket.remote-address", server) == await guest("tcp-socket.local-address", client)
    for sock in (client, server):
        assert await guest("tcp-socket.is-listening", sock) is False
        assert await guest("tcp-socket.start-bind", sock, sockets.network, v4()) == Err("invalid-state")
        assert await guest("tcp-socket.start-connect", sock, sockets.network, v4(port=80)) == Err("invalid-state")
        assert await guest("tcp-socket.start-listen", sock) == Err("invalid-state")
        assert await guest("tcp-socket.set-listen-backlog-size", sock, 5) == Err("invalid-state")
    for source, sink in ((client_out, server_in), (server_out, client_in)):
        assert await guest("input-stream.read", sink, 100) == Ok(b"")
        ready = await guest("input-stream.subscribe", sink)
        assert not await guest("pollable.ready", ready)
        assert (await guest("output-stream.check-write", source)).value > 0
        assert await guest("output-stream.write", source, b"hello") == OK
        assert await guest("output-stream.flush", source) == OK
        await guest("pollable.block", ready)
        assert await guest("input-stream.read", sink, 3) == Ok(b"hel")
        assert await guest("input-stream.blocking-read", sink, 100) == Ok(b"lo")
        assert await guest("output-stream.blocking-write-and-flush", source, b"more") == OK
        assert await guest("input-stream.blocking-skip", sink, 100) == Ok(4)


@pytest.mark.parametrize("how", ["send", "both"])
async def test_the_end_of_sending(guest: Guest, sockets: Sockets, how: str) -> None:
    (client, _, client_out), (_, server_in, _) = await sockets.pair()
    assert await guest("output-stream.blocking-write-and-flush", client_out, b"last") == OK
    for _ in range(2):
        assert await guest("tcp-socket.shutdown", client, how) == OK
    assert await guest("output-stream.check-write", client_out) == Err(Variant("closed"))
    assert await guest("input-stream.blocking-read", server_in, 100) == Ok(b"last")
    assert await guest("input-stream.blocking-read", server_in, 100) == Err(Variant("closed"))


@pytest.mark.parametrize("how", ["receive", "both"])
async def test_the_end_of_receiving(guest: Guest, sockets: Sockets, how: str) -> None:
    (client, client_in, _), (_, _, server_out) = await sockets.pair()
    assert await guest("output-stream.blocking-write-and-flush", server_out, b"lost") == OK
    ready = await guest("input-stream.subscribe", client_in)
    await guest("pollable.block", ready)
    assert await guest("tcp-socket.shutdown", client, how) == OK
    assert await guest("pollable.ready", ready)
    assert await guest("input-stream.read", client_in, 100) == Err(Variant("closed"))


async def test_the_end_of_a_stream_is_that_of_its_direction(guest: Guest, sockets: Sockets) -> None:
    (client, client_in, client_out), (_, server_in, server_out) = await sockets.pair()
    assert await guest("output-stream.blocking-write-and-flush", client_out, b"last") == OK
    client_out.on_drop()
    client.on_drop()
    assert await guest("input-stream.blocking-read", server_in, 100) == Ok(b"last")
    assert await guest("input-stream.blocking-read", server_in, 100) == Err(Variant("closed"))
    assert await guest("output-stream.blocking-write-and-flush", server_out, b"answer") == OK
    assert await guest("input-stream.blocking-read", client_in, 100) == Ok(b"answer")


async def test_shutting_down_unconnected_sockets(guest: Guest, sockets: Sockets) -> None:
    for sock in (await sockets.tcp(), (await sockets.listener())[0]):
        for how in ("receive", "send", "both"):
            assert await guest("tcp-socket.shutdown", sock, how) == Err("invalid-state")


async def test_splicing_and_zeroes(guest: Guest, sockets: Sockets) -> None:
    (_, client_in, client_out), (_, server_in, server_out) = await sockets.pair()
    assert await guest("output-stream.blocking-write-zeroes-and-flush", client_out, 10) == OK
    assert await guest("output-stream.blocking-splice", server_out, server_in, 100) == Ok(10)
    assert await guest("output-stream.blocking-flush", server_out) == OK
    assert await guest("input-stream.blocking-read", client_in, 100) == Ok(bytes(10))
    assert await guest("output-stream.splice", server_out, server_in, 100) == Ok(0)
    assert (await guest("output-stream.check-write", client_out)).value >= 3
    assert await guest("output-stream.write-zeroes", client_out, 3) == OK
    await guest("pollable.block", await guest("output-stream.subscribe", client_out))
    await guest("pollable.block", await guest("input-stream.subscribe", server_in))
    assert await guest("input-stream.skip", server_in, 100) == Ok(3)


async def test_a_reset_has_a_name(guest: Guest, sockets: Sockets) -> None:
    listener, address = await sockets.listener()
    with socket.create_connection(("127.0.0.1", address.value.port)) as peer:
        await guest("pollable.block", await guest("tcp-socket.subscribe", listener))
        _, received, _ = (await guest("tcp-socket.accept", listener)).value
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    failed = (await guest("input-stream.blocking-read", received, 100)).value
    assert failed.case == "last-operation-failed"
    assert await guest("network-error-code", failed.value) == "connection-reset"
    assert await guest("error.to-debug-string", failed.value) == "SocketError: connection-reset"
    assert await guest("input-stream.read", received, 100) == Err(Variant("closed"))


SECOND = 1_000_000_000
OPTIONS = [
    ("tcp-socket", "keep-alive-idle-time", 7200 * SECOND, SECOND, 32_767 * SECOND, 2**64 - 1),
    ("tcp-socket", "keep-alive-interval", 75 * SECOND, SECOND, 32_767 * SECOND, 2**64 - 1),
    ("tcp-socket", "keep-alive-count", 9, 1, 127, 2**32 - 1),
    ("tcp-socket", "hop-limit", 64, 1, 255, 255),
    ("udp-socket", "unicast-hop-limit", 64, 1, 255, 255),
]


@pytest.mark.parametrize(("kind", "name", "default", "least", "most", "maximum"), OPTIONS)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
async def test_options(
    guest: Guest, family: str, kind: str, name: str, default: int, least: int, most: int, maximum: int
) -> None:
    sock = (await guest(f"create-{kind}", family)).value
    assert await guest(f"{kind}.{name}", sock) == Ok(default)
    assert await guest(f"{kind}.set-{name}", sock, 0) == Err("invalid-argument")
    assert await guest(f"{kind}.set-{name}", sock, 1) == OK
    assert await guest(f"{kind}.{name}", sock) == Ok(least)
    assert await guest(f"{kind}.set-{name}", sock, maximum) == OK
    assert await guest(f"{kind}.{name}", sock) == Ok(most)


@pytest.mark.parametrize("kind", ["tcp-socket", "udp-socket"])
@pytest.mark.parametrize("name", ["receive-buffer-size", "send-buffer-size"])
async def test_sizes_of_buffers(guest: Guest, kind: str, name: str) -> None:
    sock = (await guest(f"create-{kind}", "ipv4")).value
    assert await guest(f"{kind}.set-{name}", sock, 0) == Err("invalid-argument")
    for size in (1, 2**64 - 1, 40_000):
        assert await guest(f"{kind}.set-{name}", sock, size) == OK
    assert await guest(f"{kind}.{name}", sock) == Ok(40_000)


async def test_other_options(guest: Guest, sockets: Sockets) -> None:
    sock = await sockets.tcp()
    assert await guest("tcp-socket.set-listen-backlog-size", sock, 0) == Err("invalid-argument")
    assert await guest("tcp-socket.set-listen-backlog-size", sock, 2**64 - 1) == OK
    assert await guest("tcp-socket.keep-alive-enabled", sock) == Ok(False)
    assert await guest("tcp-socket.set-keep-alive-enabled", sock, True) == OK
    assert await guest("tcp-socket.keep-alive-enabled", sock) == Ok(True)
    for family in ("ipv4", "ipv6"):
        assert await guest("tcp-socket.address-family", await sockets.tcp(family)) == family
        assert await guest("udp-socket.address-family", await sockets.udp(family)) == family


async def test_udp(guest: Guest, sockets: Sockets) -> None:
    one, other = await sockets.udp(), await sockets.udp()
    assert await guest("udp-socket.local-address", one) == Err("invalid-state")
    assert await guest("udp-socket.stream", one, None) == Err("invalid-state")
    assert await guest("udp-socket.finish-bind", one) == Err("not-in-progress")
    for sock in (one, other):
        assert await sockets.bind(sock, v4(), "udp-socket") == OK
        assert await sockets.bind(sock, v4(), "udp-socket") == Err("invalid-state")
        assert await guest("udp-socket.remote-address", sock) == Err("invalid-state")
        await guest("pollable.block", await guest("udp-socket.subscribe", sock))
    here = (await guest("udp-socket.local-address", one)).value
    there = (await guest("udp-socket.local-address", other)).value
    _, outgoing = (await guest("udp-socket.stream", one, None)).value
    incoming, answers = (await guest("udp-socket.stream", other, None)).value
    assert await guest("incoming-datagram-stream.receive", incoming, 10) == Ok([])

    await guest("pollable.block", await guest("outgoing-datagram-stream.subscribe", outgoing))
    assert (await guest("outgoing-datagram-stream.check-send", outgoing)).value >= 3
    assert await guest("outgoing-datagram-stream.send", outgoing, []) == Ok(0)
    assert (await guest("outgoing-datagram-stream.check-send", outgoing)).value >= 3
    datagrams = [Datagram(text, there) for text in (b"one", b"", b"three")]
    assert await guest("outgoing-datagram-stream.send", outgoing, datagrams) == Ok(3)
    await guest("pollable.block", await guest("incoming-datagram-stream.subscribe", incoming))
    assert await guest("incoming-datagram-stream.receive", incoming, 0) == Ok([])
    received = (await guest("incoming-datagram-stream.receive", incoming, 2)).value
    assert [tuple(datagram) for datagram in received] == [(b"one", here), (b"", here)]
    received = (await guest("incoming-datagram-stream.receive", incoming, 2)).value
    assert [tuple(datagram) for datagram in received] == [(b"three", here)]
    await guest("outgoing-datagram-stream.check-send", answers)
    assert await guest("outgoing-datagram-stream.send", answers, [Datagram(b"x", None)]) == Err("invalid-argument")


DESTINATIONS = [
    (Datagram(b"x", v4(port=0)), "invalid-argument"),
    (Datagram(b"x", v4("0.0.0.0", 80)), "invalid-argument"),
    (Datagram(b"x", v6(*LOOPBACK6, port=80)), "invalid-argument"),
    (Datagram(b"x", v4("255.255.255.255", 80)), "access-denied"),
    (Datagram(bytes(65508), v4(port=80)), "datagram-too-large"),
]


@pytest.mark.parametrize(("datagram", "case"), DESTINATIONS)
async def test_unsendable_datagrams(guest: Guest, sockets: Sockets, datagram: Datagram, case: str) -> None:
    sock = await sockets.udp()
    assert await sockets.bind(sock, v4("0.0.0.0"), "udp-socket") == OK
    _, outgoing = (await guest("udp-socket.stream", sock, None)).value
    assert (await guest("outgoing-datagram-stream.check-send", outgoing)).value
    assert await guest("outgoing-datagram-stream.send", outgoing, [datagram]) == Err(case)


async def test_connected_udp(guest: Guest, sockets: Sockets) -> None:
    sock, other = await sockets.udp(), await sockets.udp()
    for each in (sock, other):
        assert await sockets.bind(each, v4(), "udp-socket") == OK
    address = (await guest("udp-socket.local-address", other)).value
    assert await guest("udp-socket.stream", sock, v4("0.0.0.0", 80)) == Err("invalid-argument")
    assert await guest("udp-socket.stream", sock, v4(port=0)) == Err("invalid-argument")
    _, former = (await guest("udp-socket.stream", sock, None)).value
    _, outgoing = (await guest("udp-socket.stream", sock, address)).value
    assert await guest("udp-socket.remote-address", sock) == Ok(address)
    # Only the latest pair works.
    assert await guest("outgoing-datagram-stream.check-send", former) == Err("invalid-state")
    await guest("outgoing-datagram-stream.check-send", outgoing)
    assert await guest(
        "outgoing-datagram-stream.send", outgoing, [Datagram(b"x", None), Datagram(b"y", address)]
    ) == Ok(2)
    await guest("outgoing-datagram-stream.check-send", outgoing)
    elsewhere = Datagram(b"x", v4(port=80))
    assert await guest("outgoing-datagram-stream.send", outgoing, [elsewhere]) == Err("invalid-argument")
    assert isinstance(await guest("udp-socket.stream", sock, None), Ok)
    assert await guest("udp-socket.remote-address", sock) == Err("invalid-state")


async def test_sending_more_than_permitted(guest: Guest, sockets: Sockets) -> None:
    sock = await sockets.udp()
    assert await sockets.bind(sock, v4(), "udp-socket") == OK
    _, outgoing = (await guest("udp-socket.stream", sock, None)).value
    with pytest.raises(Trap, match="check-send permits 0"):
        await guest("outgoing-datagram-stream.send", outgoing, [Datagram(b"x", v4(port=80))])


NAMES = [
    ("127.0.0.1", [Variant("ipv4", (127, 0, 0, 1))]),
    ("[::1]", [Variant("ipv6", LOOPBACK6)]),
    ("::1", [Variant("ipv6", LOOPBACK6)]),
    ("1.2.3", [Variant("ipv4", (1, 2, 0, 3))]),
    ("0x7f.1", [Variant("ipv4", (127, 0, 0, 1))]),
]


@pytest.mark.parametrize(("name", "addresses"), NAMES)
async def test_addresses(guest: Guest, sockets: Sockets, name: str, addresses: list[Variant]) -> None:
    stream = (await guest("resolve-addresses", sockets.network, name)).value
    for address in addresses:
        assert await guest("resolve-address-stream.resolve-next-address", stream) == Ok(address)
    for _ in range(2):
        assert await guest("resolve-address-stream.resolve-next-address", stream) == Ok(None)


@pytest.mark.parametrize("name", ["a.b<>", "", "xn--", "127.0.0.1:80"])
async def test_invalid_names(guest: Guest, sockets: Sockets, name: str) -> None:
    assert await guest("resolve-addresses", sockets.network, name) == Err("invalid-argument")


async def test_looking_up(guest: Guest, sockets: Sockets) -> None:
    stream = (await guest("resolve-addresses", sockets.network, "localhost")).value
    assert await guest("resolve-address-stream.resolve-next-address", stream) == Err("would-block")
    ready = await guest("resolve-address-stream.subscribe", stream)
    assert not await guest("pollable.ready", ready)
    await guest("pollable.block", ready)
    found = []
    while (address := (await guest("resolve-address-stream.resolve-next-address", stream)).value) is not None:
        found.append(address)
    assert Variant("ipv4", (127, 0, 0, 1)) in found
    stream = (await guest("resolve-addresses", sockets.network, "no-such-host.invalid")).value
    await guest("pollable.block", await guest("resolve-address-stream.subscribe", stream))
    assert await guest("resolve-address-stream.resolve-next-address", stream) == Err("name-unresolvable")
