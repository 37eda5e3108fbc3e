"""Trailers in all directions: of a request and of its response, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events
import h11
import pytest
import trio

from tests.e2e.support import Client, Site, serve


class Upstream:
    """A server that keeps received trailers, and answers with two others."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, bytes]] = []
        self.content = b""

    async def answer(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Data):
                self.content += event.data
        self.received = list(event.headers)
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-one, x-two\r\n\r\n"
            b"4\r\nbody\r\n0\r\nX-One: 1\r\nX-Two: 2\r\n\r\n"
        )


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve("python_p2") as site:
        yield site


async def test_through_the_outgoing_handler(site: Site, nursery: trio.Nursery) -> None:
    upstream = Upstream()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, upstream.answer, listeners)
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"

    async with Client(site.port) as client:
        await client.start(f"/trailers?url={url}")
        answer = await client.rest(await client.head())
    assert answer.status == 200
    assert upstream.content == b"a line\n"
    assert upstream.received == [(b"x-sent", b"with the request")]
    assert json.loads(answer.body) == [["X-One", "1"], ["X-Two", "2"]], "in their own casing"

    body, trailers = await exchange_over_http2(site.port, f"/trailers?url={url}", [])
    assert json.loads(body) == [["X-One", "1"], ["X-Two", "2"]]
    assert trailers == [(b"x-one", b"1"), (b"x-two", b"2")]


async def exchange_over_http2(
    port: int, path: str, sent: list[tuple[bytes, bytes]]
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the content and the trailers of the response to a request with trailers, sent in one piece."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", path), ("te", "trailers")]
    connection.send_headers(1, head)
    connection.send_data(1, b"content", end_stream=not sent)
    if sent:
        connection.send_headers(1, sent, end_stream=True)
    body, trailers = b"", []
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        while True:
            await stream.send_all(connection.data_to_send())
            data = await stream.receive_some()
            assert data, "the connection was closed"
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
                elif isinstance(event, h2.events.StreamEnded):
                    return body, trailers


# ---- over HTTP/1.1 ---------------------------------------------------------------------------------------


async def exchange(
    port: int, path: str, sent: list[tuple[str, str]], *headers: tuple[str, str]
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the content and the trailers of the response to a request with trailers."""
    async with Client(port) as client:
        await client.start(path, "POST", ("transfer-encoding", "chunked"), *headers)
        await client.write(b"content")
        await client.send(h11.EndOfMessage(headers=sent))
        answer = await client.head()
        assert answer.status == 200
        while isinstance(event := await client.event(), h11.Data):
            answer.body += event.data
        assert isinstance(event, h11.EndOfMessage)
        return answer.body, list(event.headers)


@pytest.mark.parametrize(
    ("guest", "path"),
    [("p3_trailers", "/1"), ("p3_echo_through", "/"), ("python_p3", "/echo"), ("python_p3", "/through")],
)
async def test_both_ways_over_http1(guest: str, path: str) -> None:
    async with serve(guest) as site:
        for value in ("one", "two"):
            _, trailers = await exchange(site.port, path, [("x-sent", value)], ("te", "trailers"))
            assert trailers == [(b"x-sent", value.encode())]


@pytest.mark.parametrize(
    ("guest", "path"),
    [("p3_trailers", "/1"), ("p3_echo_through", "/"), ("python_p3", "/echo"), ("python_p3", "/through")],
)
async def test_both_ways_over_http2(guest: str, path: str) -> None:
    async with serve(guest) as site:
        for sent in ([(b"x-sent", b"one"), (b"x-sent", b"\xff")], []):
            _, trailers = await exchange_over_http2(site.port, path, sent)
            assert trailers == sent


async def test_only_to_clients_that_accept_them() -> None:
    async with serve("p3_trailers") as site:
        _, trailers = await exchange(site.port, "/0", [], ("te", "trailers"))
        assert trailers == [(b"x-trailer", b"value")]
        body, trailers = await exchange(site.port, "/0", [])
        assert body
        assert trailers == []


async def test_trailers_belong_to_one_request() -> None:
    """They use a kept connection."""
    async with serve("p3_echo_through") as site, site.client() as client:
        for sent in ([("x-sent", "1")], []):
            await client.start("/", "POST", ("transfer-encoding", "chunked"), ("te", "trailers"))
            await client.send(h11.EndOfMessage(headers=sent))
            assert (await client.head()).status == 200
            event = await client.event()
            assert isinstance(event, h11.EndOfMessage)
            assert list(event.headers) == [(name.encode(), value.encode()) for name, value in sent]
            client.protocol.start_next_cycle()
