"""Clients that reuse connections, and count all requests without a response."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import trio

#: content sizes of POST requests, in turn: small, and too large for a server to read to its end
SIZES = (10, 100_000)


class Lost(Exception):
    """A request without a response. The message tells its progress."""


class Load:
    """Sends GET and POST in turn, ``clients`` at a time, each to a port from ``choose``.

    A connection is reused unless its response has ``connection: close``. No request is repeated. ``paths`` holds the
    path of each method. With ``refusals``, responses of 503 count as ``refused``, by method and content. All other
    failures count as lost, as do responses that take longer than ``patience`` seconds.
    """

    def __init__(
        self,
        choose: Callable[[], int],
        clients: int = 8,
        paths: Mapping[str, str] | None = None,
        refusals: bool = False,
        patience: float = 60,
    ) -> None:
        self.answered: Counter[str] = Counter()
        self.refused: Counter[tuple[str, bytes]] = Counter()
        self.lost: list[str] = []
        #: requests in progress
        self.in_flight = 0
        self._paths = paths or {"GET": "/", "POST": "/"}
        self._refusals = refusals
        self._patience = patience
        self._choose = choose
        self._clients = clients
        self._idle: dict[int, list[trio.SocketStream]] = {}

    @property
    def sent(self) -> int:
        return self.answered.total() + self.refused.total() + len(self.lost)

    async def run(self, requests: int) -> None:
        """Send ``requests`` requests."""
        left = iter(range(requests))

        async def client() -> None:
            for number in left:
                method, size = ("GET", 0) if number % 2 else ("POST", SIZES[number // 2 % len(SIZES)])
                self.in_flight += 1
                try:
                    with trio.fail_after(self._patience):
                        answer = await self._ask(method, size)
                    if answer.status == b"200":
                        self.answered[method] += 1
                    else:
                        self.refused[method, answer.content] += 1
                except (Lost, OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
                    self.lost.append(f"{method} of {size} bytes: {error!r}")
                finally:
                    self.in_flight -= 1

        async with trio.open_nursery() as nursery:
            for _ in range(self._clients):
                nursery.start_soon(client)
        for streams in self._idle.values():
            while streams:
                await trio.aclose_forcefully(streams.pop())

    async def _ask(self, method: str, size: int) -> _Answer:
        port = self._choose()
        idle = self._idle.setdefault(port, [])
        stream = idle.pop() if idle else await trio.open_tcp_stream("127.0.0.1", port)
        kept = False
        answer: _Answer | Lost | trio.BrokenResourceError
        try:
            length = f"content-length: {size}\r\n" if method == "POST" else ""
            head = f"{method} {self._paths[method]} HTTP/1.1\r\nhost: example.test\r\n{length}\r\n".encode()
            async with trio.open_nursery() as nursery:
                sending = _Sending(stream, head, bytes(size))
                nursery.start_soon(sending.run)
                try:
                    answer = await _answer(stream)
                    kept = answer.kept
                except (Lost, trio.BrokenResourceError) as error:
                    answer = error
                if not kept:
                    # A server that has announced its end may stop reading.
                    nursery.cancel_scope.cancel()
            if not isinstance(answer, _Answer):
                raise answer
            if answer.status != b"200" and not (self._refusals and answer.status == b"503"):
                raise Lost(f"answered with {answer.status!r}: {answer.content[:80]!r}")
            kept = kept and sending.done
            return answer
        finally:
            if kept:
                idle.append(stream)
            else:
                await trio.aclose_forcefully(stream)


class _Answer(NamedTuple):
    """A complete response. ``kept`` is true if its connection persists. Chunked content is not decoded."""

    status: bytes
    content: bytes
    kept: bool


class _Sending:
    """A request whose head and content are sent separately, as clients and balancers do."""

    def __init__(self, stream: trio.SocketStream, head: bytes, content: bytes) -> None:
        self.done = False
        self._stream = stream
        self._pieces = (head, content)

    async def run(self) -> None:
        try:
            for piece in self._pieces:
                if piece:
                    await self._stream.send_all(piece)
            self.done = True
        except trio.BrokenResourceError:
            return  # the response shows whether that was a loss


async def _answer(stream: trio.SocketStream) -> _Answer:
    """Read a response to its end. Raises Lost."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += await _more(stream, received)
    head, _, content = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        while not content.endswith(b"0\r\n\r\n"):
            content += await _more(stream, content)
    else:
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        while len(content) < length:
            content += await _more(stream, content)
    return _Answer(lines[0].split()[1], content, b"connection: close" not in lines)


async def _more(stream: trio.SocketStream, so_far: bytes) -> bytes:
    data = bytes(await stream.receive_some())
    if not data:
        raise Lost(f"closed after {so_far[:80]!r}")
    return data
