"""A guest from a real toolchain behind a real socket."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from tests.e2e.support import Client, Site, serve, until
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._context import WasiOptions


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve("python_p2") as site:
        yield site


async def test_hello(site: Site) -> None:
    answer = await site.ask("/hello")
    assert (answer.status, answer.body, answer.cut) == (200, b"Hello, world!\n", False)
    assert answer.headers["content-type"] == "text/plain"
    # It is missing if the guest was interrupted between its head and its end.
    assert answer.headers.get("content-length", "14") == "14"


async def test_the_request_as_the_guest_sees_it(site: Site) -> None:
    answer = await site.ask("/headers?a=%20b&c", "PUT", b"", ("x-one", "1"), ("X-One", "2"), ("connection", "x-hop"))
    told = json.loads(answer.body)
    assert told["method"] == "PUT"
    assert told["path"] == "/headers?a=%20b&c"
    assert told["scheme"] == "Http"
    assert told["authority"] == f"127.0.0.1:{site.port}"
    assert [value for name, value in told["headers"] if name == "x-one"] == ["1", "2"]
    assert "connection" not in dict(told["headers"]), "this is about the connection, not about the request"
    assert (await site.ask("/nowhere")).status == 404


async def test_echo_streams(site: Site) -> None:
    async with site.client() as client:
        await client.start("/echo", "POST", ("transfer-encoding", "chunked"), ("content-type", "text/x-test"))
        await client.write(b"first")
        answer = await client.head()
        assert answer.headers["content-type"] == "text/x-test"
        assert await client.content(5) == b"first"
        await client.write(b"second")
        assert await client.content(6) == b"second"
        await client.end()
        await client.rest(answer)
    assert (answer.status, answer.body, answer.cut) == (200, b"", False)


async def test_echo_of_a_body_of_a_given_length(site: Site) -> None:
    body = bytes(range(256)) * 1000
    answer = await site.ask("/echo", "POST", body)
    assert answer.body == body
    assert (await site.ask("/echo", "POST")).body == b""


async def test_one_connection_for_several_requests(site: Site) -> None:
    async with site.client() as client:
        for size in (1, 100_000, 0):
            assert (await client.ask("/echo", "POST", b"x" * size)).body == b"x" * size
            assert (await client.ask("/hello")).status == 200


class Upstream:
    """A server that answers each request with two chunks. It sends the second one when told to."""

    def __init__(self) -> None:
        self.go_on = trio.Event()
        self.first_sent = 0
        self.port = 0

    async def answer(self, stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 203 Fine\r\nContent-Type: text/x-up\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.send_all(b"5\r\nfirst\r\n")
        self.first_sent += 1
        await self.go_on.wait()
        await stream.send_all(b"6\r\nsecond\r\n0\r\n\r\n")


@pytest.fixture
async def upstream(nursery: trio.Nursery) -> Upstream:
    upstream = Upstream()
    upstream.port = await listen(nursery, upstream.answer)
    return upstream


async def fetch(site: Site, upstream: Upstream, got_first: trio.Event) -> None:
    async with site.client() as client:
        await client.start(f"/fetch?url=http://127.0.0.1:{upstream.port}/some/where%3Fq=1")
        answer = await client.head()
        assert answer.status == 203
        assert answer.headers["content-type"] == "text/x-up"
        assert await client.content(5) == b"first"
        got_first.set()
        await client.rest(answer)
    assert (answer.body, answer.cut) == (b"second", False)


async def test_a_streaming_fetch(site: Site, upstream: Upstream) -> None:
    got_first = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch, site, upstream, got_first)
        await got_first.wait()
        assert site.handler.active == 1
        upstream.go_on.set()
    await site.all_gone()


async def test_fifty_at_once(site: Site, upstream: Upstream) -> None:
    events = [trio.Event() for _ in range(50)]
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(fetch, site, upstream, event)
        for event in events:
            await event.wait()
        assert site.handler.active == 50
        assert upstream.first_sent == 50
        assert (await site.ask("/hello")).status == 200
        upstream.go_on.set()
    assert len(site.instances) == 51
    await site.all_gone()


async def test_fetch_from_nowhere(site: Site) -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))  # without listening
        answer = await site.ask(f"/fetch?url=http://127.0.0.1:{unused.getsockname()[1]}/")
    assert answer.status == 502
    assert b"ConnectionRefused" in answer.body


async def test_fetch_of_a_cut_response(site: Site, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    """The guest does not handle that: it traps in the middle of its own response."""
    got_first = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await got_first.wait()
        await stream.aclose()

    port = await listen(nursery, answer)
    async with site.client() as client:
        await client.start(f"/fetch?url=http://127.0.0.1:{port}/")
        answered = await client.head()
        assert await client.content(5) == b"first"
        got_first.set()
        await client.rest(answered)
    assert (answered.status, answered.body, answered.cut) == (200, b"", True)
    assert ": the guest trapped" in caplog.text
    assert "broke off its response" in caplog.text
    assert (await site.ask("/hello")).status == 200


async def listen(nursery: trio.Nursery, answer: Callable[[trio.SocketStream], Awaitable[None]]) -> int:
    (listener,) = await nursery.start(functools.partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
    port: int = listener.socket.getsockname()[1]
    return port


FAILURES = [
    ("/trap", "trapped"),
    ("/no-response", "dropped the response-outparam without setting it"),
    ("/exit", "exited with code 0"),
    ("/exit?failed", "exited with code 1"),
    # WASI 0.2 only distinguishes success and failure.
    ("/sys-exit", ": GET /sys-exit: the guest exited with code 1"),
    ("/oom", "trapped"),
]


@pytest.mark.parametrize(("path", "reason"), FAILURES)
async def test_failures(path: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(memory=96 << 20)
    async with serve("python_p2", HandlerOptions(limits=limits)) as site:
        answer = await site.ask(path)
        assert (answer.status, answer.cut) == (500, False)
        # The response may arrive before the guest has ended.
        await until(lambda: any(reason in text for _, _, text in caplog.record_tuples))
        assert (await site.ask("/hello")).body == b"Hello, world!\n"


@pytest.mark.parametrize("guest", ["python_p2", "python_p3"])
async def test_a_trap_is_logged_with_the_traceback(guest: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(guest) as site:
        assert (await site.ask("/trap")).status == 500
        await until(lambda: any(record.levelname == "ERROR" for record in caplog.records))
    told = next(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    first, *lines = told.splitlines()
    assert first.startswith("instance 1, at GET /trap, trapped: wasm trap: ")
    assert "    Traceback (most recent call last):" in lines
    assert "    RuntimeError: an exception that nothing in the guest catches" in lines
    assert "    error while executing at wasm backtrace:" in lines


@pytest.mark.parametrize("path", ["/endless", "/flood", "/spin", "/sleep?ms=3600000"])
async def test_a_client_that_leaves_frees_the_instance(site: Site, path: str) -> None:
    async with site.client() as client:
        await client.start(path)
        await until(lambda: site.live == 1)
        if path in ("/endless", "/flood"):
            assert (await client.head()).status == 200
        assert (await site.ask("/hello")).status == 200
    await site.all_gone()


async def test_environment_and_random() -> None:
    wasi = WasiOptions(env=(("NAME", "välue"), ("EMPTY", "")), args=("app", "-x"), random=lambda n: b"\xab" * n)
    async with serve("python_p2", HandlerOptions(wasi=wasi)) as site:
        told = json.loads((await site.ask("/env")).body)
        # Python's own start may read random bytes, and adds no variables
        assert told == {"environment": {"NAME": "välue", "EMPTY": ""}, "arguments": ["app", "-x"]}
        assert (await site.ask("/random?bytes=3")).body == b"ababab\n"


async def test_an_instance_is_reused_if_configured() -> None:
    async with serve("python_p2", HandlerOptions(max_instance_reuse_count=3)) as site:
        for n in (1, 2, 3, 4):
            assert (await site.ask("/hello")).status == 200
            assert site.handler.started == (1 if n < 4 else 2)


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    head = "GET /%s HTTP/1.1\r\nhost: x\r\n%s\r\n"
    async with Client(site.port) as client:
        requests = head % ("hello", "") + head % ("nowhere", "") + head % ("hello", "connection: close\r\n")
        await client.stream.send_all(requests.encode())
        data = b"".join([piece async for piece in client.stream])
    assert [line.split()[1] for line in data.splitlines() if line.startswith(b"HTTP/1.1")] == [b"200", b"404", b"200"]
