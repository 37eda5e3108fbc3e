"""The path of a guest's response to an HTTP stream. test_server covers the bytes on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import pytest
import trio
import trio.testing

from tests.serve.support import Answering
from wasi_trio.serve.http._stream import BadResponse, ClientLeft, ResponseContent, ResponseHead
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import DeadlinePassed, GuestFailed, InstantiationFailed, Overloaded
from wasi_trio.wasi.http._body import Body, BodyAborted, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response


class State(Enum):
    NOTHING = "nothing is sent"
    WHOLE = "all was sent at once"
    BEGUN = "the head is sent"
    ENDED = "all was sent bit by bit"
    ABORTED = "it was cut"


class Recording:
    """A stream that records its calls."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.on_left: Callable[[HttpError], None] | None = None
        self.about: Callable[[], Mapping[str, str]] | None = None
        self.state = State.NOTHING
        self.head: ResponseHead | None = None
        self.content: list[bytes] = []
        self.trailers: Trailers | None = None
        #: The body for the request's content.
        self.receiver: Body | None = None
        #: The function to run later.
        self.later: Callable[[], Awaitable[None]] | None = None
        self.has_left = False

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        assert self.head is not None
        return self.head.headers

    def move(self, expected: State, to: State) -> None:
        assert self.state is expected
        self.state = to

    def receive_into(self, body: Body) -> None:
        self.receiver = body

    def send_whole(self, head: ResponseHead, content: bytes, trailers: Trailers | None) -> None:
        self.move(State.NOTHING, State.WHOLE)
        self.head, self.content, self.trailers = head, [content], trailers

    def send_later(self, send: Callable[[], Awaitable[None]]) -> None:
        assert self.later is None
        self.later = send

    def send_head(self, head: ResponseHead, content: ResponseContent) -> None:
        self.move(State.NOTHING, State.BEGUN)
        self.head = head

    async def send_pieces(self, pieces: list[Piece]) -> None:
        assert self.state is State.BEGUN
        await trio.lowlevel.checkpoint()
        if self.has_left:
            raise ClientLeft
        if pieces:
            self.content.append(b"".join(pieces))

    async def end(self, trailers: Trailers | None) -> None:
        if self.has_left:
            raise ClientLeft
        self.move(State.BEGUN, State.ENDED)
        self.trailers = trailers

    def abort(self) -> None:
        if self.state in (State.NOTHING, State.BEGUN):
            self.state = State.ABORTED

    def leave(self) -> None:
        """Report that the client has left."""
        self.has_left = True
        on_left, self.on_left = self.on_left, None
        if on_left is not None:
            on_left(HttpError("connection-terminated"))


def asked(service: Answering, method: str = "GET", body: Body | None = None) -> Recording:
    stream = Recording(Request(method, "http", "x", "/", [], Body.empty() if body is None else body))
    service(stream)
    return stream


def answered(response: Response, method: str = "GET", **options: Any) -> Recording:
    """Return a stream whose request was answered at once."""
    return asked(Answering(lambda exchange: exchange.respond(response), **options), method)


def whole(response: Response, method: str = "GET", **options: Any) -> Recording:
    stream = answered(response, method, **options)
    assert stream.state is State.WHOLE
    assert stream.later is None
    return stream


def test_whole() -> None:
    stream = whole(Response(201, [("X-A", b"1"), ("x-a", b"2")], Body.of(b"hello")))
    assert stream.head == ResponseHead(201, [(b"X-A", b"1"), (b"x-a", b"2")])
    assert stream.content == [b"hello"]


def test_guests_do_not_control_the_connection() -> None:
    headers = [("Connection", b"close"), ("transfer-encoding", b"chunked"), ("upgrade", b"x"), ("x", b"y")]
    assert whole(Response(200, [*headers, ("keep-alive", b"1")], Body.empty())).headers == [(b"x", b"y")]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_without_content(method: str, status: int) -> None:
    body = Body()
    body.try_write(b"never sent")
    stream = whole(Response(status, [("content-length", b"99")], body), method)
    # RFC 9110, section 8.6 forbids a length with 204.
    assert stream.headers == ([] if status == 204 else [(b"content-length", b"99")])
    assert stream.head is not None
    assert stream.head.bodiless
    assert stream.content == [b""]
    assert body.closed


def test_date() -> None:
    stream = whole(Response(200, [], Body.empty()), adds_date=True)
    ((name, value),) = stream.headers
    assert name == b"date"
    assert value.endswith(b" GMT")
    assert whole(Response(200, [("Date", b"today")], Body.empty()), adds_date=True).headers == [(b"Date", b"today")]
    assert whole(Response(200, [], Body.empty())).headers == []


def test_fields_of_every_response() -> None:
    added = [(b"server", b"me")]
    assert whole(Response(200, [("x", b"y")], Body.empty()), response_headers=added).headers == [(b"x", b"y"), *added]
    stream = asked(
        Answering(lambda exchange: exchange.fail(GuestFailed(), HttpError("internal-error")), response_headers=added)
    )
    assert added[0] in stream.headers


def test_unknown_hosts() -> None:
    stream = whole(Response(200, [], Body.empty()), server_names=["other"])
    assert stream.head is not None
    assert stream.head.status == 404
    stream = whole(Response(200, [], Body.empty()), server_names=["other", "x"])
    assert stream.head is not None
    assert stream.head.status == 200


def test_trailers() -> None:
    trailers = [("X-T", b"1"), ("content-length", b"9"), ("Host", b"x"), ("trailer", b"x"), ("connection", b"close")]
    stream = whole(Response(200, [], Body.of(b"x", trailers)))
    assert stream.trailers == [("X-T", b"1")]
    assert whole(Response(200, [], Body.of(b"x", trailers[1:]))).trailers is None


def refused(response: Response, caplog: pytest.LogCaptureFixture) -> str:
    """Return the log message about a response that is replaced by 500."""
    stream = whole(response)
    assert stream.head is not None
    assert stream.head.status == 500
    assert stream.content == [b"Internal Server Error\n"]
    assert response.body.closed
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("GET /: ")
    return message


@pytest.mark.parametrize("status", [0, 100, 101, 199, 1000])
def test_an_invalid_status(status: int, caplog: pytest.LogCaptureFixture) -> None:
    assert str(status) in refused(Response(status, [], Body.empty()), caplog)


def test_a_wrong_length(caplog: pytest.LogCaptureFixture) -> None:
    response = Response(200, [("content-length", b"4")], Body.of(b"hello"))
    assert "content of 5 bytes" in refused(response, caplog)


def test_two_lengths(caplog: pytest.LogCaptureFixture) -> None:
    headers = [("content-length", b"5"), ("content-length", b"6")]
    assert "5 and 6" in refused(Response(200, headers, Body()), caplog)


def test_a_response_cut_before_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    body = Body()
    body.abort(HttpError("internal-error", "it trapped"))
    assert "the guest broke off its response: internal-error: it trapped" in refused(Response(200, [], body), caplog)


def test_a_length_given_twice_is_sent_once() -> None:
    headers = [("content-length", b"5"), ("content-length", b"5")]
    stream = whole(Response(200, headers, Body.of(b"hello")))
    assert stream.head == ResponseHead(200, [(b"content-length", b"5")], 5)


def test_a_response_completed_before_sending_is_sent_whole() -> None:
    body = Body()
    stream = answered(Response(200, [], body))
    assert stream.later is not None
    body.try_write(b"some, ")
    body.try_write(b"more")
    assert stream.state is State.NOTHING
    body.finish([("x-t", b"1")])
    assert stream.state is State.WHOLE
    assert (stream.content, stream.trailers) == ([b"some, more"], [("x-t", b"1")])


@pytest.mark.parametrize(
    ("content", "end"),
    [(b"begun", Body.finish), (b"", lambda body: body.abort(HttpError("internal-error", "it trapped")))],
)
def test_a_guest_that_fails_before_its_response_is_sent(
    content: bytes, end: Callable[[Body], None], caplog: pytest.LogCaptureFixture
) -> None:
    body = Body()
    stream = answered(Response(200, [("content-length", b"7")], body))
    body.try_write(content)
    end(body)
    assert stream.head is not None
    assert (stream.state, stream.head.status) == (State.WHOLE, 500)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("when", ["before the response", "after it"])
async def test_content_written_before_a_failure_is_sent(when: str, caplog: pytest.LogCaptureFixture) -> None:
    service = Answering()
    stream = asked(service)
    (exchange,) = service.exchanges
    body = Body()
    if when == "after it":
        exchange.respond(Response(200, [], body))
    body.try_write(b"begun")
    body.abort(HttpError("internal-error", "it trapped"))
    if when == "before the response":
        exchange.respond(Response(200, [], body))
    assert stream.state is State.NOTHING
    assert stream.later is not None
    await stream.later()
    assert (stream.state, stream.content) == (State.ABORTED, [b"begun"])
    assert exchange.abandoned
    (record,) = caplog.records
    assert record.getMessage() == "GET /: the guest broke off its response: internal-error: it trapped"


async def test_a_whole_response_is_sent_once() -> None:
    body = Body()
    stream = answered(Response(200, [], body))
    body.finish()
    assert stream.later is not None
    await stream.later()
    assert stream.state is State.WHOLE


class Interrupted(BaseException):
    """The exception of an interrupted host function."""


@pytest.mark.parametrize("when", ["in the response", "in its end"])
def test_a_host_function_interrupted_while_sending(when: str) -> None:
    class Interrupting(Recording):
        def send_whole(self, head: ResponseHead, content: bytes, trailers: Trailers | None) -> None:
            raise Interrupted

    service = Answering()
    stream = Interrupting(Request("GET", "http", "x", "/", [], Body.empty()))
    service(stream)
    body = Body()
    if when == "in its end":
        service.exchanges[0].respond(Response(200, [], body))
    else:
        body.finish()
    with pytest.raises(Interrupted):
        service.exchanges[0].respond(Response(200, [], body)) if when == "in the response" else body.finish()
    assert stream.state is State.ABORTED


# ---- streamed responses --------------------------------------------------------------------------------------


@asynccontextmanager
async def streaming(
    headers: list[tuple[str, bytes]], content: bytes = b"begun"
) -> AsyncIterator[tuple[Recording, Body, Exchange]]:
    """Return a response that has begun and does not continue yet."""
    body = Body()
    body.try_write(content)
    service = Answering(lambda exchange: exchange.respond(Response(200, headers, body)))
    stream = asked(service)
    assert stream.later is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.later)
        await trio.testing.wait_all_tasks_blocked()
        yield stream, body, service.exchanges[0]


async def test_stream() -> None:
    async with streaming([("content-length", b"7")]) as (stream, body, exchange):
        assert (stream.state, stream.content) == (State.BEGUN, [b"begun"])
        assert stream.head == ResponseHead(200, [(b"content-length", b"7")], 7)
        await body.send_all(b"cd")
        body.finish([("X-T", b"1")])
    assert stream.state is State.ENDED
    assert stream.content == [b"begun", b"cd"]
    assert stream.trailers == [("X-T", b"1")]
    assert not exchange.abandoned
    assert body.closed


async def test_a_cut_stream(caplog: pytest.LogCaptureFixture) -> None:
    async with streaming([]) as (stream, body, exchange):
        body.abort(HttpError("internal-error", "it trapped"))
    assert (stream.state, stream.content) == (State.ABORTED, [b"begun"])
    assert body.closed
    assert exchange.abandoned
    (record,) = caplog.records
    assert record.getMessage() == "GET /: the guest broke off its response: internal-error: it trapped"


async def test_a_stream_shorter_than_its_length(caplog: pytest.LogCaptureFixture) -> None:
    async with streaming([("content-length", b"7")]) as (stream, body, exchange):
        body.finish()
    assert (stream.state, stream.content) == (State.ABORTED, [b"begun"])
    assert exchange.abandoned
    assert "2 bytes before the length" in caplog.text


async def test_a_stream_longer_than_its_length(caplog: pytest.LogCaptureFixture) -> None:
    async with streaming([("content-length", b"4")]) as (stream, body, exchange):
        pass
    assert (stream.state, stream.content) == (State.ABORTED, [])
    assert body.closed
    assert exchange.abandoned
    assert "more content than the length" in caplog.text


@pytest.mark.parametrize("headers", [[], [("content-length", b"7")]])
async def test_the_client_leaves_during_a_stream(
    headers: list[tuple[str, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    async with streaming(headers) as (stream, body, exchange):
        stream.leave()
    assert stream.state is State.ABORTED
    assert body.closed
    assert exchange.abandoned
    assert not caplog.records


async def test_the_stream_reports_that_the_client_has_left(caplog: pytest.LogCaptureFixture) -> None:
    async with streaming([]) as (stream, body, exchange):
        stream.has_left = True
        body.try_write(b"more")
    assert (stream.state, stream.content) == (State.ABORTED, [b"begun"])
    assert body.closed
    assert exchange.abandoned
    assert not caplog.records


@pytest.mark.parametrize("responds", [True, False])
def test_the_client_leaves_before_a_response(responds: bool) -> None:
    body, request = Body(), Body()
    service = Answering()
    stream = asked(service, "POST", request)
    (exchange,) = service.exchanges
    if responds:
        exchange.respond(Response(200, [], body))
    stream.leave()
    assert exchange.abandoned
    assert body.closed is responds
    assert str(request.error) == "connection-terminated"
    assert stream.state is State.NOTHING


# ---- the request ---------------------------------------------------------------------------------------------


async def test_content_of_the_request() -> None:
    body = Body()
    service = Answering()
    stream = asked(service, "POST", body)
    assert stream.receiver is body
    body.try_write(b"some")
    service.exchanges[0].respond(Response(200, [], Body.empty()))
    assert stream.state is State.WHOLE
    # Nobody reads more of it. A guest that writes on notices.
    assert await body.receive_some() == b"some"
    with pytest.raises(BodyAborted, match="connection-terminated"):
        await body.receive_some()
    assert asked(Answering()).receiver is None


# ---- requests without a response -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (GuestFailed(), 500, None),
        (InstantiationFailed(), 503, None),
        (Overloaded(), 503, b"1"),
        (DeadlinePassed(), 504, None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_errors(failure: GuestFailed, status: int, retry_after: bytes | None, method: str) -> None:
    stream = asked(Answering(lambda exchange: exchange.fail(failure, HttpError("internal-error"))), method)
    assert stream.head is not None
    assert (stream.state, stream.head.status) == (State.WHOLE, status)
    headers = dict(stream.headers)
    (content,) = stream.content
    assert headers.get(b"retry-after") == retry_after
    assert int(headers[b"content-length"]) == stream.head.length
    assert len(content) == (0 if method == "HEAD" else stream.head.length)


# ---- the announced length ------------------------------------------------------------------------------------


async def test_content_of_the_announced_length() -> None:
    body = Body()
    content = ResponseContent(body, 5)
    assert not content.can_take()
    body.try_write(b"abc")
    assert content.can_take()
    assert content.take() == [b"abc"]
    assert content.take() == []
    body.try_write(b"de")
    body.finish()
    assert await content.receive() == [b"de"]
    assert await content.receive() == []


async def test_content_longer_than_announced() -> None:
    body = Body()
    content = ResponseContent(body, 2)
    body.try_write(b"abc")
    assert not content.can_take()
    with pytest.raises(BadResponse, match="more content"):
        content.take()
    body = Body.of(b"abc")
    with pytest.raises(BadResponse, match="more content"):
        await ResponseContent(body, 2).receive()


async def test_content_shorter_than_announced() -> None:
    content = ResponseContent(Body.of(b"abc"), 4)
    assert await content.receive() == [b"abc"]
    with pytest.raises(BadResponse, match="1 bytes before"):
        await content.receive()
