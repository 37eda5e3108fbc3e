"""HTTP/2, whose clients say of each response how much of it they want."""

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
    """By our adapter, in a server that is hypercorn's own."""
    return serving_asgi(Application(handler))


@pytest.mark.parametrize("server", [serving_ours, serving_with_hypercorn])
@pytest.mark.parametrize("name", ["endless_body", "p3_endless_body"])
async def test_a_guest_writes_no_more_than_the_client_wants(name: str, server: Any) -> None:
    """Without an end to it the server would never come to rest, and hold all that was written."""
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
async def test_a_client_that_reads_once_it_can_send_no_more(size: int, server: Any) -> None:
    """Leave for the server to send comes after what the server would have to take first, were it to wait for that."""
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
async def test_a_request_that_its_guest_does_not_read_holds_up_no_other(server: Any) -> None:
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
        assert handler.active == 3


async def test_content_of_a_request_that_hypercorn_has_answered_is_dropped() -> None:
    """It ends nothing, and what the client may send in all does not shrink by it."""
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


async def test_content_of_a_request_that_was_answered_is_not_wanted() -> None:
    """The client is told so (RFC 9113, section 8.1); what it has sent by then ends nothing."""
    async with ProxyHandler(guest("hello")) as handler, serving_ours(handler) as port, await connect(port) as stream:
        client = Http2(stream)
        for _ in range(130):
            number = await client.ask("/", "POST")
            while (room := client.protocol.local_flow_control_window(number)) > 0:
                client.protocol.send_data(number, bytes(min(room, 1 << 14)))
            await client.flush()
            events = []
            while not (resets := [event for event in events if isinstance(event, h2.events.StreamReset)]):
                events = await client.receive()
            assert [(event.stream_id, event.error_code) for event in resets] == [(number, ErrorCodes.NO_ERROR)]
            assert await client.content(number) == b"Hello, world!\n"


async def test_a_connection_is_kept_for_as_many_requests_as_come() -> None:
    """One that hypercorn has would end it with those that are under way."""
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
async def test_a_request_that_is_none_is_reset(head: dict[str, bytes | None], caplog: pytest.LogCaptureFixture) -> None:
    async with (
        ProxyHandler(guest("p3_hello")) as handler,
        serving_ours(handler) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        # It is to send what h2 would not let it.
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


async def test_more_requests_at_once_than_may_be_under_way() -> None:
    service = Answering()
    async with serving(service, max_streams=3) as port, await connect(port) as stream:
        client = Http2(stream)
        numbers = []
        for _ in range(5):
            numbers.append(await client.ask("/"))
        refused = set(numbers[3:])
        while refused:  # both may come at once
            refused -= {event.stream_id for event in await client.receive() if isinstance(event, h2.events.StreamReset)}
        for exchange in service.exchanges:
            exchange.respond(Response(200, [], Body.of(b"answer")))
        for number in numbers[:3]:
            assert await client.content(number) == b"answer"


async def test_a_response_that_nobody_wants_any_more_holds_back_no_other() -> None:
    def answer(exchange: Exchange) -> None:
        if exchange.request.path_with_query != "/late":
            exchange.respond(Response(200, [], Body()))  # it begins, and does not go on

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
