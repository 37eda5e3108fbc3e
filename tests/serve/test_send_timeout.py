"""Clients that do not read their responses. The sockets are real; the clock is virtual."""

from __future__ import annotations

import h2.events
import pytest
import trio
import trio.testing

from tests.serve.support import Answering, Http2, connect, guest, serving
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Response

#: The timeout of a client on the test's clock, in seconds.
TIME = 10.0
FLOOD = b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n"


async def pass_time(clock: trio.testing.MockClock, seconds: float) -> None:
    """Advance the clock once nothing else can happen."""
    await trio.testing.wait_all_tasks_blocked(0.05)
    clock.jump(seconds)
    await trio.testing.wait_all_tasks_blocked(0.05)


@pytest.mark.parametrize("name", ["endless_body", "p3_endless_body"])
async def test_a_client_that_reads_nothing(
    name: str, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        ProxyHandler(guest(name)) as handler,
        serving(HandlerService(handler), send_timeout=TIME) as port,
        await connect(port) as stream,
    ):
        await stream.send_all(FLOOD)
        await pass_time(mock_clock, TIME - 1)
        assert handler.active == 1
        await pass_time(mock_clock, 2)
        assert handler.active == 0
        with pytest.raises(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
    assert "Closed a connection: no progress in sending for 10 s" in caplog.text
    assert "ended with an error" not in caplog.text


async def test_a_client_that_reads_slowly(mock_clock: trio.testing.MockClock) -> None:
    async with (
        ProxyHandler(guest("endless_body")) as handler,
        serving(HandlerService(handler), send_timeout=TIME) as port,
        await connect(port) as stream,
    ):
        await stream.send_all(FLOOD)
        for _ in range(5):
            await pass_time(mock_clock, TIME - 1)
            taken = 0
            while taken < 4_000_000:
                taken += len(await stream.receive_some())
        assert handler.active == 1


def whole(exchange: Exchange) -> None:
    """Answer with the number of bytes in the path, all available at once."""
    exchange.respond(Response(200, [], Body.of(bytes(int((exchange.request.path_with_query or "/")[1:])))))


async def test_a_complete_response(mock_clock: trio.testing.MockClock) -> None:
    async with serving(Answering(whole), send_timeout=TIME) as port, await connect(port) as stream:
        await stream.send_all(b"GET /64000000 HTTP/1.1\r\nhost: x\r\n\r\n")
        await pass_time(mock_clock, TIME + 1)
        with pytest.raises(trio.BrokenResourceError):
            while await stream.receive_some():
                pass


async def test_an_unread_http2_response(mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The other requests of the connection continue."""
    async with (
        ProxyHandler(guest("endless_body")) as handler,
        serving(HandlerService(handler), send_timeout=TIME) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        held_up = await client.ask("/1")
        await pass_time(mock_clock, TIME - 1)
        waits = await client.ask("/")
        await pass_time(mock_clock, 2)
        assert await client.until(h2.events.StreamReset, held_up) == 65_535
        assert handler.active == 1
        assert waits in client.protocol.streams
        await client.until(h2.events.DataReceived, await client.ask("/"))
    assert "GET /1: no progress in sending the response for 10 s" in caplog.text


async def test_the_unread_end_of_an_http2_response(mock_clock: trio.testing.MockClock) -> None:
    async with serving(Answering(whole), send_timeout=TIME) as port, await connect(port) as stream:
        client = Http2(stream)
        number = await client.ask("/100000")
        await pass_time(mock_clock, TIME + 1)
        assert await client.until(h2.events.StreamReset, number) == 65_535
        assert await client.until(h2.events.StreamEnded, await client.ask("/50000")) == 50_000
