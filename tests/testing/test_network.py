"""In-memory networks between tests and guests."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, check_half_closeable_stream, wait_all_tasks_blocked

from tests.guests import wat
from tests.guests.build import build
from wasi_trio import NetworkOptions, Outbound, WasiOptions
from wasi_trio.testing import MemoryStream, Network, run

ECHOES = pytest.mark.parametrize("name", ["tcp", "p3_tcp"])


@pytest.fixture
def network() -> Network:
    return Network({"db.test": ["10.0.0.5", "fd00::5"]})


@pytest.fixture(scope="module")
def command() -> Path:
    return build("python_command")


async def listen(name: str, network: Network) -> None:
    await run(wat.source(name), ["80"], network=network)


@ECHOES
async def test_a_guest_that_listens(
    name: str, network: Network, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(listen, name, network)
    for text in (b"one", b"two"):
        async with await network.connect("10.0.0.1", 80) as stream:
            assert stream.remote_address == ("10.0.0.1", 80)
            await stream.send_all(text)
            assert await stream.receive_some() == text
            await stream.send_eof()
            assert await stream.receive_some() == b""
    nursery.cancel_scope.cancel()


@ECHOES
async def test_backpressure(name: str, network: Network, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A guest that cannot send stops reading. It loses no data."""
    nursery.start_soon(listen, name, network)
    async with await network.connect("127.0.0.1", 80) as stream:
        sent = 0
        with trio.move_on_after(3600):
            while True:
                await stream.send_all(b"x" * 1024)
                sent += 1024
        # Both directions are full, and the guest holds one more piece.
        assert 2 * (64 << 10) <= sent <= 6 * (64 << 10)
        received = 0
        while received < sent:
            received += len(await stream.receive_some())
        assert received in range(sent, sent + 1024)
    nursery.cancel_scope.cancel()


@ECHOES
async def test_a_peer_that_resets(
    name: str, network: Network, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(listen, name, network)
    stream = await network.connect("127.0.0.1", 80)
    await stream.send_all(b"something")
    stream.reset()
    async with await network.connect("127.0.0.1", 80) as other:
        await other.send_all(b"still there")
        assert await other.receive_some() == b"still there"
    nursery.cancel_scope.cancel()


async def test_a_guest_that_connects(command: Path, network: Network, nursery: trio.Nursery) -> None:
    async def answer(stream: MemoryStream) -> None:
        asked = b"".join([piece async for piece in stream])
        await stream.send_all(b"you said " + asked)
        await stream.aclose()

    listener = network.listen("10.0.0.5", 5432)
    nursery.start_soon(trio.serve_listeners, answer, [listener])
    for host in ("10.0.0.5", "db.test"):
        result = await run(command, ["talk", host, "5432", "hello"], network=network)
        assert (result.exit_code, result.stdout) == (0, "talk\nyou said hello\n")
    nursery.cancel_scope.cancel()


async def test_names(command: Path, network: Network) -> None:
    result = await run(command, ["look-up", "db.test"], network=network)
    assert result.stdout == "look-up\n10.0.0.5\nfd00::5\n"


async def test_two_guests_reach_each_other(command: Path, network: Network, nursery: trio.Nursery) -> None:
    nursery.start_soon(listen, "p3_tcp", network)
    await wait_all_tasks_blocked()
    result = await run(command, ["talk", "10.0.0.1", "80", "hello"], network=network)
    assert result.stdout == "talk\nhello\n"
    nursery.cancel_scope.cancel()


async def test_without_a_network_a_guest_has_itself(command: Path) -> None:
    """``asyncio.run`` requires two connected sockets."""
    result = await run(command, ["asyncio"])
    assert (result.exit_code, result.stdout) == (0, "asyncio\nto myself\n")


async def test_options_of_a_network(network: Network) -> None:
    bounded = Network(options=NetworkOptions(inherit=False))
    assert (await run(wat.source("p3_tcp"), ["80"], network=bounded)).exit_code == 1
    options = WasiOptions(network=NetworkOptions(outbound=Outbound.parse(["10.0.0.5"])))
    assert (await run(wat.source("p3_tcp"), ["80"], wasi=options)).exit_code == 1


async def pair() -> tuple[MemoryStream, MemoryStream]:
    network = Network()
    listener = network.listen("127.0.0.1", 80)
    one = await network.connect("127.0.0.1", 80)
    return one, await listener.accept()


async def clogged() -> tuple[MemoryStream, MemoryStream]:
    one, other = await pair()
    for stream in (one, other):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(1 << 20))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    return one, other


async def test_streams_are_as_trio_has_them() -> None:
    await check_half_closeable_stream(pair, clogged)


async def test_datagrams() -> None:
    network = Network()
    async with network.datagrams("10.0.0.1", 53) as one, network.datagrams("10.0.0.2", 53) as other:
        await one.send(b"question", "10.0.0.2", 53)
        assert await other.receive() == (b"question", ("10.0.0.1", 53))
        await one.send(b"lost", "10.0.0.3", 53)
        for _ in range(100):
            await one.send(b"x", "10.0.0.2", 53)
        with trio.move_on_after(0.01):
            for _ in range(64):
                assert (await other.receive())[0] == b"x"
        with pytest.raises(OSError, match="in use"):
            network.datagrams("10.0.0.2", 53)
    with pytest.raises(trio.ClosedResourceError):
        await one.receive()
