"""Requests to the ASGI application itself, without sockets, HTTP or an ASGI server."""

from __future__ import annotations

from typing import Any

import trio

from benchmarks.measure import Settings, each_async
from benchmarks.report import Report, Row
from tests.guests import wat
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve.asgi._application import Application
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._imports import link_wasi

HELLO = b"Hello, world!\n"
#: requests per instance, with reuse
REUSE = 1_000_000

SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"localhost:8080"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8080),
    "extensions": {},
}


async def request(application: Any, scope: dict[str, Any]) -> bytes:
    """Return the content of the response to a request without content."""
    content = b""
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await trio.sleep_forever()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal content
        if message["type"] == "http.response.body":
            content += message.get("body", b"")

    await application(scope, receive, send)
    return content


async def _bare(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": HELLO, "more_body": False})


async def _requests(application: Any, settings: Settings) -> float:
    async def run(count: int) -> None:
        for _ in range(count):
            assert await request(application, dict(SCOPE)) == HELLO

    return await each_async(run, settings, 0.3)


async def _measure(settings: Settings) -> Report:
    report = Report("Hello through the ASGI application, without a socket")
    bare = await _requests(_bare, settings)
    beside = ("a bare ASGI app", bare)
    with Engine() as engine:
        for guest, version, aims in (("hello", "0.2", (400, 200)), ("p3_hello", "0.3", (None, 150))):
            linked = link_wasi(Component.compile(engine, wat.load(guest)))
            values = []
            for what, reuse, aim in zip(("a new instance each", "one instance, reused"), (1, REUSE), aims, strict=True):
                async with ProxyHandler(linked, HandlerOptions(max_instance_reuse_count=reuse)) as handler:
                    values.append(await _requests(Application(handler, adds_date=True), settings))
                bound = None if aim is None else settings.instance_aim(aim)
                report.rows.append(Row(f"WASI {version}, {what}", values[-1], "µs", beside, at_most=bound))
            fresh, reused = values
            report.rows.append(
                Row(f"WASI {version}, with reuse, compared with without", reused, "µs", ("fresh", fresh))
            )
    return report


def report(settings: Settings) -> Report:
    """Measure the hand-written hello guests, with a new instance for each request and with one for all."""
    return trio.run(_measure, settings)
