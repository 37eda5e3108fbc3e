"""Tests of greeter.wat."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from wasi_trio.testing import App, GuestFailed, LiveServer, Opener, Retirement


class Clock:
    """A stub of acme:greeter/clock, which answers with the same hour after a delay."""

    def __init__(self, hour: int, seconds: float = 0) -> None:
        self._hour = hour
        self._seconds = seconds
        self.asked = 0

    async def hour(self) -> int:
        await trio.sleep(self._seconds)
        self.asked += 1
        return self._hour


@pytest.mark.parametrize(
    ("hour", "greeting"), [(0, "Good morning!\n"), (11, "Good morning!\n"), (12, "Good evening!\n")]
)
async def test_the_greeting(wasi_component: Opener[App], hour: int, greeting: str) -> None:
    app = await wasi_component("greeter.wat", imports={"acme:greeter/clock": Clock(hour)})
    response = await app.get("/")
    assert response.status == 200
    assert await response.text() == greeting


async def test_it_asks_once_for_each_request(wasi_component: Opener[App]) -> None:
    clock = Clock(9)
    app = await wasi_component("greeter.wat", imports={"acme:greeter/clock": clock})
    for _ in range(3):
        await app.get("/")
    assert clock.asked == 3


async def test_a_slow_clock_holds_up_nobody_else(wasi_component: Opener[App], autojump_clock: MockClock) -> None:
    app = await wasi_component("greeter.wat", imports={"acme:greeter/clock": Clock(9, seconds=3600)})
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(app.get, "/")
    # one virtual hour for all of them together
    assert trio.current_time() < 2 * 3600
    assert app.started == 10


async def test_a_client_that_leaves(wasi_component: Opener[App], autojump_clock: MockClock) -> None:
    clock = Clock(9, seconds=3600)
    app = await wasi_component("greeter.wat", imports={"acme:greeter/clock": clock})
    with trio.move_on_after(1):
        await app.get("/")
    await app.settled()
    assert clock.asked == 0
    assert [instance.retired for instance in app.instances] == [Retirement.CANCELLED]


async def test_an_invalid_hour(wasi_component: Opener[App]) -> None:
    app = await wasi_component("greeter.wat", imports={"acme:greeter/clock": Clock(24)})
    with pytest.raises(GuestFailed, match="unreachable"):
        await app.get("/")
    await app.settled()
    assert [instance.retired for instance in app.instances] == [Retirement.TRAP]


async def test_a_real_client(wasi_server: Opener[LiveServer]) -> None:
    server = await wasi_server("greeter.wat", imports={"acme:greeter/clock": Clock(9)})
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: greeter.test\r\nconnection: close\r\n\r\n")
        received = b"".join([piece async for piece in stream])
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"\r\n\r\nGood morning!\n")
