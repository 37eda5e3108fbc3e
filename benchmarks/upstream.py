"""A server for guests' requests: ``python -m benchmarks.upstream``; prints its URL.

It answers every request with 14 bytes, and ``GET /connections`` with the number of earlier connections. It is a minimal
asyncio server, because the benchmark measures the client.
"""

from __future__ import annotations

import asyncio
import re

CONTENT = b"Hello, world!\n"


class Connection(asyncio.Protocol):
    """A connection with requests without content."""

    accepted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""
        self._number = Connection.accepted
        Connection.accepted += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            content = b"%d" % self._number if head.startswith(b"GET /connections ") else CONTENT
            closes = re.search(rb"\r\nconnection: *close", head, re.IGNORECASE)
            connection = b"connection: close\r\n" if closes else b""
            self._transport.write(
                b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (connection, len(content), content)
            )
            if closes:
                self._transport.close()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(f"Serving HTTP on http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
