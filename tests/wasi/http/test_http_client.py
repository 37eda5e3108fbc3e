from __future__ import annotations

import pytest
import trio
import trio.testing
from http_origin import abortion, content, failure, read_all, read_head

from wasi_trio.component._values import Variant
from wasi_trio.wasi.http._body import Body, BodyClosed
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request
from wasi_trio.wasi.http._request_options import RequestOptions

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def recorder(reply=OK):
    """Return a handler that answers, and a channel with the head and the rest of its requests."""
    send, receive = trio.open_memory_channel(1)

    async def handler(stream):
        head, rest = await read_head(stream)
        await stream.send_all(reply)
        await send.send((head, await read_all(stream, rest)))

    return handler, receive


# ---- framing -----------------------------------------------------------------------------------------------


async def test_a_response_with_a_length(origin):
    await origin.answer(b"HTTP/1.1 404 Nope\r\nX-Case: Kept\r\nContent-Length: 5\r\n\r\nhello, and more")
    response = await origin.send()
    assert response.status == 404
    assert response.headers == [("X-Case", b"Kept"), ("Content-Length", b"5")]
    assert await content(response.body) == b"hello"
    assert response.body.trailers is None


async def test_a_chunked_response_with_trailers(origin):
    await origin.answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nSum: 6\r\nSum: 7\r\n\r\n"
    )
    response = await origin.send()
    assert await content(response.body) == b"hello!"
    assert response.body.trailers == [("Sum", b"6"), ("Sum", b"7")]


async def test_a_response_that_ends_with_its_connection(origin):
    await origin.answer(b"HTTP/1.1 200 OK\r\n\r\nall there is")
    response = await origin.send()
    assert await content(response.body) == b"all there is"


async def test_informational_responses_are_skipped(origin):
    await origin.answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    response = await origin.send()
    assert response.status == 200
    assert await content(response.body) == b"ok"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [b"204 No", b"304 Same"])
async def test_responses_without_content(origin, method, status):
    await origin.answer(b"HTTP/1.1 " + status + b"\r\n\r\n")
    response = await origin.send(origin.request(method))
    assert await content(response.body) == b""


async def test_the_response_to_head_has_no_content(origin):
    await origin.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    response = await origin.send(origin.request("HEAD"))
    assert ("Content-Length", b"5") in response.headers
    assert await content(response.body) == b""


async def request_seen(origin, request):
    handler, seen = recorder()
    await origin.start(handler)
    request.authority = f"127.0.0.1:{origin.port}"
    response = await origin.send(request)
    assert await content(response.body) == b"ok"
    head, rest = await seen.receive()
    first, *fields = head.split(b"\r\n")
    return first, fields, rest


async def test_the_request_on_the_wire(origin):
    headers = [("X-Case", b"1"), ("Host", b"evil"), ("Connection", b"upgrade"), ("Transfer-Encoding", b"gzip")]
    request = Request("PROPFIND", "http", None, "?a=b", headers, Body.empty())
    first, fields, rest = await request_seen(origin, request)
    assert first == b"PROPFIND /?a=b HTTP/1.1"
    assert fields == [b"Host: 127.0.0.1:%d" % origin.port, b"Connection: close", b"X-Case: 1"]
    assert rest == b""


async def test_non_ascii_paths_are_percent_encoded(origin):
    first, _, _ = await request_seen(origin, Request("GET", "http", None, "/é%20?{ü}", [], Body.empty()))
    assert first == b"GET /%C3%A9%20?{%C3%BC} HTTP/1.1"


@pytest.mark.parametrize(("method", "path"), [("GET", None), ("GET", ""), ("GET", "/"), ("POST", "/")])
async def test_an_empty_request_states_its_length_only_where_content_is_expected(origin, method, path):
    first, fields, _ = await request_seen(origin, Request(method, "http", None, path, [], Body.empty()))
    assert first == method.encode() + b" / HTTP/1.1"
    assert (b"Content-Length: 0" in fields) == (method == "POST")


async def test_complete_content_is_not_chunked(origin):
    _, fields, rest = await request_seen(origin, Request("POST", "http", None, "/", [], Body.of(b"whole")))
    assert b"Content-Length: 5" in fields
    assert rest == b"whole"


async def echo(stream):
    """Answer with the chunked content of the request as it arrives, including trailers."""
    _, rest = await read_head(stream)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
    received = rest
    while b"0\r\n" not in received or not received.endswith(b"\r\n\r\n"):
        data = await stream.receive_some()
        if not data:
            break
        received += data
        await stream.send_all(data)


async def test_both_bodies_stream_at_the_same_time_and_have_trailers(origin):
    await origin.start(echo)
    body = Body()
    response = await origin.send(origin.request("POST", body=body))
    for round_ in range(3):
        line = b"line %d" % round_
        body.try_write(line)
        assert await response.body.receive_some() == line
    body.finish([("After", b"all"), ("Content-Length", b"1")])
    assert await response.body.receive_some() == b""
    assert response.body.trailers == [("After", b"all")]


async def test_megabytes_pass_both_ways_through_bodies_that_hold_little(origin):
    await origin.start(echo)
    size = 3 << 20
    body = Body()

    async def upload():
        for start in range(0, size, 50_000):
            await body.send_all(bytes(min(50_000, size - start)))
            assert body.buffered <= body.capacity
        body.finish()

    origin.nursery.start_soon(upload)
    response = await origin.send(origin.request("POST", body=body))
    total = 0
    while data := await response.body.receive_some():
        total += len(data)
        assert response.body.buffered <= response.body.capacity
    assert total == size


async def test_a_tiny_chunk_does_not_cost_the_rest(origin):
    await origin.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500 + b"0\r\n\r\n")
    assert await content((await origin.send()).body) == b"x" * 500


# ---- announcements and actions of a guest ------------------------------------------------------------------


async def test_a_given_length_is_kept(origin):
    body = Body.of(b"12345")
    request = Request("POST", "http", None, "/", [("content-length", b"5")], body)
    _, fields, rest = await request_seen(origin, request)
    assert b"content-length: 5" in fields
    assert not any(field.lower().startswith(b"transfer-encoding") for field in fields)
    assert rest == b"12345"


@pytest.mark.parametrize(("announced", "given"), [(b"5", b"1234"), (b"5", b"123456")])
async def test_content_of_another_length_cuts_the_request(origin, announced, given):
    handler, _ = recorder(reply=b"")
    await origin.start(handler)
    request = origin.request("POST", headers=[("content-length", announced)], body=Body.of(given))
    assert await failure(origin.send(request)) == Variant("HTTP-request-body-size", len(given))


async def test_an_aborted_request_body_is_cut_and_fails_the_request(origin):
    handler, seen = recorder(reply=b"")
    await origin.start(handler)
    body = Body()
    body.try_write(b"some")
    body.abort(HttpError("loop-detected"))
    assert await failure(origin.send(origin.request("POST", body=body))) == Variant("loop-detected")
    _, rest = await seen.receive()
    assert not rest.endswith(b"0\r\n\r\n")


async def test_an_abort_after_the_response_began_aborts_that(origin):
    await origin.start(echo)
    body = Body()
    response = await origin.send(origin.request("POST", body=body))
    body.abort(HttpError("loop-detected"))
    assert await abortion(response.body) == Variant("loop-detected")


async def test_a_full_response_ends_the_request_early(origin):
    handler, _ = recorder(reply=b"HTTP/1.1 413 Enough\r\nContent-Length: 0\r\n\r\n")
    await origin.start(handler)
    body = Body()
    response = await origin.send(origin.request("POST", body=body))
    assert response.status == 413
    assert await content(response.body) == b""
    with pytest.raises(BodyClosed):
        while True:
            await body.send_all(bytes(1000))


async def test_malformed_trailers_of_the_embedder_fail_the_request(origin):
    handler, _ = recorder(reply=b"")
    await origin.start(handler)
    request = origin.request("POST", body=Body.of(b"x", [("not a token", b"")]))
    assert await failure(origin.send(request)) == Variant("HTTP-protocol-error")


@pytest.mark.parametrize("headers", [[("not a token", b"")], [("a", b"b\r\nc: d")], [("naïve", b"")]])
async def test_malformed_headers_of_the_embedder_fail_the_request(origin, headers):
    handler, _ = recorder(reply=b"")
    await origin.start(handler)
    assert await failure(origin.send(origin.request(headers=headers))) == Variant("HTTP-protocol-error")


# ---- ends --------------------------------------------------------------------------------------------------


async def test_closing_the_response_closes_the_connection(origin):
    left = trio.Event()

    async def handler(stream):
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await read_all(stream)
        left.set()

    await origin.start(handler)
    body = Body()
    response = await origin.send(origin.request("POST", body=body))
    assert await response.body.receive_some() == b"some"
    response.body.close()
    await left.wait()
    with pytest.raises(BodyClosed):
        while True:
            await body.send_all(bytes(1000))


async def test_cancelling_the_nursery_aborts_the_response(origin):
    left = trio.Event()

    async def handler(stream):
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await read_all(stream)
        left.set()

    await origin.start(handler)
    body = Body()
    async with trio.open_nursery() as nursery:
        response = await origin.client.send(origin.request("POST", body=body), RequestOptions(), nursery)
        nursery.cancel_scope.cancel()
    await left.wait()
    assert body.closed
    assert await abortion(response.body) == Variant("connection-terminated")


async def test_cancelling_the_call_closes_the_connection(origin):
    asked, left = trio.Event(), trio.Event()

    async def handler(stream):
        await read_head(stream)
        asked.set()
        await read_all(stream)
        left.set()

    await origin.start(handler)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel():
                await asked.wait()
                scope.cancel()

            nursery.start_soon(cancel)
            await origin.send()
    assert scope.cancelled_caught
    await left.wait()


async def test_nothing_stays_behind_when_the_response_has_ended(origin):
    await origin.answer(OK)
    async with trio.open_nursery() as nursery:
        response = await origin.client.send(origin.request(), RequestOptions(), nursery)
        assert await content(response.body) == b"ok"
    # The nursery has ended, so the client has left no task in it.
