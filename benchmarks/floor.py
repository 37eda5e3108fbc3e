"""The floor: a fixed hello on trio and httptools, ``python -m benchmarks.floor``; prints its URL.

It has no limits, timeouts, error handling or HTTP/2: the minimum for a server on trio.
"""

from __future__ import annotations

import socket

import httptools
import trio

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 14\r\n\r\nHello, world!\n"


class Connection:
    """One connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.answers = 0

    def on_message_complete(self) -> None:
        self.answers += 1

    async def run(self) -> None:
        parser = httptools.HttpRequestParser(self)
        while data := await self.stream.receive_some(16384):
            parser.feed_data(bytes(data))
            await self.stream.send_all(ANSWER * self.answers)
            self.answers = 0


async def handle(stream: trio.SocketStream) -> None:
    try:
        await Connection(stream).run()
    except trio.BrokenResourceError:
        return  # the load has ended


async def main() -> None:
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.listen()
    print(f"Serving HTTP on http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    await trio.serve_listeners(handle, [trio.SocketListener(listener)])


if __name__ == "__main__":
    trio.run(main)
