"""The rules of HTTP that clients and proxies rely on, observed on the wire (RFC 9110, 9112 and 9113)."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
import trio
import trio.testing
from h2.settings import SettingCodes
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.serve.support import Http2, ask, connect, guest, read_to_end, read_until, serving
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._http2_protocol import MAX_TABLE
from wasi_trio.serve.http._stream import HttpStream, ResponseContent, ResponseHead
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request

HOST = b"host: x\r\n"
END = b"\r\n"
#: The beginning of a GOAWAY frame, behind its length, up to its stream.
GOAWAY = b"\x07\0\0\0\0\0"
#: The timeout for events that are certain to happen, in seconds.
PATIENCE = 30.0


class Recorder:
    """Answers every request with ``status`` and its properties: method, scheme, authority and target."""

    def __init__(self, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.headers = headers
        self.requests: list[Request] = []

    def __call__(self, stream: HttpStream) -> None:
        request = stream.request
        self.requests.append(request)
        content = b"%b|%b" % (request.method.encode(), (request.path_with_query or "").encode())
        bodiless = request.method == "HEAD" or self.status in (204, 304)
        head = ResponseHead(self.status, list(self.headers), None, bodiless)
        stream.send_whole(head, b"" if bodiless else content, None)


#: The fields of a server's own responses, and as they appear in a head of HTTP/1.
OWN = [(b"server", b"ours"), (b"date", b"today"), (b"alt-svc", b"h3")]
OWN_LINES = b"server: ours\r\ndate: today\r\nalt-svc: h3\r\n"


async def answer(request: bytes, service: Any = None, **limits: Any) -> bytes:
    """Send a request on a new connection, close the sending side, and return everything received."""
    options = {"half_closed_timeout": 30.0, **limits}
    with trio.fail_after(PATIENCE):
        async with serving(service or Recorder(), **options) as port, await connect(port) as stream:
            await stream.send_all(request)
            await stream.send_eof()
            return await read_to_end(stream)


# ---- heads over HTTP/1 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"GET abc HTTP/1.1",
        b"GET ?q HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /a|b HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /a\x7f HTTP/1.1",
        b"GET /\xc3\xa4 HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /\x0bHTTP/1.1",
        b"GET / HTTP/1.1\r",
        b"GET  HTTP/1.1",
        b"GET /",
        b"GET / ",
        b"GET / http/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/1.10",
        b"GET / HTTP/01.1",
        b"GET / RTSP/1.0",
        b"SOURCE / ICE/1.0",
        b"GET http://a|b/ HTTP/1.1",
        b"GET http:///x HTTP/1.1",
        b"GET * HTTP/1.1",
        b"G@T / HTTP/1.1",
        b" GET / HTTP/1.1",
    ],
)
async def test_malformed_request_lines(line: bytes) -> None:
    service = Recorder()
    received = await answer(line + END + HOST + END, service)
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close\r\n" in received
    assert not service.requests


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0", b"9.9"])
async def test_other_versions(version: bytes) -> None:
    received = await answer(b"GET / HTTP/" + version + END + HOST + END)
    assert received.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")


@pytest.mark.parametrize("version", [b"1.2", b"1.9"])
async def test_later_minor_versions(version: bytes) -> None:
    """They have the rules of HTTP/1.1 (RFC 9110, section 2.5)."""
    line = b"POST / HTTP/" + version + END
    received = await answer((line + HOST + END) * 2)
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert (await answer(line + HOST + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
    assert (await answer(line + END)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        HOST + HOST,
        b"host: a b\r\n",
        b"host: a/b\r\n",
        b"host: a@b\r\n",
        b"host: a:b\r\n",
        b"host: :80\r\n",
        b"host: [::1\r\n",
        b"host: [1:2]\r\n",
        HOST + b"x: a\x00b\r\n",
        HOST + b"x: a\x01b\r\n",
        HOST + b"x: a\x7fb\r\n",
        HOST + b"x : a\r\n",
        HOST + b"x y: a\r\n",
        HOST + b": a\r\n",
        HOST + b"x: a\r\n b\r\n",
        HOST + b"transfer-encoding: \r\n chunked\r\n",
        HOST + b"content-length: 3, 3\r\n",
        HOST + b"content-length: 3\r\ncontent-length: 3\r\n",
        HOST + b"content-length: +3\r\n",
        HOST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n",
        HOST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n",
    ],
)
async def test_malformed_fields(fields: bytes) -> None:
    service = Recorder()
    received = await answer(b"POST / HTTP/1.1\r\n" + fields + END + b"abc", service)
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert not service.requests


async def test_lengths_and_chunks_in_http_1_0() -> None:
    received = await answer(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("request_line", "seen"),
    [
        (b"GET / HTTP/1.1", b"GET|/"),
        (b"get / HTTP/1.1", b"get|/"),
        (b"PURGE /x HTTP/1.1", b"PURGE|/x"),
        (b"M-SEARCH* /x HTTP/1.1", b"M-SEARCH*|/x"),
        (b"GET /? HTTP/1.1", b"GET|/?"),
        (b"GET /?a=[1]&b={2}|3 HTTP/1.1", b"GET|/?a=[1]&b={2}|3"),
        (b"GET /%7c//..;x=y@:$&'()*+,!~ HTTP/1.1", b"GET|/%7c//..;x=y@:$&'()*+,!~"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS|*"),
        (b"GET http://y:80?q HTTP/1.1", b"GET|/?q"),
    ],
)
async def test_unusual_request_lines(request_line: bytes, seen: bytes) -> None:
    received = await answer(request_line + END + HOST + END)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(seen)


async def test_the_target_overrides_the_host_field() -> None:
    service = Recorder()
    await answer(b"GET HTTP://y:81/p HTTP/1.1\r\nhost: x\r\n\r\n", service)
    (request,) = service.requests
    assert (request.scheme, request.authority, request.path_with_query) == ("http", "y:81", "/p")


@pytest.mark.parametrize("fields", [b"HTTP/1.1\r\nhost:", b"HTTP/1.1\r\nhost: ", b"HTTP/1.0"])
async def test_the_authority_without_a_host_is_the_address(fields: bytes) -> None:
    service = Recorder()
    await answer(b"GET / " + fields + b"\r\n\r\n", service)
    (request,) = service.requests
    assert request.authority is not None
    assert request.authority.startswith("127.0.0.1:")


async def test_a_leading_empty_line() -> None:
    assert (await answer(b"\r\nGET / HTTP/1.1\r\n" + HOST + END)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("where", ["line", "field", "fields", "trailers"])
async def test_oversized_heads(where: str) -> None:
    chunked = b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n0\r\n"
    request = {
        "line": b"GET /" + b"x" * 16_384 + b" HTTP/1.1\r\n" + HOST,
        "field": b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 16_384 + END,
        "fields": b"GET / HTTP/1.1\r\n" + HOST + b"x: y\r\n" * 3000,
        "trailers": chunked + b"x: y\r\n" * 3000,
    }[where]
    status = {"trailers": b"HTTP/1.1 200", "line": b"HTTP/1.1 414 "}.get(where, b"HTTP/1.1 431 ")
    received = await answer(request + END)
    assert received.startswith(status)
    assert received.count(b"HTTP/1.1") == 1
    just = b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 16_300 + END + END
    assert (await answer(just)).startswith(b"HTTP/1.1 200")


async def test_connect_is_not_implemented() -> None:
    received = await answer(b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 501 Not Implemented\r\n")


def broken(stream: HttpStream) -> None:
    raise RuntimeError("a mistake of the server")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET /" + b"x" * 20_000, 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 20_000, 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"expect: magic\r\n\r\n", 417),
        (b"CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n", 500),
    ],
)
async def test_fields_of_the_servers_own_responses(request_: bytes, status: int) -> None:
    received = await answer(request_, broken, fields=lambda: [*OWN])
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert OWN_LINES in received
    head, _, content = received.partition(b"\r\n\r\n")
    assert content
    # A response to HEAD has no content, or the client would take it for the next response.
    bodiless = await answer(request_.replace(b"GET", b"HEAD"), broken, fields=lambda: [*OWN])
    if status != 501:
        assert bodiless == head + b"\r\n\r\n"


async def test_a_slow_head_gets_the_servers_fields(mock_clock: trio.testing.MockClock) -> None:
    async with serving(Recorder(), keep_alive_timeout=5.0, fields=lambda: OWN) as port, await connect(port) as stream:
        await stream.send_all(b"GET /")
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(6)
        received = await read_to_end(stream)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert OWN_LINES in received


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_fields_of_the_servers_own_responses_over_http2(method: str) -> None:
    async with speaking(broken, fields=lambda: [*OWN]) as client:
        for more, status in [((("x", "y" * 20_000),), "431"), ((("expect", "magic"),), "417"), ((), "500")]:
            number = await send_head(client, *more, method=method)
            head: dict[str, str] = {}
            with trio.fail_after(PATIENCE):
                while number not in client.ended:
                    for event in await client.receive():
                        if isinstance(event, h2.events.ResponseReceived):
                            head = dict(event.headers)  # type: ignore[arg-type]
            assert head[":status"] == status
            assert (head["server"], head["date"], head["alt-svc"]) == ("ours", "today", "h3")
            assert bool(client.received.pop(number, b"")) is (method == "GET")


# ---- connections ---------------------------------------------------------------------------------------------


#: Content for which the server reads large pieces.
LARGE = bytes(1_200_000)


@pytest.mark.parametrize(
    ("content", "most"),
    [
        pytest.param(END, 64 << 10, id="none"),
        pytest.param(b"content-length: %d\r\n\r\n" % len(LARGE) + LARGE, 64 << 10, id="sized"),
        pytest.param(
            b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(LARGE) + LARGE + b"\r\n0\r\n\r\n", 256 << 10, id="chunked"
        ),
    ],
)
async def test_requests_behind_an_active_one(content: bytes, most: int) -> None:
    """The server reads few of them, and answers all of them later."""
    streams: list[Any] = []

    def service(stream: HttpStream) -> None:
        if streams:
            Recorder()(stream)
        else:
            streams.append(stream)  # its content is dropped

    further = b"GET /well HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 10_000 + END + END
    number = 2000
    async with serving(service) as port, await connect(port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"POST / HTTP/1.1\r\n" + HOST + content + further * number)
        await trio.testing.wait_all_tasks_blocked(0.1)
        (first,) = streams
        assert 0 < first._connection.protocol.buffered <= most
        assert nursery.child_tasks, "all requests were read"
        Recorder()(first)
        seen = b""
        left = number
        while left:
            seen += await stream.receive_some()
            left -= seen.count(b"GET|/well")
            seen = seen[-8:] if not seen.endswith(b"GET|/well") else b""


@pytest.mark.parametrize("behind", [b"\r\n", b"xx", b"GET /2 HTTP/1.1\r\nhost: x\r\n\r\n"])
async def test_data_after_the_last_request_is_ignored(behind: bytes) -> None:
    service = Recorder()
    received = await answer(b"GET /1 HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n" + behind, service)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"GET|/1")
    assert len(service.requests) == 1


async def test_junk_after_a_request_on_a_kept_connection_is_answered() -> None:
    received = await answer(b"GET /1 HTTP/1.1\r\n" + HOST + END + b"\0\0\r\n\r\n")
    assert re.match(rb"HTTP/1.1 200 .*GET\|/1HTTP/1.1 400 ", received, re.DOTALL)


@pytest.mark.parametrize(
    "upgrade",
    [b"websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: " + b"A" * 24, b"h2c\r\nhttp2-settings: "],
)
@pytest.mark.parametrize("close", [False, True])
async def test_upgrades_are_ignored(upgrade: bytes, close: bool) -> None:
    """The guest answers it like any other request, and the connection remains ordinary."""
    service = Recorder()
    connection = b"connection: upgrade" + (b", close" if close else b"")
    request = b"GET / HTTP/1.1\r\n" + HOST + connection + b"\r\nupgrade: " + upgrade + b"\r\n\r\n"
    async with serving(service) as port, await connect(port) as stream:
        await stream.send_all(request)
        assert (await read_until(stream, b"GET|/")).startswith(b"HTTP/1.1 200")
        if close:
            assert await read_to_end(stream) == b""
        else:
            await stream.send_all(b"GET /2 HTTP/1.1\r\n" + HOST + END)
            await read_until(stream, b"GET|/2")


async def test_every_connection_has_a_timeout(mock_clock: trio.testing.MockClock) -> None:
    """This holds for all requests and all responses."""
    asked = [
        b"",
        b"GET /",
        b"GET / HTTP/1.1\r\n" + HOST,
        b"GET / HTTP/1.1\r\n" + HOST + END,
        b"GET / HTTP/1.1\r\n" + HOST + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\n"
        + HOST
        + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings:\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 10\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"nonsense\r\n\r\n",
    ]
    async with serving(Recorder(), max_connections=len(asked)) as port:
        streams = [await connect(port) for _ in asked]
        for stream, request in zip(streams, asked, strict=True):
            await stream.send_all(request)
        for _ in range(40):
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(0.25)
        with trio.fail_after(PATIENCE):
            for stream in streams:
                await read_to_end(stream)
                await stream.aclose()
            async with await connect(port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\n" + HOST + END)
                await read_until(stream, b"GET|/")


async def test_a_slow_head(mock_clock: trio.testing.MockClock) -> None:
    async with serving(Recorder()) as port, await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n")
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(6)
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"connection: close\r\n", False),
        (b"1.1", b"connection: x, Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"connection: Keep-Alive\r\n", True),
        (b"1.0", b"connection: keep-alive, close\r\n", False),
    ],
)
async def test_kept_connections(version: bytes, connection: bytes, kept: bool) -> None:
    async with serving(Recorder()) as port, await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/" + version + END + HOST + connection + END)
        head = await read_until(stream, b"GET|/")
        assert (b"connection: close\r\n" in head) is not kept
        assert (b"connection: keep-alive\r\n" in head) is (kept and version == b"1.0")
        if kept:
            await stream.send_all(b"GET /2 HTTP/1.1\r\n" + HOST + END)
            await read_until(stream, b"GET|/2")
        else:
            assert await read_to_end(stream) == b""


@pytest.mark.parametrize("path", ["/1", "/300"])
@pytest.mark.parametrize("name", ["sleep", "p3_sleep"])
async def test_a_half_closed_client_gets_its_response(name: str, path: str) -> None:
    async with ProxyHandler(guest(name)) as handler:
        received = await answer(b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + END, HandlerService(handler))
    assert received.startswith(b"HTTP/1.1 200")
    assert b"slept\n" in received


async def test_a_half_closed_client_has_a_timeout(mock_clock: trio.testing.MockClock) -> None:
    """The server cannot distinguish it from a client that has left."""
    async with (
        ProxyHandler(guest("sleep")) as handler,
        serving(HandlerService(handler), half_closed_timeout=30.0) as port,
        await connect(port) as stream,
    ):
        await stream.send_all(b"GET /3600000 HTTP/1.1\r\n" + HOST + END)
        await stream.send_eof()
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(29)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert handler.active == 1
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert handler.active == 0


# ---- responses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, b"200 OK"), (418, b"418 I'm a Teapot"), (404, b"404 Not Found"), (299, b"299 "), (999, b"999 ")],
)
async def test_status_lines(status: int, line: bytes) -> None:
    received = await answer(b"GET / HTTP/1.1\r\n" + HOST + END, Recorder(status))
    assert received.partition(b"\r\n")[0].lower() == b"http/1.1 " + line.lower()


@pytest.mark.parametrize(("status", "method"), [(204, b"GET"), (304, b"GET"), (200, b"HEAD")])
async def test_responses_without_content(status: int, method: bytes) -> None:
    received = await answer(b"%b / HTTP/1.1\r\n" % method + HOST + END, Recorder(status))
    assert received.endswith(b"\r\n\r\n")
    assert b"content-length" not in received
    assert b"transfer-encoding" not in received


async def test_no_100_continue_for_a_refused_request() -> None:
    """It responds without reading: 100 Continue would promise to read."""
    request = b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 5\r\nexpect: 100-continue\r\n\r\n"
    async with serving(Recorder(413)) as port, await connect(port) as stream:
        await stream.send_all(request)
        received = await read_to_end(stream)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close\r\n" in received


@pytest.mark.parametrize("name", ["echo", "p3_echo", "p3_echo_through"])
async def test_100_continue_when_the_guest_reads(name: str) -> None:
    request = b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 5\r\nexpect: 100-continue\r\n\r\n"
    async with (
        ProxyHandler(guest(name)) as handler,
        serving(HandlerService(handler)) as port,
        await connect(port) as stream,
    ):
        for _ in range(2):
            await stream.send_all(request)
            with trio.fail_after(PATIENCE):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
                await stream.send_all(b"hello")
                await read_until(stream, b"hello")
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_100_continue_over_http2() -> None:
    """It is sent when the guest reads, and not earlier."""
    async with ProxyHandler(guest("echo")) as handler, speaking(HandlerService(handler)) as client:
        number = await send_head(client, ("expect", "100-continue"), method="POST", ends=False)
        with trio.fail_after(PATIENCE):
            await client.until(h2.events.InformationalResponseReceived, number)
            client.protocol.send_data(number, b"hello", end_stream=True)
            await client.flush()
            assert await client.content(number) == b"hello"
    async with speaking(Recorder(413)) as client:
        number = await send_head(client, ("expect", "100-continue"), method="POST", ends=False)
        seen: list[object] = []
        with trio.fail_after(PATIENCE):
            while not any(isinstance(event, h2.events.ResponseReceived) for event in seen):
                seen += await client.receive()
        assert not any(isinstance(event, h2.events.InformationalResponseReceived) for event in seen)


async def test_an_unknown_expectation() -> None:
    received = await answer(b"POST / HTTP/1.1\r\n" + HOST + b"expect: magic\r\ncontent-length: 1\r\n\r\nx")
    assert received.startswith(b"HTTP/1.1 417 ")


@pytest.mark.parametrize(("length", "kept"), [(1000, True), (65_000, True), (1_000_000, False)])
async def test_a_response_before_the_end_of_the_request(length: int, kept: bool) -> None:
    """Short content is read and dropped, and the connection stays open. Before long content its close is announced."""
    async with serving(Recorder()) as port, await connect(port) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\n" + HOST + b"content-length: %d\r\n\r\n" % length)
        head = await read_until(stream, b"POST|/")
        assert (b"connection: close\r\n" in head) is not kept
        if kept:
            await stream.send_all(bytes(length) + b"GET /2 HTTP/1.1\r\n" + HOST + END)
            await read_until(stream, b"GET|/2")


# ---- HTTP/2 --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def speaking(service: Any = None, **limits: Any) -> AsyncIterator[Http2]:
    async with serving(service or Recorder(), **limits) as port, await connect(port) as stream:
        yield Http2(stream)


async def send_head(client: Http2, *more: tuple[str, str], ends: bool = True, **other: str) -> int:
    """Send a head that h2 would refuse to send. Return the number of its stream."""
    config = client.protocol.config
    config.validate_outbound_headers = config.normalize_outbound_headers = False
    number: int = client.protocol.get_next_available_stream_id()
    pseudo = {"method": "GET", "scheme": "http", "authority": "x", "path": "/", **other}
    fields = [(f":{name}", value) for name, value in pseudo.items() if value] + list(more)
    client.protocol.send_headers(number, fields, end_stream=ends)
    await client.flush()
    return number


async def is_well(client: Http2) -> None:
    """Assert that the connection answers a request."""
    with trio.fail_after(PATIENCE):
        assert await client.content(await client.ask("/well")) == b"GET|/well"


async def test_requests_beyond_the_limit_of_streams_are_refused() -> None:
    """All are sent before the server's settings have arrived. The other requests are answered."""
    go = trio.Event()
    streams: list[HttpStream] = []

    def service(stream: HttpStream) -> None:
        streams.append(stream)
        if stream.request.path_with_query == "/well" or go.is_set():
            Recorder()(stream)

    async with speaking(service) as client:
        numbers = []
        data = b""
        for _ in range(101):
            number: int = client.protocol.get_next_available_stream_id()
            client.protocol.send_headers(
                number, [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")], end_stream=True
            )
            numbers.append(number)
        data = client.protocol.data_to_send()
        await client.stream.send_all(data)
        refused = None
        with trio.fail_after(PATIENCE):
            while refused is None:
                for event in await client.receive():
                    if isinstance(event, h2.events.StreamReset):
                        refused = event
        assert refused.stream_id == numbers[-1]
        assert refused.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        assert len(streams) == 100
        for stream in streams:
            Recorder()(stream)
        with trio.fail_after(PATIENCE):
            for number in numbers[:-1]:
                assert await client.content(number) == b"GET|/"
        go.set()
        await is_well(client)


@pytest.mark.parametrize(
    ("more", "other"),
    [
        ((("Upper", "x"),), {}),
        ((("a b", "x"),), {}),
        ((("x", "a\0b"),), {}),
        ((("x", "a\nb"),), {}),
        ((("connection", "close"),), {}),
        ((("transfer-encoding", "chunked"),), {}),
        ((("te", "gzip"),), {}),
        (((":path", "/2"),), {}),
        ((("x", "y"), (":late", "1")), {}),
        ((("host", "y"),), {}),
        ((("host", "x"), ("host", "x")), {}),
        ((("host", "x:81"),), {}),
        ((("host", "x:80"),), {"scheme": "https"}),
        ((("content-length", "many"),), {}),
        ((("content-length", "4"),), {}),
        ((("content-length", "0"), ("content-length", "0")), {}),
        ((), {"path": ""}),
        ((), {"path": "x"}),
        ((), {"path": "/a|b"}),
        ((), {"method": ""}),
        ((), {"method": "G T"}),
        ((), {"scheme": ""}),
        ((), {"authority": "a b"}),
    ],
)
async def test_only_the_malformed_request_is_reset(more: Any, other: dict[str, str]) -> None:
    async with speaking() as client:
        for _ in range(2):
            number = await send_head(client, *more, **other)
            with trio.fail_after(PATIENCE):
                await client.until(h2.events.StreamReset, number)
            await is_well(client)


async def test_http2_heads_answered_with_an_error() -> None:
    async with speaking() as client:
        for more, other, status in [
            ((("x", "y" * 20_000),), {}, b"431"),
            ((), {"method": "CONNECT"}, b"501"),
            ((("expect", "magic"),), {}, b"417"),
        ]:
            number = await send_head(client, *more, **other)  # type: ignore[arg-type]
            found: list[Any] = []
            with trio.fail_after(PATIENCE):
                while not found:
                    found = [
                        event
                        for event in await client.receive()
                        if isinstance(event, h2.events.ResponseReceived) and event.stream_id == number
                    ]
            assert dict(found[0].headers)[":status"] == status.decode()
            await is_well(client)


@pytest.mark.parametrize(
    ("host", "authority"), [("X", "x"), ("x:80", "x"), ("x", "x:80"), ("x:", "x"), ("[::1]", "[::1]:80")]
)
async def test_the_same_authority_in_two_spellings(host: str, authority: str) -> None:
    async with speaking() as client:
        assert await client.content(await send_head(client, ("host", host), authority=authority)) == b"GET|/"


async def test_cookies_are_one_field() -> None:
    """Browsers divide them (RFC 9113, section 8.2.3)."""
    service = Recorder()
    async with speaking(service) as client:
        await client.content(await send_head(client, ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")))
    assert [value for name, value in service.requests[0].headers if name == "cookie"] == [b"a=1; b=2"]


class Holding:
    """Keeps the streams of all requests without an answer, except those for ``/well``."""

    def __init__(self) -> None:
        self.streams: list[HttpStream] = []

    def __call__(self, stream: HttpStream) -> None:
        if stream.request.path_with_query == "/well":
            Recorder()(stream)
            return
        self.streams.append(stream)
        if not stream.request.body.finished:
            stream.receive_into(stream.request.body)


@pytest.mark.parametrize(
    "trailers",
    [
        [(":status", "100")],
        [(":path", "/")],
        [(":other", "x")],
        [("Upper", "x")],
        [("connection", "close")],
        [("transfer-encoding", "chunked")],
        [("x", " y")],
        [("x", "a\nb")],
        [("x", "a" * 20_000)],
    ],
)
async def test_malformed_trailers(trailers: list[tuple[str, str]]) -> None:
    service = Holding()
    async with speaking(service) as client:
        number = await send_head(client, method="POST", ends=False)
        client.protocol.send_data(number, b"content")
        await client.flush()
        frame = HeadersFrame(number, client.protocol.encoder.encode(trailers), flags=["END_HEADERS", "END_STREAM"])
        await client.stream.send_all(frame.serialize())
        with trio.fail_after(PATIENCE):
            await client.until(h2.events.StreamReset, number)
        await is_well(client)
    (stream,) = service.streams
    assert stream.request.body.error is not None


async def test_trailers_of_a_request() -> None:
    service = Holding()
    async with speaking(service) as client:
        number = await send_head(client, ("content-length", "7"), method="POST", ends=False)
        client.protocol.send_data(number, b"content")
        client.protocol.send_headers(number, [("x", "y")], end_stream=True)
        await client.flush()
        await is_well(client)
    (stream,) = service.streams
    assert stream.request.body.trailers == [("x", b"y")]


@pytest.mark.parametrize("content", [b"", b"x", b"too much"])
async def test_content_of_another_length_before_trailers(content: bytes) -> None:
    service = Holding()
    async with speaking(service) as client:
        number = await send_head(client, ("content-length", "4"), method="POST", ends=False)
        if content:
            client.protocol.send_data(number, content)
        client.protocol.send_headers(number, [("x", "y")], end_stream=True)
        await client.flush()
        with trio.fail_after(PATIENCE):
            await client.until(h2.events.StreamReset, number)
        await is_well(client)
    (stream,) = service.streams
    assert stream.request.body.error is not None


@pytest.mark.parametrize("content", [b"too much", b"x"])
async def test_content_of_another_length_than_announced(content: bytes) -> None:
    """Its request is reset, while the other requests of the connection continue."""
    seen: list[HttpStream] = []

    def service(stream: HttpStream) -> None:
        if stream.request.path_with_query == "/well":
            Recorder()(stream)
        else:
            stream.receive_into(stream.request.body)
            seen.append(stream)

    async with speaking(service) as client:
        number = await send_head(client, ("content-length", "4"), ends=False)
        await client.stream.send_all(DataFrame(number, content, flags=["END_STREAM"]).serialize())
        with trio.fail_after(PATIENCE):
            await client.until(h2.events.StreamReset, number)
        assert len(seen) == 1
        assert seen[0].request.body.error is not None
        await is_well(client)


async def test_a_window_update_of_zero() -> None:
    def service(stream: HttpStream) -> None:
        if stream.request.path_with_query == "/well":
            Recorder()(stream)

    async with speaking(service) as client:
        number = await client.ask("/held")
        await trio.testing.wait_all_tasks_blocked(0.05)
        frame = bytearray(WindowUpdateFrame(number, window_increment=1).serialize())
        frame[-1] = 0
        await client.stream.send_all(frame)
        with trio.fail_after(PATIENCE):
            await client.until(h2.events.StreamReset, number)
        await is_well(client)


async def test_active_requests_are_answered_after_a_clients_goaway() -> None:
    """The client accepts no pushed streams, and may still wait for responses (RFC 9113, section 6.8)."""
    streams: list[HttpStream] = []
    async with speaking(streams.append) as client:
        number = await client.ask("/")
        await client.stream.send_all(GoAwayFrame(0, last_stream_id=0, error_code=0).serialize())
        await client.stream.send_all(WindowUpdateFrame(0, window_increment=1).serialize())
        with trio.fail_after(PATIENCE):
            while not streams:
                await trio.lowlevel.checkpoint()
            Recorder()(streams[0])
            assert await client.content(number) == b"GET|/"


async def test_a_whole_response_ends_with_its_last_content() -> None:
    """It is sent in one write: a proxy may wait for an acknowledgement before it forwards a second one."""
    async with speaking() as client:
        await client.flush()
        await trio.testing.wait_all_tasks_blocked(0.05)
        await client.receive()
        await client.ask("/")
        with trio.fail_after(PATIENCE):
            data = await client.stream.receive_some()
        frames = []
        while data:
            size = int.from_bytes(data[:3], "big")
            frames.append((data[3], data[4] & 1, size))
            data = data[9 + size :]
        kinds = [frame for frame in frames if frame[0] in (0, 1)]
        assert kinds == [(1, 0, kinds[0][2]), (0, 1, len(b"GET|/"))]


async def test_a_response_without_content_ends_with_its_head() -> None:
    async with speaking(Recorder(204)) as client:
        number = await client.ask("/")
        with trio.fail_after(PATIENCE):
            await client.until(h2.events.StreamEnded, number)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(PingFrame(0, b"12345678").serialize(), id="ping"),
        pytest.param(SettingsFrame(0).serialize(), id="settings"),
        pytest.param(PriorityFrame(1, depends_on=3, stream_weight=1).serialize(), id="priority"),
        pytest.param(WindowUpdateFrame(0, window_increment=1).serialize(), id="window"),
        pytest.param(b"\0\0\0\x0b\0\0\0\0\0", id="unknown"),
    ],
)
async def test_frames_without_effect(frame: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Some are accepted. A flood of them ends the connection, with little effect on others."""
    async with serving(Recorder()) as port, await connect(port) as neighbour, await connect(port) as stream:
        client = Http2(stream)
        await is_well(client)
        await stream.send_all(frame * 100)
        await is_well(client)
        with trio.fail_after(PATIENCE):
            ended = None
            async with trio.open_nursery() as nursery:

                async def flood() -> None:
                    try:
                        await stream.send_all(frame * 20_000)
                    except trio.BrokenResourceError:
                        return

                nursery.start_soon(flood)
                while ended is None:
                    await neighbour.send_all(b"GET / HTTP/1.1\r\n" + HOST + END)
                    await read_until(neighbour, b"GET|/")
                    for event in await client.receive():
                        if isinstance(event, h2.events.ConnectionTerminated):
                            ended = event.error_code
                nursery.cancel_scope.cancel()
    assert ended == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    assert "too many frames without effect" in caplog.text


@pytest.mark.parametrize("padding", [None, 0, 1])
async def test_empty_content_without_an_end(padding: int | None) -> None:
    def service(stream: HttpStream) -> None:
        stream.receive_into(stream.request.body)

    async with speaking(service) as client:
        number = await client.ask("/", "POST")
        with trio.fail_after(PATIENCE):
            ended = None
            flags = [] if padding is None else ["PADDED"]
            frame = DataFrame(number, b"", pad_length=padding or 0, flags=flags).serialize()
            await client.stream.send_all(frame * 3000)
            while ended is None:
                for event in await client.receive():
                    if isinstance(event, h2.events.ConnectionTerminated):
                        ended = event.error_code
    assert ended == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


async def test_rapid_resets_end_the_connection() -> None:
    async with speaking(lambda stream: None) as client:
        with trio.fail_after(PATIENCE):
            ended = None
            while ended is None:
                for _ in range(50):
                    number = await client.ask("/")
                    client.protocol.reset_stream(number)
                await client.flush()
                with trio.move_on_after(0.01):
                    for event in await client.receive():
                        if isinstance(event, h2.events.ConnectionTerminated):
                            ended = event.error_code
    assert ended == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("kind", ["reset", "wrong length", "wrong window", "wrong trailers"])
async def test_the_limit_of_abandoned_requests(kind: str) -> None:
    """Content of a request allows no more of them. Requests that the client makes the server reset count, too."""
    service = Holding()
    async with speaking(service, max_streams=10) as client:
        data = client.protocol.data_to_send()
        for number in range(1, 2001, 2):
            fields = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
            fields += [("content-length", "1")] * (kind == "wrong length")
            data += HeadersFrame(number, client.protocol.encoder.encode(fields), flags=["END_HEADERS"]).serialize()
            data += DataFrame(number, b"x").serialize() * 2
            if kind == "reset":
                data += RstStreamFrame(number, 8).serialize()
            elif kind == "wrong window":
                data += WindowUpdateFrame(number, window_increment=1).serialize()[:-1] + b"\0"
            elif kind == "wrong trailers":
                field = client.protocol.encoder.encode([(":path", "/")])
                data += HeadersFrame(number, field, flags=["END_HEADERS", "END_STREAM"]).serialize()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.stream.send_all, data)
            with trio.fail_after(PATIENCE):
                received = b""
                while GOAWAY not in received:
                    received += await client.stream.receive_some()
            nursery.cancel_scope.cancel()
    # A batch of frames ends as a whole, and time allows some more.
    assert 20 <= len(service.streams) < 500
    assert all(stream.request.body.error is not None for stream in service.streams)


async def test_a_window_that_opens_byte_by_byte() -> None:
    """Each byte costs the server a turn of all waiting streams."""

    def service(stream: HttpStream) -> None:
        stream.send_whole(ResponseHead(200, []), b"z" * 100_000, None)

    async with speaking(service) as client:
        client.protocol.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
        number = await client.ask("/")
        update = WindowUpdateFrame(number, window_increment=1).serialize()
        received = 0
        last = b""
        with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
            while GOAWAY not in last and (data := await client.stream.receive_some()):
                received += len(data)
                last = (last + data)[-100:]
                await client.stream.send_all(update)
        # A frame with one byte takes ten.
        assert 5_000 < received < 500_000


async def test_a_preface_of_http2_behind_a_request() -> None:
    """Another protocol begins only with the connection."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
    received = await answer(b"GET /1 HTTP/1.1\r\n" + HOST + END + preface)
    assert re.match(rb"HTTP/1.1 200 .*GET\|/1HTTP/1.1 505 ", received, re.DOTALL)


async def test_a_client_that_cancels_some_requests() -> None:
    """A page that its user leaves cancels all of its requests, and a proxy those of many users."""
    service = Holding()
    async with speaking(service) as client:
        for _ in range(2):
            for number in [await client.ask("/") for _ in range(100)]:
                client.protocol.reset_stream(number)
            await client.flush()
            await is_well(client)
        for _ in range(300):
            await is_well(client)
            client.protocol.reset_stream(await client.ask("/"))
        await client.flush()
        await is_well(client)
    assert len(service.streams) == 500


async def test_responses_that_a_client_does_not_want_to_the_end() -> None:
    """Such a client has waited for its responses, so it may end any number of them."""

    def service(stream: HttpStream) -> None:
        if stream.request.path_with_query == "/well":
            Recorder()(stream)
            return
        body = Body()
        stream.send_head(ResponseHead(200, []), ResponseContent(body, None))
        stream.send_later(partial(stream.send_pieces, [b"x"]))

    async with speaking(service, max_streams=10) as client:
        for _ in range(300):
            number = await client.ask("/")
            await client.until(h2.events.DataReceived, number)
            client.protocol.reset_stream(number)
        await client.flush()
        await is_well(client)


async def test_a_clients_settings_fill_no_memory() -> None:
    """h2 would keep all unknown settings, and each field of a response in a table of the size that a client allows."""
    streams: list[Any] = []

    def service(stream: HttpStream) -> None:
        streams.append(stream)
        number = len(streams)
        Recorder(200, *[(b"x-%d-%d" % (number, field), b"y" * 100) for field in range(20)])(stream)

    async with speaking(service) as client:
        known = {code.value: 0 for code in (SettingCodes.ENABLE_PUSH, SettingCodes.ENABLE_CONNECT_PROTOCOL)}
        known |= {SettingCodes.HEADER_TABLE_SIZE: (1 << 32) - 1, SettingCodes.MAX_HEADER_LIST_SIZE: (1 << 32) - 1}
        await client.flush()
        for first in range(100, 10_000, 1000):
            settings = {**known, **dict.fromkeys(range(first, first + 1000), 1)}
            # hyperframe sends only one byte of a name.
            payload = b"".join(struct.pack(">HL", *setting) for setting in settings.items())
            await client.stream.send_all(len(payload).to_bytes(3, "big") + b"\x04\0\0\0\0\0" + payload)
        # h2 must accept the announced size.
        client.protocol.decoder.max_allowed_table_size = (1 << 32) - 1
        for _ in range(20):
            await is_well(client)
        protocol = streams[0]._connection.protocol
        assert len(protocol.remote_settings) < 20
        assert protocol.encoder.header_table_size == MAX_TABLE
        assert len(protocol.encoder.header_table.dynamic_entries) < MAX_TABLE // 100


async def test_h2_forgets_closed_streams() -> None:
    streams: list[Any] = []

    def service(stream: HttpStream) -> None:
        streams.append(stream)
        Recorder()(stream)

    async with speaking(service) as client:
        for _ in range(1200):
            await is_well(client)
        protocol = streams[0]._connection.protocol
        assert len(protocol._closed_streams) <= 1024
        # Content that is late reaches nobody, and ends nothing.
        await client.stream.send_all(DataFrame(1, b"late").serialize())
        await is_well(client)


async def test_requests_that_the_server_answers_by_itself_are_forgotten() -> None:
    """Their clients have not sent the content, and never will."""
    streams: list[Any] = []

    def service(stream: HttpStream) -> None:
        streams.append(stream)
        Recorder()(stream)

    async with speaking(service, max_streams=10) as client:
        for _ in range(100):
            number = await send_head(client, ("expect", "magic"), method="POST", ends=False)
            with trio.fail_after(PATIENCE):
                await client.content(number)
        await is_well(client)
        protocol = streams[0]._connection.protocol
        assert protocol.open_inbound_streams <= 10
        assert len(protocol.streams) <= 10


async def test_undecodable_fields_end_the_connection() -> None:
    """The fields that follow could not be decoded either (RFC 9113, section 4.3)."""
    async with speaking() as client:
        await is_well(client)
        number = client.protocol.get_next_available_stream_id()
        frame = HeadersFrame(number, b"\xff\xff\xff\xff", flags=["END_HEADERS", "END_STREAM"])
        await client.stream.send_all(frame.serialize())
        with trio.fail_after(PATIENCE):
            ended = None
            while ended is None:
                for event in await client.receive():
                    if isinstance(event, h2.events.ConnectionTerminated):
                        ended = event.error_code
            # h2 uses another error code.
    assert ended in (h2.errors.ErrorCodes.COMPRESSION_ERROR, h2.errors.ErrorCodes.PROTOCOL_ERROR)


# ---- many connections ----------------------------------------------------------------------------------------


async def test_the_backlog_holds_a_burst_of_connections() -> None:
    """The server accepts none while they arrive, so the system must queue them all."""
    async with serving(Recorder()) as port:
        sockets = []
        try:
            for _ in range(1000):
                client = socket.socket()
                client.settimeout(1)
                client.connect(("127.0.0.1", port))
                sockets.append(client)
        finally:
            for client in sockets:
                client.close()
        assert (await ask(port, b"GET / HTTP/1.1\r\nconnection: close\r\n" + HOST + END)).endswith(b"GET|/")
