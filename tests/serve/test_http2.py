"""HTTP/2 flow control: clients decide how much of each response they accept."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import h2.events
import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes

from tests.serve.support import Answering, Http2, connect, guest, serving, serving_asgi
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.asgi._application import Application
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Response


def serving_ours(handler: ProxyHandler) -> AbstractAsyncContextManager[int]:
    return serving(HandlerService(handler))


def serving_with_hypercorn(handler: ProxyHandler) -> AbstractAsyncContextManager[int]:
    """Serve with this package's adapter in hypercorn's own server."""
    return serving_asgi(Application(handler))


@pytest.mark.parametrize("server", [serving_ours, serving_with_hypercorn])
@pytest.mark.parametrize("name", ["endless_body", "p3_endless_body"])
async def test_a_guest_writes_no_more_than_the_window_allows(name: str, server: Any) -> None:
    """If the guest could write more, the server would buffer without limit, and never become idle."""
    async with ProxyHandler(guest(name)) as handler, server(handler) as port:
        async with await connect(port) as stream:
            client = Http2(stream)
            number = await client.ask("/1")
            await trio.testing.wait_all_tasks_blocked(0.05)
            size = 0
            while size < 65_535:
                size += await client.until(h2.events.DataReceived, number)
            assert size == 65_535
            for _ in range(3):
                client.protocol.increment_flow_control_window(1_000_000, number)
                await stream.send_all(client.protocol.data_to_send())
                await trio.testing.wait_all_tasks_blocked(0.05)
                size = 0
                while size < 1_000_000:
                    size += await client.until(h2.events.DataReceived, number)
                assert size == 1_000_000
            assert handler.active == 1
        with trio.fail_after(30):
            while handler.active:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("server", [serving_ours, serving_with_hypercorn])
@pytest.mark.parametrize("size", [16_384, 100])
async def test_a_client_that_reads_only_when_it_cannot_send(size: int, server: Any) -> None:
    """WINDOW_UPDATE frames follow content that the server must read first. It must not wait for them before that."""
    content = bytes(range(251)) * 10_000
    async with (
        ProxyHandler(guest("echo")) as handler,
        server(handler) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        number = await client.ask("/", "POST")
        sent = await client.send_until_it_must_wait(number, content[:1_000_000])
        sent += await client.send_until_it_must_wait(number, content[sent:], size)
        assert 500_000 < sent < 2_000_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, number, content[sent:])
            assert await client.content(number) == content


@pytest.mark.parametrize("server", [serving_ours, serving_with_hypercorn])
async def test_an_unread_request_does_not_block_others(server: Any) -> None:
    async with (
        ProxyHandler(guest("sleep")) as handler,
        server(handler) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        for _ in range(3):
            held_up = await client.ask("/3600000", "POST")
            assert await client.send_until_it_must_wait(held_up, bytes(2_000_000)) < 1_000_000
        assert await client.content(await client.ask("/1")) == b"slept\n"
        with trio.fail_after(30):
            while handler.active > 3:  # the guest may still have to return
                await trio.lowlevel.checkpoint()
        assert handler.active == 3


async def test_content_of_a_request_answered_by_hypercorn_is_dropped() -> None:
    """The content ends nothing, and the connection's window does not shrink by it."""
    async with (
        ProxyHandler(guest("hello")) as handler,
        serving_with_hypercorn(handler) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        for _ in range(130):
            number = await client.ask("/", "POST")
            assert await client.content(number) == b"Hello, world!\n"
            sent = await client.send_until_it_must_wait(number, bytes(60_000))
            assert sent == 60_000
            client.protocol.end_stream(number)
            await stream.send_all(client.protocol.data_to_send())


async def test_content_of_an_answered_request_is_refused() -> None:
    """The client is told so (RFC 9113, section 8.1). Content that it has sent by then ends nothing."""
    async with ProxyHandler(guest("hello")) as handler, serving_ours(handler) as port, await connect(port) as stream:
        client = Http2(stream)
        resets: list[h2.events.StreamReset] = []

        async def content(number: int) -> bytes:
            while number not in client.ended:
                await receive()
            return bytes(client.received.pop(number))

        async def receive() -> None:
            events = await client.receive()
            resets.extend(event for event in events if isinstance(event, h2.events.StreamReset))

        numbers = []
        for _ in range(130):
            numbers.append(number := await client.ask("/", "POST"))
            while (room := client.protocol.local_flow_control_window(number)) > 0:
                client.protocol.send_data(number, bytes(min(room, 1 << 14)))
            await client.flush()
            assert await content(number) == b"Hello, world!\n"
        while len(resets) < len(numbers):
            await receive()
        assert [(event.stream_id, event.error_code) for event in resets] == [(n, ErrorCodes.NO_ERROR) for n in numbers]


async def test_a_client_that_finishes_an_answered_request_is_not_told_to_stop() -> None:
    """curl 7.88 and httpx 0.28 lose a response if the reset of its request arrives with it."""
    async with ProxyHandler(guest("hello")) as handler, serving_ours(handler) as port, await connect(port) as stream:
        client = Http2(stream)
        for _ in range(130):
            number = await client.ask("/", "POST")
            assert await client.content(number) == b"Hello, world!\n"
            client.protocol.send_data(number, bytes(1 << 14), end_stream=True)
            await client.flush()


async def test_a_connection_is_kept_for_any_number_of_requests() -> None:
    """hypercorn's default limit would end the connection with its active requests."""
    async with (
        ProxyHandler(guest("p3_hello")) as handler,
        serving_ours(handler) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        for _ in range(1010):
            assert await client.content(await client.ask("/")) == b"Hello, world!\n"


@pytest.mark.parametrize(
    "head",
    [
        {":path": b"/\xff"},
        {":method": b"G\xff"},
        {":method": None},
        {":scheme": None},
        {":path": None},
        {":authority": b"a b"},
        {"connection": b"close"},
        {"te": b"gzip"},
        {"x-a": b"1\x00"},
        {"host": b"other"},
    ],
)
async def test_a_malformed_request_is_reset(head: dict[str, bytes | None], caplog: pytest.LogCaptureFixture) -> None:
    async with (
        ProxyHandler(guest("p3_hello")) as handler,
        serving_ours(handler) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        # It must send frames that h2 would not allow.
        client.protocol.config.validate_outbound_headers = False
        client.protocol.config.normalize_outbound_headers = False
        asked = {":method": b"GET", ":scheme": b"http", ":authority": b"x", ":path": b"/"} | head
        for _ in range(3):
            number = client.protocol.get_next_available_stream_id()
            fields = [(name, value) for name, value in asked.items() if value is not None]
            client.protocol.send_headers(number, fields, end_stream=True)
            await client.flush()
            await client.until(h2.events.StreamReset, number)
            assert await client.content(await client.ask("/")) == b"Hello, world!\n"
    assert "error" not in caplog.text


async def test_connect_is_answered() -> None:
    async with ProxyHandler(guest("p3_hello")) as handler, serving_ours(handler) as port, await connect(port) as stream:
        client = Http2(stream)
        number = client.protocol.get_next_available_stream_id()
        client.protocol.send_headers(number, [(":method", "CONNECT"), (":authority", "x:1")], end_stream=True)
        await client.flush()
        events = await client.receive()
        while not (answers := [event for event in events if isinstance(event, h2.events.ResponseReceived)]):
            events = await client.receive()
        assert dict(answers[0].headers or [])[":status"] == "501"
        assert await client.content(number) == b"CONNECT is not supported\n"
        assert await client.content(await client.ask("/")) == b"Hello, world!\n"
        assert handler.started == 1


async def test_an_empty_authority_is_none() -> None:
    service = Answering(lambda exchange: exchange.respond(Response(200, [], Body.empty())))
    async with serving(service) as port, await connect(port) as stream:
        client = Http2(stream)
        number = client.protocol.get_next_available_stream_id()
        pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", ""), (":path", "/")]
        client.protocol.send_headers(number, pseudo, end_stream=True)
        await client.flush()
        await client.content(number)
    (exchange,) = service.exchanges
    assert exchange.request.authority is None


async def test_more_concurrent_requests_than_allowed() -> None:
    service = Answering()
    async with serving(service, max_streams=3) as port, await connect(port) as stream:
        client = Http2(stream)
        numbers = []
        for _ in range(5):
            numbers.append(await client.ask("/"))
        refused = set(numbers[3:])
        while refused:  # both resets may arrive together
            refused -= {event.stream_id for event in await client.receive() if isinstance(event, h2.events.StreamReset)}
        for exchange in service.exchanges:
            exchange.respond(Response(200, [], Body.of(b"answer")))
        for number in numbers[:3]:
            assert await client.content(number) == b"answer"


async def test_an_abandoned_response_does_not_block_others() -> None:
    def answer(exchange: Exchange) -> None:
        if exchange.request.path_with_query != "/late":
            exchange.respond(Response(200, [], Body()))  # the response begins, and never continues

    service = Answering(answer)
    async with serving(service) as port, await connect(port) as stream:
        client = Http2(stream)
        late = await client.ask("/late")
        await trio.testing.wait_all_tasks_blocked(0.05)
        client.protocol.reset_stream(late)
        await client.flush()
        await trio.testing.wait_all_tasks_blocked(0.05)
        (exchange,) = service.exchanges
        assert exchange.abandoned
        exchange.respond(Response(200, [], Body.of(b"late")))
        with trio.fail_after(30):
            await client.until(h2.events.ResponseReceived, await client.ask("/"))
