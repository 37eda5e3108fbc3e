"""A server that counts connections and the requests on each, for tests of persistent connections."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import trio
from http_origin import Origin, content

from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._connections import Connections, KeepAlive

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server(Origin):
    """An origin that counts its connections and the requests on each."""

    def __init__(self, nursery: trio.Nursery, bounds: KeepAlive | None = None) -> None:
        super().__init__(nursery)
        self.connections = Connections(nursery, bounds)
        #: the request lines by connection
        self.seen: list[list[bytes]] = []
        self.streams: list[trio.SocketStream] = []

    async def serving(self, reply: Callable[[trio.SocketStream, int, int], Awaitable[None]]) -> Server:
        """Answer requests with ``reply``, called with the stream and the numbers of its connection and request."""

        async def handler(stream: trio.SocketStream) -> None:
            requests: list[bytes] = []
            self.streams.append(stream)
            self.seen.append(requests)
            number = len(self.seen)
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    try:
                        data = await stream.receive_some()
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        return
                    if not data:
                        return
                    received += data
                head, _, received = received.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                received = received[int(length[1]) if length else 0 :]
                requests.append(head.partition(b"\r\n")[0])
                try:
                    await reply(stream, number, len(requests))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

        await self.start(handler)
        return self

    async def get(self, method: str = "GET", body: Body | None = None, headers=(), **options) -> bytes:  # type: ignore[no-untyped-def]
        request = self.request(method, body=body, headers=headers, host=options.pop("host", "127.0.0.1"))
        response = await self.send(request, connections=self.connections, **options)
        return await content(response.body)


def fixed(raw: bytes) -> Callable[[trio.SocketStream, int, int], Awaitable[None]]:
    async def reply(stream: trio.SocketStream, connection: int, request: int) -> None:
        await stream.send_all(raw)

    return reply
