"""WASI 0.3: streamed bodies, their trailers and lengths, and responses without a body."""

from __future__ import annotations

import json
import logging
import re

import pytest
import trio
import trio.testing

from tests.e2e.support import Pool, content, handle, request, serve, until
from tests.e2e.test_trailers import Upstream, exchange_over_http2
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.http._body import Body, BodyAborted, Trailers
from wasi_trio.wasi.http._errors import HttpError

ECHOES = [("p3_echo", "/"), ("p3_echo_through", "/"), ("python_p3", "/echo"), ("python_p3", "/through")]


@pytest.mark.parametrize(("guest", "path"), ECHOES)
async def test_full_duplex(guest: str, path: str) -> None:
    """Each piece comes back before the next is sent."""
    async with serve(guest) as site, site.client() as client:
        await client.start(path, "POST", ("transfer-encoding", "chunked"), ("content-type", "text/x-test"))
        await client.write(b"piece 0")
        answer = await client.head()
        assert await client.content(7) == b"piece 0"
        for number in range(1, 10):
            await client.write(b"piece %d" % number)
            assert await client.content(7) == b"piece %d" % number
        await client.end()
        await client.rest(answer)
        assert (answer.status, answer.body, answer.cut) == (200, b"", False)


@pytest.mark.parametrize(("guest", "path"), ECHOES)
async def test_an_echoed_body(guest: str, path: str) -> None:
    async with serve(guest) as site, site.client() as client:
        for size in (0, 1, 65_535, 65_536, 65_537, 1_000_003):
            body = bytes(n * 31 % 251 for n in range(1000)) * (size // 1000 + 1)
            answer = await client.ask(path, "POST", body[:size])
            assert (answer.status, answer.cut) == (200, False)
            assert answer.body == body[:size]
        assert site.handler.started == 1
        await until(lambda: not site.handler.active)


@pytest.mark.parametrize(("guest", "path"), ECHOES)
async def test_many_streams_through_one_instance(guest: str, path: str) -> None:
    options = HandlerOptions(max_instance_concurrent_reuse_count=100)
    async with handle(guest, options) as pool, trio.open_nursery() as nursery:
        # The first calls create objects, during which the guest seems to compute.
        assert await content(await pool.handler.handle(request(path, "POST"))) == b""

        async def stream(number: int) -> None:
            body = Body()
            response = await pool.handler.handle(request(path, "POST", body))
            for _ in range(20):
                data = bytes([number]) * (number * 997)
                async with trio.open_nursery() as sending:
                    sending.start_soon(body.send_all, data)
                    back = b""
                    while len(back) < len(data):
                        back += await response.body.receive_some()
                assert back == data
            body.finish()
            assert await content(response) == b""

        for number in range(1, 51):
            nursery.start_soon(stream, number)
    assert pool.handler.started == 1


async def test_nothing_is_read_ahead(autojump_clock: trio.testing.MockClock) -> None:
    for guest, path in ECHOES:
        async with handle(guest) as pool:
            body = Body()
            response = await pool.handler.handle(request(path, "POST", body))
            sent = 0
            with trio.move_on_after(1):
                while True:
                    await body.send_all(bytes(10_000))
                    sent += 10_000
            assert sent < 4_000_000
            body.finish()
            assert len(await content(response)) >= sent


# ---- trailers --------------------------------------------------------------------------------------------


async def trailers_of(pool: Pool, path: str, trailers: Trailers | None) -> Trailers | None:
    """Return the trailers of the response to a request with trailers."""
    body = Body()
    response = await pool.handler.handle(request(path, "POST", body))
    body.try_write(b"contents")
    body.finish(trailers)
    await content(response)
    return response.body.trailers


async def test_trailers_of_the_guests_own() -> None:
    async with handle("p3_trailers") as pool:
        for _ in range(3):
            assert await trailers_of(pool, "/0", None) == [("x-trailer", b"value")]
        assert pool.handler.started == 1


@pytest.mark.parametrize(
    ("guest", "path"),
    [("p3_trailers", "/1"), ("p3_echo_through", "/"), ("python_p3", "/echo"), ("python_p3", "/through")],
)
async def test_trailers_are_echoed(guest: str, path: str) -> None:
    async with handle(guest) as pool:
        for trailers in ([("X-One", b"1"), ("x-two", b"2 \xff"), ("X-One", b"3")], [("x-last", b"")]):
            assert await trailers_of(pool, path, trailers) == trailers
        assert not await trailers_of(pool, path, None)
        assert pool.handler.started == 1


async def test_an_error_in_the_place_of_trailers() -> None:
    async with handle("p3_trailers") as pool:
        response = await pool.handler.handle(request("/2"))
        with pytest.raises(BodyAborted) as caught:
            await content(response)
        assert str(caught.value.error) == "configuration-error"
        await until(lambda: not pool.handler.active)
        assert pool.live == 1
    async with serve("p3_trailers") as site:
        answer = await site.ask("/2")
        assert answer.status == 500 or answer.cut


async def test_trailers_over_http_2() -> None:
    async with serve("p3_trailers") as site:
        body, trailers = await exchange_over_http2(site.port, "/0", [])
        assert (body, trailers) == (b"trailers follow\n", [(b"x-trailer", b"value")])
        answer = await site.ask("/0")
        assert (answer.status, answer.body, answer.cut) == (200, b"trailers follow\n", False)


async def test_trailers_to_and_from_another_server(nursery: trio.Nursery) -> None:
    upstream = Upstream()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, upstream.answer, listeners)
    path = f"/trailers?url=http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
    async with serve("python_p3") as site:
        answer = await site.ask(path)
        assert answer.status == 200
        assert upstream.content == b"a line\n"
        assert upstream.received == [(b"x-sent", b"with the request")]
        assert json.loads(answer.body) == [["X-One", "1"], ["X-Two", "2"]]
        body, trailers = await exchange_over_http2(site.port, path, [])
        assert json.loads(body) == [["X-One", "1"], ["X-Two", "2"]]
        assert trailers == [(b"x-one", b"1"), (b"x-two", b"2")]


# ---- lengths ---------------------------------------------------------------------------------------------


async def test_content_length(caplog: pytest.LogCaptureFixture) -> None:
    async with serve("python_p3") as site:
        answer = await site.ask("/answer?body=12345&length=5")
        assert (answer.headers["content-length"], answer.body) == ("5", b"12345")
        assert "transfer-encoding" not in answer.headers
        answer = await site.ask("/answer?length=0")
        assert (answer.headers["content-length"], answer.body, answer.cut) == ("0", b"", False)
        for length in ("4", "6"):
            caplog.clear()
            answer = await site.ask(f"/answer?body=12345&length={length}")
            assert answer.status == 500 or answer.cut
            assert caplog.records
        assert (await site.ask("/hello")).status == 200
        assert site.handler.started == 1, "a wrong length ends its response, and nothing else"
        await until(lambda: not site.handler.active)


async def test_an_echo_shorter_than_its_length() -> None:
    """The request ends before its announced length, which the echo announces as well."""
    async with handle("p3_echo") as pool:
        body = Body()
        asked = request("/", "POST", body)
        asked.headers.append(("content-length", b"10"))
        response = await pool.handler.handle(asked)
        body.try_write(b"short")
        assert await response.body.receive_some() == b"short"
        body.abort(HttpError("connection-terminated"))
        with pytest.raises(BodyAborted):
            await response.body.receive_some()
        await until(lambda: not pool.handler.active)
        assert pool.live == 1


async def test_a_status_is_the_same_on_the_wire_in_the_log_and_in_metrics(caplog: pytest.LogCaptureFixture) -> None:
    """This holds if the client receives another status than the guest's, too."""
    caplog.set_level(logging.INFO, "wasi_trio.serve")
    metrics = Metrics()
    async with serve("python_p3", HandlerOptions(metrics=metrics)) as site:
        for query in ("body=12345&length=5", "body=12345&length=4", "body=12345&length=6", "status=42"):
            caplog.clear()
            answer = await site.ask(f"/answer?{query}")
            await until(lambda: not site.handler.active)
            (line,) = [text for text in caplog.messages if re.match(r"GET \S+ \d+ in", text)]
            assert f" {answer.status} in " in line
            assert line.endswith(": cut" if answer.cut else ": ok" if answer.status == 200 else ": guest-failed")
            text = metrics.exposition().decode()
            outcome = "cut" if answer.cut else "ok" if answer.status == 200 else "guest-failed"
            assert f'outcome="{outcome}",status="{answer.status // 100}xx"' in text


@pytest.mark.parametrize(("path", "length"), [("/hello", None), ("/answer?body=12345&length=5", "5")])
async def test_head(path: str, length: str | None) -> None:
    async with serve("python_p3") as site, site.client() as client:
        for _ in range(2):
            answer = await client.ask(path, "HEAD")
            assert (answer.status, answer.body, answer.cut) == (200, b"", False)
            assert answer.headers.get("content-length") == length
        assert (await client.ask("/hello")).body == b"Hello, world!\n"
        await until(lambda: not site.handler.active)
        assert site.handler.started == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_content(status: int) -> None:
    async with serve("python_p3") as site, site.client() as client:
        answer = await client.ask(f"/answer?status={status}&body=never+sent")
        assert (answer.status, answer.body, answer.cut) == (status, b"", False)
        if status == 204:
            assert not {"content-length", "transfer-encoding"} & answer.headers.keys()
        assert (await client.ask("/hello")).body == b"Hello, world!\n"
        await until(lambda: not site.handler.active)
        assert site.handler.started == 1


@pytest.mark.parametrize("status", [200, 201, 299, 404, 418, 500, 599])
async def test_any_other_status(status: int) -> None:
    async with serve("python_p3") as site:
        answer = await site.ask(f"/answer?status={status}&body=text")
        assert (answer.status, answer.body) == (status, b"text")


async def test_an_unread_request_body() -> None:
    """A client receives the response although it sends as long as possible before it reads."""
    block = bytes(100_000)
    async with serve("p3_hello") as site:
        for blocks in (1, 50):
            async with site.client() as client:
                await client.start("/", "POST", ("content-length", str(blocks * len(block))))
                try:
                    for _ in range(blocks):
                        await client.write(block)
                except trio.BrokenResourceError:
                    pass  # the server closes after its response
                answer = await client.rest(await client.head())
                assert (answer.status, answer.cut) == (200, False)
        await until(lambda: not site.handler.active)
        assert site.handler.started == 1
