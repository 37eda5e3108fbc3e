"""HTTP/1 connections. One task receives. Responses are sent by the code that writes them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve.http._connection import Connection, Front, Phase
from wasi_trio.serve.http._heads import BadRequest, Http1Head
from wasi_trio.serve.http._http1_protocol import CONTINUE, MAX_DRAINED, Http1Protocol, Receiving, Sending
from wasi_trio.serve.http._stream import ClientLeft, ResponseContent, ResponseHead, report_left
from wasi_trio.serve.http._transport import MAX_READ, Stream
from wasi_trio.wasi._time_slice import TimeSlice
from wasi_trio.wasi.http._body import Body, BodyClosed, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request

logger = get_logger("wasi_trio.serve")

#: The free space that a request's body needs before more is received for it.
_MIN_ROOM = 64 << 10
#: The size of further requests from which none are read during an active one, and the maximum size of a read there.
_MAX_AHEAD = 32 << 10
#: The maximum size of a read of content with an unknown end, because further requests may follow that.
_MAX_CHUNKS = 256 << 10
#: The interval for checking a client that is not read from, in seconds. Reading shows its end only after its data.
_LOOK_UP = 1.0
#: The size of content from which a separate write is cheaper than a copy next to the head.
_WORTH_APART = 8 << 10


class Http1Connection(Connection):
    """An HTTP/1.0 or HTTP/1.1 connection.

    Its task receives during the whole connection, so it notices when the client leaves. Request content goes into the
    request's body. On a plain socket, a guest that finds its body empty receives by itself. Waiting for the event loop
    would cost more than all other work on these bytes.
    """

    def __init__(self, stream: Stream, front: Front, nursery: trio.Nursery) -> None:
        super().__init__(stream, front, nursery)
        self.protocol = Http1Protocol(self.limits.max_head)
        #: The active request.
        self.current: Http1Stream | None = None
        #: The body that receives the current content.
        self._body: Body | None = None
        #: Whether undecoded content may be present.
        self._decodable = False
        #: The number of content bytes that were dropped.
        self._dropped = 0
        self._requests_left = self.limits.max_requests
        #: The time that the guest has spent receiving by itself, and sending.
        self._time_slice = TimeSlice()
        self.time_slice = TimeSlice()
        #: The scope of the task's current wait. Cancelling it makes a parked task check the state again.
        self._turn = trio.CancelScope()
        self._parked = False

    # ---- the task ----------------------------------------------------------------------------------------

    async def run(self, data: bytes = b"") -> bytes | None:
        try:
            if data:
                self.protocol.receive(data)
            over = self.output.broken
            while not over:
                with trio.CancelScope() as self._turn:
                    over = await self._serve()
            if self.output.broken:
                return None
            if self.protocol.is_preface:
                return self.protocol.take_rest()
            if self.protocol.sending is Sending.CLOSED and self.protocol.ends_with_connection:
                await self.output.drain()
                self.cut()  # the client would take an orderly end for the end of the response
            else:
                await self.linger()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.output.fail()
        return None

    async def _serve(self) -> bool:
        """Receive until the connection is over, and return whether it is. Safe to cancel and call again."""
        protocol = self.protocol
        while not self.output.broken:
            receiving, sending = protocol.receiving, protocol.sending
            if receiving is Receiving.HEAD:
                if protocol.is_preface:
                    break
                if not self._next_request():
                    self._accept(await self._receive())
            elif receiving is Receiving.CONTENT:
                await self._receive_content()
            elif sending is Sending.DONE and receiving is Receiving.DONE:
                self._next_cycle()
            elif sending is Sending.HEAD or sending is Sending.CONTENT:
                if receiving is Receiving.CLOSED or protocol.buffered > _MAX_AHEAD:
                    await self._pause()
                else:
                    self._accept(await self._receive())
            else:
                break
        return True

    async def _receive(self) -> bytes:
        self._parked = True
        try:
            return await self.input.receive(_MAX_AHEAD)
        finally:
            self._parked = False

    async def _pause(self) -> None:
        """Read nothing until the response ends, or for a while."""
        self._parked = True
        try:
            await trio.sleep(_LOOK_UP)
        finally:
            self._parked = False
        self.poll_client()

    def wake(self) -> None:
        """Make the parked task check the state again."""
        if self._parked:
            self._turn.cancel()

    def _accept(self, data: bytes) -> None:
        """Accept data outside of content."""
        if data:
            self.protocol.receive(data)
        else:
            self.protocol.receive_end()
            if self.current is not None:
                self.client_ended()

    def _next_cycle(self) -> None:
        if self.protocol.next_cycle():
            self.deadline = trio.current_time() + self.limits.keep_alive_timeout
        else:
            self.protocol.receive_end()

    def _next_request(self) -> bool:
        """Begin the next request if its head is complete, or refuse it. Return whether either was done."""
        protocol = self.protocol
        try:
            head = protocol.next_head()
        except BadRequest as error:
            self._refuse(error)
            return True
        if head is None:
            return False
        self.deadline = math.inf
        self._requests_left -= 1
        if self._requests_left <= 0 or self.front.phase is not Phase.SERVING:
            protocol.close = True
        if protocol.content is None:
            body = Body.empty()
        else:
            body = Body()
            body.bill(self.front.account)
        request = Request(
            head.method, head.scheme or self.scheme, head.authority, head.path_with_query, head.headers, body
        )
        if not head.authority:
            request.authority = self.local_address or None
        self.current = stream = Http1Stream(request, self, head)
        self.serve(stream)
        return True

    def _refuse(self, error: BadRequest) -> None:
        """Refuse a malformed request, and end the connection."""
        self.log_refused(error)
        protocol = self.protocol
        method = protocol.method
        protocol.receive_end()
        if protocol.sending is Sending.CONTENT:
            self.cut()  # the response has begun
        elif protocol.sending is Sending.NOTHING or protocol.sending is Sending.HEAD:
            head, content = self.own_answer(error.status, str(error), method)
            self.output.write([protocol.start(head, unread=True) + content + protocol.finish(None)])
        self._leave()

    def _leave(self) -> None:
        """Report to the active request that its client has left."""
        stream, self.current = self.current, None
        if stream is not None:
            stream.leave(self.reason)

    # ---- content of requests -----------------------------------------------------------------------------

    def receive_into(self, body: Body) -> None:
        """Direct the content of the current request to a body."""
        if self.protocol.receiving is Receiving.CONTENT:
            self._body = body
            self._dropped = 0
            self._decodable = self.protocol.buffered > 0
            body.on_underflow = self._underflow

    async def _receive_content(self) -> None:
        """Take some content, or wait for content or for space in the body."""
        body = self._body
        if self._is_unwanted():
            self.protocol.receive_end()
        elif self._decodable:
            self._take_content()
            await trio.lowlevel.checkpoint()
        elif body is not None and not _has_room(body):
            await self._wait_for_room(body)
        else:
            await self._receive_some(body)

    def _is_unwanted(self) -> bool:
        """Return whether the response was sent and the rest of the request is too long to wait for."""
        return self.protocol.sending is Sending.DONE and (self.protocol.close or self._dropped > MAX_DRAINED)

    async def _receive_some(self, body: Body | None) -> None:
        most = self._readable(body)
        if self.deadline == math.inf and self.limits.read_timeout < math.inf:
            self.deadline = trio.current_time() + self.limits.read_timeout
        data = self.input.receive_now(most) if self.input.is_plain else None
        if data is not None:
            # Accepted before the checkpoint: the guest may receive the next bytes by then.
            self._accept_content(data)
            await trio.lowlevel.checkpoint()
            return
        self._parked = True
        try:
            if self.input.is_plain:
                await self.input.wait()
            else:
                data = await self.input.receive(most)
        finally:
            self._parked = False
        if data is not None:
            self._accept_content(data)

    def _readable(self, body: Body | None) -> int:
        """Return the number of bytes to read: as the body has room, and not much more than the rest of the content."""
        content = self.protocol.content
        assert content is not None
        left = content.left
        most = MAX_READ if body is None else body.permit() or MAX_READ
        return min(most, _MAX_CHUNKS if left is None else left + _MAX_AHEAD)

    def _accept_content(self, data: bytes) -> None:
        if not data:
            # The request is incomplete, so its client has left, whether it closed one side or both.
            self.protocol.receive_end()
            self._forget_body()
            if self.protocol.sending is not Sending.DONE:
                self.cut()
            return
        if self.protocol.sending is not Sending.DONE:
            self.deadline = math.inf
        self.protocol.receive(data)
        self._take_content()

    def _take_content(self) -> None:
        protocol, body = self.protocol, self._body
        try:
            pieces = protocol.take_content()
        except BadRequest as error:
            self._forget_body()
            self._refuse(error)
            return
        self._decodable = bool(pieces) and protocol.buffered > 0
        if body is None or body.closed or body.finished:
            self._dropped += sum(map(len, pieces))
        else:
            with suppress(BodyClosed):
                body.write_pieces(pieces)
        if protocol.receiving is Receiving.DONE:
            self._forget_body()
            if body is not None:
                assert protocol.content is not None
                body.finish(protocol.content.trailers)

    def _forget_body(self) -> None:
        if self._body is not None:
            self._body.on_underflow = None
            self._body = None

    async def _wait_for_room(self, body: Body) -> None:
        """Wait for space in the body, or for a while."""
        self._parked = True
        try:
            with trio.move_on_after(_LOOK_UP):
                await body.wait_permit(_MIN_ROOM)
                return
        finally:
            self._parked = False
        self.poll_client()

    def _underflow(self) -> None:
        """Handle a guest's read from an empty body."""
        stream = self.current
        self.ask_for_content()
        if self.output.broken or not self.input.is_plain or not self._time_slice.may_continue():
            return
        try:
            if self._decodable:
                self._take_content()
            elif not self._receive_directly() and not (
                stream is not None and stream.send_now() and self._receive_directly()
            ):
                self._time_slice.end()
        except trio.BrokenResourceError:
            return  # the task finds the error as well
        except BaseException:
            # An interrupted host function may have lost content, so the connection's state is unknown.
            self.cut()
            raise

    def ask_for_content(self) -> None:
        """Send 100 Continue to a client that waits for it (RFC 9110, section 10.1.1)."""
        if self.protocol.waits_for_continue:
            self.protocol.sent_continue = True
            self.output.write([CONTINUE])

    def _receive_directly(self) -> bool:
        """Receive available data. Return whether any was available."""
        body = self._body
        data = None if body is None else self.input.receive_now(self._readable(body))
        if data is None:
            return False
        self._accept_content(data)
        return True

    # ---- responses and the end ---------------------------------------------------------------------------

    def responded(self) -> None:
        """Handle the end of a response, sent or cut."""
        self.current = None
        protocol = self.protocol
        if protocol.receiving is Receiving.DONE and not protocol.buffered and not protocol.close:
            self._next_cycle()
        else:
            # The rest of the request has the same time as a new request.
            self.deadline = trio.current_time() + self.limits.keep_alive_timeout
            self.wake()

    def client_left(self) -> None:
        self._forget_body()
        self._leave()
        self.end_tasks()

    def expire(self) -> None:
        if self.protocol.receiving is Receiving.CONTENT and self.protocol.sending is not Sending.DONE:
            logger.warning("Closed a connection: its client sent nothing for %g s", self.limits.read_timeout)
            self.reason = HttpError("connection-read-timeout")
            self.cut()
            return
        if self.protocol.begun:
            self._refuse(BadRequest("the head of the request took too long", 408))
        elif self.protocol.receiving is Receiving.HEAD or self.protocol.receiving is Receiving.CONTENT:
            self.protocol.receive_end()
        self.wake()

    def leave(self) -> None:
        # A response that has begun cannot announce the end. The next one will.
        if self.protocol.sending is Sending.HEAD:
            self.protocol.close = True

    def stop(self) -> None:
        self.protocol.close = True
        if self.protocol.receiving is Receiving.HEAD and not self._has_request():
            self.protocol.receive_end()
            self.wake()

    def _has_request(self) -> bool:
        """Return whether part of a request has arrived. It is still answered: its client could not know of the end."""
        if not self.protocol.buffered and self.input.is_plain:
            with suppress(trio.BrokenResourceError):  # the task finds the error as well
                data = self.input.receive_now(_MAX_AHEAD)
                if data is not None:
                    self._accept(data)
                    self.wake()
        return self.protocol.begun


def _has_room(body: Body) -> bool:
    # Unread content is dropped, because some clients read only after sending everything.
    return body.closed or body.finished or body.capacity - body.buffered >= _MIN_ROOM


class Http1Stream:
    """One request of an HTTP/1 connection."""

    __slots__ = (
        "_began_at",
        "_connection",
        "_content",
        "_head",
        "_is_over",
        "_is_pending",
        "_request_head",
        "about",
        "on_left",
        "request",
    )

    def __init__(self, request: Request, connection: Http1Connection, head: Http1Head) -> None:
        self.request = request
        self.on_left: Callable[[HttpError], None] | None = None
        self.about: Callable[[], Mapping[str, str]] | None = None
        self._connection = connection
        self._request_head = head
        #: The time of the request, if the access log is enabled.
        self._began_at = 0.0 if connection.front.access_log is None else trio.current_time()
        #: The head of the response, once it has begun.
        self._head: ResponseHead | None = None
        #: Whether the response was sent, or the client has left.
        self._is_over = False
        #: Whether the head is not sent yet. It is sent with the first content.
        self._is_pending = False
        #: The content of a response that has begun.
        self._content: ResponseContent | None = None

    @property
    def client(self) -> tuple[str, int] | None:
        return self._connection.peer

    @property
    def version(self) -> str:
        return f"1.{self._request_head.minor_version}"

    def receive_into(self, body: Body) -> None:
        self._connection.receive_into(body)

    def send_whole(self, head: ResponseHead, content: bytes, trailers: Trailers | None) -> None:
        if self._is_over:
            return
        self._head = head
        protocol = self._connection.protocol
        if not self._request_head.accepts_trailers:
            trailers = None
        if head.length is None and not head.bodiless and not trailers:
            head.headers.append((b"content-length", b"%d" % len(content)))
            head.length = len(content)
        start = protocol.start(head, unread=True)
        if len(content) <= _WORTH_APART and not trailers:
            self._end([start + content + protocol.finish(None)])
        else:
            self._end([start, *protocol.frame([content]), protocol.finish(trailers)])

    def send_later(self, send: Callable[[], Awaitable[None]]) -> None:
        self._connection.front.turns.call(partial(self._send_if_due, send))

    def _send_if_due(self, send: Callable[[], Awaitable[None]]) -> None:
        if not self._is_over:
            self._connection.start_soon(send)

    def send_head(self, head: ResponseHead, content: ResponseContent) -> None:
        if self._is_over:
            return
        self._head = head
        self._is_pending = True
        self._content = content
        content.body.on_full = self.send_now

    async def send_pieces(self, pieces: list[Piece]) -> None:
        if self._is_over:
            raise ClientLeft
        output = self._connection.output
        output.write(self._framed(pieces))
        if output.size:
            await output.drain()
        if output.broken:
            raise ClientLeft

    def _framed(self, pieces: list[Piece]) -> list[Piece]:
        return [*self._pending_head(), *self._connection.protocol.frame(pieces)]

    def _pending_head(self) -> list[Piece]:
        if not self._is_pending or self._head is None:
            return []
        self._is_pending = False
        connection = self._connection
        body = self.request.body
        # The guest may still read, and 100 Continue cannot follow the head.
        if not body.closed:
            connection.ask_for_content()
        return [connection.protocol.start(self._head, unread=body.closed or not body.wanted)]

    def send_now(self) -> bool:
        """Send the content of a guest that is about to wait, if that is possible at once. Return whether it was."""
        connection, content = self._connection, self._content
        output = connection.output
        if (
            content is None
            or self._is_over
            or output.size
            or output.broken
            or not connection.input.is_plain
            or not content.can_take()
            or not connection.time_slice.may_continue()
        ):
            return False
        try:
            sent = output.write(self._framed(content.take()))
        except BaseException:
            # An interrupted host function may have sent content, so the connection's state is unknown.
            connection.cut()
            raise
        if not sent:
            connection.time_slice.end()
        return True

    async def end(self, trailers: Trailers | None) -> None:
        if self._is_over:
            raise ClientLeft
        pending = self._pending_head()
        end = self._connection.protocol.finish(trailers if self._request_head.accepts_trailers else None)
        self._end([*pending, end] if end else pending)

    def _end(self, pieces: list[Piece]) -> None:
        self._is_over = True
        self._detach()
        if pieces:
            self._connection.output.write(pieces)
        self._connection.responded()

    def abort(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._detach()
        # The client still receives the content written before.
        self._connection.output.write(self._pending_head())
        self._connection.protocol.abort()
        self._connection.responded()

    def leave(self, reason: HttpError) -> None:
        """Report that the client has left."""
        self._is_over = True
        self._detach()
        report_left(self, reason)

    def _detach(self) -> None:
        if self._content is not None:
            self._content.body.on_full = None
            self._content = None
        if self._head is not None:
            self._connection.log(self, self._head, self._began_at)
