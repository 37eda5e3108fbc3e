"""HTTP/1.1 as a client: one connection for each request, on h11 and trio."""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

import h11
import trio

from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi.http._body import Body, BodyAborted, BodyClosed
from wasi_trio.wasi.http._connect import AllowAddress, connect, default_tls_context, from_broken, from_os_error
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._fields import FORBIDDEN
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.http._uri import destination, encode_target

#: bytes asked of the network at once
RECEIVE_SIZE = 64 << 10
#: seconds a TLS connection's good-bye may take
CLOSE_TIMEOUT = 1.0
#: methods for which even an empty request states its length (RFC 9110, section 8.6)
_METHODS_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})
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

        Both bodies are streamed by a task in ``nursery`` from then on, independently of each other. The
        connection is closed when the response has ended, when the reader of its body closes it, and when
        the nursery or, before there is a response, this call is cancelled; the request's body is closed
        with it. Raises HttpError; a failure after the header section aborts the response's body instead.
        """
        try:
            exchange = _Exchange(self, request, options)
        except HttpError as error:
            request.body.close(error)
            raise
        return cast(Response, await nursery.start(exchange.run))


class _Exchange:
    """One request and its response on a connection of their own."""

    def __init__(self, client: Client, request: Request, options: RequestOptions) -> None:
        self.request = request
        self.client = client
        self.options = options
        self.destination = destination(request)
        self.connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=client.max_head)
        self.stream: trio.abc.Stream
        self.scope = trio.CancelScope()
        self.response_body: Body | None = None
        self.failure: HttpError | None = None
        self.received = False

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

    async def _communicate(self, task_status: trio.TaskStatus[Response]) -> None:
        """Connect, do the exchange and close: with one of the descriptors that guests may have."""
        try:
            GUESTS.reserve()
        except OSError as error:
            raise from_os_error(error) from None
        try:
            self.stream = await self._connect()
            try:
                await self._exchange(task_status)
            finally:
                await self._close()
        finally:
            GUESTS.release()

    async def _connect(self) -> trio.abc.Stream:
        secure, host, port = self.destination
        tls = self.client.tls or default_tls_context() if secure else None
        seconds = self._timeout(self.options.connect_timeout)
        allow = self.client.allow_address
        outbound = self.options.outbound
        scheme = "https" if secure else "http"
        if outbound is not None:

            def allow_both(address: str) -> bool:
                return outbound.admits_connection(scheme, host, address, port) and (
                    self.client.allow_address is None or self.client.allow_address(address)
                )

            allow = allow_both
        return await connect(host, port, tls, seconds, allow)

    async def _exchange(self, task_status: trio.TaskStatus[Response]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload, nursery.cancel_scope)
            try:
                await self._download(task_status)
            except HttpError as error:
                self.failure = self.failure or error
            # A server that has answered in full wants no more of the request.
            nursery.cancel_scope.cancel()

    async def _close(self) -> None:
        with trio.move_on_after(CLOSE_TIMEOUT):
            await self.stream.aclose()

    def _timeout(self, seconds: float | None) -> float:
        return self.client.timeout if seconds is None else seconds

    # ---- the request -------------------------------------------------------------------------------------

    async def _upload(self, scope: trio.CancelScope) -> None:
        """Send the request. What stops it, other than the guest, is for the response to tell."""
        body = self.request.body
        send = self.connection.send
        sent, chunked = 0, True
        try:
            head, chunked = _head(self.request)
            pending = send(head) or b""
            while True:
                if pending and not body.buffered and not body.finished:
                    # Nothing to send along with it: let it go out before waiting.
                    await self.stream.send_all(pending)
                    pending = b""
                chunk = await body.receive_some()
                if not chunk:
                    break
                sent += len(chunk)
                await self.stream.send_all(pending + (send(h11.Data(data=chunk)) or b""))
                pending = b""
            await self.stream.send_all(pending + (send(self._end(chunked)) or b""))
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

    async def _download(self, task_status: trio.TaskStatus[Response]) -> None:
        head: h11.Response | None = None
        with trio.move_on_after(self._timeout(self.options.first_byte_timeout)):
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
            await self._receive_body(body)
        except BodyClosed:
            # The reader left together with the last of it, which ends the exchange.
            return

    async def _receive_head(self) -> h11.Response:
        while True:
            event = await self._next_event(math.inf)
            if isinstance(event, h11.Response):
                return event

    async def _receive_body(self, body: Body) -> None:
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
                body.finish(trailers or None)
                return

    async def _next_event(self, seconds: float) -> h11.Event:
        """What the server says next, each wait for its bytes bounded by so many ``seconds``."""
        connection = self.connection
        eof = False
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                raise self._protocol_error(error, eof) from error
            if isinstance(event, h11.Event):
                return event
            data: bytes | None = None
            try:
                with trio.move_on_after(seconds):
                    data = bytes(await self.stream.receive_some(RECEIVE_SIZE))
            except trio.BrokenResourceError as error:
                raise from_broken(error) from error
            if data is None:
                raise HttpError("connection-read-timeout")
            eof = not data
            self.received = self.received or not eof
            connection.receive_data(data)

    def _protocol_error(self, error: h11.RemoteProtocolError, eof: bool) -> HttpError:
        in_body = self.response_body is not None
        if eof:
            return HttpError("HTTP-response-incomplete" if self.received else "connection-terminated")
        if error.error_status_hint == 431:
            return HttpError("HTTP-response-trailer-section-size" if in_body else "HTTP-response-header-section-size")
        if error.error_status_hint == 501:
            return HttpError("HTTP-response-transfer-coding")
        return HttpError("HTTP-protocol-error")


def _head(request: Request) -> tuple[h11.Request, bool]:
    """The request's header section, and whether its body is chunked."""
    target = encode_target(request.path_with_query or "/")
    if target.startswith("?"):
        target = "/" + target
    headers = [(b"Host", (request.authority or "").encode()), (b"Connection", b"close")]
    has_length = False
    for name, value in request.headers:
        key = name.lower()
        if key in FORBIDDEN:
            continue
        has_length = has_length or key == "content-length"
        headers.append((name.encode(), value))
    body = request.body
    chunked = False
    if not has_length:
        if not body.finished or body.error is not None or body.trailers:
            chunked = True
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif body.buffered or request.method in _METHODS_WITH_CONTENT:
            headers.append((b"Content-Length", b"%d" % body.buffered))
    try:
        return h11.Request(method=request.method, target=target, headers=headers), chunked
    except h11.LocalProtocolError as error:
        raise HttpError("HTTP-protocol-error") from error
