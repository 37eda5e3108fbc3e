"""Persistent connections: reuse, closing, and requests on a connection that its server has closed."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing
from http_kept import OK, Server, fixed
from http_origin import abortion, content, failure, read_head

from wasi_trio.component._values import Variant
from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._connection import Connection
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._request_options import RequestOptions


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    return Server(nursery)


# ---- reuse and closing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSum: 1\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60, max=5\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_one_connection_for_requests_that_follow_each_other(server: Server, raw: bytes) -> None:
    await server.serving(fixed(raw))
    for _ in range(5):
        assert await server.get() == b"ok"
    assert [len(requests) for requests in server.seen] == [5]
    assert (server.connections.opened, server.connections.reused) == (1, 4)
    assert (server.connections.open, server.connections.idle, GUESTS.count) == (1, 1, 1)
    server.connections.close()
    assert (server.connections.open, server.connections.idle, GUESTS.count) == (0, 0, 0)


async def test_kept_connections_announce_no_close(server: Server) -> None:
    heads = []

    async def handler(stream: trio.SocketStream) -> None:
        heads.append((await read_head(stream))[0].lower())
        await stream.send_all(OK)

    await server.start(handler)
    await server.get()
    server.connections.close()
    await server.get()
    assert [b"connection: close" in head for head in heads] == [False, True]


@pytest.mark.parametrize("method", ["POST", "PUT", "PROPFIND"])
async def test_requests_with_content_use_a_kept_connection_too(server: Server, method: str) -> None:
    await server.serving(fixed(OK))
    for _ in range(3):
        assert await server.get(method, Body.of(b"content")) == b"ok"
    assert [len(requests) for requests in server.seen] == [3]


async def test_no_more_connections_than_requests_at_once(server: Server) -> None:
    await server.serving(fixed(OK))

    async def ask() -> None:
        for _ in range(50):
            assert await server.get() == b"ok"

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert len(server.seen) <= 4
    assert sum(map(len, server.seen)) == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok",
        # Excess data must not become the response to the next request.
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"\r\n",
    ],
)
async def test_connections_that_are_not_kept(server: Server, raw: bytes) -> None:
    await server.serving(fixed(raw))
    for _ in range(2):
        assert await server.get() == b"ok"
    assert [len(requests) for requests in server.seen] == [1, 1]
    assert (server.connections.open, server.connections.idle) == (0, 0)


async def test_a_response_to_head_with_content_does_not_answer_the_next_request(server: Server) -> None:
    await server.serving(
        fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    )
    assert await server.get("HEAD") == b""
    await server.get()
    assert [len(requests) for requests in server.seen] == [1, 1]


async def test_a_response_that_ends_with_its_connection(server: Server) -> None:
    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nok")
        await stream.aclose()

    await server.serving(reply)
    for _ in range(2):
        assert await server.get() == b"ok"
    assert server.connections.idle == 0


async def test_a_response_that_is_not_read_to_its_end(server: Server) -> None:
    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        await stream.send_all(OK if connection > 1 else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")

    await server.serving(reply)
    response = await server.send(connections=server.connections)
    assert await response.body.receive_some() == b"some"
    response.body.close()
    assert await server.get() == b"ok"
    assert [len(requests) for requests in server.seen] == [1, 1]


async def test_a_complete_unread_response_leaves_its_connection(server: Server) -> None:
    await server.serving(fixed(OK))
    for _ in range(3):
        response = await server.send(connections=server.connections)
        response.body.close()
    assert [len(requests) for requests in server.seen] == [3]


async def test_a_request_that_is_answered_before_its_end(server: Server) -> None:
    await server.serving(fixed(OK))
    body = Body()
    response = await server.send(server.request("POST", body=body), connections=server.connections)
    assert await content(response.body) == b"ok"
    assert server.connections.idle == 0
    assert await server.get() == b"ok"
    assert [len(requests) for requests in server.seen] == [1, 1]


async def test_a_request_whose_content_comes_in_pieces(server: Server) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        server.seen.append([])
        while True:
            head, rest = await read_head(stream)
            if not head:
                return
            while not rest.endswith(b"0\r\n\r\n"):
                rest += await stream.receive_some()
            server.seen[-1].append(rest)
            await stream.send_all(OK)

    await server.start(handler)
    for _ in range(2):
        body = Body()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.get, "POST", body))
            await trio.testing.wait_all_tasks_blocked()
            body.try_write(b"piece")
            body.finish()
    assert server.seen == [[b"5\r\npiece\r\n0\r\n\r\n"] * 2]


async def test_a_cancelled_request_closes_its_connection(server: Server) -> None:
    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        if request == 1:
            await stream.send_all(OK)

    await server.serving(reply)
    assert await server.get() == b"ok"
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()

            nursery.start_soon(cancel)
            await server.get()
    assert (server.connections.open, server.connections.idle, GUESTS.count) == (0, 0, 0)


@pytest.mark.parametrize(
    ("option", "raw", "case"),
    [
        ("first_byte_timeout", b"HTTP/1.1 100 Continue\r\n\r\n", "connection-read-timeout"),
        ("between_bytes_timeout", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome", "connection-read-timeout"),
    ],
)
async def test_timeouts_hold_on_a_kept_connection(server: Server, option: str, raw: bytes, case: str) -> None:
    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        await stream.send_all(OK if request == 1 else raw)

    await server.serving(reply)
    assert await server.get() == b"ok"
    options = {option: 0.01, "connections": server.connections}
    if option == "first_byte_timeout":
        assert await failure(server.send(**options)) == Variant(case)
    else:
        assert await abortion((await server.send(**options)).body) == Variant(case)
    assert [len(requests) for requests in server.seen] == [2]
    assert server.connections.open == 0


# ---- servers that leave ------------------------------------------------------------------------------------


@pytest.mark.parametrize("unasked", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_an_idle_connection_that_its_server_ends_or_sends_on(server: Server, unasked: bytes) -> None:
    """Unrequested bytes are not the response to the next request."""
    await server.serving(fixed(OK))
    assert await server.get("POST") == b"ok"
    stream = server.streams[0]
    await trio.testing.wait_all_tasks_blocked()
    if unasked:
        await stream.send_all(unasked)
    else:
        await stream.send_eof()
    with trio.fail_after(10):
        await readable(server)
    assert await server.get("POST") == b"ok"
    assert [len(requests) for requests in server.seen] == [1, 1]


async def readable(server: Server) -> None:
    """Wait until data has arrived on the kept connection."""
    (connection,) = server.connections._idle
    await trio.lowlevel.wait_readable(connection.socket.fileno())


def closing(first: bytes = b"", *, reset: bool = False) -> Callable[[trio.SocketStream, int, int], Awaitable[None]]:
    """Answer the first request of each connection, and close it at the second, after sending ``first``."""

    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        if request == 1:
            await stream.send_all(OK)
            return
        await stream.send_all(first)
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()

    return reply


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
async def test_repeatable_requests_are_sent_again(server: Server, method: str, reset: bool) -> None:
    await server.serving(closing(reset=reset))
    await server.get()
    await server.get(method)
    assert [len(requests) for requests in server.seen] == [2, 1]
    assert server.seen[0][1] == server.seen[1][0] == f"{method} / HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [
        ("POST", b"", []),
        ("PATCH", b"", []),
        ("LINK", b"", []),
        ("PUT", b"content", []),
        ("DELETE", b"content", []),
        ("PUT", b"content", [("content-length", b"7")]),
    ],
)
async def test_unrepeatable_requests_fail(server: Server, method: str, body: bytes, headers: list) -> None:  # type: ignore[type-arg]
    await server.serving(closing())
    await server.get()
    assert await failure(server.get(method, Body.of(body), headers)) == Variant("connection-terminated")
    assert [len(requests) for requests in server.seen] == [2]


@pytest.mark.parametrize("first", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
async def test_a_response_that_has_begun_is_not_asked_for_again(server: Server, first: bytes) -> None:
    await server.serving(closing(first))
    await server.get()
    assert (await failure(server.get())).case == "HTTP-response-incomplete"
    assert [len(requests) for requests in server.seen] == [2]


async def test_a_request_is_repeated_once(server: Server) -> None:
    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        if connection == request == 1:
            await stream.send_all(OK)
        else:
            await stream.aclose()

    await server.serving(reply)
    await server.get()
    assert await failure(server.get()) == Variant("connection-terminated")
    assert [len(requests) for requests in server.seen] == [2, 1]


async def test_a_first_request_is_not_repeated(server: Server) -> None:
    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        await stream.aclose()

    await server.serving(reply)
    assert await failure(server.get()) == Variant("connection-terminated")
    assert [len(requests) for requests in server.seen] == [1]


async def test_a_server_that_does_not_answer_is_not_asked_again(server: Server) -> None:
    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        if request == 1:
            await stream.send_all(OK)

    await server.serving(reply)
    await server.get()
    assert await failure(server.get(first_byte_timeout=0.01)) == Variant("connection-read-timeout")
    assert [len(requests) for requests in server.seen] == [2]


# ---- requests whose content comes later --------------------------------------------------------------------


async def test_a_request_is_repeated_that_turns_out_to_have_no_content(server: Server) -> None:
    """Guests of some toolchains send GET requests like this: they end the body after they send the request."""
    await server.serving(closing())
    await server.get()
    body = Body()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.get, "GET", body)
        while len(server.seen) < 2:
            await trio.lowlevel.checkpoint()
        body.finish()
    assert server.seen[0][1] == server.seen[1][0] == b"GET / HTTP/1.1"


async def test_a_post_is_not_repeated_though_none_of_its_content_was_sent(server: Server) -> None:
    await server.serving(closing())
    await server.get()
    assert await failure(server.get("POST", Body())) == Variant("connection-terminated")
    assert [len(requests) for requests in server.seen] == [2]


async def test_partly_sent_requests_are_not_repeated(server: Server) -> None:
    await server.serving(closing())
    await server.get()
    body = Body()
    body.try_write(b"some")
    assert await failure(server.get("PUT", body)) == Variant("connection-terminated")
    assert [len(requests) for requests in server.seen] == [2]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_ends_before_the_request_has_gone_out(
    server: Server, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That only ends the connection, without a wait. What the server cannot have received is sent again."""
    await server.serving(fixed(OK))
    for _ in range(20):  # which of the two tasks runs first is random
        await server.get()
        await trio.testing.wait_all_tasks_blocked()
        before = len(server.seen)
        await server.streams[-1].aclose()
        await readable(server)
        # As if the end had arrived just after that check.
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "is_silent", lambda self: True)
            body = Body()
            async with trio.open_nursery() as nursery:
                try:
                    response = await server.client.send(
                        server.request(method, body=body), RequestOptions(connections=server.connections), nursery
                    )
                    response.body.close()
                except HttpError as error:
                    # the request had been sent
                    assert method == "POST"
                    assert error.code.case == "connection-terminated"
                    continue
        assert len(server.seen) == before + 1
