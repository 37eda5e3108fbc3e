"""wasi:sockets 0.3, call by call, with wasmtime's results; ``docs/comparison.md`` lists the differences."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from socket_guests import LOOPBACK6, Guest, calls, networked, v4, v6

from wasi_trio.component._types import U8
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.runtime._streams import make_stream

OK: Ok[None] = Ok(None)


def err(case: str) -> Err[Variant]:
    return Err(Variant(case))


@pytest.fixture(scope="module")
def called(request: pytest.FixtureRequest) -> Iterator[set[str]]:
    yield from calls("p3", request)


@pytest.fixture
async def guest(called: set[str]):
    async with networked("p3") as made:
        yield made
    called |= made.called


async def tcp(guest: Guest, family: str = "ipv4") -> Any:
    return (await guest("tcp-socket.create", family)).value


async def udp(guest: Guest, family: str = "ipv4") -> Any:
    return (await guest("udp-socket.create", family)).value


async def bound(guest: Guest) -> tuple[Any, Variant]:
    sock = await tcp(guest)
    assert await guest("tcp-socket.bind", sock, v4()) == OK
    return sock, (await guest("tcp-socket.get-local-address", sock)).value


async def connected(guest: Guest) -> tuple[Any, Any, Any]:
    """Return a listener, a socket that is connected to it, and the other end."""
    listener, address = await bound(guest)
    stream = (await guest("tcp-socket.listen", listener)).value
    client = await tcp(guest)
    assert await guest("tcp-socket.connect", client, address) == OK
    (accepted,) = await stream.receive(1)
    return listener, client, accepted


def refused() -> Variant:
    """Return an address without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return v4(port=sock.getsockname()[1])


async def test_binding(guest: Guest) -> None:
    sock = await tcp(guest)
    assert await guest("tcp-socket.get-local-address", sock) == err("invalid-state")
    assert await guest("tcp-socket.bind", sock, v4()) == OK
    assert (await guest("tcp-socket.get-local-address", sock)).value.value.port > 0
    assert await guest("tcp-socket.bind", sock, v4()) == err("invalid-state")
    assert await guest("tcp-socket.get-remote-address", sock) == err("invalid-state")


async def test_listening(guest: Guest) -> None:
    sock, address = await bound(guest)
    assert isinstance(await guest("tcp-socket.listen", sock), Ok)
    assert await guest("tcp-socket.get-is-listening", sock) is True
    assert await guest("tcp-socket.listen", sock) == err("invalid-state")
    assert await guest("tcp-socket.bind", sock, v4()) == err("invalid-state")
    assert await guest("tcp-socket.connect", sock, address) == err("invalid-state")
    assert await guest("tcp-socket.set-listen-backlog-size", sock, 5) == OK


async def test_listening_unbound(guest: Guest) -> None:
    sock = await tcp(guest)
    assert isinstance(await guest("tcp-socket.listen", sock), Ok)
    assert (await guest("tcp-socket.get-local-address", sock)).value.value.port > 0


@pytest.mark.parametrize(
    "address",
    [
        v4("0.0.0.0", 80),
        v4("224.0.0.1", 80),
        v4("255.255.255.255", 80),
        v4("127.0.0.1", 0),
        v6(*LOOPBACK6, port=80),
    ],
)
async def test_connecting_to_invalid_destinations(guest: Guest, address: Variant) -> None:
    sock = await tcp(guest)
    assert await guest("tcp-socket.connect", sock, address) == err("invalid-argument")
    assert await guest("tcp-socket.connect", sock, refused()) == err("connection-refused")


@pytest.mark.parametrize(
    "groups", [(0, 0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1), (0xFF02, *LOOPBACK6[1:])]
)
async def test_connecting_over_ipv6_to_invalid_destinations(guest: Guest, groups: tuple[int, ...]) -> None:
    sock = await tcp(guest, "ipv6")
    assert await guest("tcp-socket.connect", sock, v6(*groups, port=80)) == err("invalid-argument")


async def test_a_connection_that_was_refused(guest: Guest) -> None:
    sock = await tcp(guest)
    assert await guest("tcp-socket.connect", sock, refused()) == err("connection-refused")
    assert await guest("tcp-socket.connect", sock, refused()) == err("invalid-state")
    for get in ("local-address", "remote-address", "hop-limit", "keep-alive-enabled"):
        assert await guest(f"tcp-socket.get-{get}", sock) == err("connection-refused")
    assert await guest("tcp-socket.set-hop-limit", sock, 5) == err("connection-refused")
    assert await guest("tcp-socket.set-listen-backlog-size", sock, 5) == err("connection-refused")
    assert await guest("tcp-socket.bind", sock, v4()) == err("invalid-state")
    assert await guest("tcp-socket.get-is-listening", sock) is False


async def test_the_addresses_of_a_connection_that_has_ended(guest: Guest) -> None:
    """C libraries take the absence of an address for their own mistake, and abort the guest."""
    listener, client, accepted = await connected(guest)
    own = (await guest("tcp-socket.get-local-address", listener)).value
    address = (await guest("tcp-socket.get-local-address", client)).value
    for sock in (client, accepted):
        writer, stream = streams()
        outcome = await guest("tcp-socket.send", sock, stream)
        writer.close()
        assert await outcome.get() == OK
    for sock in (client, accepted):
        stream, outcome = await guest("tcp-socket.receive", sock)
        assert (await stream.receive(), await outcome.get()) == (b"", OK)
    for sock, one, other in ((client, address, own), (accepted, own, address)):
        assert await guest("tcp-socket.get-local-address", sock) == Ok(one)
        assert await guest("tcp-socket.get-remote-address", sock) == Ok(other)


@pytest.mark.parametrize(
    ("family", "address", "outcome"),
    [
        ("ipv4", v4("224.0.0.1"), err("invalid-argument")),
        ("ipv4", v4("255.255.255.255"), err("invalid-argument")),
        ("ipv4", v4("192.0.2.1"), err("address-not-bindable")),
        ("ipv4", v6(*LOOPBACK6), err("invalid-argument")),
        ("ipv6", v6(0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1), err("invalid-argument")),
        ("ipv6", v6(0, 0, 0, 0, 0, 0, 0x7F00, 1), err("invalid-argument")),
        ("ipv6", v6(*LOOPBACK6), OK),
    ],
)
async def test_bind_addresses(guest: Guest, family: str, address: Variant, outcome: object) -> None:
    sock = await tcp(guest, family)
    assert await guest("tcp-socket.bind", sock, address) == outcome


async def test_a_port_that_is_in_use(guest: Guest) -> None:
    sock, address = await bound(guest)
    await guest("tcp-socket.listen", sock)
    assert await guest("tcp-socket.bind", await tcp(guest), address) == err("address-in-use")


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
    sock = (await guest(f"{kind}.create", family)).value
    assert await guest(f"{kind}.get-{name}", sock) == Ok(default)
    assert await guest(f"{kind}.set-{name}", sock, 0) == err("invalid-argument")
    assert await guest(f"{kind}.set-{name}", sock, 1) == OK
    assert await guest(f"{kind}.get-{name}", sock) == Ok(least)
    assert await guest(f"{kind}.set-{name}", sock, maximum) == OK
    assert await guest(f"{kind}.get-{name}", sock) == Ok(most)


@pytest.mark.parametrize("kind", ["tcp-socket", "udp-socket"])
@pytest.mark.parametrize("name", ["receive-buffer-size", "send-buffer-size"])
async def test_sizes_of_buffers(guest: Guest, kind: str, name: str) -> None:
    sock = (await guest(f"{kind}.create", "ipv4")).value
    assert await guest(f"{kind}.set-{name}", sock, 0) == err("invalid-argument")
    for size in (1, 2**64 - 1):
        assert await guest(f"{kind}.set-{name}", sock, size) == OK
    assert await guest(f"{kind}.set-{name}", sock, 40_000) == OK
    assert (await guest(f"{kind}.get-{name}", sock)).value == 40_000


async def test_backlog_and_keep_alive(guest: Guest) -> None:
    sock = await tcp(guest)
    assert await guest("tcp-socket.set-listen-backlog-size", sock, 0) == err("invalid-argument")
    assert await guest("tcp-socket.set-listen-backlog-size", sock, 2**64 - 1) == OK
    assert await guest("tcp-socket.get-keep-alive-enabled", sock) == Ok(False)
    assert await guest("tcp-socket.set-keep-alive-enabled", sock, True) == OK
    assert await guest("tcp-socket.get-keep-alive-enabled", sock) == Ok(True)


async def test_families(guest: Guest) -> None:
    for family in ("ipv4", "ipv6"):
        assert await guest("tcp-socket.get-address-family", await tcp(guest, family)) == family
        assert await guest("udp-socket.get-address-family", await udp(guest, family)) == family


async def test_streams_of_unconnected_sockets(guest: Guest) -> None:
    sock = await tcp(guest)
    writer, stream = streams()
    assert await (await guest("tcp-socket.send", sock, stream)).get() == err("invalid-state")
    with pytest.raises(trio.BrokenResourceError):
        await writer.send_all(b"x")
    for _ in range(2):
        received, outcome = await guest("tcp-socket.receive", sock)
        assert await received.receive() == b""
        assert await outcome.get() == err("invalid-state")


async def test_connected_sockets(guest: Guest) -> None:
    listener, client, accepted = await connected(guest)
    address = (await guest("tcp-socket.get-local-address", listener)).value
    assert await guest("tcp-socket.get-is-listening", accepted) is False
    for sock in (client, accepted):
        assert await guest("tcp-socket.connect", sock, address) == err("invalid-state")
        assert await guest("tcp-socket.bind", sock, v4()) == err("invalid-state")
        assert await guest("tcp-socket.listen", sock) == err("invalid-state")
        assert await guest("tcp-socket.set-listen-backlog-size", sock, 5) == err("invalid-state")
        assert await guest("tcp-socket.get-hop-limit", sock) == Ok(64)
    assert await guest("tcp-socket.get-remote-address", client) == Ok(address)
    assert await guest("tcp-socket.get-local-address", accepted) == Ok(address)
    assert await guest("tcp-socket.get-remote-address", accepted) == await guest("tcp-socket.get-local-address", client)


def streams() -> Any:
    return make_stream(U8)


async def test_both_directions(guest: Guest) -> None:
    _, client, accepted = await connected(guest)
    for one, other in ((client, accepted), (accepted, client)):
        writer, stream = streams()
        sent = await guest("tcp-socket.send", one, stream)
        received, outcome = await guest("tcp-socket.receive", other)
        await writer.send_all(b"hello")
        assert await received.receive() == b"hello"
        await writer.aclose()
        assert await sent.get() == OK
        assert await received.receive() == b""
        assert await outcome.get() == OK
        again, outcome = await guest("tcp-socket.receive", other)
        assert (await again.receive(), await outcome.get()) == (b"", err("invalid-state"))
        writer, stream = streams()
        assert await (await guest("tcp-socket.send", one, stream)).get() == err("invalid-state")


async def test_udp(guest: Guest) -> None:
    sock = await udp(guest)
    other = await udp(guest)
    assert await guest("udp-socket.bind", other, v4()) == OK
    address = (await guest("udp-socket.get-local-address", other)).value
    assert await guest("udp-socket.get-local-address", sock) == err("invalid-state")
    assert await guest("udp-socket.receive", sock) == err("invalid-state")
    assert await guest("udp-socket.send", sock, b"x", None) == err("invalid-argument")
    assert await guest("udp-socket.send", sock, b"x", address) == OK
    assert (await guest("udp-socket.receive", other)).value[0] == b"x"
    assert await guest("udp-socket.bind", sock, v4()) == err("invalid-state")
    assert await guest("udp-socket.send", sock, b"x", v4(port=0)) == err("invalid-argument")
    assert await guest("udp-socket.send", sock, b"x", v4("0.0.0.0", 80)) == err("invalid-argument")
    assert await guest("udp-socket.send", sock, bytes(65507), address) == OK
    assert len((await guest("udp-socket.receive", other)).value[0]) == 65507
    assert await guest("udp-socket.send", sock, bytes(65508), address) == err("datagram-too-large")
    assert await guest("udp-socket.send", sock, bytes(100_000), address) == err("datagram-too-large")
    assert await guest("udp-socket.send", sock, b"", address) == OK
    assert (await guest("udp-socket.receive", other)).value[0] == b""
    assert await guest("udp-socket.send", sock, b"x", v4("255.255.255.255", 80)) == err("access-denied")
    assert await guest("udp-socket.send", sock, b"x", v6(*LOOPBACK6, port=80)) == err("invalid-argument")


async def test_connected_udp(guest: Guest) -> None:
    sock, other, stranger = await udp(guest), await udp(guest), await udp(guest)
    for each in (other, stranger):
        assert await guest("udp-socket.bind", each, v4()) == OK
    address = (await guest("udp-socket.get-local-address", other)).value
    elsewhere = (await guest("udp-socket.get-local-address", stranger)).value
    assert await guest("udp-socket.disconnect", sock) == err("invalid-state")
    assert await guest("udp-socket.connect", sock, elsewhere) == OK
    assert await guest("udp-socket.connect", sock, address) == OK
    assert await guest("udp-socket.get-remote-address", sock) == Ok(address)
    assert await guest("udp-socket.send", sock, b"x", elsewhere) == err("invalid-argument")
    assert await guest("udp-socket.send", sock, b"one", address) == OK
    assert await guest("udp-socket.send", sock, b"two", None) == OK
    data, sender = (await guest("udp-socket.receive", other)).value
    assert data == b"one"
    assert (await guest("udp-socket.receive", other)).value[0] == b"two"
    # It receives only the datagrams of its peer.
    assert await guest("udp-socket.send", stranger, b"not you", sender) == OK
    assert await guest("udp-socket.send", other, b"you", sender) == OK
    assert await guest("udp-socket.receive", sock) == Ok((b"you", address))
    assert await guest("udp-socket.connect", sock, v4("0.0.0.0", 80)) == err("invalid-argument")
    assert await guest("udp-socket.connect", sock, v4(port=0)) == err("invalid-argument")
    assert await guest("udp-socket.get-remote-address", sock) == Ok(address)
    assert await guest("udp-socket.disconnect", sock) == OK
    assert await guest("udp-socket.get-remote-address", sock) == err("invalid-state")


@pytest.mark.parametrize("local", [None, v4(), v4("0.0.0.0")])
async def test_a_udp_socket_keeps_its_port_when_its_connection_changes(guest: Guest, local: Variant | None) -> None:
    sock, other, another = await udp(guest), await udp(guest), await udp(guest)
    for each in (other, another):
        assert await guest("udp-socket.bind", each, v4()) == OK
    address = (await guest("udp-socket.get-local-address", other)).value
    if local is not None:
        assert await guest("udp-socket.bind", sock, local) == OK
    assert await guest("udp-socket.connect", sock, address) == OK
    port = (await guest("udp-socket.get-local-address", sock)).value.value.port
    elsewhere = (await guest("udp-socket.get-local-address", another)).value
    assert await guest("udp-socket.connect", sock, elsewhere) == OK
    assert (await guest("udp-socket.get-local-address", sock)).value.value.port == port
    assert await guest("udp-socket.disconnect", sock) == OK
    assert (await guest("udp-socket.get-local-address", sock)).value.value.port == port
    # It is open to all again.
    for each, source in ((other, address), (another, elsewhere)):
        assert await guest("udp-socket.send", each, b"x", v4(port=port)) == OK
        assert await guest("udp-socket.receive", sock) == Ok((b"x", source))


async def test_a_connected_udp_socket_receives_no_earlier_datagram_of_another(guest: Guest) -> None:
    sock, other, stranger = await udp(guest), await udp(guest), await udp(guest)
    for each in (sock, other, stranger):
        assert await guest("udp-socket.bind", each, v4()) == OK
    own, address = [(await guest("udp-socket.get-local-address", each)).value for each in (sock, other)]
    assert await guest("udp-socket.send", stranger, b"not you", own) == OK
    assert await guest("udp-socket.connect", sock, address) == OK
    assert await guest("udp-socket.send", other, b"you", own) == OK
    assert await guest("udp-socket.receive", sock) == Ok((b"you", address))


NAMES = [
    ("127.0.0.1", Ok([Variant("ipv4", (127, 0, 0, 1))])),
    ("[::1]", Ok([Variant("ipv6", LOOPBACK6)])),
    ("::1", Ok([Variant("ipv6", LOOPBACK6)])),
    ("::ffff:127.0.0.1", Ok([Variant("ipv4", (127, 0, 0, 1))])),
    ("fe80::1%1", err("invalid-argument")),
    ("[::1%lo]", err("invalid-argument")),
    ("a.b<>", err("invalid-argument")),
    ("", err("invalid-argument")),
    ("xn--", err("invalid-argument")),
    ("1.2.3", Ok([Variant("ipv4", (1, 2, 0, 3))])),
    ("0x7f.1", Ok([Variant("ipv4", (127, 0, 0, 1))])),
    ("127.0.0.1:80", err("invalid-argument")),
    ("1.2.3.4.5", err("invalid-argument")),
    ("256.0.0.1", err("invalid-argument")),
    ("a..b", err("invalid-argument")),
    ("x" * 64, err("invalid-argument")),
    ("a." * 200, err("invalid-argument")),
    ("\u4f8b\u3048.test", err("name-unresolvable")),
    ("no-such-host.invalid", err("name-unresolvable")),
]


@pytest.mark.parametrize(("name", "outcome"), NAMES)
async def test_names(guest: Guest, name: str, outcome: object) -> None:
    assert await guest("resolve-addresses", name) == outcome


async def test_a_name_with_a_dot_at_its_end(guest: Guest) -> None:
    """Such a name is for DNS only, and is resolved unchanged, because systems differ in whether they know this one."""
    try:
        found = socket.getaddrinfo("localhost.", None, type=socket.SOCK_STREAM)
    except socket.gaierror:
        assert await guest("resolve-addresses", "localhost.") == err("name-unresolvable")
    else:
        assert len((await guest("resolve-addresses", "localhost.")).value) == len(found)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST"])
async def test_localhost(guest: Guest, name: str) -> None:
    """The result has all addresses of the system, in its order."""
    found = [address[4][0] for address in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)]
    answer = (await guest("resolve-addresses", name)).value
    assert len(answer) == len(found)
    assert Variant("ipv4", (127, 0, 0, 1)) in answer
