"""A componentize-py guest for wasi:http/service@0.3.0: asyncio code with many requests in one instance."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing

from tests.e2e.support import Site, handle, serve, until
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._context import WasiOptions


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve("python_p3") as site:
        yield site


async def test_hello(site: Site) -> None:
    for _ in range(3):
        answer = await site.ask("/hello")
        assert (answer.status, answer.body, answer.cut) == (200, b"Hello, world!\n", False)
        assert answer.headers["content-type"] == "text/plain"
    assert site.handler.started == 1


async def test_the_request_as_the_guest_sees_it(site: Site) -> None:
    answer = await site.ask("/headers?a=%20b&c", "PUT", b"", ("x-one", "1"), ("X-One", "2"), ("connection", "x-hop"))
    told = json.loads(answer.body)
    assert told["method"] == "PUT"
    assert told["path"] == "/headers?a=%20b&c"
    assert told["scheme"].lower() == "http"
    assert told["authority"] == f"127.0.0.1:{site.port}"
    assert [value for name, value in told["headers"] if name == "x-one"] == ["1", "2"]
    assert "connection" not in dict(told["headers"]), "this is about the connection, not about the request"
    assert (await site.ask("/nowhere")).status == 404


async def listen(nursery: trio.Nursery, answer: Callable[[trio.SocketStream], Awaitable[None]]) -> str:
    """Serve connections of one request each, and return the URL."""
    (listener,) = await nursery.start(functools.partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


class Upstream:
    """A server that answers a request for ``/NAME`` when told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on: dict[str, trio.Event] = {}

    async def answer(self, stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        name = data.split(b" ", 2)[1].decode().removeprefix("/")
        self.go_on[name] = trio.Event()
        self.asked.append(name)
        await self.go_on[name].wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name.encode()))


async def test_concurrent_fetches(site: Site, nursery: trio.Nursery) -> None:
    """All requests are sent before any response, and each result is streamed when it arrives, in any order."""
    upstream = Upstream()
    url = await listen(nursery, upstream.answer)
    names = ["one", "two", "three", "four", "five"]
    async with site.client() as client:
        await client.start("/fetch?" + "&".join(f"url={url}/{name}" for name in names))
        answer = await client.head()
        await until(lambda: len(upstream.asked) == 5)
        assert sorted(upstream.asked) == sorted(names)
        for name in ("three", "five", "one", "four", "two"):
            upstream.go_on[name].set()
            line = b""
            while not line.endswith(b"\n"):
                line += (await client.event()).data
            assert json.loads(line) == {"url": f"{url}/{name}", "status": 200, "body": name}
        await client.rest(answer)
    assert (answer.status, answer.body, answer.cut) == (200, b"", False)
    await until(lambda: not site.handler.active)


async def test_failing_fetches(site: Site, nursery: trio.Nursery) -> None:
    """Each has a result, and the results of the others are not affected."""

    async def answer(stream: trio.SocketStream) -> None:
        data = await stream.receive_some()
        if b"/well" in data:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
        elif b"/nothing" in data:
            await stream.aclose()
        else:
            await stream.send_all(b"no HTTP at all\r\n\r\n")

    url = await listen(nursery, answer)
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))  # without listening
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        urls = [f"{url}/well", nowhere, f"{url}/nothing", f"{url}/garbage"]
        answered = await site.ask("/fetch?" + "&".join(f"url={url}" for url in urls))
    results = {result.pop("url"): result for result in map(json.loads, answered.body.splitlines())}
    assert results == {
        urls[0]: {"status": 200, "body": "well"},
        urls[1]: {"error": "ConnectionRefused"},
        urls[2]: {"error": "ConnectionTerminated"},
        urls[3]: {"error": "HttpProtocolError"},
    }
    assert site.handler.started == 1


async def test_many_fetches_in_many_requests(site: Site, nursery: trio.Nursery) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    url = await listen(nursery, answer)
    lines = []

    async def fetch() -> None:
        answered = await site.ask("/fetch?" + "&".join(f"url={url}/{n}" for n in range(10)))
        lines.append(len(answered.body.splitlines()))

    async with trio.open_nursery() as fetching:
        for _ in range(10):
            fetching.start_soon(fetch)
    assert lines == [10] * 10


async def test_a_streaming_proxy(site: Site, nursery: trio.Nursery) -> None:
    got_first = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 203 Fine\r\nContent-Type: text/x-up\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.send_all(b"5\r\nfirst\r\n")
        await got_first.wait()
        await stream.send_all(b"6\r\nsecond\r\n0\r\n\r\n")

    url = await listen(nursery, answer)
    async with site.client() as client:
        await client.start("/proxy", "GET", ("x-url", url))
        answered = await client.head()
        assert (answered.status, answered.headers["content-type"]) == (203, "text/x-up")
        assert await client.content(5) == b"first"
        got_first.set()
        await client.rest(answered)
    assert (answered.body, answered.cut) == (b"second", False)


async def test_a_response_cut_upstream_is_cut(site: Site, nursery: trio.Nursery) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await stream.aclose()

    url = await listen(nursery, answer)
    async with site.client() as client:
        await client.start("/proxy", "GET", ("x-url", url))
        answered = await client.rest(await client.head())
    assert answered.status == 500 or answered.cut
    assert (await site.ask("/hello")).status == 200
    assert site.handler.started == 1, "the guest has handed the stream on, and is not concerned"
    await until(lambda: not site.handler.active)


async def test_a_client_that_leaves_cancels_the_guests_requests(site: Site, nursery: trio.Nursery) -> None:
    asked, left = trio.Event(), trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        asked.set()
        with contextlib.suppress(trio.BrokenResourceError):  # the connection may be reset
            while await stream.receive_some():
                pass  # the end of the guest's request may arrive separately
        left.set()

    url = await listen(nursery, answer)
    async with site.client() as client:
        await client.start("/proxy", "GET", ("x-url", url))
        await client.head()
        assert await client.content(5) == b"first"
        await asked.wait()
    await left.wait()
    await until(lambda: not site.handler.active)
    assert (await site.ask("/hello")).status == 200


async def test_concurrent_sleeps(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("python_p3") as pool:
        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(pool.get, f"/sleep?ms={number * 1000}")
        assert trio.current_time() == pytest.approx(15.0)
        assert pool.handler.started == 1


async def test_background_work_finishes(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("python_p3", HandlerOptions(idle_instance_timeout=3600)) as pool:
        for _ in range(3):
            assert await pool.get("/background?ms=1000") == b"started\n"
        assert trio.current_time() == 0
        assert await pool.get("/count") == b"0\n"
        await trio.sleep(1.1)
        assert await pool.get("/count") == b"3\n"


async def test_background_work_keeps_its_instance(autojump_clock: trio.testing.MockClock) -> None:
    """It finishes when the instance has been idle, and when the handler ends."""
    async with handle("python_p3", HandlerOptions(idle_instance_timeout=5)) as pool:
        assert await pool.get("/background?ms=20000") == b"started\n"
        await trio.sleep(19)
        assert pool.live == 1
        await trio.sleep(2)
        assert pool.live == 0


FAILURES = [
    ("/trap", "trapped"),
    ("/exit", "exited with code 0"),
    ("/exit?failed", "exited with code 1"),
    ("/oom", "trapped"),
    ("/error", "internal-error"),
]


@pytest.mark.parametrize(("path", "reason"), FAILURES)
async def test_failures(path: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve("python_p3", HandlerOptions(limits=Limits(memory=96 << 20))) as site:
        answer = await site.ask(path)
        assert (answer.status, answer.cut) == (500, False)
        assert any(reason in record.getMessage() for record in caplog.records if record.name == "wasi_trio.serve")
        assert (await site.ask("/hello")).body == b"Hello, world!\n"


@pytest.mark.parametrize("path", ["/trap-in-body", "/cut-off"])
async def test_cut_responses(site: Site, path: str) -> None:
    answer = await site.ask(path)
    assert answer.status == 500 or (answer.status, answer.cut) == (200, True)
    assert (await site.ask("/hello")).body == b"Hello, world!\n"


@pytest.mark.parametrize("path", ["/endless", "/flood"])
async def test_a_client_that_leaves_a_response(site: Site, path: str) -> None:
    async with site.client() as client:
        await client.start(path)
        assert (await client.head()).status == 200
        await client.event()
        assert (await site.ask("/hello")).status == 200
        assert site.handler.active == 1
    await until(lambda: not site.handler.active)
    assert (await site.ask("/hello")).status == 200
    if path == "/endless":  # a constant writer may count as computing, and then gets no other request
        assert site.handler.started == 1


async def test_environment_and_random() -> None:
    wasi = WasiOptions(env=(("NAME", "välue"), ("EMPTY", "")), args=("app", "-x"), random=lambda n: b"\xab" * n)
    async with serve("python_p3", HandlerOptions(wasi=wasi)) as site:
        told = json.loads((await site.ask("/env")).body)
        assert told == {"environment": {"NAME": "välue", "EMPTY": ""}, "arguments": ["app", "-x"]}
        assert (await site.ask("/random?bytes=3")).body == b"ababab\n"


async def test_output(site: Site) -> None:
    assert (await site.ask("/print")).body == b"printed\n"
    assert (await site.ask("/stdout")).body == b"Ok\nOk\n"
    assert (await site.ask("/stdin")).body == b"Ok 0\n"
    assert site.handler.started == 1
