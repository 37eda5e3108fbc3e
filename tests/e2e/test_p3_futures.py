"""WASI 0.3: the end of a body, the time of its trailers, and the results in the futures of messages."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
import trio
import trio.testing

from tests.e2e.ways import WAYS, Cut
from tests.guests.build import build
from wasi_trio.testing import Answer, DeadlinePassed, HttpError, OutgoingRequest, component
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi.http._client import Client
from wasi_trio.wasi.http._context import HttpOptions

#: The guest's steps: b writes the body and t the trailers, d drops the stream, s waits until the message is sent.
ENDS = ["btd", "bdt", "tbd"]


@WAYS
@pytest.mark.parametrize("steps", ENDS)
@pytest.mark.parametrize("length", ["", "&length=5"])
async def test_trailers_in_any_order(length: str, steps: str, way: Any) -> None:
    async with way("python_p3") as ask:
        for _ in range(2):
            got = await ask("GET", f"/ordered?body=12345&do={steps}{length}")
            assert (got.status, got.content) == (200, b"12345")


@WAYS
@pytest.mark.parametrize("steps", ["bt", "tb", "bst", "btsd"])
async def test_a_body_ends_at_its_announced_length(steps: str, way: Any) -> None:
    """It is irrelevant whether the stream is dropped then. The guest may wait for the result."""
    async with way("python_p3") as ask:
        for _ in range(2):
            got = await ask("GET", f"/ordered?body=12345&length=5&do={steps}")
            assert (got.status, got.content) == (200, b"12345")


async def test_trailers_after_a_body_with_a_length() -> None:
    async with component(build("python_p3")) as app:
        for steps in (*ENDS, "bt", "tb", "bst"):
            response = await app.get(f"/ordered?body=12345&length=5&do={steps}")
            assert response.trailers["x-trailer"] == "value"
            await app.idle()
            assert app.stdout == ("Ok\n" if steps == "bst" else "")


@WAYS
@pytest.mark.parametrize("steps", ["be", "ebd", "e"])
async def test_an_error_in_place_of_trailers(steps: str, way: Any) -> None:
    """It ends the response, whether the stream is dropped or not. If nothing was sent, the client may get a 500."""
    async with way("python_p3") as ask:
        try:
            got = await ask("GET", f"/ordered?body=12345&do={steps}")
        except Cut as cut:
            assert b"12345".startswith(cut.content)
        else:
            assert got.status == 500


async def test_a_late_response(autojump_clock: trio.testing.MockClock) -> None:
    """Its future does not report success, because nobody received it."""
    async with component(build("python_p3"), request_timeout=10, cancel_grace=5) as app:
        for steps in ("s", "bs", "tds"):
            with pytest.raises(DeadlinePassed):
                await app.get(f"/ordered?body=12345&do={steps}&ms=12000")
            await app.idle()
            await trio.testing.wait_all_tasks_blocked()
        assert app.stdout == "Err\n" * 3


# ---- the result of a request -------------------------------------------------------------------------------

#: The ways in which a server handles a connection.
Serve = Callable[[trio.SocketStream], Awaitable[None]]


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await trio.aclose_forcefully(stream)


async def head(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    return data


async def close_at_once(stream: trio.SocketStream) -> None:
    await head(stream)


async def reset_at_once(stream: trio.SocketStream) -> None:
    await head(stream)
    await reset(stream)


async def speak_no_tls(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


async def never_answer(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def answer(stream: trio.SocketStream) -> None:
    data = await head(stream)
    while not data.endswith((b"0\r\n\r\n", b"12345")):
        data += await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine")


async def answer_in_part(stream: trio.SocketStream) -> None:
    data = await head(stream)
    while not data.endswith(b"0\r\n\r\n"):
        data += await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfi")


@asynccontextmanager
async def origin(serve: Serve | None) -> AsyncIterator[str]:
    """Return the URL of a server. Without ``serve``, nothing listens there."""
    if serve is None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        yield f"http://127.0.0.1:{port}/"
        return
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


async def told(url: str, more: str = "", **client: Any) -> dict[str, Any]:
    """Return a guest's report about its POST request to a URL."""
    wasi = WasiOptions(http=HttpOptions(send=Client(**client).send))
    async with component(build("python_p3"), wasi=wasi) as app:
        with trio.fail_after(60):
            document: dict[str, Any] = await (await app.get(f"/sent?url={quote(url, safe='')}{more}")).json()
        return document


async def test_connection_refused() -> None:
    async with origin(None) as url:
        assert await told(url, "&body=x") == {"send": "ConnectionRefused", "sent": "ConnectionRefused"}
        assert await told(url) == {"send": "ConnectionRefused", "sent": "ConnectionRefused"}


async def test_an_unknown_host() -> None:
    document = await told("http://nobody.invalid/")
    assert document["send"] == document["sent"] == "DnsError"


async def test_a_tls_failure() -> None:
    async with origin(speak_no_tls) as url:
        document = await told(url.replace("http:", "https:"))
    assert document == {"send": "TlsProtocolError", "sent": "TlsProtocolError"}


@pytest.mark.parametrize("serve", [close_at_once, reset_at_once])
@pytest.mark.parametrize("more", ["", "&body=12345&length=5", "&body=12345&length=5&keep"])
async def test_a_server_that_closes_the_connection(more: str, serve: Serve) -> None:
    async with origin(serve) as url:
        document = await told(url, more)
    assert document["send"] == document["sent"] == "ConnectionTerminated"


async def test_a_server_that_never_answers() -> None:
    async with origin(never_answer) as url:
        document = await told(url, "&body=x", timeout=0.05)
    assert document == {"send": "ConnectionReadTimeout", "sent": "ConnectionReadTimeout"}


@pytest.mark.parametrize("more", ["&body=12345", "&body=12345&length=5", "&body=12345&length=5&keep"])
async def test_a_received_request(more: str) -> None:
    """A body of the announced length has arrived once all of it is there, whatever happens to its stream."""
    async with origin(answer) as url:
        assert await told(url, more) == {"send": 200, "read": "fine", "ended": "ok", "sent": "ok"}


async def test_a_cut_response() -> None:
    """The request itself has not failed."""
    async with origin(answer_in_part) as url:
        document = await told(url)
    assert document == {"send": 200, "read": "fi", "ended": "HttpResponseIncomplete", "sent": "ok"}


@pytest.mark.parametrize("code", ["connection-refused", "DNS-timeout", "TLS-certificate-error"])
async def test_the_result_of_a_request_in_the_harness(code: str, autojump_clock: trio.testing.MockClock) -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        if request.path == "/fails":
            raise HttpError(code)
        return Answer(content=await request.read())

    async with component(build("python_p3"), outgoing=outgoing) as app:
        document = await (await app.get("/sent?url=http://a.test/&body=x")).json()
        assert document == {"send": 200, "read": "x", "ended": "ok", "sent": "ok"}
        document = await (await app.get("/sent?url=http://a.test/fails&body=x")).json()
        assert document["send"] == document["sent"]
        assert document["sent"].lower() == code.replace("-", "").lower()


async def test_a_request_of_a_wrong_length() -> None:
    async with origin(answer) as url:
        document = await told(url, "&body=12&length=5")
    assert document == {"send": "HttpRequestBodySize", "sent": "HttpRequestBodySize"}
