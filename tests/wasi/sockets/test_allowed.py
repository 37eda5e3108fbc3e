"""The permissions of guests' sockets in ``NetworkOptions``."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from socket_guests import LOOPBACK6, Guest, guest, networked, v4, v6

from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi.sockets._addresses import Address, Family
from wasi_trio.wasi.sockets._context import LOOK_UPS, NetworkContext, NetworkOptions
from wasi_trio.wasi.sockets._errors import SocketError
from wasi_trio.wasi.sockets._memory import MemoryNetwork

OK: Ok[None] = Ok(None)
DENIED = Err(Variant("access-denied"))


async def tcp(guest: Guest, family: str = "ipv4") -> Any:
    return (await guest("tcp-socket.create", family)).value


async def udp(guest: Guest) -> Any:
    return (await guest("udp-socket.create", "ipv4")).value


@pytest.fixture
def listener():
    """A socket of the machine, outside of all guests."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(10)
        yield sock


def address_of(sock: socket.socket) -> Variant:
    return v4(*sock.getsockname())


async def test_without_a_network(listener: socket.socket) -> None:
    async with guest("p3") as it:
        assert await it("resolve-addresses", "localhost") == DENIED
        assert await it("resolve-addresses", "127.0.0.1") == DENIED
        assert await it("tcp-socket.bind", await tcp(it), v4("0.0.0.0")) == DENIED
        assert await it("tcp-socket.bind", await tcp(it, "ipv6"), v6(*(0,) * 8)) == DENIED
        assert await it("tcp-socket.listen", await tcp(it)) == DENIED
        assert await it("tcp-socket.connect", await tcp(it), v4("192.0.2.1", 80)) == DENIED
        assert await it("udp-socket.bind", await udp(it), v4("0.0.0.0")) == DENIED
        assert await it("udp-socket.connect", await udp(it), v4("192.0.2.1", 80)) == DENIED
        assert await it("udp-socket.send", await udp(it), b"x", v4("192.0.2.1", 80)) == DENIED
        # The guest's own loopback is not the machine's.
        assert await it("tcp-socket.connect", await tcp(it), address_of(listener)) == Err(Variant("connection-refused"))


async def test_without_a_network_in_0_2() -> None:
    async with guest("p2") as it:
        network = await it("instance-network")
        sock = (await it("create-tcp-socket", "ipv4")).value
        assert await it("tcp-socket.start-bind", sock, network, v4("0.0.0.0")) == Err("access-denied")
        assert await it("tcp-socket.start-connect", sock, network, v4("192.0.2.1", 80)) == Err("access-denied")
        assert await it("resolve-addresses", network, "localhost") == Err("access-denied")


@pytest.mark.parametrize(("family", "address"), [("ipv4", v4()), ("ipv6", v6(*LOOPBACK6))])
async def test_a_socket_pair_within_an_instance(family: str, address: Variant) -> None:
    """Sockets of one instance reach each other, but not those of other instances."""
    async with guest("p3") as it, guest("p3") as stranger:
        server = await tcp(it, family)
        assert await it("tcp-socket.set-hop-limit", server, 7) == OK
        assert await it("tcp-socket.bind", server, address) == OK
        place = (await it("tcp-socket.get-local-address", server)).value
        incoming = (await it("tcp-socket.listen", server)).value
        client = await tcp(it, family)
        assert await it("tcp-socket.connect", client, place) == OK
        (accepted,) = await incoming.receive(1)
        assert await it("tcp-socket.get-hop-limit", accepted) == Ok(7)
        assert await it("tcp-socket.get-remote-address", client) == Ok(place)
        refused = Err(Variant("connection-refused"))
        assert await stranger("tcp-socket.connect", await tcp(stranger, family), place) == refused


async def test_datagrams_within_an_instance() -> None:
    async with guest("p3") as it:
        one, other = await udp(it), await udp(it)
        assert await it("udp-socket.bind", one, v4()) == OK
        place = (await it("udp-socket.get-local-address", one)).value
        assert await it("udp-socket.send", other, b"x", place) == OK
        data, sender = (await it("udp-socket.receive", one)).value
        assert data == b"x"
        assert await it("udp-socket.send", one, b"y", sender) == OK
        assert await it("udp-socket.receive", other) == Ok((b"y", place))


async def test_an_address_that_is_allowed(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    async with guest("p3", outbound=Outbound.parse([f"127.0.0.1:{port}"])) as it:
        assert await it("tcp-socket.connect", await tcp(it), address_of(listener)) == OK
        connection, _ = listener.accept()
        connection.close()
        # This permits neither listening nor other ports or protocols; loopback addresses are then the instance's own.
        assert await it("tcp-socket.bind", await tcp(it), v4("0.0.0.0")) == DENIED
        assert await it("tcp-socket.listen", await tcp(it)) == DENIED
        refused = Err(Variant("connection-refused"))
        assert await it("tcp-socket.connect", await tcp(it), v4(port=port % 65535 + 1)) == refused
        assert await it("tcp-socket.connect", await tcp(it), v4("192.0.2.1", port)) == DENIED


async def test_the_list_bounds_the_machine_s_network(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    async with networked("p3", outbound=Outbound.parse([f"udp://127.0.0.1:{port}"])) as it:
        assert await it("tcp-socket.connect", await tcp(it), address_of(listener)) == DENIED
        sock = await udp(it)
        assert await it("udp-socket.send", sock, b"x", v4(port=port)) == OK
        assert await it("udp-socket.send", sock, b"x", v4(port=port % 65535 + 1)) == DENIED
        assert await it("udp-socket.connect", await udp(it), v4(port=port % 65535 + 1)) == DENIED
        # But a listener of the same instance is reachable: asyncio's socket pair requires that.
        server = await tcp(it)
        assert await it("tcp-socket.bind", server, v4()) == OK
        place = (await it("tcp-socket.get-local-address", server)).value
        assert await it("tcp-socket.connect", await tcp(it), place) == DENIED
        incoming = (await it("tcp-socket.listen", server)).value
        for _ in range(2):
            assert await it("tcp-socket.connect", await tcp(it), place) == OK
            (accepted,) = await incoming.receive(1)
            accepted.on_drop()


async def test_only_those_that_may_be_asked_answer() -> None:
    """Without permission to listen, datagrams arrive only from allowed destinations."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as friend,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        for sock in (friend, stranger):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(10)
        port = friend.getsockname()[1]
        async with guest("p3", outbound=Outbound.parse([f"127.0.0.1:{port}"])) as it:
            sock = await udp(it)
            assert await it("udp-socket.bind", sock, v4("0.0.0.0")) == OK
            assert await it("udp-socket.send", sock, b"question", v4(port=port)) == OK
            _, place = friend.recvfrom(100)
            stranger.sendto(b"not asked", place)
            friend.sendto(b"answer", place)
            assert await it("udp-socket.receive", sock) == Ok((b"answer", v4(port=port)))


async def test_resolved_addresses_are_allowed() -> None:
    """A host that is allowed by its name is reachable at the addresses that its resolution returned."""
    network = MemoryNetwork({"db.test": ["10.0.0.5"], "other.test": ["10.0.0.6"]})
    options = {"network": network, "outbound": Outbound.parse(["db.test:5432"]), "allow_ip_name_lookup": True}
    for host in ("10.0.0.5", "10.0.0.6"):
        for port in (5432, 80):
            server = network.tcp(Family.IPV4)
            server.bind(Address(host, port))
            server.listen(10)
    async with guest("p3", **options) as it, guest("p3", **options) as other:
        assert await it("tcp-socket.connect", await tcp(it), v4("10.0.0.5", 5432)) == DENIED
        assert await it("resolve-addresses", "other.test") == DENIED
        assert await it("resolve-addresses", "db.test") == Ok([Variant("ipv4", (10, 0, 0, 5))])
        # The name may resolve differently now, but the earlier result counts.
        network.names["db.test"] = ["10.0.0.6"]
        assert await it("tcp-socket.connect", await tcp(it), v4("10.0.0.5", 5432)) == OK
        assert await it("tcp-socket.connect", await tcp(it), v4("10.0.0.5", 80)) == DENIED
        assert await it("tcp-socket.connect", await tcp(it), v4("10.0.0.6", 5432)) == DENIED
        # The permission belongs to this instance only.
        assert await other("tcp-socket.connect", await tcp(other), v4("10.0.0.5", 5432)) == DENIED


async def test_private_addresses_are_blocked_for_names_and_for_all() -> None:
    """They are allowed if the list has them as addresses, and for the instance's own sockets."""
    network = MemoryNetwork({"db.test": ["10.0.0.5"]})
    server = network.tcp(Family.IPV4)
    server.bind(Address("10.0.0.5", 5432))
    server.listen(10)
    options = {"network": network, "allow_ip_name_lookup": True, "block_private": True}
    for more in ({"outbound": Outbound.parse(["db.test", "*"])}, {"inherit": True}):
        async with guest("p3", **options, **more) as it:
            assert await it("resolve-addresses", "db.test") == Ok([Variant("ipv4", (10, 0, 0, 5))])
            assert await it("tcp-socket.connect", await tcp(it), v4("10.0.0.5", 5432)) == DENIED
    async with guest("p3", **options, outbound=Outbound.parse(["10.0.0.0/8"])) as it:
        assert await it("tcp-socket.connect", await tcp(it), v4("10.0.0.5", 5432)) == OK
    async with guest("p3", **options) as it:
        assert await it("tcp-socket.connect", await tcp(it), v4("8.8.8.8", 53)) == DENIED


async def test_looking_up_is_allowed_for_itself() -> None:
    async with guest("p3", allow_ip_name_lookup=True) as it:
        assert await it("resolve-addresses", "127.0.0.1") == Ok([Variant("ipv4", (127, 0, 0, 1))])
        assert await it("tcp-socket.connect", await tcp(it), v4("192.0.2.1", 80)) == DENIED


async def test_addresses_of_a_look_up_are_bounded() -> None:
    network = MemoryNetwork({"many.test": [f"10.0.{number // 256}.{number % 256}" for number in range(5000)]})
    async with guest("p3", network=network, allow_ip_name_lookup=True) as it:
        assert len((await it("resolve-addresses", "many.test")).value) == 256


async def test_look_ups_of_an_instance_are_bounded(nursery: trio.Nursery) -> None:
    class Slow(MemoryNetwork):
        async def look_up(self, name: str) -> list[str]:
            await trio.sleep_forever()
            raise AssertionError

    context = NetworkContext(NetworkOptions(network=Slow(), allow_ip_name_lookup=True), None)
    for _ in range(LOOK_UPS):
        nursery.start_soon(context.look_up, "slow.test")
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(SocketError, match="temporary-resolver-failure"):
        await context.look_up("slow.test")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("inherit", [False, True])
async def test_sockets_of_an_instance_are_bounded(inherit: bool) -> None:
    async with guest("p3", inherit=inherit, max_sockets=3) as it:
        sockets = [await tcp(it), await udp(it), await tcp(it)]
        for kind in ("tcp-socket", "udp-socket"):
            full = Err(Variant("other", "too many open sockets"))
            assert await it(f"{kind}.create", "ipv4") == full
        sockets.pop().on_drop()
        assert isinstance(await it("udp-socket.create", "ipv4"), Ok)
    async with guest("p2", inherit=inherit, max_sockets=1) as it:
        assert isinstance(await it("create-udp-socket", "ipv4"), Ok)
        assert await it("create-tcp-socket", "ipv4") == Err("new-socket-limit")


async def test_unread_datagrams_are_lost() -> None:
    async with guest("p3") as it:
        one, other = await udp(it), await udp(it)
        assert await it("udp-socket.bind", one, v4()) == OK
        place = (await it("udp-socket.get-local-address", one)).value
        for number in range(200):
            assert await it("udp-socket.send", other, b"%d" % number, place) == OK
        for number in range(64):
            assert (await it("udp-socket.receive", one)).value[0] == b"%d" % number
        with trio.move_on_after(0.01) as scope:
            await it("udp-socket.receive", one)
        assert scope.cancelled_caught
