"""Responses as they are sent by ASGI; how they look on the wire is in test_server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from wasi_trio.serve.reply import BadResponse, Reply, error_response
from wasi_trio.serve.upload import Message, Upload
from wasi_trio.wasi.http.body import Body
from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.http.messages import Response

HTTP1: dict[str, Any] = {"method": "GET", "path": "/", "headers": [], "extensions": {}}
HTTP2 = HTTP1 | {"headers": [(b"te", b"trailers")], "extensions": {"http.response.trailers": {}}}
HEAD = HTTP1 | {"method": "HEAD"}


class Sent:
    """An ASGI ``send`` that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = self.messages[0]["headers"]
        return headers

    @property
    def content(self) -> list[bytes]:
        return [m["body"] for m in self.messages if m["type"] == "http.response.body"]

    @property
    def ended(self) -> bool:
        last = self.messages[-1]
        return last["type"] == "http.response.trailers" or last.get("more_body") is False

    @property
    def trailers(self) -> list[tuple[bytes, bytes]] | None:
        last = self.messages[-1]
        return last["headers"] if last["type"] == "http.response.trailers" else None


async def send_whole(response: Response, scope: dict[str, Any] = HTTP1) -> Sent:
    sent = Sent()
    reply = Reply(scope, sent, response, adds_date=False)
    assert reply.whole
    assert await reply.send_whole(upload_of_nothing())
    assert sent.ended
    return sent


def upload_of_nothing() -> Upload:
    return Upload(trio.sleep_forever, Body.empty())


async def test_whole() -> None:
    sent = await send_whole(Response(201, [("X-A", b"1"), ("x-a", b"2")], Body.of(b"hello")))
    assert sent.messages[0]["status"] == 201
    assert sent.headers == [(b"x-a", b"1"), (b"x-a", b"2"), (b"content-length", b"5")]
    assert sent.content == [b"hello"]


async def test_the_connection_is_not_the_guests() -> None:
    headers = [("Connection", b"close"), ("transfer-encoding", b"chunked"), ("upgrade", b"x"), ("x", b"y")]
    sent = await send_whole(Response(200, headers, Body.empty()))
    assert sent.headers == [(b"x", b"y"), (b"content-length", b"0")]


@pytest.mark.parametrize(("scope", "status"), [(HEAD, 200), (HTTP1, 204), (HTTP1, 304)])
async def test_without_content(scope: dict[str, Any], status: int) -> None:
    body = Body()
    body.try_write(b"never sent")
    sent = await send_whole(Response(status, [("content-length", b"99")], body), scope)
    assert sent.headers == [(b"content-length", b"99")]
    assert sent.content == [b""]
    assert body.closed


async def test_date() -> None:
    sent = Sent()
    await Reply(HTTP1, sent, Response(200, [], Body.empty()), adds_date=True).send_whole(upload_of_nothing())
    assert [name for name, _ in sent.headers] == [b"date", b"content-length"]
    sent = Sent()
    await Reply(HTTP1, sent, Response(200, [("Date", b"today")], Body.empty()), adds_date=True).send_whole(
        upload_of_nothing()
    )
    assert sent.headers[0] == (b"date", b"today")
    assert len(sent.headers) == 2


async def test_trailers_where_they_can_be_sent() -> None:
    sent = await send_whole(Response(200, [], Body.of(b"x", [("X-T", b"1")])), HTTP2)
    assert sent.messages[0]["trailers"] is True
    assert sent.headers == []
    assert sent.trailers == [(b"x-t", b"1")]
    sent = await send_whole(Response(200, [], Body.of(b"x", [("X-T", b"1")])), HTTP1)
    assert sent.trailers is None
    assert sent.headers == [(b"content-length", b"1")]


@pytest.mark.parametrize("status", [0, 100, 101, 199, 1000])
def test_a_status_that_is_none(status: int) -> None:
    with pytest.raises(BadResponse, match=str(status)):
        Reply(HTTP1, Sent(), Response(status, [], Body.empty()), adds_date=False)


def test_lengths_that_are_wrong() -> None:
    with pytest.raises(BadResponse, match="content of 5 bytes"):
        Reply(HTTP1, Sent(), Response(200, [("content-length", b"4")], Body.of(b"hello")), adds_date=False)
    headers = [("content-length", b"5"), ("content-length", b"6")]
    with pytest.raises(BadResponse, match="5 and 6"):
        Reply(HTTP1, Sent(), Response(200, headers, Body()), adds_date=False)


async def test_a_length_given_twice_is_sent_once() -> None:
    headers = [("content-length", b"5"), ("content-length", b"5")]
    sent = await send_whole(Response(200, headers, Body.of(b"hello")))
    assert sent.headers == [(b"content-length", b"5")]


async def test_stream() -> None:
    body = Body()
    sent = Sent()
    results: list[bool] = []
    reply = Reply(HTTP2, sent, Response(200, [("content-length", b"4")], body), adds_date=False)
    assert not reply.whole

    async def send() -> None:
        results.append(await reply.send_stream(upload_of_nothing()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await body.send_all(b"ab")
        await trio.testing.wait_all_tasks_blocked()
        assert sent.content == [b"ab"]
        await body.send_all(b"cd")
        body.finish([("x-t", b"1")])
    assert results == [True]
    assert sent.content == [b"ab", b"cd", b""]
    assert sent.trailers == [(b"x-t", b"1")]


async def cut_stream(headers: list[tuple[str, bytes]], end: Callable[[Body], None]) -> Sent:
    """What is sent of a response with the content "begun", which ``end`` ends after that."""
    sent = Sent()
    body = Body()
    body.try_write(b"begun")
    reply = Reply(HTTP1, sent, Response(200, headers, body), adds_date=False)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            assert not await reply.send_stream(upload_of_nothing())

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        end(body)
    assert not sent.ended
    assert body.closed
    return sent


async def test_a_stream_that_breaks_off(caplog: pytest.LogCaptureFixture) -> None:
    sent = await cut_stream([], lambda body: body.abort(HttpError("internal-error", "it trapped")))
    assert sent.content == [b"begun"]
    (record,) = caplog.records
    assert record.getMessage() == "GET /: the guest broke off its response: internal-error: it trapped"


async def test_a_stream_shorter_than_its_length(caplog: pytest.LogCaptureFixture) -> None:
    sent = await cut_stream([("content-length", b"7")], Body.finish)
    assert sent.content == [b"begun"]
    assert "2 bytes before the length" in caplog.text


async def test_a_stream_longer_than_its_length(caplog: pytest.LogCaptureFixture) -> None:
    sent = await cut_stream([("content-length", b"4")], Body.finish)
    assert sent.content == []
    assert "more content than the length" in caplog.text


async def test_the_client_leaves_during_a_stream() -> None:
    body = Body()
    sent = Sent()
    upload = upload_of_nothing()
    reply = Reply(HTTP1, sent, Response(200, [], body), adds_date=False)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            assert not await reply.send_stream(upload)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        upload.leave()
    assert not sent.ended
    assert body.closed


@pytest.mark.parametrize("status", [500, 503, 504])
async def test_errors(status: int) -> None:
    sent = await send_whole(error_response(status))
    assert sent.messages[0]["status"] == status
    assert len(sent.content[0]) == int(dict(sent.headers)[b"content-length"])
