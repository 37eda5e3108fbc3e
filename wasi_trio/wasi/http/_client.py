"""HTTP/1.1 as a client, on h11 and trio."""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias, cast

import h11
import trio

from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi.http._body import Body, BodyAborted, BodyClosed
from wasi_trio.wasi.http._connect import AllowAddress, connect, default_tls_context, from_broken, from_os_error
from wasi_trio.wasi.http._connections import Connection, Connections
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.http._request_head import is_repeatable, request_head
from wasi_trio.wasi.http._uri import destination

#: bytes asked of the network at once
RECEIVE_SIZE = 64 << 10
#: bytes of a request's content that are sent before the response is waited for: a socket that is idle holds as much
_SMALL = 8 << 10
#: events handled in a row before other tasks get a turn: a server may send a byte to a chunk
_BURST = 64


@dataclass(slots=True)
class RequestOptions:
    """The timeouts of one request, in seconds; None is the client's own default."""

    connect_timeout: float | None = None
    first_byte_timeout: float | None = None
    between_bytes_timeout: float | None = None
    #: where the request may go; it was looked at already, but for the addresses of a host that is not on it by name
    outbound: Outbound | None = None
    #: where connections are kept for further requests; without, the request has one of its own
    connections: Connections | None = None

    @classmethod
    def from_nanoseconds(cls, connect: int | None, first_byte: int | None, between_bytes: int | None) -> RequestOptions:
        """The timeouts that a guest gave."""
        given = (connect, first_byte, between_bytes)
        to_connect, to_first_byte, to_next = (None if duration is None else duration / 1e9 for duration in given)
        return cls(to_connect, to_first_byte, to_next)


#: what answers outgoing requests: the network (``Client.send``), or anything else that can
Send: TypeAlias = Callable[[Request, RequestOptions, trio.Nursery], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests over the network.

    ``tls`` None is the system's trust store. ``timeout`` stands in for each timeout that a request leaves
    open. ``allow_address`` decides whether an IP address may be connected to. ``max_head`` bounds the bytes
    of a response's header section, and of its trailer section.
    """

    tls: ssl.SSLContext | None = None
    timeout: float = 600.0
    max_head: int = 64 << 10
    allow_address: AllowAddress | None = None

    async def send(self, request: Request, options: RequestOptions, nursery: trio.Nursery) -> Response:
        """Send a request and return its response as soon as its header section is there.

        Both bodies are streamed by a task in ``nursery`` from then on, independently of each other. When the
        response has ended, the connection is kept if the options say where and both sides allow it (RFC 9112,
        section 9.3). It is closed otherwise, and when the reader of the response's body closes that, and when
        the nursery or, before there is a response, this call is cancelled; the request's body is closed
        with it. Raises HttpError; a failure after the header section aborts the response's body instead.

        A request is sent a second time, on a new connection, only where the first was a kept one, which its server
        closed before any of a response, and the request is idempotent and has no content.
        """
        try:
            exchange = _Exchange(self, request, options)
        except HttpError as error:
            request.body.close(error)
            raise
        return cast(Response, await nursery.start(exchange.run))


class _Exchange:
    """One request and its response, on a connection that was kept or on a new one."""

    def __init__(self, client: Client, request: Request, options: RequestOptions) -> None:
        self.request = request
        self.client = client
        self.options = options
        self.destination = destination(request)
        self.connection: Connection
        #: where the connection is kept for further requests, if anywhere
        self.connections = options.connections
        self.scope = trio.CancelScope()
        self.response_body: Body | None = None
        self.failure: HttpError | None = None
        #: seconds that are left for the response to begin
        self.patience = self._timeout(options.first_byte_timeout)
        #: the request has gone out to its end
        self.sent = False
        #: some of a response has come
        self.received = False
        #: the connection is not this exchange's any more
        self.kept = False
        self.repeatable = is_repeatable(request)

    async def run(self, *, task_status: trio.TaskStatus[Response]) -> None:
        """Do all of it; the response is the task's started value."""
        try:
            with self.scope:
                await self._communicate(task_status)
            if self.failure is not None:
                if self.response_body is None:
                    raise self.failure
                self.response_body.abort(self.failure)
        except HttpError as error:
            self.failure = error
            raise
        finally:
            self.request.body.close(self.failure)
            if self.response_body is not None:
                self.response_body.abort(HttpError("connection-terminated"))

    # ---- the connection ----------------------------------------------------------------------------------

    async def _communicate(self, task_status: trio.TaskStatus[Response]) -> None:
        key = self.client, self.destination
        if self.connections is not None:
            kept = await self.connections.take(key, self._allows)
            if kept is not None:
                began = trio.current_time()
                await self._use(kept, task_status)
                if not self._was_lost:
                    return
                self.failure = None
                self.patience -= trio.current_time() - began
        await self._use(await self._connect(key), task_status)

    @property
    def _was_lost(self) -> bool:
        """Whether the server has closed a connection that was kept, and the request may be sent once more.

        RFC 9110, section 9.2.2, and RFC 9112, section 9.3.1: it has to be idempotent. That the server has not answered
        does not say that it has not read it.
        """
        failure = self.failure
        return (
            self.repeatable
            and not self.received
            and failure is not None
            and failure.code.case == "connection-terminated"
        )

    async def _connect(self, key: Hashable) -> Connection:
        """A new connection, which is one of the descriptors that guests may have."""
        secure, host, port = self.destination
        tls = self.client.tls or default_tls_context() if secure else None
        try:
            GUESTS.reserve()
        except OSError as error:
            raise from_os_error(error) from None
        try:
            connected = await connect(host, port, tls, self._timeout(self.options.connect_timeout), self._allows)
        except BaseException:
            GUESTS.release()
            raise
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=self.client.max_head)
        if self.connections is None:
            return Connection(connected, key, protocol, GUESTS.release)
        return self.connections.adopt(connected, key, protocol)

    def _allows(self, address: str) -> bool:
        """Whether the request may go to an IP address: that of a new connection, or of one that was kept."""
        outbound, allow = self.options.outbound, self.client.allow_address
        if outbound is not None:
            secure, host, port = self.destination
            if not outbound.admits_connection("https" if secure else "http", host, address, port):
                return False
        return allow is None or allow(address)

    async def _use(self, connection: Connection, task_status: trio.TaskStatus[Response]) -> None:
        """Send the request, receive the response, and close the connection unless it is kept; a failure is noted."""
        self.connection, self.sent = connection, False
        try:
            if self._is_small:
                await self._exchange_in_turn(task_status)
            else:
                await self._exchange_at_once(task_status)
        finally:
            if not self.kept:
                connection.close()

    @property
    def _is_small(self) -> bool:
        body = self.request.body
        return body.finished and body.error is None and body.trailers is None and body.buffered <= _SMALL

    async def _exchange_in_turn(self, task_status: trio.TaskStatus[Response]) -> None:
        """Receive after sending: the system takes so much by itself, and one task costs less than two."""
        body = self.request.body
        size = body.buffered
        try:
            head, _ = request_head(self.request, keep=self._may_keep)
            events: list[h11.Event] = [head]
            if size:
                events.append(h11.Data(data=body.take(size)))
            data = b"".join(self.connection.protocol.send(event) or b"" for event in (*events, h11.EndOfMessage()))
        except HttpError as error:
            self.failure = error
            return
        except h11.LocalProtocolError:
            self.failure = HttpError("HTTP-request-body-size", size)
            return
        try:
            await self._download(task_status, data)
        except HttpError as error:
            self.failure = error

    async def _exchange_at_once(self, task_status: trio.TaskStatus[Response]) -> None:
        """Receive while sending, as either may be long or wait for the other."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload, nursery.cancel_scope)
            try:
                await self._download(task_status)
            except HttpError as error:
                self.failure = self.failure or error
            # A server that has answered in full wants no more of the request.
            nursery.cancel_scope.cancel()

    @property
    def _may_keep(self) -> bool:
        return self.connections is not None and not self.connections.closed

    def _timeout(self, seconds: float | None) -> float:
        return self.client.timeout if seconds is None else seconds

    # ---- the request -------------------------------------------------------------------------------------

    async def _upload(self, scope: trio.CancelScope) -> None:
        """Send the request. What stops it, other than the guest, is for the response to tell."""
        body, stream = self.request.body, self.connection.stream
        send = self.connection.protocol.send
        sent, chunked = 0, True
        try:
            head, chunked = request_head(self.request, keep=self._may_keep)
            pending = send(head) or b""
            while True:
                if pending and not body.buffered and not body.finished:
                    # Nothing to send along with it: let it go out before waiting.
                    await stream.send_all(pending)
                    pending = b""
                chunk = await body.receive_some()
                if not chunk:
                    break
                sent += len(chunk)
                await stream.send_all(pending + (send(h11.Data(data=chunk)) or b""))
                pending = b""
            await stream.send_all(pending + (send(self._end(chunked)) or b""))
            self.sent = True
        except BodyAborted as aborted:
            self.failure = aborted.error
            scope.cancel()
        except HttpError as error:
            self.failure = error
            scope.cancel()
        except h11.LocalProtocolError:
            # Either it is not as long as was announced, or, with no length announced, its trailers are malformed.
            self.failure = HttpError("HTTP-protocol-error") if chunked else HttpError("HTTP-request-body-size", sent)
            scope.cancel()
        except trio.BrokenResourceError:
            body.close()

    def _end(self, chunked: bool) -> h11.EndOfMessage:
        trailers = self.request.body.trailers
        # Only chunked framing has a place for trailers, and a length among them would contradict it.
        if not trailers or not chunked:
            return h11.EndOfMessage()
        return h11.EndOfMessage(
            headers=[(name.encode(), value) for name, value in trailers if name.lower() != "content-length"]
        )

    # ---- the response ------------------------------------------------------------------------------------

    async def _download(self, task_status: trio.TaskStatus[Response], request: bytes = b"") -> None:
        """Receive the response, after sending a request that is there as bytes."""
        head: h11.Response | None = None
        with trio.move_on_after(max(self.patience, 0)):
            if request:
                # A server that takes no more of it may have answered.
                with suppress(trio.BrokenResourceError):
                    await self.connection.stream.send_all(request)
                    self.sent = True
            head = await self._receive_head()
        if head is None:
            raise HttpError("connection-read-timeout")
        headers = [(name.decode("ascii"), bytes(value)) for name, value in head.headers.raw_items()]
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self.client.max_head:
            raise HttpError("HTTP-response-header-section-size", size)
        body = self.response_body = Body()
        body.subscribe_left(self.scope.cancel)
        task_status.started(Response(head.status_code, headers, body))
        try:
            await self._receive_body(body, headers)
        except BodyClosed:
            # The reader left together with the last of it, which ends the exchange.
            return

    async def _receive_head(self) -> h11.Response:
        while True:
            event = await self._next_event(math.inf)
            if isinstance(event, h11.Response):
                return event

    async def _receive_body(self, body: Body, headers: list[tuple[str, bytes]]) -> None:
        timeout = self._timeout(self.options.between_bytes_timeout)
        burst = 0
        while True:
            event = await self._next_event(timeout)
            if isinstance(event, h11.Data):
                await body.send_all(event.data)
                burst += 1
                if burst % _BURST == 0:
                    await trio.lowlevel.checkpoint()
            elif isinstance(event, h11.EndOfMessage):
                trailers = [(name.decode("ascii"), bytes(value)) for name, value in event.headers.raw_items()]
                # First, so that whoever hears of the end and sends another request finds the connection.
                if self.connections is not None:
                    if not self.sent:
                        # The last of the request may have gone out in this turn of the loop.
                        await trio.lowlevel.checkpoint()
                    self.kept = self.sent and self.connections.keep(self.connection, headers)
                body.finish(trailers or None)
                return

    async def _next_event(self, seconds: float) -> h11.Event:
        """What the server says next, each wait for its bytes bounded by so many ``seconds``."""
        protocol, stream = self.connection.protocol, self.connection.stream
        eof = False
        while True:
            try:
                event = protocol.next_event()
            except h11.RemoteProtocolError as error:
                raise self._protocol_error(error, eof) from error
            if isinstance(event, h11.Event):
                return event
            data: bytes | None = None
            try:
                with trio.move_on_after(seconds):
                    data = bytes(await stream.receive_some(RECEIVE_SIZE))
            except trio.BrokenResourceError as error:
                raise from_broken(error) from error
            if data is None:
                raise HttpError("connection-read-timeout")
            eof = not data
            self.received = self.received or not eof
            protocol.receive_data(data)

    def _protocol_error(self, error: h11.RemoteProtocolError, eof: bool) -> HttpError:
        in_body = self.response_body is not None
        if eof:
            return HttpError("HTTP-response-incomplete" if self.received else "connection-terminated")
        if error.error_status_hint == 431:
            return HttpError("HTTP-response-trailer-section-size" if in_body else "HTTP-response-header-section-size")
        if error.error_status_hint == 501:
            return HttpError("HTTP-response-transfer-coding")
        return HttpError("HTTP-protocol-error")
