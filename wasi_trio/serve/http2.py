"""hypercorn's HTTP/2, mended where one request of a connection could hold up or end all others, or fill the memory.

* A response waits for its client (``taken``).
* A client has leave to send so much of a request at a time, and more once that was taken (``Intake``). hypercorn gives
  leave at once, and reads nothing more of the connection while an application takes no events.
* Content of a request that was answered before its end is dropped. In hypercorn it ends the connection.

As ASGI has no words for this, it is done through the objects behind its ``send``, where the server is hypercorn.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import trio
from hypercorn.protocol.events import Event
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.http_stream import HTTPStream

#: bytes that a client may send of one request before any of them was taken, as h2 tells it
_WINDOW = 65_535


async def taken(send: Any) -> None:
    """Wait until what was sent with this ASGI ``send`` has gone out, or its stream is closed, if it goes over HTTP/2.

    hypercorn itself waits only for a client that takes content now and then: one that gives no leave to send any more
    looks to it like one that has taken all, so that it would hold content without end.
    """
    found = _find(send)
    if found is not None:
        protocol, stream_id = found
        buffer = protocol.stream_buffers.get(stream_id)
        if buffer is not None and buffer.buffer:
            await buffer.drain()


def intake(send: Any) -> Intake | None:
    """That of the request that this ASGI ``send`` answers, if it came over HTTP/2. Ask before it is read."""
    found = _find(send)
    if found is None:
        return None
    protocol, stream_id = found
    streams = protocol.streams
    if not isinstance(streams, _Streams):
        streams = protocol.streams = _Streams(protocol)
    return Intake(streams.credit, stream_id)


def _find(send: Any) -> tuple[H2Protocol, int] | None:
    stream = getattr(send, "__self__", None)
    if isinstance(stream, HTTPStream):
        protocol = getattr(stream.send, "__self__", None)
        if isinstance(protocol, H2Protocol):
            return protocol, stream.stream_id
    return None


class Intake:
    """The content of one request, in the pieces that ASGI's events have of it while more is to come.

    There are at most 64 KiB that were received and are not taken.
    """

    __slots__ = ("_credit", "_stream_id")

    def __init__(self, credit: _Credit, stream_id: int) -> None:
        self._credit = credit
        self._stream_id = stream_id
        credit.hold(stream_id)

    async def taken(self, count: int) -> None:
        """So many further pieces were taken: their client may send as much again."""
        for _ in range(count):
            self._credit.taken(self._stream_id)
        await self._credit.flush()

    async def end(self) -> None:
        """Whatever else comes of this request is not wanted, and so counts as taken."""
        self._credit.release(self._stream_id)
        await self._credit.flush()


class _Credit:
    """Keeps back what hypercorn acknowledges of the content of requests, until it was taken."""

    def __init__(self, protocol: H2Protocol) -> None:
        self._protocol = protocol
        connection = protocol.connection
        self._acknowledge = connection.acknowledge_received_data
        connection.acknowledge_received_data = self._received  # type: ignore[method-assign]
        # What one stream keeps back is not to be missed by others.
        connection.increment_flow_control_window(_WINDOW * protocol.config.h2_max_concurrent_streams)
        #: by stream, the sizes of pieces that were received and not taken
        self._held: dict[int, deque[int]] = {}
        #: by stream, how many pieces were taken before hypercorn acknowledged them
        self._ahead: dict[int, int] = {}

    def hold(self, stream_id: int) -> None:
        self._held[stream_id] = deque()
        self._ahead[stream_id] = 0

    def _received(self, acknowledged_size: int, stream_id: int) -> None:
        held = self._held.get(stream_id)
        if held is None:
            self._acknowledge(acknowledged_size, stream_id)
        elif self._ahead[stream_id]:
            self._ahead[stream_id] -= 1
            self._acknowledge(acknowledged_size, stream_id)
        else:
            held.append(acknowledged_size)

    def taken(self, stream_id: int) -> None:
        held = self._held[stream_id]
        if held:
            self._acknowledge(held.popleft(), stream_id)
        else:
            self._ahead[stream_id] += 1

    def release(self, stream_id: int) -> None:
        held = self._held.pop(stream_id, ())
        self._ahead.pop(stream_id, None)
        for size in held:
            self._acknowledge(size, stream_id)

    async def flush(self) -> None:
        # Frames that are lost on their way leave the connection in disorder.
        with trio.CancelScope(shield=True):
            await self._protocol._flush()


class _Gone:
    """A stream that was answered, and that its client goes on to send."""

    async def handle(self, event: Event) -> None:
        """Drop it."""


class _Streams(dict[int, Any]):
    """The streams of a connection by number."""

    def __init__(self, protocol: H2Protocol) -> None:
        super().__init__(protocol.streams)
        self.credit = _Credit(protocol)

    def __missing__(self, stream_id: int) -> _Gone:
        return _Gone()
