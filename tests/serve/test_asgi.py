"""The ASGI applications under another server: hypercorn, or the test itself."""

from __future__ import annotations

import asyncio
import functools
import importlib.resources
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h2.events
import httpx
import hypercorn.config
import hypercorn.trio
import pytest
import trio
import trio.testing
import wasmtime
from hypercorn.middleware.dispatcher import TrioDispatcherMiddleware

import wasi_trio.asgi
from tests.guests import wat
from tests.serve.support import Http2, connect, read_to_end, read_until
from wasi_trio.asgi import App
from wasi_trio.runtime import CompileLimits
from wasi_trio.serve._loading import LoadError
from wasi_trio.serve.asgi._application import Message, Scope, pass_lifespan
from wasi_trio.serve.asgi._request import build_request
from wasi_trio.serve.pool._options import HandlerOptions


@asynccontextmanager
async def under_hypercorn(app: Any, graceful_timeout: float = 3) -> AsyncIterator[str]:
    """Serve an application with hypercorn's trio worker, and yield the URL."""
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = graceful_timeout
    config.errorlog = logging.getLogger("hypercorn.error")
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        start = functools.partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait)
        (url,) = await nursery.start(start)
        yield url
        stop.set()


class Life:
    """The server's side of the lifespan protocol."""

    def __init__(self) -> None:
        self._give, self._receive = trio.open_memory_channel[Message](1)
        self._send, self._take = trio.open_memory_channel[Message](1)

    async def run(self, app: App) -> None:
        with self._give, self._take:
            await app({"type": "lifespan", "state": {}}, self._receive.receive, self._send.send)

    async def tell(self, kind: str) -> Message:
        self._give.send_nowait({"type": f"lifespan.{kind}"})
        return await self._take.receive()


@pytest.fixture
def component(tmp_path: Path) -> Path:
    path = tmp_path / "counter.wasm"
    path.write_bytes(wat.load("counter"))
    return path


async def test_a_component_by_path(component: Path) -> None:
    app = App(component, HandlerOptions(max_instance_reuse_count=2))
    async with under_hypercorn(app) as url, httpx.AsyncClient(trust_env=False) as client:
        assert [(await client.get(url)).text for _ in range(3)] == ["1\n", "2\n", "1\n"]


async def test_a_component_from_the_environment(component: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASI_TRIO_COMPONENT", str(component))
    async with under_hypercorn(wasi_trio.asgi.app) as url, httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(url)
    assert response.text == "1\n"
    assert len(response.headers.get_list("date")) == 1


async def test_restart(component: Path) -> None:
    app = App(component)
    for _ in range(2):
        async with under_hypercorn(app) as url, httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url)).text == "1\n"


async def test_http2_under_hypercorn(tmp_path: Path) -> None:
    path = tmp_path / "trap.wasm"
    path.write_bytes(wat.load("trap"))
    client = httpx.AsyncClient(trust_env=False, http1=False, http2=True)
    async with under_hypercorn(App(path)) as url, client:
        for _ in range(2):
            assert (await client.get(url)).status_code == 500


@pytest.mark.parametrize("http2", [True, False])
async def test_a_streamed_response_is_cut_under_hypercorn(
    tmp_path: Path, http2: bool, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "endless.wasm"
    path.write_bytes(wat.load("endless_body"))
    client = httpx.AsyncClient(trust_env=False, http1=not http2, http2=http2, timeout=60)
    content = b""
    async with under_hypercorn(App(path, HandlerOptions(body_timeout=0.05))) as url, client:
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("GET", url) as response:
                assert response.status_code == 200
                async for piece in response.aiter_raw():
                    content += piece
                    mock_clock.rate = 1  # until now no timeout passes
    assert content == b"begun\n"


async def begin_http1(stream: trio.SocketStream) -> Callable[[], Awaitable[None]]:
    """Send half of a request, and receive half of its response. The returned function completes both."""
    await stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    await read_until(stream, b"first\r\n")

    async def complete() -> None:
        await stream.send_all(b"6\r\nsecond\r\n0\r\n\r\n")
        await read_until(stream, b"6\r\nsecond\r\n0\r\n\r\n")

    return complete


async def begin_http2(stream: trio.SocketStream) -> Callable[[], Awaitable[None]]:
    """Send half of a request, and receive half of its response. The returned function completes both."""
    client = Http2(stream)
    number = await client.ask("/", "POST")
    client.protocol.send_data(number, b"first")
    await client.flush()
    await client.until(h2.events.DataReceived, number)

    async def complete() -> None:
        client.protocol.send_data(number, b"second", end_stream=True)
        await client.flush()
        assert await client.content(number) == b"second"

    return complete


@pytest.mark.parametrize("begin", [begin_http1, begin_http2])
@pytest.mark.parametrize("stops_first", [False, True])
async def test_hypercorn_closes_a_connection_after_a_streamed_response(
    tmp_path: Path, begin: Any, stops_first: bool
) -> None:
    path = tmp_path / "echo.wasm"
    path.write_bytes(wat.load("echo"))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, under_hypercorn(App(path), graceful_timeout=600) as url:
            stream = await connect(int(url.rpartition(":")[2]))
            complete = await begin(stream)
            if stops_first:
                nursery.start_soon(complete)
            else:
                await complete()
        async with stream:
            await read_to_end(stream)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "it is empty"), (wat.load("unknown_import"), "tests:nowhere/nothing@1.0.0")],
)
async def test_an_invalid_component(
    tmp_path: Path, content: bytes | None, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "app.wasm"
    if content is not None:
        path.write_bytes(content)
    life = Life()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run, App(path))
        answer = await life.tell("startup")
    assert answer["type"] == "lifespan.startup.failed"
    assert message in answer["message"]
    (record,) = caplog.records
    assert record.getMessage() == answer["message"]
    assert "\n" not in answer["message"]


async def test_no_component(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WASI_TRIO_COMPONENT", raising=False)
    life = Life()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run, App())
        assert "WASI_TRIO_COMPONENT" in (await life.tell("startup"))["message"]


async def test_requests_before_startup_and_after_shutdown(component: Path) -> None:
    app = App(component)

    async def unused(*_: object) -> Message:
        raise AssertionError("nothing is asked or told")

    async def ask() -> None:
        with pytest.raises(RuntimeError, match=r"was not started: .* lifespan"):
            await app({"type": "http"}, unused, unused)  # type: ignore[arg-type]

    await ask()
    life = Life()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run, app)
        assert (await life.tell("startup"))["type"] == "lifespan.startup.complete"
        assert (await life.tell("shutdown"))["type"] == "lifespan.shutdown.complete"
    await ask()


# ---- mounted in another application ----------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """Return the file of the built-in component, which shows the path of its request."""
    path = tmp_path / "demo.wasm"
    text = importlib.resources.files("wasi_trio.serve").joinpath("demo.wat").read_text("utf-8")
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


async def test_several_mounted_applications(component: Path, demo: Path) -> None:
    """hypercorn's dispatcher starts the applications that it dispatches to."""
    counter = App(component, HandlerOptions(max_instance_reuse_count=9))
    outer = TrioDispatcherMiddleware({"/count": counter, "/inner/demo": App(demo), "/": App(component)})
    async with under_hypercorn(outer) as url, httpx.AsyncClient(trust_env=False) as client:
        assert [(await client.get(f"{url}/count")).text for _ in range(2)] == ["1\n", "2\n"]
        assert (await client.get(f"{url}/other")).text == "1\n"
        for asked, seen in {"": "/", "/": "/", "/a%20b/?q=1": "/a%20b/?q=1", "/%2Fx": "/%2Fx"}.items():
            assert f"GET {seen}<" in (await client.get(f"{url}/inner/demo{asked}")).text


class Keeping:
    """An application that mounts another one, and does not pass on lifespan events."""

    def __init__(self, inner: App, starts: bool) -> None:
        self.inner = inner
        self.starts = starts

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.inner({**scope, "root_path": "/mounted"}, receive, send)
        elif self.starts:
            async with self.inner.running():
                await pass_lifespan(receive, send)
        else:
            await pass_lifespan(receive, send)


async def test_an_outer_application_that_handles_the_lifespan(demo: Path) -> None:
    async with (
        under_hypercorn(Keeping(App(demo), starts=True)) as url,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert "GET /path<" in (await client.get(f"{url}/mounted/path")).text


async def test_an_application_without_startup(demo: Path, caplog: pytest.LogCaptureFixture) -> None:
    outer = Keeping(App(demo), starts=False)
    async with under_hypercorn(outer) as url, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url)).status_code == 500
    assert "async with app.running():" in caplog.text


async def test_running_twice(component: Path) -> None:
    app = App(component)
    life = Life()
    async with app.running() as running:
        assert running is app
        with pytest.raises(RuntimeError, match="already running"):
            async with app.running():
                pytest.fail("it was started twice")
        async with trio.open_nursery() as nursery:
            # An outer application may still pass on lifespan events.
            nursery.start_soon(life.run, app)
            assert (await life.tell("startup"))["type"] == "lifespan.startup.complete"
            assert (await life.tell("shutdown"))["type"] == "lifespan.shutdown.complete"
        async with under_hypercorn(app) as url, httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url)).text == "1\n"


async def test_running_an_invalid_component(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="No such file"):
        async with App(tmp_path / "none.wasm").running():
            pytest.fail("the block was entered")


@pytest.mark.parametrize(
    ("root", "path", "raw", "seen"),
    [
        ("", "/a", b"/a", "/a"),
        ("/m", "/m/a", b"/m/a", "/a"),
        ("/m/", "/m/a", b"/m/a", "/a"),
        ("/m", "/m", b"/m", "/"),
        ("/m", "/m/", b"/m/", "/"),
        ("/m/n", "/m/n/a b", b"/m/n/a%20b", "/a%20b"),
        ("/m", "/ma", b"/ma", "/ma"),
        ("/m", "/a", b"/a", "/a"),
        ("/m", "/m/a", None, "/a"),
        ("/m n", "/m n/a", b"/m%20n/a", "/a"),
        ("/m/n", "/m/n/a/b", b"/m%2Fn/a%2Fb", "/a/b"),
        ("/m", "/m/m/a", b"/m/m/a", "/m/a"),
    ],
)
def test_the_path_below_a_mount_point(root: str, path: str, raw: bytes | None, seen: str) -> None:
    scope: Scope = {
        "method": "GET",
        "http_version": "1.1",
        "scheme": "http",
        "headers": [(b"host", b"x")],
        "query_string": b"q=/m",
        "root_path": root,
        "path": path,
        "raw_path": raw,
    }
    assert build_request(scope).path_with_query == f"{seen}?q=/m"


def test_another_event_loop(component: Path) -> None:
    app = App(component)
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        told.append(message)

    async def main() -> None:
        await app({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match='set worker_class = "trio"'):
            await app({"type": "http"}, receive, send)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match='set worker_class = "trio"'):
            async with app.running():
                pytest.fail("this is not trio")

    asyncio.run(main())
    (failure,) = told
    assert failure["type"] == "lifespan.startup.failed"
    assert failure["message"] == 'wasi_trio runs on trio: set worker_class = "trio" (hypercorn --worker-class trio)'


async def test_settings_from_the_environment(component: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASI_TRIO_MAX_INSTANCE_REUSE_COUNT", "9")
    async with under_hypercorn(App(component)) as url, httpx.AsyncClient(trust_env=False) as client:
        assert [(await client.get(url)).text for _ in range(2)] == ["1\n", "2\n"]
    given = App(component, HandlerOptions())
    async with under_hypercorn(given) as url, httpx.AsyncClient(trust_env=False) as client:
        assert [(await client.get(url)).text for _ in range(2)] == ["1\n", "1\n"]


async def test_a_bad_setting_in_the_environment(component: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASI_TRIO_REQUEST_TIMEOUT", "1d")
    life = Life()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run, App(component))
        answer = await life.tell("startup")
    assert answer["type"] == "lifespan.startup.failed"
    assert answer["message"] == (
        "Invalid value for WASI_TRIO_REQUEST_TIMEOUT: '1d' is not a duration such as 1s, 500ms, 2.5, 5m or 1h30m"
    )


def test_the_name_in_the_package() -> None:
    assert wasi_trio.App is App
    assert not hasattr(wasi_trio, "Application")


async def test_features_and_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "app.wasm"
    text = wat.source("hello").rstrip().removesuffix(")")
    path.write_bytes(wasmtime.wat2wasm(f"{text} (core module (func $f return_call $f)))"))
    with pytest.raises(LoadError, match="feature tail-call, which is off"):
        async with App(path, HandlerOptions()).running():
            pass
    with pytest.raises(LoadError, match=r"longer than 0\.001 s"):
        async with App(path, HandlerOptions(), compile_limits=CompileLimits(seconds=0.001)).running():
            pass
    async with App(path, HandlerOptions(), features=["tail-call"]).running():
        pass
    monkeypatch.setenv("WASI_TRIO_WASM", "tail-call")
    async with App(path).running():
        pass
