"""Fixes of hypercorn's HTTP/2, where one request can block or end the others of a connection, or exhaust memory.

* A response waits for its client (``taken``).
* The window of a request opens only for content that was read (``Intake``). hypercorn opens it at once, and stops
  reading from the connection while an application does not take its events.
* Content of a request that was answered early is dropped. In hypercorn it ends the connection.
* A request that hypercorn cannot represent is reset. In hypercorn it ends the connection.
* Trailers of a request are kept (``Intake.trailers``). hypercorn ignores them.

ASGI has no events for these, so this module uses the objects behind hypercorn's ``send``.
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

#: The initial window of a request in h2, in bytes.
_WINDOW = 65_535
#: The maximum size of the connection's window, in bytes. HTTP/2 allows twice as much.
_MAX_WINDOW = 1 << 30


async def taken(send: Any) -> None:
    """Wait until all data from this ASGI ``send`` was sent, or its stream is closed. Do nothing unless it is HTTP/2.

    hypercorn waits only for a client that opens its window now and then. For a client that never does, it would buffer
    content without limit.
    """
    found = _find(send)
    if found is not None:
        protocol, stream_id = found
        buffer = protocol.stream_buffers.get(stream_id)
        if buffer is not None and buffer.buffer:
            await buffer.drain()


def carries(send: Any) -> bool:
    """Return whether this ASGI ``send`` belongs to hypercorn's HTTP/2."""
    return _find(send) is not None


def intake(send: Any) -> Intake | None:
    """Return the intake of an HTTP/2 request by its ASGI ``send``, or None. Call this before the request is read."""
    found = _find(send)
    if found is None:
        return None
    protocol, stream_id = found
    return Intake(patch_protocol(protocol), stream_id)


def patch_protocol(protocol: H2Protocol) -> Http2Connection:
    """Return the fixes of a protocol, the same object each time. They only see data received after the first call."""
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
    """The content of one request, as the pieces of ASGI's events that announce more.

    At most 64 KiB are received but not taken.
    """

    __slots__ = ("_connection", "_stream_id")

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self._connection = connection
        self._stream_id = stream_id
        connection.hold(stream_id)

    @property
    def trailers(self) -> Trailers | None:
        """The trailers of the request, after its end."""
        return self._connection.trailers.get(self._stream_id)

    async def taken(self, count: int) -> None:
        """Acknowledge ``count`` more pieces, so that the client may send as much again."""
        for _ in range(count):
            self._connection.taken(self._stream_id)
        await self._connection.flush()

    async def end(self) -> None:
        """Acknowledge all further content of the request, which is not wanted."""
        self._connection.release(self._stream_id)
        await self._connection.flush()


class Http2Connection:
    """Intercepts calls between hypercorn's protocol and h2 for requests with an intake.

    It withholds hypercorn's acknowledgements of content until the content was taken.
    """

    def __init__(self, protocol: H2Protocol) -> None:
        self._protocol = protocol
        connection = protocol.connection
        self._acknowledge = connection.acknowledge_received_data
        connection.acknowledge_received_data = self._received  # type: ignore[method-assign]
        self._receive_data = connection.receive_data
        connection.receive_data = self._filter_events  # type: ignore[method-assign, assignment]
        # Content withheld for one stream must not use up the window of others.
        connection.increment_flow_control_window(min(_WINDOW * protocol.config.h2_max_concurrent_streams, _MAX_WINDOW))
        #: The sizes of received pieces that were not taken, by stream.
        self._held: dict[int, deque[int]] = {}
        #: The number of pieces that were taken before hypercorn acknowledged them, by stream.
        self._ahead: dict[int, int] = {}
        #: The trailers of requests, by stream.
        self.trailers: dict[int, Trailers] = {}

    def hold(self, stream_id: int) -> None:
        self._held[stream_id] = deque()
        self._ahead[stream_id] = 0

    def _filter_events(self, data: bytes) -> list[h2.events.Event]:
        """Return the events that hypercorn must handle."""
        events = []
        begun = set()
        for event in self._receive_data(data):
            stream_id = getattr(event, "stream_id", None)
            if isinstance(event, h2.events.RequestReceived):
                if not _is_representable(dict(event.headers)):
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
        # A cancellation between frames would corrupt the connection.
        with trio.CancelScope(shield=True):
            await self._protocol._flush()


def _is_representable(head: dict[Any, Any]) -> bool:
    """Return whether hypercorn can represent a request. It needs a path, and ASCII in the path and the method."""
    return b":path" in head and head[b":path"].isascii() and head[b":method"].isascii()


class _AnsweredStream:
    """A stream that was answered while its client still sends."""

    async def handle(self, event: Event) -> None:
        """Drop the event."""


class _Streams(dict[int, Any]):
    """The streams of a connection by number."""

    def __init__(self, protocol: H2Protocol) -> None:
        super().__init__(protocol.streams)
        self.connection = Http2Connection(protocol)

    def __missing__(self, stream_id: int) -> _AnsweredStream:
        return _AnsweredStream()

    def pop(self, stream_id: int) -> Any:  # type: ignore[override]
        """Remove a stream that hypercorn has closed."""
        self.connection.trailers.pop(stream_id, None)
        return super().pop(stream_id)
