"""A connection over HTTP/1: one task receives, and a response goes out where it is written."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve.http._connection import Connection, Front, Phase
from wasi_trio.serve.http._heads import BadRequest, Http1Head
from wasi_trio.serve.http._http1_protocol import CONTINUE, MOST_DRAINED, Http1Protocol, Receiving, Sending
from wasi_trio.serve.http._stream import ClientLeft, HttpStream, ResponseContent, ResponseHead
from wasi_trio.serve.http._transport import MOST_READ, Stream
from wasi_trio.wasi._time_slice import TimeSlice
from wasi_trio.wasi.http._body import Body, BodyClosed, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request

logger = get_logger("wasi_trio.serve")

#: bytes that a request's body has room for when more is received for it
_LEAST_ROOM = 64 << 10
#: bytes of further requests that are read while one is under way
_MOST_AHEAD = 64 << 10
#: seconds after which a connection that is not read is looked at: its end is only seen behind what was sent
_LOOK_UP = 1.0
#: bytes of a response from which on it is cheaper not to join it with its head
_WORTH_APART = 8 << 10


class Http1Connection(Connection):
    """A connection over HTTP/1.0 or HTTP/1.1.

    Its task receives for as long as the connection lasts, so that it sees the client leave. A request's content goes to
    its body. On a plain socket the guest receives by itself when it finds nothing there: it need not wait for the event
    loop, which costs more than everything else about so many bytes.
    """

    def __init__(self, stream: Stream, front: Front, nursery: trio.Nursery) -> None:
        super().__init__(stream, front, nursery)
        self.protocol = Http1Protocol(self.limits.max_head)
        #: the request that is being answered
        self.current: Http1Stream | None = None
        #: where the content goes that is being received
        self._body: Body | None = None
        #: content was received that may not have been decoded yet
        self._decodable = False
        #: bytes of content that nobody wanted, and those that were given to the body
        self._dropped = self._given = 0
        #: the guest has asked for some
        self._asked = False
        self._requests_left = self.limits.max_requests
        #: for how long the guest has received by itself, and sent
        self._time_slice = TimeSlice()
        self.time_slice = TimeSlice()
        #: around what the task does; cancelled to have it look again while it is parked
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
                self.cut()  # by an orderly end the client would take it for the response's
            else:
                await self.linger()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.output.fail()
        return None

    async def _serve(self) -> bool:
        """Receive until the connection is over, which it returns. May be cancelled and called again."""
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
                if receiving is Receiving.CLOSED or protocol.buffered > _MOST_AHEAD:
                    await self._pause()
                else:
                    self._accept(await self._receive())
            else:
                break
        return True

    async def _receive(self) -> bytes:
        self._parked = True
        try:
            return await self.input.receive()
        finally:
            self._parked = False

    async def _pause(self) -> None:
        """Read nothing until the response has ended, or for a while."""
        self._parked = True
        try:
            await trio.sleep(_LOOK_UP)
        finally:
            self._parked = False
        self.look_up()

    def moved(self) -> None:
        """Have the task look again, though it has received nothing."""
        if self._parked:
            self._turn.cancel()

    def _accept(self, data: bytes) -> None:
        """Take what was received outside of content."""
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
        """Begin the next request, if its head is there, or answer that it is none; whether either was done."""
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
        if head.authority is None:
            request.authority = self.local_address
        self.current = stream = Http1Stream(request, self, head)
        self.serve(stream)
        return True

    def _refuse(self, error: BadRequest) -> None:
        """Answer a malformed request, and end the connection."""
        self.tell_refused(error)
        protocol = self.protocol
        protocol.receive_end()
        if protocol.sending is Sending.CONTENT:
            self.cut()  # the response has begun
        elif protocol.sending is Sending.NOTHING or protocol.sending is Sending.HEAD:
            content = f"{error}\n".encode()
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(content))]
            head = ResponseHead(error.status, headers, len(content))
            self.output.write([protocol.start(head, unread=True) + content + protocol.finish(None)])
        self._leave()

    def _leave(self) -> None:
        """The request under way has no client any more."""
        stream, self.current = self.current, None
        if stream is not None:
            stream.leave(self.reason)

    # ---- content of requests -----------------------------------------------------------------------------

    def receive_into(self, body: Body) -> None:
        """Give the content of the request that has just begun to a body."""
        if self.protocol.receiving is Receiving.CONTENT:
            self._body = body
            self._dropped = self._given = 0
            self._asked = False
            self._decodable = self.protocol.buffered > 0
            body.on_underflow = self._underflow

    async def _receive_content(self) -> None:
        """Take some content, or wait for some or for room for it."""
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
        """Whether the response is out and the rest of the request too long to wait for."""
        return self.protocol.sending is Sending.DONE and (self.protocol.close or self._dropped > MOST_DRAINED)

    async def _receive_some(self, body: Body | None) -> None:
        most = MOST_READ if body is None else body.permit() or MOST_READ
        if self.deadline == math.inf and self.limits.read_timeout < math.inf:
            self.deadline = trio.current_time() + self.limits.read_timeout
        data = self.input.receive_now(most) if self.input.is_plain else None
        if data is not None:
            # At once: the guest may receive what follows meanwhile.
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

    def _accept_content(self, data: bytes) -> None:
        if not data:
            # Half a request: its client has left, whether it ended one side or both.
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
            self._given += sum(map(len, pieces))
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
        """Wait for room in the body, but not for long."""
        self._parked = True
        try:
            with trio.move_on_after(_LOOK_UP):
                await body.wait_permit(_LEAST_ROOM)
                return
        finally:
            self._parked = False
        self.look_up()

    def _underflow(self) -> None:
        """The guest finds nothing in its request's body."""
        stream = self.current
        self._asked = True
        self.ask_for_content()
        if self.output.broken or not self.input.is_plain or not self._time_slice.goes_on():
            return
        try:
            if self._decodable:
                self._take_content()
            elif not self._receive_directly() and not (
                stream is not None and stream.send_now() and self._receive_directly()
            ):
                self._time_slice.end()
        except trio.BrokenResourceError:
            return  # the task finds it as well
        except BaseException:
            # A host function that is interrupted in the middle of this: nobody knows what was lost of the content.
            self.cut()
            raise

    @property
    def reads_content(self) -> bool:
        """Whether the guest has read, or waits for, some of the content that is being received, and wants more."""
        body = self._body
        return body is not None and not body.closed and (self._asked or self._given > body.buffered)

    def ask_for_content(self) -> None:
        """Tell a client that waits for it that its content is wanted (RFC 9110, section 10.1.1)."""
        if self.protocol.waits_for_continue:
            self.protocol.sent_continue = True
            self.output.write([CONTINUE])

    def _receive_directly(self) -> bool:
        """Receive what is there; whether anything was."""
        body = self._body
        data = None if body is None else self.input.receive_now(body.permit() or MOST_READ)
        if data is None:
            return False
        self._accept_content(data)
        return True

    # ---- responses and the end ---------------------------------------------------------------------------

    def responded(self) -> None:
        """The response has been written to its end, or cut."""
        self.current = None
        protocol = self.protocol
        if protocol.receiving is Receiving.DONE and not protocol.buffered and not protocol.close:
            self._next_cycle()
        else:
            # The rest of the request has as long as a new one would have.
            self.deadline = trio.current_time() + self.limits.keep_alive_timeout
            self.moved()

    def client_left(self) -> None:
        self._forget_body()
        self._leave()
        self.nursery.cancel_scope.cancel()

    def expire(self) -> None:
        if self.protocol.receiving is Receiving.CONTENT and self.protocol.sending is not Sending.DONE:
            logger.warning("a connection is closed: its client sent nothing for %g s", self.limits.read_timeout)
            self.reason = HttpError("connection-read-timeout")
            self.cut()
            return
        if self.protocol.begun:
            self._refuse(BadRequest("the head of the request took too long", 408))
        elif self.protocol.receiving is Receiving.HEAD or self.protocol.receiving is Receiving.CONTENT:
            self.protocol.receive_end()
        self.moved()

    def leave(self) -> None:
        # What has begun cannot say so any more; the response to the next request will.
        if self.protocol.sending is Sending.HEAD:
            self.protocol.close = True

    def stop(self) -> None:
        self.protocol.close = True
        if self.protocol.receiving is Receiving.HEAD and not self._has_request():
            self.protocol.receive_end()
            self.moved()

    def _has_request(self) -> bool:
        """Whether some of a request has come, which is answered yet: its client could not know that it is too late."""
        if not self.protocol.buffered and self.input.is_plain:
            with suppress(trio.BrokenResourceError):  # the task finds that as well
                data = self.input.receive_now()
                if data is not None:
                    self._accept(data)
                    self.moved()
        return self.protocol.begun


def _has_room(body: Body) -> bool:
    # What nobody reads is dropped: a client may be one that reads only once it has sent everything.
    return body.closed or body.finished or body.capacity - body.buffered >= _LEAST_ROOM


class Http1Stream(HttpStream):
    """One request of a connection over HTTP/1."""

    __slots__ = ("_began_at", "_connection", "_content", "_head", "_is_over", "_is_pending", "_request_head")

    def __init__(self, request: Request, connection: Http1Connection, head: Http1Head) -> None:
        super().__init__(request)
        self._connection = connection
        self._request_head = head
        #: when the request came, where somebody wants to know
        self._began_at = 0.0 if connection.front.access_log is None else trio.current_time()
        #: that of the response, once it has begun
        self._head: ResponseHead | None = None
        #: the response was sent, or nobody waits for it
        self._is_over = False
        #: whether the head is still to go out, with what follows it
        self._is_pending = False
        #: the content of a response that has begun
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
            self._end([start + content, protocol.finish(None)])
        else:
            self._end([start, *protocol.frame([content]), protocol.finish(trailers)])

    def send_later(self, send: Callable[[], Awaitable[None]]) -> None:
        self._connection.front.turns.call(partial(self._send_if_due, send))

    def _send_if_due(self, send: Callable[[], Awaitable[None]]) -> None:
        if not self._is_over:
            self._connection.nursery.start_soon(send)

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
        # The guest may want to read yet, and behind the head nothing can say so any more.
        if not self.request.body.closed:
            connection.ask_for_content()
        return [connection.protocol.start(self._head, unread=not connection.reads_content)]

    def send_now(self) -> bool:
        """The guest is about to wait: send what it has written, if that can be done at once; whether it was."""
        connection, content = self._connection, self._content
        output = connection.output
        if (
            content is None
            or self._is_over
            or output.size
            or output.broken
            or not connection.input.is_plain
            or not content.can_take()
            or not connection.time_slice.goes_on()
        ):
            return False
        try:
            sent = output.write(self._framed(content.take()))
        except BaseException:
            # A host function that was interrupted in the middle of this: nobody knows what has been sent.
            connection.cut()
            raise
        if not sent:
            connection.time_slice.end()
        return True

    async def end(self, trailers: Trailers | None) -> None:
        if self._is_over:
            raise ClientLeft
        pending = self._pending_head()
        self._end(
            [*pending, self._connection.protocol.finish(trailers if self._request_head.accepts_trailers else None)]
        )

    def _end(self, pieces: list[Piece]) -> None:
        self._is_over = True
        self._detach()
        self._connection.output.write([piece for piece in pieces if piece])
        self._connection.responded()

    def abort(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._detach()
        # What the guest wrote before still reaches the client.
        self._connection.output.write(self._pending_head())
        self._connection.protocol.abort()
        self._connection.responded()

    def leave(self, reason: HttpError) -> None:
        """The client is gone."""
        self._is_over = True
        self._detach()
        self.tell_left(reason)

    def _detach(self) -> None:
        if self._content is not None:
            self._content.body.on_full = None
            self._content = None
        if self._head is not None:
            self._connection.log(self, self._head, self._began_at)
