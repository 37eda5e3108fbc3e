"""HTTP/2 connections. Concurrent requests neither block nor end each other."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import h2.events
import h2.exceptions
import trio
from h2.errors import ErrorCodes

from wasi_trio._texts import get_logger
from wasi_trio.serve.http import _heads as heads
from wasi_trio.serve.http._connection import Connection, Front, Phase
from wasi_trio.serve.http._heads import BadRequest, Fields
from wasi_trio.serve.http._http2_protocol import (
    LEAVING,
    WINDOW,
    Allowance,
    FrameReader,
    Http2Protocol,
    StreamFailed,
    TooMuch,
)
from wasi_trio.serve.http._stream import ClientLeft, ResponseContent, ResponseHead, report_left
from wasi_trio.serve.http._transport import Stream
from wasi_trio.wasi.http._body import Body, BodyClosed, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request

logger = get_logger("wasi_trio.serve")

#: The maximum number of bytes to read at a time.
_MAX_READ = 128 << 10
#: The number of bytes queued for the socket from which streams wait.
_MAX_QUEUED = 256 << 10
#: The time from a complete response to the reset of its unfinished request, in seconds. Some clients lose a response if
#: the reset arrives with it.
_RESET_DELAY = 1.0
#: The number of requests that a client may abandon before their responses: twice the concurrent ones, and this many a
#: second.
_RESETS_A_SECOND = 20
#: The content that a client must admit to be allowed further frames. It could otherwise open its window byte by byte.
_MIN_OPENING = 1 << 10
#: The fields that concern a connection, which HTTP/2 forbids (RFC 9113, section 8.2.2).
_CONNECTION_FIELDS = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


class Http2Connection(Connection):
    """An HTTP/2 connection.

    Only the connection's own tasks use h2. Frames of a stream from a guest's host call wait for the event loop's next
    turn, and are sent together with those of other streams.
    """

    def __init__(self, stream: Stream, front: Front, nursery: trio.Nursery) -> None:
        super().__init__(stream, front, nursery)
        self.input.largest = _MAX_READ
        self.output.on_progress = self._pump_later
        limits = self.limits
        self.protocol = Http2Protocol(limits.max_streams, limits.max_head, limits.max_frame_size, limits.max_fields)
        self._reader = FrameReader(limits.max_frame_size)
        #: The requests that the client may abandon. Each one has cost the start of a guest, and makes room for another.
        self._resets = Allowance(2 * limits.max_streams, _RESETS_A_SECOND)
        self.streams: dict[int, Http2Stream] = {}
        #: The streams with frames to send.
        self._moved: dict[Http2Stream, None] = {}
        #: The streams that wait for a window, or for the socket.
        self._blocked: dict[Http2Stream, None] = {}
        #: The answered requests that the client has not finished, and the times of their resets.
        self._unfinished: dict[int, float] = {}
        self._turn_is_due = False
        self._requests_left = limits.max_requests
        #: Whether further requests are refused.
        self._is_closing = False
        #: Whether the client must still be told that the server leaves.
        self._is_leaving = False
        #: Whether an error has ended the connection. h2 has sent GOAWAY then.
        self._has_failed = False
        self._reading = trio.CancelScope()

    # ---- the task ----------------------------------------------------------------------------------------

    async def run(self, data: bytes = b"") -> bytes | None:
        self._flush()
        try:
            with self._reading:
                while not self.output.broken and not self._is_over:
                    if data:
                        await self._receive(data)
                        await self.output.drain(_MAX_QUEUED)
                    data = await self.input.receive()
                    if not data:
                        # Without the client's side nothing can open the windows.
                        self.output.fail()
        except TooMuch:
            logger.warning(
                "Closed a connection: its client sends too many frames without effect, or resets of requests"
            )
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM)
        except h2.exceptions.ProtocolError as error:
            logger.debug("Closed a connection: %s", error)
            self._fail(None)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.output.fail()
        if not self.output.broken:
            await self.linger()
        return None

    @property
    def _is_over(self) -> bool:
        return self._is_closing and not self.streams

    def _fail(self, code: ErrorCodes | None) -> None:
        """End the connection because of its client. Without ``code``, h2 has sent the error already."""
        if code is not None:
            self.protocol.close_connection(code)
        self._is_closing = self._has_failed = True
        self._leave_all()
        self._flush()

    async def _receive(self, data: bytes) -> None:
        now = trio.current_time()
        self._resets.refill(now)
        for batch in self._reader.receive(data, now):
            for event in self.protocol.receive_data(batch):
                handle = _HANDLERS.get(type(event))
                if handle is not None:
                    handle(self, event)
            if self._reader.refused_updates:
                refused, self._reader.refused_updates = self._reader.refused_updates, []
                for number in refused:
                    self._refuse_stream(number)
            self._take_turn()
            await trio.lowlevel.checkpoint()

    def _take_turn(self) -> None:
        """Send the frames of all waiting streams. If that fails, h2's state is unknown, and the connection ends."""
        self._turn_is_due = False
        moved, self._moved = self._moved, {}
        try:
            for stream in moved:
                stream.take_turn()
            self._flush()
            if self._is_over:
                self._end()
            elif self._is_leaving:
                self._announce_leaving()
        except Exception:
            self.cut()
            raise

    def turn_soon(self, stream: Http2Stream) -> None:
        """Schedule a turn of a stream after the guests' turns."""
        self._moved[stream] = None
        if not self._turn_is_due:
            self._turn_is_due = True
            self.front.turns.call(self._take_turn)

    def _flush(self) -> None:
        data = self.protocol.data_to_send()
        if data:
            self.output.write([data])

    # ---- receiving ---------------------------------------------------------------------------------------

    def _on_request(self, event: h2.events.RequestReceived) -> None:
        number = event.stream_id
        assert number is not None
        if self._is_closing or self.front.phase is Phase.STOPPING or len(self.streams) >= self.limits.max_streams:
            self.protocol.reset(number, ErrorCodes.REFUSED_STREAM)
            return
        stream: Http2Stream | None = None
        try:
            request = self._read_request(event.headers or (), event.stream_ended is not None)
        except BadRequest as error:
            self.log_refused(error)
            if error.status == 400:  # malformed: RFC 9113, section 8.1.1
                self.protocol.reset(number, ErrorCodes.PROTOCOL_ERROR)
                return
            body = Body.empty() if event.stream_ended is not None else Body()
            method = next(
                (bytes(value).decode("latin-1") for name, value in event.headers or () if name == b":method"), ""
            )
            request = Request(method, None, None, None, [], body)
            self.streams[number] = stream = Http2Stream(request, self, number, accepts_trailers=False)
            stream.send_whole(*self.own_answer(error.status, str(error), method), None)
            return
        accepts_trailers = any(name == "te" for name, _ in request.headers)
        self.streams[number] = stream = Http2Stream(request, self, number, accepts_trailers)
        self.deadline = math.inf
        self._requests_left -= 1
        if self._requests_left <= 0:
            self._is_closing = True
        self.serve(stream)

    def _read_request(self, lines: Any, has_ended: bool) -> Request:
        """Convert the fields of a head into a request (RFC 9113, section 8.3.1). Raise BadRequest."""
        pseudo: dict[bytes, str] = {}
        fields: Fields = []
        host: str | None = None
        length: int | None = None
        size = 0
        for raw_name, raw_value in lines:
            name, value = bytes(raw_name), bytes(raw_value)
            size += len(name) + len(value) + 32
            if name.startswith(b":"):
                if fields or name in pseudo or name not in _PSEUDO:
                    raise BadRequest("a malformed pseudo-header field")
                pseudo[name] = value.decode("latin-1")
                continue
            text = _name_of(name, value)
            if text == "host":
                if host is not None:
                    raise BadRequest("more than one host field")
                host = value.decode("latin-1")
            elif text == "content-length":
                if length is not None:
                    raise BadRequest("more than one content-length field")
                length = heads.read_length(value)
            elif text == "expect" and value.lower() != b"100-continue":
                raise BadRequest("an unsupported expectation", 417)
            fields.append((text, value))
        if size > self.limits.max_head + 32 * len(fields):
            raise BadRequest(f"the head is larger than {self.limits.max_head} bytes", 431)
        if b":method" not in pseudo:
            raise BadRequest("no method")
        method = pseudo[b":method"]
        heads.check_method(method)
        if b":scheme" not in pseudo or b":path" not in pseudo:
            raise BadRequest("no scheme or no path")
        scheme = pseudo[b":scheme"].lower()
        heads.check_scheme(scheme)
        heads.check_path(pseudo[b":path"], method)
        authority = pseudo.get(b":authority", host)
        if authority is not None:
            heads.check_authority(authority)
            if host is not None and not heads.is_same_authority(host, authority, scheme):
                raise BadRequest("the host field differs from the authority")
        if has_ended and length:
            raise BadRequest("no content in spite of a content-length")
        body = Body.empty() if has_ended else Body(2 * WINDOW)
        body.bill(self.front.account)
        return Request(method, scheme, authority or None, pseudo[b":path"], fields, body)

    def _on_data(self, event: h2.events.DataReceived) -> None:
        number, size = event.stream_id, event.flow_controlled_length
        assert number is not None and size is not None
        stream = self.streams.get(number)
        if stream is None:
            if size:
                self.protocol.acknowledge_received_data(size, number)
        else:
            stream.receive(event.data or b"", size)

    def _on_trailers(self, event: h2.events.TrailersReceived) -> None:
        assert event.stream_id is not None
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        try:
            stream.trailers = self._read_trailers(event.headers or ())
        except BadRequest as error:
            self.log_refused(error)
            self._refuse_stream(event.stream_id)

    def _read_trailers(self, lines: Any) -> Fields:
        """Convert the fields of a trailer section (RFC 9113, section 8.1). Raise BadRequest."""
        trailers: Fields = []
        size = 0
        for raw_name, raw_value in lines:
            name, value = bytes(raw_name), bytes(raw_value)
            size += len(name) + len(value)
            trailers.append((_name_of(name, value), value))
        if size > self.limits.max_head:
            raise BadRequest(f"the trailers are larger than {self.limits.max_head} bytes")
        return trailers

    def _on_stream_ended(self, event: h2.events.StreamEnded) -> None:
        assert event.stream_id is not None
        self._unfinished.pop(event.stream_id, None)
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        if stream.content_left:
            self._refuse_stream(event.stream_id)  # h2 misses this before trailers (RFC 9113, section 8.1.1)
        else:
            stream.receive_end()

    def _on_stream_reset(self, event: h2.events.StreamReset | StreamFailed) -> None:
        assert event.stream_id is not None
        self._unfinished.pop(event.stream_id, None)
        self._abandon(event.stream_id)

    def _abandon(self, number: int) -> None:
        """Handle the end of a stream by its client. Raise TooMuch if the client ends too many without a response."""
        stream = self.streams.get(number)
        if stream is not None:
            stream.leave()
            if not stream.has_begun:
                self._resets.take()

    def _refuse_stream(self, number: int) -> None:
        """Reset a stream whose client has broken a rule."""
        self.protocol.reset(number, ErrorCodes.PROTOCOL_ERROR)
        self._abandon(number)

    def _fail_stream(self, number: int, code: ErrorCodes, reason: HttpError | None = None) -> None:
        self.protocol.reset(number, code)
        stream = self.streams.get(number)
        if stream is not None:
            stream.leave(reason)

    def _on_window(self, event: h2.events.Event) -> None:
        self._pump_later()

    def _pump_later(self) -> None:
        """Let waiting streams send again."""
        for stream in self._blocked:
            self.turn_soon(stream)

    # ---- sending -----------------------------------------------------------------------------------------

    def room(self, number: int) -> int:
        """Return the number of bytes of a stream's content that can be sent now."""
        if self.output.size >= _MAX_QUEUED:
            return 0
        return max(self.protocol.local_flow_control_window(number), 0)

    def refuse_rest(self, number: int) -> None:
        """Reset an answered request soon, unless the client finishes it by then (RFC 9113, section 8.1)."""
        self._unfinished[number] = trio.current_time() + _RESET_DELAY
        # For the client these are concurrent requests, too, of which it may have only some.
        if len(self._unfinished) > self.limits.max_streams // 2:
            self._reset_unfinished(next(iter(self._unfinished)))

    def _reset_unfinished(self, number: int) -> None:
        del self._unfinished[number]
        self.protocol.reset(number, ErrorCodes.NO_ERROR)

    def credit(self, frames: float) -> None:
        """Allow the client more frames without effect, as answers to this number of sent frames."""
        self._reader.credit(frames)

    def answered(self) -> None:
        """Allow a client with a complete response to abandon another request."""
        self._reader.credit(4)
        self._resets.credit(1)

    def block(self, stream: Http2Stream, is_blocked: bool) -> None:
        """Note whether a stream waits for its client."""
        if is_blocked:
            self._blocked[stream] = None
        else:
            self._blocked.pop(stream, None)

    def finished(self, stream: Http2Stream) -> None:
        """Remove a finished stream."""
        self._blocked.pop(stream, None)
        self._moved.pop(stream, None)
        if self.streams.pop(stream.number, None) is None or self.streams:
            return
        self.deadline = trio.current_time() + self.limits.keep_alive_timeout
        if (self._is_closing or self._is_leaving) and not self._turn_is_due:
            self._turn_is_due = True
            self.front.turns.call(self._take_turn)

    # ---- the end -----------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Send GOAWAY, and end the connection once no stream is active.

        Until then further requests are refused. h2 sends nothing after GOAWAY, and some clients drop their active
        requests when they receive it.
        """
        if not self._has_failed:
            self.protocol.close_connection(ErrorCodes.NO_ERROR, last_stream_id=self.protocol.highest_inbound_stream_id)
            self._flush()
        self._reading.cancel()

    def _leave_all(self) -> None:
        for stream in list(self.streams.values()):
            stream.leave()

    def client_left(self) -> None:
        self._leave_all()
        self.end_tasks()

    def expire(self) -> None:
        if not self.streams:
            self.stop()

    def leave(self) -> None:
        self._is_leaving = True
        self._announce_leaving()

    def _announce_leaving(self) -> None:
        """Send a GOAWAY that refuses nothing yet (RFC 9113, section 6.8), once no request is affected."""
        # Some clients drop active requests at GOAWAY. A client without any request is about to send one.
        if self.streams or not self.protocol.highest_inbound_stream_id:
            return
        self._is_leaving = False
        # h2 would send nothing after its own GOAWAY frame.
        if not self._is_closing and not self.output.broken:
            self.output.write([LEAVING])

    def stop(self) -> None:
        self._is_closing = True
        if self._is_over:
            self._end()

    def check(self, now: float) -> None:
        super().check(now)
        due = [number for number, time in self._unfinished.items() if now >= time]
        for number in due:
            self._reset_unfinished(number)
        if due and not self.output.broken:
            self._flush()
        timeout = self.limits.send_timeout
        for stream in list(self._blocked):
            if now >= stream.blocked_at + timeout and not self.output.size:
                request = stream.request
                logger.warning(
                    "%s %s: no progress in sending the response for %g s",
                    request.method,
                    request.path_with_query,
                    timeout,
                )
                self._fail_stream(stream.number, ErrorCodes.CANCEL, HttpError("connection-write-timeout"))
                self._flush()


_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})

_HANDLERS: dict[type[h2.events.Event], Callable[[Http2Connection, Any], None]] = {
    h2.events.RequestReceived: Http2Connection._on_request,
    h2.events.DataReceived: Http2Connection._on_data,
    h2.events.TrailersReceived: Http2Connection._on_trailers,
    h2.events.StreamEnded: Http2Connection._on_stream_ended,
    h2.events.StreamReset: Http2Connection._on_stream_reset,
    StreamFailed: Http2Connection._on_stream_reset,
    h2.events.WindowUpdated: Http2Connection._on_window,
    h2.events.RemoteSettingsChanged: Http2Connection._on_window,
}


def _name_of(name: bytes, value: bytes) -> str:
    """Return the name of a field. Raise BadRequest if HTTP/2 forbids the field (RFC 9113, section 8.2)."""
    text = name.decode("latin-1")
    heads.check_name(text)
    heads.checked(value)
    if value != value.strip(b" \t") or text in _CONNECTION_FIELDS or (text == "te" and value != b"trailers"):
        raise BadRequest(f"a malformed field {text}")
    return text


class Http2Stream:
    """One request of an HTTP/2 connection."""

    __slots__ = (
        "_accepts_trailers",
        "_began_at",
        "_body",
        "_connection",
        "_continues",
        "_ends",
        "_head",
        "_is_incomplete",
        "_is_over",
        "_queue",
        "_received",
        "_response",
        "_room",
        "_trailers",
        "about",
        "blocked_at",
        "content_left",
        "has_begun",
        "number",
        "on_left",
        "request",
        "trailers",
    )

    def __init__(self, request: Request, connection: Http2Connection, number: int, accepts_trailers: bool) -> None:
        self.request = request
        self.on_left: Callable[[HttpError], None] | None = None
        self.about: Callable[[], Mapping[str, str]] | None = None
        self._connection = connection
        self.number = number
        self._accepts_trailers = accepts_trailers
        #: The number of announced bytes of content still to come, if the client has announced it.
        self.content_left = next((int(value) for name, value in request.headers if name == "content-length"), None)
        #: Whether the client has more of the request to send.
        self._is_incomplete = not request.body.finished
        #: The body that receives the request's content.
        self._body: Body | None = None
        #: The number of received bytes that were not acknowledged to the client.
        self._received = 0
        #: Whether to send 100 Continue.
        self._continues = False
        #: The trailers of the request.
        self.trailers: Fields | None = None
        #: The unsent part of the response.
        self._head: ResponseHead | None = None
        self._queue: list[Piece] = []
        self._ends = False
        self._trailers: list[tuple[bytes, bytes]] = []
        #: Whether the head was sent.
        self.has_begun = False
        #: The time of the request, if the access log is enabled.
        self._began_at = 0.0 if connection.front.access_log is None else trio.current_time()
        #: The head of the response, once it has one.
        self._response: ResponseHead | None = None
        #: Whether the response was sent, or the client has left.
        self._is_over = False
        #: The time since which the client's window has prevented progress.
        self.blocked_at = math.inf
        #: Set when all queued content was sent.
        self._room: trio.Event | None = None

    @property
    def client(self) -> tuple[str, int] | None:
        return self._connection.peer

    @property
    def version(self) -> str:
        return "2"

    # ---- the request -------------------------------------------------------------------------------------

    def receive_into(self, body: Body) -> None:
        if not body.finished:
            self._body = body
            if any(name == "expect" for name, _ in self.request.headers):
                body.on_underflow = self._ask_for_content

    def _ask_for_content(self) -> None:
        """Send 100 Continue to a client that waits for it, when the guest finds nothing to read."""
        self.request.body.on_underflow = None
        self._continues = True
        self._connection.turn_soon(self)

    def receive(self, data: bytes, size: int) -> None:
        """Accept content. ``size`` is its size in the client's window."""
        self._received += size
        if self.content_left is not None:
            self.content_left -= len(data)
        body = self._body
        if body is not None and data:
            try:
                body.write_pieces([data])
            except BodyClosed:
                self._body = body = None
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Reopen the client's window for content that was read, or that nobody reads."""
        body = self._body
        if body is not None and not body.closed and body.buffered * 2 > body.capacity:
            body.on_permit = self._acknowledge
        elif self._received:
            self._connection.turn_soon(self)

    def receive_end(self) -> None:
        """Handle the end of the request."""
        self._is_incomplete = False
        body, self._body = self._body, None
        if body is not None:
            body.on_permit = body.on_underflow = None
            body.finish(self.trailers)

    # ---- the response ------------------------------------------------------------------------------------

    def send_whole(self, head: ResponseHead, content: bytes, trailers: Trailers | None) -> None:
        if self._is_over:
            return
        if head.length is None and not head.bodiless:
            head.headers.append((b"content-length", b"%d" % len(content)))
        self._head = self._response = head
        if content and not head.bodiless:
            self._queue.append(content)
        self._queue_end(trailers)

    def _queue_end(self, trailers: Trailers | None) -> None:
        if trailers and self._accepts_trailers:
            self._trailers = [(name.lower().encode("latin-1"), value) for name, value in trailers]
        self._ends = True
        self._connection.turn_soon(self)

    def send_later(self, send: Callable[[], Awaitable[None]]) -> None:
        self._connection.front.turns.call(partial(self._send_if_due, send))

    def _send_if_due(self, send: Callable[[], Awaitable[None]]) -> None:
        if not self._is_over and not self._ends:
            self._connection.start_soon(send)

    def send_head(self, head: ResponseHead, content: ResponseContent) -> None:
        self._head = self._response = head

    async def send_pieces(self, pieces: list[Piece]) -> None:
        if self._is_over:
            raise ClientLeft
        self._queue += pieces
        self._connection.turn_soon(self)
        while self._queue and not self._is_over:
            self._room = trio.Event()
            await self._room.wait()
        if self._is_over:
            raise ClientLeft

    async def end(self, trailers: Trailers | None) -> None:
        if self._is_over:
            raise ClientLeft
        self._queue_end(trailers)

    def take_turn(self) -> None:
        """Send all pending frames. Only the connection's own tasks may call this."""
        connection = self._connection
        if self._received:
            connection.protocol.acknowledge_received_data(self._received, self.number)
            self._received = 0
        if self._continues and not self._is_over and not self.has_begun:
            self._continues = False
            connection.protocol.send_headers(self.number, [(b":status", b"100")])
        if self._is_over or (self._head is None and not self.has_begun):
            return
        try:
            self._send()
        except h2.exceptions.ProtocolError as error:
            logger.debug("Dropped a response: %s", error)
            connection.protocol.reset(self.number, ErrorCodes.INTERNAL_ERROR)
            self.leave()

    def _send(self) -> None:
        connection, protocol = self._connection, self._connection.protocol
        if self._head is not None:
            head, self._head = self._head, None
            self.has_begun = True
            fields = [(b":status", b"%d" % head.status)]
            fields += [(name.lower(), value) for name, value in head.headers]
            is_all = self._ends and not self._queue and not self._trailers
            protocol.send_headers(self.number, fields, end_stream=is_all)
            if is_all:
                self._finish()
                return
        progressed = self._send_content()
        if self._queue:
            if progressed or self.blocked_at == math.inf:
                self.blocked_at = trio.current_time()
            connection.block(self, True)
            return
        self.blocked_at = math.inf
        connection.block(self, False)
        if self._room is not None:
            self._room.set()
            self._room = None
        if self._ends and not self._is_over:
            if self._trailers:
                protocol.send_headers(self.number, self._trailers, end_stream=True)
            else:
                protocol.send_data(self.number, b"", end_stream=True)
            self._finish()

    def _send_content(self) -> bool:
        """Send as much content as the windows allow, and the end with the last frame. Return whether any was sent."""
        connection, protocol = self._connection, self._connection.protocol
        if not self._queue:
            return False
        data = memoryview(self._queue[0] if len(self._queue) == 1 else b"".join(self._queue))
        start = frames = 0
        room = connection.room(self.number)
        largest = protocol.max_outbound_frame_size
        while start < len(data) and room > 0:
            size = min(len(data) - start, room, largest)
            is_last = start + size == len(data) and self._ends and not self._trailers
            protocol.send_data(self.number, data[start : start + size], end_stream=is_last)
            start += size
            room -= size
            if size >= _MIN_OPENING or start == len(data):
                frames += 1
            if is_last:
                self._finish()
        if frames:
            connection.credit(2 * frames)
        self._queue = [data[start:]] if start < len(data) else []
        return start > 0

    def abort(self) -> None:
        if self._is_over:
            return
        self._connection.front.turns.call(self._reset)

    def _reset(self) -> None:
        if not self._is_over:
            self._connection.protocol.reset(self.number, ErrorCodes.INTERNAL_ERROR)
            self._connection._flush()
            self._forget()

    def _finish(self) -> None:
        """Handle the end of the response. The client need not send the rest of its request."""
        connection = self._connection
        if self._is_incomplete:
            connection.refuse_rest(self.number)
        connection.answered()
        self._forget()

    def leave(self, reason: HttpError | None = None) -> None:
        """Report that the client has left, or has reset the stream."""
        self._forget()
        report_left(self, reason or self._connection.reason)

    def _forget(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._response is not None:
            self._connection.log(self, self._response, self._began_at)
        self._queue = []
        if self._room is not None:
            self._room.set()
            self._room = None
        body, self._body = self._body, None
        if body is not None:
            body.on_permit = body.on_underflow = None
            body.abort(HttpError("connection-terminated"))
        self._connection.finished(self)
