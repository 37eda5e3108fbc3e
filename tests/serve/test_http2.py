"""HTTP/2, whose clients say of each response how much of it they want."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h2.events
import hypercorn.config
import hypercorn.trio
import pytest
import trio
import trio.testing

from tests.serve.support import Http2, connect, guest, serving
from wasi_trio.serve.application import Application
from wasi_trio.serve.pool.handler import ProxyHandler
from wasi_trio.serve.protocol_options import default_config
from wasi_trio.serve.reply import Reply, Scope, Send
from wasi_trio.serve.upload import Receive, Upload
from wasi_trio.wasi.http.body import Body
from wasi_trio.wasi.http.messages import Response


@asynccontextmanager
async def serving_with_hypercorn(app: Any) -> AsyncIterator[int]:
    """A server that is hypercorn's own."""
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait))
        yield int(url.rpartition(":")[2])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("server", [serving, serving_with_hypercorn])
@pytest.mark.parametrize("name", ["endless_body", "p3_endless_body"])
async def test_a_guest_writes_no_more_than_the_client_wants(name: str, server: Any) -> None:
    """Without an end to it the server would never come to rest, and hold all that was written."""
    async with ProxyHandler(guest(name)) as handler, server(Application(handler)) as port:
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


@pytest.mark.parametrize("server", [serving, serving_with_hypercorn])
@pytest.mark.parametrize("size", [16_384, 100])
async def test_a_client_that_reads_once_it_can_send_no_more(size: int, server: Any) -> None:
    """Leave for the server to send comes after what the server would have to take first, were it to wait for that."""
    content = bytes(range(251)) * 10_000
    async with (
        ProxyHandler(guest("echo")) as handler,
        server(Application(handler)) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        number = await client.ask("/", "POST")
        sent = await client.send_until_it_must_wait(number, content[:1_000_000])
        sent += await client.send_until_it_must_wait(number, content[sent:], size)
        assert 1_000_000 < sent < 2_000_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, number, content[sent:])
            assert await client.content(number) == content


@pytest.mark.parametrize("server", [serving, serving_with_hypercorn])
async def test_a_request_that_its_guest_does_not_read_holds_up_no_other(server: Any) -> None:
    async with (
        ProxyHandler(guest("sleep")) as handler,
        server(Application(handler)) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        for _ in range(3):
            held_up = await client.ask("/3600000", "POST")
            assert await client.send_until_it_must_wait(held_up, bytes(2_000_000)) < 1_000_000
        assert await client.content(await client.ask("/1")) == b"slept\n"
        assert handler.active == 3


@pytest.mark.parametrize("server", [serving, serving_with_hypercorn])
async def test_content_of_a_request_that_was_answered_is_dropped(server: Any) -> None:
    """It ends nothing, and what the client may send in all does not shrink by it."""
    async with (
        ProxyHandler(guest("hello")) as handler,
        server(Application(handler)) as port,
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


async def test_a_connection_is_kept_for_as_many_requests_as_come() -> None:
    """hypercorn's bound would end it with those that are under way."""
    async with (
        ProxyHandler(guest("p3_hello")) as handler,
        serving(Application(handler)) as port,
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
        {":method": b"CONNECT", ":path": None, ":scheme": None},
    ],
)
async def test_a_request_that_is_none_is_reset(head: dict[str, bytes | None], caplog: pytest.LogCaptureFixture) -> None:
    async with (
        ProxyHandler(guest("p3_hello")) as handler,
        serving(Application(handler)) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        asked = {":method": b"GET", ":scheme": b"http", ":authority": b"x", ":path": b"/"} | head
        for _ in range(3):
            number = client.protocol.get_next_available_stream_id()
            fields = [(name, value) for name, value in asked.items() if value is not None]
            client.protocol.send_headers(number, fields, end_stream=True)
            await client.flush()
            await client.until(h2.events.StreamReset, number)
            assert await client.content(await client.ask("/")) == b"Hello, world!\n"
    assert "error" not in caplog.text


async def test_more_requests_at_once_than_there_are_numbers_for_their_content() -> None:
    config = default_config()
    config.h2_max_concurrent_streams = 1 << 20
    async with (
        ProxyHandler(guest("p3_hello")) as handler,
        serving(Application(handler), config=config) as port,
        await connect(port) as stream,
    ):
        client = Http2(stream)
        assert await client.content(await client.ask("/")) == b"Hello, world!\n"


class Pausing:
    """At /late a whole response once ``go`` is set, elsewhere one that has begun and does not go on."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.gone = trio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = Upload(receive, Body())
        if scope["path"] == "/late":
            await self.go.wait()
            await Reply(scope, send, Response(200, [], Body.of(b"late")), adds_date=False).send_whole(upload)
            self.gone.set()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.run)
            await Reply(scope, send, Response(200, [], Body()), adds_date=False).send_stream(upload)


async def test_a_response_that_nobody_wants_any_more_holds_back_no_other() -> None:
    app = Pausing()
    async with serving(app) as port, await connect(port) as stream:
        client = Http2(stream)
        late = await client.ask("/late")
        await trio.testing.wait_all_tasks_blocked(0.05)
        client.protocol.reset_stream(late)
        await client.flush()
        await trio.testing.wait_all_tasks_blocked(0.05)
        app.go.set()
        await app.gone.wait()
        with trio.fail_after(30):
            await client.until(h2.events.ResponseReceived, await client.ask("/"))
