"""hypercorn's HTTP/2, mended where one request of a connection could hold up or end all others, or fill the memory.

* A response waits for its client (``taken``).
* A client has leave to send so much of a request at a time, and more once that was taken (``Intake``). hypercorn gives
  leave at once, and reads nothing more of the connection while an application takes no events.
* Content of a request that was answered before its end is dropped. In hypercorn it ends the connection.
* A request that hypercorn can make nothing of is reset. There it ends the connection as well.
* Trailers of a request are kept (``Intake.trailers``), which hypercorn passes over.

As ASGI has no words for this, it is done through the objects behind its ``send``, where the server is hypercorn.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import h2.errors
import h2.events
import trio
from hypercorn.protocol.events import Event
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.http_stream import HTTPStream

from wasi_trio.wasi.http._body import Trailers

#: bytes that a client may send of one request before any of them was taken, as h2 tells it
_WINDOW = 65_535
#: bytes that it may be given leave for at once; more than twice as much cannot be said
_MOST = 1 << 30


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


def carries(send: Any) -> bool:
    """Whether it is hypercorn's HTTP/2 that this ASGI ``send`` sends over."""
    return _find(send) is not None


def intake(send: Any) -> Intake | None:
    """That of the request that this ASGI ``send`` answers, if it came over HTTP/2. Ask before it is read."""
    found = _find(send)
    if found is None:
        return None
    protocol, stream_id = found
    return Intake(patch_protocol(protocol), stream_id)


def patch_protocol(protocol: H2Protocol) -> Http2Connection:
    """The patches of this protocol; the same each time. The sooner it is asked for, the more it sees."""
    streams = protocol.streams
    if not isinstance(streams, _Streams):
        streams = protocol.streams = _Streams(protocol)
    return streams.connection


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

    __slots__ = ("_connection", "_stream_id")

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self._connection = connection
        self._stream_id = stream_id
        connection.hold(stream_id)

    @property
    def trailers(self) -> Trailers | None:
        """Those that came with the end of the request."""
        return self._connection.trailers.get(self._stream_id)

    async def taken(self, count: int) -> None:
        """So many further pieces were taken: their client may send as much again."""
        for _ in range(count):
            self._connection.taken(self._stream_id)
        await self._connection.flush()

    async def end(self) -> None:
        """Whatever else comes of this request is not wanted, and so counts as taken."""
        self._connection.release(self._stream_id)
        await self._connection.flush()


class Http2Connection:
    """Stands between hypercorn's protocol and h2, for the requests whose content is held.

    What hypercorn acknowledges of that is kept back until it was taken.
    """

    def __init__(self, protocol: H2Protocol) -> None:
        self._protocol = protocol
        connection = protocol.connection
        self._acknowledge = connection.acknowledge_received_data
        connection.acknowledge_received_data = self._received  # type: ignore[method-assign]
        self._receive_data = connection.receive_data
        connection.receive_data = self._look_through  # type: ignore[method-assign, assignment]
        # What one stream keeps back is not to be missed by others.
        connection.increment_flow_control_window(min(_WINDOW * protocol.config.h2_max_concurrent_streams, _MOST))
        #: by stream, the sizes of pieces that were received and not taken
        self._held: dict[int, deque[int]] = {}
        #: by stream, how many pieces were taken before hypercorn acknowledged them
        self._ahead: dict[int, int] = {}
        #: by stream
        self.trailers: dict[int, Trailers] = {}

    def hold(self, stream_id: int) -> None:
        self._held[stream_id] = deque()
        self._ahead[stream_id] = 0

    def _look_through(self, data: bytes) -> list[h2.events.Event]:
        """What hypercorn is to handle of what was received."""
        events = []
        begun = set()
        for event in self._receive_data(data):
            stream_id = getattr(event, "stream_id", None)
            if isinstance(event, h2.events.RequestReceived):
                if not _can_be_asked(dict(event.headers)):
                    self._protocol.connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
                    continue
                begun.add(stream_id)
            elif isinstance(event, h2.events.TrailersReceived) and (
                stream_id in begun or stream_id in self._protocol.streams
            ):
                self.trailers[event.stream_id] = [
                    (bytes(name).decode("latin-1"), bytes(value)) for name, value in event.headers
                ]
            events.append(event)
        return events

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


def _can_be_asked(head: dict[Any, Any]) -> bool:
    """Whether hypercorn can make a request of it, as it cannot where there is no path, or something is not ASCII."""
    return b":path" in head and head[b":path"].isascii() and head[b":method"].isascii()


class _Gone:
    """A stream that was answered, and that its client goes on to send."""

    async def handle(self, event: Event) -> None:
        """Drop it."""


class _Streams(dict[int, Any]):
    """The streams of a connection by number."""

    def __init__(self, protocol: H2Protocol) -> None:
        super().__init__(protocol.streams)
        self.connection = Http2Connection(protocol)

    def __missing__(self, stream_id: int) -> _Gone:
        return _Gone()

    def pop(self, stream_id: int) -> Any:  # type: ignore[override]
        """hypercorn has closed the stream."""
        self.connection.trailers.pop(stream_id, None)
        return super().pop(stream_id)
