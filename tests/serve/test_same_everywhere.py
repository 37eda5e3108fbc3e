"""The same requests over HTTP/1, HTTP/2 and without a socket: guests and clients see the same."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import h2.events
import h2.exceptions
import h11
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.serve.support import Http2, connect, engine, guest, serving
from wasi_trio.serve._loading import load
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
NAMES = st.text(TOKEN, min_size=1, max_size=20).map(lambda name: f"x-{name}")
VALUES = st.text([chr(number) for number in (9, *range(32, 127), *range(128, 256))], max_size=30).map(
    lambda text: text.strip().encode("latin-1").strip(b" \t\x85\xa0").decode("latin-1")
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) | st.text(
    TOKEN.upper() + "abc", min_size=1, max_size=8
).filter(lambda method: method not in ("CONNECT", "HEAD"))
PATHS = st.text("!$&'()*+,-./0123456789:;=@ABCxyz_~", max_size=30).map(lambda path: f"/{path}")
QUERIES = st.none() | st.text("!$&'()*+,-./0:;=?@Az_~[]{}|^`", max_size=30)


class Asked(NamedTuple):
    """A request and its response: the status, the fields about the content, and the content."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    content: bytes


class Got(NamedTuple):
    status: int
    fields: list[tuple[bytes, bytes]]
    content: bytes


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    path, query = draw(PATHS), draw(QUERIES)
    content = draw(st.binary(max_size=200) | st.just(bytes(100_000)))
    fields = draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    fields.append(("content-length", str(len(content))))
    return Asked(draw(METHODS), path if query is None else f"{path}?{query}", fields, content)


def shown(fields: Any) -> list[tuple[bytes, bytes]]:
    """Return the fields about the content. An announced length depends on when the guest ends the content."""
    return [(bytes(name), bytes(value)) for name, value in fields if bytes(name) == b"content-type"]


async def over_http1(port: int, asked: Asked) -> Got:
    async with await connect(port) as stream:
        lines = [f"{asked.method} {asked.target} HTTP/1.1", "host: x", "connection: close"]
        lines += [f"{name}: {value}" for name, value in asked.fields]
        protocol = h11.Connection(h11.CLIENT)
        protocol.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        protocol.send(h11.EndOfMessage())
        await stream.send_all("\r\n".join([*lines, "", ""]).encode("latin-1") + asked.content)
        got = Got(0, [], b"")
        while True:
            event: Any = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Response):
                got = got._replace(status=event.status_code, fields=shown(event.headers))
            elif isinstance(event, h11.Data):
                got = got._replace(content=got.content + event.data)
            elif isinstance(event, h11.EndOfMessage):
                return got


async def over_http2(port: int, asked: Asked) -> Got:
    async with await connect(port) as stream:
        client = Http2(stream)
        client.protocol.config.header_encoding = None  # type: ignore[assignment]
        fields = [(":method", asked.method), (":scheme", "http"), (":authority", "x"), (":path", asked.target)]
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields + asked.fields]
        client.protocol.send_headers(1, encoded, end_stream=not asked.content)
        await client.flush()
        got = Got(0, [], b"")

        async def send() -> None:
            # The server has responded, and refuses the rest.
            with suppress(h2.exceptions.StreamClosedError):
                await client.send_all(1, asked.content)

        async with trio.open_nursery() as nursery:
            if asked.content:
                nursery.start_soon(send)
            while not got.status:
                for event in await client.receive():
                    if isinstance(event, h2.events.ResponseReceived):
                        headers = dict(event.headers)  # type: ignore[arg-type]
                        got = got._replace(status=int(headers[b":status"]), fields=shown(event.headers))
            content = await client.content(1)
            nursery.cancel_scope.cancel()
        return got._replace(content=content)


async def without_a_socket(handler: ProxyHandler, asked: Asked) -> Got:
    fields = [(name, value.encode("latin-1")) for name, value in asked.fields]
    request = Request(asked.method, "http", "x", asked.target, fields, Body.of(asked.content))
    response = await handler.handle(request)
    content = b""
    while piece := await response.body.receive_some():
        content += piece
    got = shown((name.encode(), value) for name, value in response.headers)
    return Got(response.status, got, content)


async def ask_all(asked: list[Asked]) -> None:
    # The built-in page shows the request as the guest saw it, and the number of its instance. So it must come first.
    shows, echoes = load(engine(), None), guest("echo")
    options = HandlerOptions(max_instance_reuse_count=1)
    with trio.fail_after(60):
        for linked in (shows, echoes):
            async with ProxyHandler(linked, options) as handler, serving(HandlerService(handler)) as port:
                for one in asked:
                    expected = await without_a_socket(handler, one)
                    assert expected.status == 200
                    if linked is echoes:
                        assert expected.content == one.content
                    assert await over_http1(port, one) == expected
                    assert await over_http2(port, one) == expected


@settings(max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(requests(), min_size=20, max_size=20))
def test_requests_are_the_same_everywhere(asked: list[Asked]) -> None:
    trio.run(ask_all, asked)
