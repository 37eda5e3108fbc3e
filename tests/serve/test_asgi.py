"""The ASGI applications under a server that is not ours: hypercorn as it is, or the test itself."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import hypercorn.config
import hypercorn.trio
import pytest
import trio

import wasi_trio.asgi
from tests.guests import wat
from wasi_trio.asgi import App
from wasi_trio.serve.options import HandlerOptions
from wasi_trio.serve.upload import Message


@asynccontextmanager
async def under_hypercorn(app: Any) -> AsyncIterator[str]:
    """hypercorn's own trio worker; gives the URL."""
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("hypercorn.error")
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        start = functools.partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait)
        (url,) = await nursery.start(start)
        yield url
        stop.set()


class Life:
    """The lifespan protocol with an application, from the server's side."""

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


async def test_the_component_that_the_environment_names(component: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WASI_TRIO_COMPONENT", str(component))
    async with under_hypercorn(wasi_trio.asgi.app) as url, httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(url)
    assert response.text == "1\n"
    assert len(response.headers.get_list("date")) == 1


async def test_it_can_be_started_again(component: Path) -> None:
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


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "it is empty"), (wat.load("unknown_import"), "tests:nowhere/nothing@1.0.0")],
)
async def test_a_component_that_can_not_be_served(
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


async def test_no_component_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WASI_TRIO_COMPONENT", raising=False)
    life = Life()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run, App())
        assert "WASI_TRIO_COMPONENT" in (await life.tell("startup"))["message"]


async def test_requests_before_the_start_and_after_the_end(component: Path) -> None:
    app = App(component)

    async def unused(*_: object) -> Message:
        raise AssertionError("nothing is asked or told")

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="lifespans"):
            await app({"type": "http"}, unused, unused)  # type: ignore[arg-type]

    await ask()
    life = Life()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run, app)
        assert (await life.tell("startup"))["type"] == "lifespan.startup.complete"
        assert (await life.tell("shutdown"))["type"] == "lifespan.shutdown.complete"
    await ask()
