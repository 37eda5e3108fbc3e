"""The responder, which connects an HTTP stream to the pool of instances."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from wsgiref.handlers import format_date_time

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve._middleware import Handler
from wasi_trio.serve._mounting import below
from wasi_trio.serve.http._stream import BadResponse, ClientLeft, HttpStream, ResponseContent, ResponseHead
from wasi_trio.wasi.http._body import Body, BodyAborted, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._lengths import may_announce_length, may_have_content
from wasi_trio.wasi.http._messages import Request, Response

logger = get_logger("wasi_trio.serve")

#: The fields that only the server sets, because they concern its connection.
_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
#: The fields that frame a message and so cannot be trailers.
_NO_TRAILERS = _CONNECTION | {"content-length", "host", "trailer"}


class ExtraHeaders:
    """Fields to set in every request, in place of those with the same name. Names are in lower case."""

    __slots__ = ("_added", "_authority", "_replaced")

    def __init__(self, added: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._added = [(name.decode("latin-1"), value) for name, value in added]
        self._replaced = frozenset(name for name, _ in self._added)
        self._authority = next((value.decode("latin-1") for name, value in self._added if name == "host"), None)

    def apply(self, request: Request) -> None:
        """Set the fields in a request."""
        if self._added:
            request.headers = [field for field in request.headers if field[0] not in self._replaced] + self._added
            if self._authority is not None:
                request.authority = self._authority


@dataclass(frozen=True, slots=True)
class OwnAnswers:
    """The server's own part in responses: ``response_headers``, and a date if ``adds_date``."""

    response_headers: tuple[tuple[bytes, bytes], ...] = ()
    adds_date: bool = True

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the fields of a response that the server makes."""
        date = [(b"date", current_date())] if self.adds_date else []
        return [*self.response_headers, *date]

    def error(
        self, status: int, method: str, retry_after: int | None = None
    ) -> tuple[ResponseHead, bytes, Trailers | None]:
        """Return an error response. ``retry_after`` is the time after which to try again, in seconds."""
        content = f"{HTTPStatus(status).phrase}\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(content)),
            *self.fields(),
        ]
        if retry_after is not None:
            headers.append((b"retry-after", b"%d" % retry_after))
        bodiless = method == "HEAD"
        return ResponseHead(status, headers, len(content), bodiless), b"" if bodiless else content, None


class HandlerService:
    """Answers the request of each stream with a handler.

    ``headers`` replace the fields of the same name in every request (names in lower case). ``response_headers`` are
    added to every response. ``adds_date`` adds a ``date`` field, for servers that do not. If ``server_names`` is not
    empty, requests for other hosts are answered with 404. Guests see the path below ``root_path``. ``observed`` says
    whether the handler numbers requests, so that the access log can name their instances.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        response_headers: Sequence[tuple[bytes, bytes]] = (),
        adds_date: bool = True,
        server_names: Collection[str] = (),
        root_path: str = "",
        observed: bool = False,
    ) -> None:
        self.handler = handler
        self.extra = ExtraHeaders(headers)
        self.answers = OwnAnswers(tuple(response_headers), adds_date)
        self.observed = observed
        self._server_names = server_names
        self._root_path = root_path

    def __call__(self, stream: HttpStream) -> None:
        request = stream.request
        if self._server_names and request.authority not in self._server_names:
            stream.send_whole(*self.answers.error(404, request.method))
            return
        self.prepare(request)
        Responder(stream, self)

    def prepare(self, request: Request) -> None:
        """Rewrite a request for the handler."""
        if self._root_path:
            request.path_with_query = below(self._root_path, request.path_with_query or "/")
        self.extra.apply(request)


class Responder:
    """Passes one request to the handler, and its response to the client.

    If a guest completes its response without waiting, the completing host call sends the whole response. Any other
    response is sent by a task while the guest writes it.
    """

    __slots__ = ("_exchange", "_head", "_response", "_scope", "_service", "_stream")

    def __init__(self, stream: HttpStream, service: HandlerService) -> None:
        self._stream = stream
        self._service = service
        self._response: Response | None = None
        self._head: ResponseHead | None = None
        #: The cancel scope of the task that sends the response.
        self._scope: trio.CancelScope | None = None
        request = stream.request
        if not request.body.finished:
            stream.receive_into(request.body)
        stream.on_left = self._left
        self._exchange = exchange = service.handler.submit(request, stream)
        if service.observed:
            stream.about = exchange.about
        if exchange.answered:
            self._answered()
        else:
            exchange.notify = self._answered

    def _answered(self) -> None:
        """Handle the handler's response or failure."""
        self._exchange.notify = None
        try:
            response = self._exchange.response
            if response is not None:
                self._respond(response)
            else:
                failure = self._exchange.failure
                if failure is None:
                    self._send_error(500, None)
                else:
                    self._send_error(failure.status, failure.retry_after)
        except BaseException:
            # This may interrupt a host function at any point, so the stream's state is unknown.
            self._stream.abort()
            raise

    def _respond(self, response: Response) -> None:
        body = response.body
        if body.error is not None and not body.buffered:
            self._fail(response, f"the guest broke off its response: {body.error}")
            return
        try:
            head = self._head = _head_of(response, self._stream.request.method, self._service.answers)
            if head.bodiless or (body.finished and body.error is None):
                self._send_whole(response, head)
                return
        except BadResponse as error:
            self._fail(response, str(error))
            return
        self._response = response
        self._exchange.fallback = 500
        if not body.finished:
            body.on_readable = self._written
        self._stream.send_later(self._send)

    def _written(self) -> None:
        """Handle content from the guest, or its end."""
        response, head = self._response, self._head
        assert response is not None and head is not None
        body = response.body
        if not body.finished:
            body.on_readable = self._written
            return
        if body.error is not None and body.buffered:
            return  # send the buffered content before cutting the response
        self._response = None
        try:
            if body.error is not None:
                self._fail(response, f"the guest broke off its response: {body.error}")
            else:
                self._send_whole(response, head)
        except BadResponse as error:
            self._fail(response, str(error))
        except BaseException:
            self._stream.abort()
            raise

    # ---- complete responses -----------------------------------------------------------------------------

    def _send_whole(self, response: Response, head: ResponseHead) -> None:
        """Send a complete response. Raise BadResponse."""
        body = response.body
        if head.bodiless:
            content, trailers = b"", None
        else:
            if head.length is not None and head.length != body.buffered:
                raise BadResponse(f"the guest announced a length of {head.length} for content of {body.buffered} bytes")
            content = body.take(body.buffered)
            trailers = _sendable(body.trailers)
        body.close()
        self._stream.send_whole(head, content, trailers)
        self._end()

    def _fail(self, response: Response, problem: str) -> None:
        """Send an error in place of a guest's response."""
        response.body.on_readable = None
        self._exchange.fallback = 500
        self._exchange.refused = True  # before closing the response, which may end the request
        response.body.close()
        self._log(problem)
        self._send_error(500, None)

    def _send_error(self, status: int, retry_after: int | None) -> None:
        self._stream.send_whole(*self._service.answers.error(status, self._stream.request.method, retry_after))
        self._end()

    def _end(self, reason: HttpError | None = None) -> None:
        """Finish a request whose response is on its way, or whose client has left."""
        self._stream.on_left = None
        body = self._stream.request.body
        if not body.finished:
            # A guest that still reads finds the request truncated.
            body.abort(reason or HttpError("connection-terminated"))

    # ---- streamed responses ------------------------------------------------------------------------------

    async def _send(self) -> None:
        """Send the response while the guest writes it."""
        response, head = self._response, self._head
        if response is None or head is None:
            return  # it was sent whole, or the client has left
        self._response = None
        self._exchange.fallback = None
        body = response.body
        body.on_readable = None
        sent = False
        try:
            with trio.CancelScope() as self._scope:
                sent = await self._send_content(body, head)
        finally:
            self._scope = None
            body.close()
            if not sent:
                self._stream.on_left = None
                self._stream.abort()
                self._end()
                self._exchange.cancel()

    async def _send_content(self, body: Body, head: ResponseHead) -> bool:
        """Send the content and the trailers. Return whether all of it was sent."""
        stream = self._stream
        content = ResponseContent(body, head.length)
        try:
            stream.send_head(head, content)
            if not body.buffered:
                await stream.send_pieces([])
            while pieces := await content.receive():
                await stream.send_pieces(pieces)
            trailers = _sendable(body.trailers)
            body.close()
            await stream.end(trailers)
        except BodyAborted as aborted:
            self._log(f"the guest broke off its response: {aborted}")
        except BadResponse as wrong:
            self._log(str(wrong))
        except ClientLeft:
            return False
        else:
            self._end()
            return True
        return False

    # ---- clients that leave ------------------------------------------------------------------------------

    def _left(self, reason: HttpError) -> None:
        """Handle the client's departure."""
        exchange, response = self._exchange, self._response
        exchange.notify = None
        self._response = None
        if response is not None:
            response.body.on_readable = None
        self._end(reason)
        if exchange.response is not None:
            exchange.response.body.close(reason)
        if self._scope is not None:
            self._scope.cancel()
        else:
            exchange.cancel()

    def _log(self, problem: str) -> None:
        request = self._stream.request
        logger.error(
            "%s %s: %s", request.method, request.path_with_query, problem, extra={"about": self._exchange.about()}
        )


def _head_of(response: Response, method: str, own: OwnAnswers) -> ResponseHead:
    """Return the head to send for a response, with the server's own fields. Raise BadResponse if HTTP forbids it."""
    status = response.status
    if not 200 <= status <= 999:
        raise BadResponse(f"the guest answered with status {status}")
    headers: list[tuple[bytes, bytes]] = []
    length: int | None = None
    adds_date = own.adds_date
    for name, value in response.headers:
        key = name.lower()
        if key in _CONNECTION:
            continue
        if key == "date":
            adds_date = False
        elif key == "content-length":
            if not may_announce_length(method, status):
                continue
            declared = int(value)
            if length is not None:
                if declared != length:
                    raise BadResponse(f"the guest announced two lengths, {length} and {declared}")
                continue
            length = declared
        headers.append((name.encode("latin-1"), value))
    headers += own.response_headers
    if adds_date:
        headers.append((b"date", current_date()))
    return ResponseHead(status, headers, length, bodiless=not may_have_content(method, status))


def _sendable(trailers: Trailers | None) -> Trailers | None:
    """Return the trailers without fields that are not allowed there (RFC 9110, section 6.5.1)."""
    if not trailers:
        return None
    return [(name, value) for name, value in trailers if name.lower() not in _NO_TRAILERS] or None


class _Clock:
    """The value of a ``date`` field, formatted once a second."""

    def __init__(self) -> None:
        self._now = 0
        self._value = b""

    def __call__(self) -> bytes:
        now = int(time.time())
        if now != self._now:
            self._now = now
            self._value = format_date_time(now).encode()
        return self._value


#: Returns the value of a ``date`` field for now.
current_date: Callable[[], bytes] = _Clock()
