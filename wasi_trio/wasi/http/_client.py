"""An HTTP/1.1 client on h11 and trio."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias, cast

import h11
import trio

from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi.http._body import Body, BodyAborted, BodyClosed
from wasi_trio.wasi.http._connect import AllowAddress, connect, default_tls_context, from_os_error
from wasi_trio.wasi.http._connection import Connection
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.http._request_head import IDEMPOTENT, is_repeatable, request_head
from wasi_trio.wasi.http._request_options import RequestOptions
from wasi_trio.wasi.http._uri import destination

#: maximum content, in bytes, that is sent before the client waits for the response; an idle socket buffers as much
_SMALL = 8 << 10
#: events between checkpoints, because a server may send chunks of one byte
_CHECKPOINT_INTERVAL = 64


Headers: TypeAlias = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests over the network.

    ``tls`` None means the system's trust store. ``timeout``, in seconds, replaces each timeout that a request does not
    set. ``allow_address`` decides whether the client may connect to an IP address. ``max_head`` bounds the bytes of a
    response's header section, and those of its trailer section.
    """

    tls: ssl.SSLContext | None = None
    timeout: float = 600.0
    max_head: int = 64 << 10
    allow_address: AllowAddress | None = None

    async def send(self, request: Request, options: RequestOptions, nursery: trio.Nursery) -> Response:
        """Send a request, and return its response when its header section has arrived.

        Tasks in ``nursery`` then stream both bodies, independently of each other. After the response has ended, the
        connection is kept if the options have a pool and both sides allow it (RFC 9112, section 9.3). Otherwise it is
        closed. It is also closed when the reader closes the response's body, and when this call or, after its return,
        the nursery is cancelled. Closing the connection closes the request's body. Raises HttpError. A failure after
        the header section aborts the response's body instead.

        A request is retried at most once, on a new connection, under two conditions. A kept connection was closed by
        its server before any byte of the response. And none of the request was sent, or the request is idempotent
        and none of its content was taken.
        """
        try:
            exchange = _Exchange(self, request, options)
        except HttpError as error:
            request.body.close(error)
            raise
        return await exchange.begin(nursery)


#: the client of applications whose options name no other
DEFAULT_CLIENT = Client()


class _Exchange:
    """One request and its response, on a kept or a new connection."""

    def __init__(self, client: Client, request: Request, options: RequestOptions) -> None:
        self.request = request
        self.client = client
        self.options = options
        self.destination = destination(request)
        self.connection: Connection
        #: the pool that keeps the connection, if any
        self.connections = options.connections
        #: the cancel scope of the work after the response's header section
        self.scope = trio.CancelScope()
        self.response_body: Body | None = None
        #: the failure of the concurrent upload or download
        self.failure: HttpError | None = None
        #: the whole request has been sent
        self.sent = False
        #: the pool owns the connection
        self.kept = False
        #: none of the request's content was taken, so it can be sent again
        self.may_repeat = False

    async def begin(self, nursery: trio.Nursery) -> Response:
        """Send the request and return the response. Tasks in ``nursery`` do the remaining work."""
        body = self.request.body
        try:
            if body.finished and body.error is None and body.trailers is None and body.buffered <= _SMALL:
                return await self._send_small(nursery)
            return cast(Response, await nursery.start(self._run))
        except HttpError as error:
            body.close(error)
            raise
        except BaseException:
            body.close()
            raise

    # ---- the connection ----------------------------------------------------------------------------------

    async def _kept_connection(self) -> Connection | None:
        if self.connections is None:
            return None
        return await self.connections.take((self.client, self.destination), self._allows)

    async def _new_connection(self) -> Connection:
        """Open a connection, within the guests' limit of descriptors."""
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
        key, max_head = (self.client, self.destination), self.client.max_head
        if self.connections is None:
            return Connection(connected, key, max_head, GUESTS.release)
        return self.connections.adopt(connected, key, max_head)

    def _allows(self, address: str) -> bool:
        """Return whether the request may use an IP address, of a new or of a kept connection."""
        outbound, allow = self.options.outbound, self.client.allow_address
        if outbound is not None:
            secure, host, port = self.destination
            if not outbound.admits_connection("https" if secure else "http", host, address, port):
                return False
        return allow is None or allow(address)

    @property
    def _may_keep(self) -> bool:
        return self.connections is not None and not self.connections.closed

    def _timeout(self, seconds: float | None) -> float:
        return self.client.timeout if seconds is None else seconds

    # ---- a small request ---------------------------------------------------------------------------------

    async def _send_small(self, nursery: trio.Nursery) -> Response:
        """Send first, then receive. The system buffers a small request, so this needs no task."""
        body = self.request.body
        head_timeout = self._timeout(self.options.first_byte_timeout)
        repeatable = is_repeatable(self.request)
        content = body.take(body.buffered)
        connection = await self._kept_connection()
        if connection is not None:
            began = trio.current_time()
            try:
                return await self._send_on(connection, content, head_timeout, nursery)
            except HttpError as error:
                # RFC 9110, section 9.2.2, and RFC 9112, section 9.3.1: the server has closed a kept connection, and may
                # still have read the request.
                if error.code.case != "connection-terminated" or connection.received or not repeatable:
                    raise
            head_timeout = max(head_timeout - (trio.current_time() - began), 0)
        return await self._send_on(await self._new_connection(), content, head_timeout, nursery)

    async def _send_on(
        self, connection: Connection, content: bytes, head_timeout: float, nursery: trio.Nursery
    ) -> Response:
        self.connection = connection
        try:
            request = self._whole_request(content)
            head: h11.Response | None = None
            with trio.move_on_after(head_timeout):
                # A server that stops reading may have answered.
                with suppress(trio.BrokenResourceError):
                    await connection.send(request)
                    self.sent = True
                head = await self._receive_head()
            response, body = self._begin_response(head)
            if not self._take_received(body, response.headers):
                nursery.start_soon(self._receive_rest, body, response.headers)
            return response
        except BaseException:
            connection.close()
            raise

    def _whole_request(self, content: bytes) -> bytes:
        send = self.connection.protocol.send
        try:
            head, _ = request_head(self.request, len(content), keep=self._may_keep)
            events: tuple[h11.Event, ...] = (head, h11.Data(data=content)) if content else (head,)
            return b"".join(send(event) or b"" for event in (*events, h11.EndOfMessage()))
        except h11.LocalProtocolError:
            raise HttpError("HTTP-request-body-size", len(content)) from None

    async def _receive_rest(self, body: Body, headers: Headers) -> None:
        """Receive the rest of a response."""
        try:
            with self.scope:
                await self._receive_body(body, headers)
        except HttpError as error:
            body.abort(error)
        finally:
            self._end(body)

    def _end(self, body: Body) -> None:
        if not self.kept:
            self.connection.close()
        self.request.body.close()
        body.abort(HttpError("connection-terminated"))

    # ---- any other request -------------------------------------------------------------------------------

    async def _run(self, *, task_status: trio.TaskStatus[Response]) -> None:
        """Send and receive concurrently, because either may be long. The response is the started value."""
        try:
            with self.scope:
                kept = await self._kept_connection()
                if kept is not None:
                    self.may_repeat = True
                    await self._exchange_on(kept, task_status)
                if kept is None or self._may_retry(kept):
                    self.failure, self.may_repeat = None, False
                    await self._exchange_on(await self._new_connection(), task_status)
            if self.failure is not None and self.response_body is None:
                raise self.failure
        except HttpError as error:
            self.failure = error
            raise
        finally:
            self.request.body.close(self.failure)
            if self.response_body is not None:
                self.response_body.abort(HttpError("connection-terminated"))

    def _may_retry(self, connection: Connection) -> bool:
        """Return whether the server had closed a kept connection and the request may use another one.

        The rules are those of small requests. In addition, any request that was not sent at all may use another
        connection.
        """
        failure = self.failure
        return (
            failure is not None
            and failure.code.case == "connection-terminated"
            and not connection.received
            and self.may_repeat
            and self.request.body.error is None
            and (self.request.method in IDEMPOTENT or connection.protocol.our_state is h11.IDLE)
        )

    async def _exchange_on(self, connection: Connection, task_status: trio.TaskStatus[Response]) -> None:
        """Send and receive. Record a failure, and close the connection unless it is kept."""
        self.connection = connection
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._upload, nursery.cancel_scope)
                try:
                    await self._download(task_status)
                except HttpError as error:
                    self.failure = self.failure or error
                # A server that has answered in full does not need the rest of the request.
                nursery.cancel_scope.cancel()
            if self.failure is not None and self.response_body is not None:
                self.response_body.abort(self.failure)
        finally:
            if not self.kept:
                connection.close()

    async def _upload(self, scope: trio.CancelScope) -> None:
        """Send the request. The response reports failures that are not the guest's."""
        body, stream = self.request.body, self.connection.stream
        send = self.connection.protocol.send
        sent, chunked = 0, True
        if self.failure is not None:
            return  # the server had closed the connection
        try:
            head, chunked = request_head(self.request, body.buffered, keep=self._may_keep)
            pending = send(head) or b""
            while True:
                if pending and not body.buffered and not body.finished:
                    # No content is ready to go with the head: send the head before the wait.
                    await stream.send_all(pending)
                    pending = b""
                chunk = await body.receive_some()
                if not chunk:
                    break
                self.may_repeat = False
                sent += len(chunk)
                await stream.send_all(pending + (send(h11.Data(data=chunk)) or b""))
                pending = b""
            await stream.send_all(pending + (send(self._end_of_request(chunked)) or b""))
            self.sent = True
        except BodyAborted as aborted:
            self.failure = aborted.error
            scope.cancel()
        except HttpError as error:
            self.failure = error
            scope.cancel()
        except h11.LocalProtocolError:
            # The content differs from the announced length or, without one, the trailers are malformed.
            self.failure = HttpError("HTTP-protocol-error") if chunked else HttpError("HTTP-request-body-size", sent)
            scope.cancel()
        except trio.BrokenResourceError:
            if not self.may_repeat:
                body.close()

    def _end_of_request(self, chunked: bool) -> h11.EndOfMessage:
        trailers = self.request.body.trailers
        # Only chunked framing supports trailers, and a length among them would contradict it.
        if not trailers or not chunked:
            return h11.EndOfMessage()
        return h11.EndOfMessage(
            headers=[(name.encode(), value) for name, value in trailers if name.lower() != "content-length"]
        )

    async def _download(self, task_status: trio.TaskStatus[Response]) -> None:
        head: h11.Response | None = None
        with trio.move_on_after(self._timeout(self.options.first_byte_timeout)):
            head = await self._receive_head()
        response, body = self._begin_response(head)
        task_status.started(response)
        await self._receive_body(body, response.headers)

    # ---- the response ------------------------------------------------------------------------------------

    def _begin_response(self, head: h11.Response | None) -> tuple[Response, Body]:
        """Return a response and its empty body. Raises HttpError if the header section is late."""
        if head is None:
            raise HttpError("connection-read-timeout")
        headers = [(name.decode("ascii"), bytes(value)) for name, value in head.headers.raw_items()]
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self.client.max_head:
            raise HttpError("HTTP-response-header-section-size", size)
        body = self.response_body = Body()
        body.subscribe_left(self.scope.cancel)
        return Response(head.status_code, headers, body), body

    async def _receive_head(self) -> h11.Response:
        while True:
            event = self.connection.next_event(in_body=False)
            if event is None:
                await self.connection.receive()
            elif isinstance(event, h11.Response):
                return event

    def _take_received(self, body: Body, headers: Headers) -> bool:
        """Move received content into the body. Return whether that was all and the exchange is over."""
        try:
            while (event := self.connection.next_event(in_body=True)) is not None:
                if isinstance(event, h11.Data):
                    # The body has room, because a body holds more than one receive.
                    body.write_pieces([event.data])
                elif isinstance(event, h11.EndOfMessage):
                    self._finish(body, headers, event)
                    self._end(body)
                    return True
        except HttpError as error:
            body.abort(error)
            self._end(body)
            return True
        return False

    async def _receive_body(self, body: Body, headers: Headers) -> None:
        timeout = self._timeout(self.options.between_bytes_timeout)
        burst = 0
        while True:
            event = self.connection.next_event(in_body=True)
            if event is None:
                await self.connection.receive(timeout)
            elif isinstance(event, h11.Data):
                try:
                    await body.send_all(event.data)
                except BodyClosed:
                    # The reader closed the body while its last data arrived, which ends the exchange.
                    return
                burst += 1
                if burst % _CHECKPOINT_INTERVAL == 0:
                    await trio.lowlevel.checkpoint()
            elif isinstance(event, h11.EndOfMessage):
                if not self.sent and self.connections is not None:
                    # The last part of the request may be sent in this turn of the loop.
                    await trio.lowlevel.checkpoint()
                self._finish(body, headers, event)
                return

    def _finish(self, body: Body, headers: Headers, event: h11.EndOfMessage) -> None:
        # Keep the connection first, so that a request from a subscriber of the end finds it.
        if self.connections is not None and self.sent:
            self.kept = self.connections.keep(self.connection, headers)
        trailers = [(name.decode("ascii"), bytes(value)) for name, value in event.headers.raw_items()]
        body.finish(trailers or None)
