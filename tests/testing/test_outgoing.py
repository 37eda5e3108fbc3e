"""Tests answer the requests of guests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from tests.guests.build import build
from wasi_trio.testing import Answer, ExchangeFailed, HttpError, OutgoingRequest, UnexpectedRequest, component
from wasi_trio.testing._outgoing import Outgoing
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi.http._body import Body, BodyAborted
from wasi_trio.wasi.http._context import HttpOptions
from wasi_trio.wasi.http._messages import Request
from wasi_trio.wasi.http._request_options import RequestOptions

#: The guests, with the path at which each passes on a response.
PROXIES = pytest.mark.parametrize(("name", "path"), [("python_p2", "/fetch"), ("python_p3", "/proxy")])
BOTH = pytest.mark.parametrize("name", ["python_p2", "python_p3"])


@PROXIES
async def test_an_answer(name: str, path: str) -> None:
    asked: list[OutgoingRequest] = []

    async def outgoing(request: OutgoingRequest) -> Answer:
        asked.append(request)
        return Answer(203, "from the test", headers={"content-type": "text/x-test"})

    async with component(build(name), outgoing=outgoing) as app:
        response = await app.get(f"{path}?url=https://example.test:81/some/where%3Fq=1")
        assert (response.status, await response.text()) == (203, "from the test")
        assert response.headers["content-type"] == "text/x-test"
    (request,) = asked
    assert (request.method, request.url) == ("GET", "https://example.test:81/some/where?q=1")
    assert (request.scheme, request.authority, request.path) == ("https", "example.test:81", "/some/where?q=1")
    assert repr(request) == "<OutgoingRequest GET https://example.test:81/some/where?q=1>"


@PROXIES
async def test_an_answer_in_json(name: str, path: str) -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        return Answer(json={"path": request.path})

    async with component(build(name), outgoing=outgoing) as app:
        response = await app.get(f"{path}?url=http://example.test/x")
        assert response.headers["content-type"] == "application/json"
        assert await response.json() == {"path": "/x"}


@BOTH
async def test_content_and_trailers_both_ways(name: str) -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        assert request.method == "POST"
        assert await request.text() == "a line\n"
        assert request.trailers["X-Sent"] == "with the request"
        return Answer(content=b"taken", trailers={"x-back": "with the response"})

    async with component(build(name), outgoing=outgoing) as app:
        response = await app.get("/trailers?url=http://example.test/")
        assert await response.json() == [["x-back", "with the response"]]
        assert response.trailers["x-back"] == "with the response"


@BOTH
async def test_an_echo(name: str) -> None:
    """The answer's content is that of the request, piece by piece. The handler need not read the request."""

    async def outgoing(request: OutgoingRequest) -> Answer:
        return Answer(content=request, trailers={"x-echo": "yes"})

    async with component(build(name), outgoing=outgoing) as app:
        assert await (await app.get("/trailers?url=http://example.test/")).json() == [["x-echo", "yes"]]


@PROXIES
async def test_an_answer_that_streams(name: str, path: str, autojump_clock: MockClock) -> None:
    arrived = trio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        await arrived.wait()
        await trio.sleep(1000)
        yield b"second"

    async def outgoing(request: OutgoingRequest) -> Answer:
        return Answer(content=content())

    async with component(build(name), outgoing=outgoing) as app:
        async with app.stream("GET", f"{path}?url=http://example.test/") as response:
            pieces = aiter(response)
            assert await anext(pieces) == b"first"
            arrived.set()
            assert await anext(pieces) == b"second"
        assert trio.current_time() >= 1000


@PROXIES
async def test_a_client_that_leaves_ends_the_answer(name: str, path: str, autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def content() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await trio.sleep_forever()
        finally:
            ended.set()

    async def outgoing(request: OutgoingRequest) -> Answer:
        return Answer(content=content())

    async with component(build(name), outgoing=outgoing) as app:
        async with app.stream("GET", f"{path}?url=http://example.test/") as response:
            assert await anext(aiter(response)) == b"first"
        await ended.wait()


@PROXIES
async def test_an_error_for_the_guest(name: str, path: str) -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        raise HttpError("connection-refused")

    async with component(build(name), outgoing=outgoing) as app:
        response = await app.get(f"{path}?url=http://example.test/")
        assert (response.status, await response.text()) == (502, "ErrorCode_ConnectionRefused\n")


async def test_content_that_breaks_off() -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        raise HttpError("connection-terminated")

    async def outgoing(request: OutgoingRequest) -> Answer:
        return Answer(content=content())

    async with component(build("python_p3"), outgoing=outgoing) as app:
        with pytest.raises(ExchangeFailed, match="connection-terminated"):
            await app.get("/proxy?url=http://example.test/")


@PROXIES
async def test_there_is_no_network(name: str, path: str) -> None:
    async with component(build(name)) as app:
        with pytest.raises(UnexpectedRequest) as caught:
            await app.get(f"{path}?url=http://127.0.0.1:9/x%3Fy")
        assert str(caught.value) == (
            "the guest asked for GET http://127.0.0.1:9/x?y, but a test has no network: pass outgoing=, an"
            " async function from the request to an Answer"
        )
        assert (await app.get("/hello")).status == 200


@BOTH
async def test_the_network_when_it_is_asked_for(name: str) -> None:
    """Only the real network can refuse a connection to a port without a listener."""
    path = "/fetch" if name == "python_p2" else "/proxy"
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        async with component(build(name), wasi=WasiOptions(http=HttpOptions())) as app:
            response = await app.get(f"{path}?url=http://127.0.0.1:{unused.getsockname()[1]}/")
            assert "ConnectionRefused" in await response.text()


@PROXIES
async def test_a_handler_that_fails(name: str, path: str) -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        assert request.path == "/expected"
        return Answer()

    async with component(build(name), outgoing=outgoing) as app:
        with pytest.raises(AssertionError):
            await app.get(f"{path}?url=http://example.test/other")
        assert (await app.get(f"{path}?url=http://example.test/expected")).status == 200


@PROXIES
async def test_content_that_fails(name: str, path: str) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        raise OSError("no more")

    async def outgoing(request: OutgoingRequest) -> Answer:
        return Answer(content=content())

    async with component(build(name), outgoing=outgoing) as app:
        with pytest.raises(OSError, match="no more"):
            await app.get(f"{path}?url=http://example.test/")


@PROXIES
async def test_pytest_s_own_ways_out(name: str, path: str) -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        pytest.skip("not today")

    async with component(build(name), outgoing=outgoing) as app:
        with pytest.raises(pytest.skip.Exception):
            await app.get(f"{path}?url=http://example.test/")


@PROXIES
async def test_a_handler_that_returns_something_else(name: str, path: str) -> None:
    async def outgoing(request: OutgoingRequest) -> str:
        return "hello"

    async with component(build(name), outgoing=outgoing) as app:  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="outgoing= returned 'hello': return an Answer"):
            await app.get(f"{path}?url=http://example.test/")


@PROXIES
async def test_many_at_once(name: str, path: str, autojump_clock: MockClock) -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        await trio.sleep(100)
        return Answer(content=request.path)

    async def ask(number: int) -> None:
        response = await app.get(f"{path}?url=http://example.test/{number}")
        answers[number] = await response.text()

    answers: dict[int, str] = {}
    async with component(build(name), outgoing=outgoing) as app:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
        assert trio.current_time() < 200
    assert answers == {number: f"/{number}" for number in range(20)}


async def test_what_arrives_at_different_times(autojump_clock: MockClock) -> None:
    async def outgoing(request: OutgoingRequest) -> Answer:
        await trio.sleep(int(request.path[1:]))
        return Answer(content="slept")

    async with component(build("python_p3"), outgoing=outgoing) as app:
        response = await app.get("/fetch?" + "&".join(f"url=http://example.test/{n}" for n in (300, 100, 200)))
        lines = [json.loads(line)["url"].rpartition("/")[2] for line in (await response.text()).splitlines()]
    assert lines == ["100", "200", "300"]


@pytest.mark.parametrize("status", [99, 100, 199, 1000])
def test_an_answer_with_a_status_that_is_none(status: int) -> None:
    with pytest.raises(ValueError, match=f"{status} is not the status of a response"):
        Answer(status)


async def test_the_timeouts_that_a_guest_sets(autojump_clock: MockClock) -> None:
    """No test guest sets timeouts, so the test calls the handler in the place of the host."""

    async def content() -> AsyncIterator[bytes]:
        yield b"first"
        await trio.sleep_forever()

    async def outgoing(request: OutgoingRequest) -> Answer:
        await trio.sleep(10)
        return Answer(content=content())

    failures: list[BaseException] = []
    network = Outgoing(outgoing, failures.append)
    request = Request("GET", "http", "example.test", "/", [], Body.empty())
    async with trio.open_nursery() as nursery:
        with pytest.raises(HttpError, match="connection-read-timeout"):
            await network.send(request, RequestOptions(first_byte_timeout=9), nursery)
        assert trio.current_time() == 9
        response = await network.send(request, RequestOptions(first_byte_timeout=11, between_bytes_timeout=5), nursery)
        assert await response.body.receive_some() == b"first"
        with pytest.raises(BodyAborted, match="connection-read-timeout"):
            await response.body.receive_some()
        assert trio.current_time() == 24
    assert failures == []
