"""Servers for the tests of the HTTP client."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
import trio

from wasi_trio.wasi.http._body import Body, BodyAborted
from wasi_trio.wasi.http._client import Client
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request
from wasi_trio.wasi.http._request_options import RequestOptions


async def read_head(stream):
    """Return the head of a request with any data behind it, or less if the client closes the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = await stream.receive_some()
        if not data:
            break
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


async def read_all(stream, received=b""):
    """Return everything up to the end or the reset of the stream."""
    try:
        async for data in stream:
            received += data
    except trio.BrokenResourceError:
        pass
    return received


class Origin:
    """A server on 127.0.0.1 that passes each connection to ``handler``."""

    def __init__(self, nursery):
        self.nursery = nursery
        self.client = Client()

    async def start(self, handler, wrap=None):
        async def serve(stream):
            await handler(wrap(stream) if wrap else stream)

        listeners = await self.nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        self.port = listeners[0].socket.getsockname()[1]
        return self

    async def answer(self, raw):
        """Answer every request with these bytes, and close the connection."""

        async def handler(stream):
            await read_head(stream)
            with suppress(trio.BrokenResourceError):  # a client closes the connection when it needs no more data
                await stream.send_all(raw)

        return await self.start(handler)

    def request(self, method="GET", path="/", headers=(), body=None, scheme="http", host="127.0.0.1"):
        body = Body.empty() if body is None else body
        return Request(method, scheme, f"{host}:{self.port}", path, list(headers), body)

    async def send(self, request=None, **options):
        if request is None:
            request = self.request()
        return await self.client.send(request, RequestOptions(**options), self.nursery)


async def content(body):
    """Return the whole content of a body."""
    read = b""
    while data := await body.receive_some():
        read += data
    return read


async def failure(awaitable):
    with pytest.raises(HttpError) as caught:
        await awaitable
    return caught.value.code


async def abortion(body):
    with pytest.raises(BodyAborted) as caught:
        await content(body)
    return caught.value.error.code
