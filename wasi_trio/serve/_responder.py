"""Answers requests with a handler: what stands between a stream of HTTP and the pool of instances."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve._middleware import Answerer
from wasi_trio.serve._mounting import below
from wasi_trio.serve.http._stream import BadResponse, ClientLeft, HttpStream, ResponseContent, ResponseHead
from wasi_trio.wasi.http._body import Body, BodyAborted, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._lengths import may_announce_length, may_have_content
from wasi_trio.wasi.http._messages import Request, Response

logger = get_logger("wasi_trio.serve")

#: what the server alone says, because it concerns its connection
_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
#: what frames a message, and so cannot come after it
_NO_TRAILERS = _CONNECTION | {"content-length", "host", "trailer"}


class ExtraHeaders:
    """Fields that replace, in every request, those of the same name; names are in lower case."""

    __slots__ = ("_added", "_authority", "_replaced")

    def __init__(self, added: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._added = [(name.decode("latin-1"), value) for name, value in added]
        self._replaced = frozenset(name for name, _ in self._added)
        self._authority = next((value.decode("latin-1") for name, value in self._added if name == "host"), None)

    def apply(self, request: Request) -> None:
        """Change a request."""
        if self._added:
            request.headers = [field for field in request.headers if field[0] not in self._replaced] + self._added
            if self._authority is not None:
                request.authority = self._authority


@dataclass(frozen=True, slots=True)
class OwnAnswers:
    """What a server itself puts in its answers: ``response_headers``, and the date unless others do (``adds_date``)."""

    response_headers: tuple[tuple[bytes, bytes], ...] = ()
    adds_date: bool = True

    def error(
        self, status: int, method: str, retry_after: int | None = None
    ) -> tuple[ResponseHead, bytes, Trailers | None]:
        """What a client is sent where there is no response of a guest's, and when to try again, in seconds."""
        content = f"{HTTPStatus(status).phrase}\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(content)),
            *self.response_headers,
        ]
        if retry_after is not None:
            headers.append((b"retry-after", b"%d" % retry_after))
        if self.adds_date:
            headers.append((b"date", current_date()))
        bodiless = method == "HEAD"
        return ResponseHead(status, headers, len(content), bodiless), b"" if bodiless else content, None


class HandlerService:
    """Has a handler answer the request of each stream that it is called with.

    ``headers`` replace those of the same name in every request (names in lower case); ``response_headers`` are added to
    every response. ``adds_date`` is for servers that give responses no ``date`` field. A request for another host than
    ``server_names``, if there are any, is not found. A guest sees the path below ``root_path``. ``observed`` says that
    the handler numbers requests, for the access log to tell which instance had each.
    """

    def __init__(
        self,
        handler: Answerer,
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
        self.response_headers = self.answers.response_headers
        self.adds_date = adds_date
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
        """Change a request as the handler is to have it."""
        if self._root_path:
            request.path_with_query = below(self._root_path, request.path_with_query or "/")
        self.extra.apply(request)


class Responder:
    """Gives one request to the handler, and its response to the client.

    A guest that completes its response without waiting has it sent whole, from the host call that completes it. The
    response of any other is sent by a task as the guest writes it.
    """

    __slots__ = ("_exchange", "_head", "_response", "_scope", "_service", "_stream")

    def __init__(self, stream: HttpStream, service: HandlerService) -> None:
        self._stream = stream
        self._service = service
        self._response: Response | None = None
        self._head: ResponseHead | None = None
        #: around the task that sends the response
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
        """The handler has a response, or has failed."""
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
            # This may be a host function that is interrupted: nobody knows how far it came.
            self._stream.abort()
            raise

    def _respond(self, response: Response) -> None:
        body = response.body
        if body.error is not None and not body.buffered:
            self._fail(response, f"the guest broke off its response: {body.error}")
            return
        try:
            head = self._head = _head_of(response, self._stream.request.method)
            if self._service.response_headers:
                head.headers += self._service.response_headers
            if self._service.adds_date and not any(name.lower() == b"date" for name, _ in head.headers):
                head.headers.append((b"date", current_date()))
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
        """The guest has written some of its content, or ended it."""
        response, head = self._response, self._head
        assert response is not None and head is not None
        body = response.body
        if not body.finished:
            body.on_readable = self._written
            return
        if body.error is not None and body.buffered:
            return  # what there is of it goes out yet, before the response is cut
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

    # ---- responses that are there -----------------------------------------------------------------------

    def _send_whole(self, response: Response, head: ResponseHead) -> None:
        """Send a response of which everything is there; raises BadResponse."""
        body = response.body
        if head.bodiless:
            content, trailers = b"", None
        else:
            if head.length is not None and head.length != body.buffered:
                raise BadResponse(f"the guest gave the length {head.length} to content of {body.buffered} bytes")
            content = body.take(body.buffered)
            trailers = _sendable(body.trailers)
        body.close()
        self._stream.send_whole(head, content, trailers)
        self._end()

    def _fail(self, response: Response, problem: str) -> None:
        """Answer in place of a guest whose response cannot be sent."""
        response.body.on_readable = None
        self._exchange.fallback = 500
        self._exchange.refused = True  # before the response is closed, with which the request may have ended
        response.body.close()
        self._log(problem)
        self._send_error(500, None)

    def _send_error(self, status: int, retry_after: int | None) -> None:
        self._stream.send_whole(*self._service.answers.error(status, self._stream.request.method, retry_after))
        self._end()

    def _end(self, reason: HttpError | None = None) -> None:
        """The response is on its way, or has nobody any more to go to."""
        self._stream.on_left = None
        # A guest that still reads finds the request cut short, unless it had all of it.
        self._stream.request.body.abort(reason or HttpError("connection-terminated"))

    # ---- responses that come bit by bit ------------------------------------------------------------------

    async def _send(self) -> None:
        """Send the response as the guest writes it."""
        response, head = self._response, self._head
        if response is None or head is None:
            return  # it was sent whole, or its client has left
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
        """Whether the response went out to its end."""
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
        except BodyAborted as error:
            self._log(f"the guest broke off its response: {error}")
        except BadResponse as error:
            self._log(str(error))
        except ClientLeft:
            return False
        else:
            self._end()
            return True
        return False

    # ---- clients that leave ------------------------------------------------------------------------------

    def _left(self, reason: HttpError) -> None:
        """The client is gone."""
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


def _head_of(response: Response, method: str) -> ResponseHead:
    """What of a response's head is sent; raises BadResponse for one that HTTP does not have."""
    status = response.status
    if not 200 <= status <= 999:
        raise BadResponse(f"the guest answered with status {status}")
    headers: list[tuple[bytes, bytes]] = []
    length: int | None = None
    for name, value in response.headers:
        key = name.lower()
        if key in _CONNECTION:
            continue
        if key == "content-length":
            if not may_announce_length(method, status):
                continue
            declared = int(value)
            if length is not None:
                if declared != length:
                    raise BadResponse(f"the guest gave two lengths, {length} and {declared}")
                continue
            length = declared
        headers.append((name.encode("latin-1"), value))
    return ResponseHead(status, headers, length, bodiless=not may_have_content(method, status))


def _sendable(trailers: Trailers | None) -> Trailers | None:
    """Trailers without the fields that cannot follow a message (RFC 9110, section 6.5.1)."""
    if not trailers:
        return None
    return [(name, value) for name, value in trailers if name.lower() not in _NO_TRAILERS] or None


class _Clock:
    """The value of a ``date`` field, made once a second."""

    def __init__(self) -> None:
        self._now = 0
        self._value = b""

    def __call__(self) -> bytes:
        now = int(time.time())
        if now != self._now:
            self._now = now
            self._value = formatdate(now, usegmt=True).encode()
        return self._value


#: the value of a ``date`` field now
current_date: Callable[[], bytes] = _Clock()
