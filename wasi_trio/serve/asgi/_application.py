"""The ASGI application (ASGI 3, HTTP): an adapter from ASGI's events to an HTTP stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.asgi import _http2 as http2
from wasi_trio.serve.asgi._cutting import cut_response
from wasi_trio.serve.asgi._ending import has_sent_end
from wasi_trio.serve.asgi._request import Scope, build_request
from wasi_trio.serve.asgi._upload import Message, Receive, Upload
from wasi_trio.serve.http._stream import ClientLeft, HttpStream, ResponseContent, ResponseHead, report_left
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.wasi.http._body import Body, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request

__all__ = ["Application", "Message", "Receive", "Scope", "Send", "pass_lifespan", "refuse_websocket"]

Send = Callable[[Message], Awaitable[None]]

_TRAILERS = "http.response.trailers"


class Application:
    """An ASGI application that answers each request with a handler.

    ``headers`` replace the fields of the same name in every request (names in lower case). ``adds_date`` adds a
    ``date`` field to responses, for servers that do not.

    A call returns when its response is sent, or when the client has left. If the client leaves before that, or the call
    is cancelled, the guest's work on the request is cancelled. A guest's work after its response continues.
    """

    def __init__(
        self,
        handler: ProxyHandler,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        adds_date: bool = False,
    ) -> None:
        self._service: Callable[[HttpStream], None] = HandlerService(handler, headers=headers, adds_date=adds_date)

    @classmethod
    def of(cls, service: Callable[[HttpStream], None]) -> Application:
        """Create an application that answers each request with a service, which may choose among handlers."""
        application = cls.__new__(cls)
        application._service = service
        return application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await AsgiStream(build_request(scope), scope, receive, send).run(self._service)
        elif kind == "websocket":
            await refuse_websocket(receive, send)
        elif kind == "lifespan":
            await pass_lifespan(receive, send)
        else:
            raise NotImplementedError(f"ASGI scope {kind!r}")


class AsgiStream:
    """One request of an ASGI server. The application's task receives and sends for it, in ``run``."""

    __slots__ = (
        "_abort_is_due",
        "_has_begun",
        "_head",
        "_in_event",
        "_intake",
        "_is_over",
        "_scope",
        "_send",
        "_send_later",
        "_trailers_wanted",
        "_upload",
        "_wake",
        "_whole",
        "about",
        "on_left",
        "request",
    )

    def __init__(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        self.request = request
        self.on_left: Callable[[HttpError], None] | None = None
        self.about: Callable[[], Mapping[str, str]] | None = None
        self._scope = scope
        self._send = send
        # Created before anything is read, so that it sees all content.
        self._intake = http2.intake(send) if scope["http_version"] == "2" else None
        self._upload = Upload(receive, request.body, self._intake)
        self._upload.on_left = self._leave
        self._trailers_wanted = _TRAILERS in scope.get("extensions", ()) and any(
            name == b"te" and value.strip().lower() == b"trailers" for name, value in scope["headers"]
        )
        #: A complete response.
        self._whole: tuple[ResponseHead, bytes, Trailers | None] | None = None
        #: Sends any other response.
        self._send_later: Callable[[], Awaitable[None]] | None = None
        #: The head, which is sent with the first content.
        self._head: dict[str, Any] | None = None
        self._has_begun = False
        self._is_over = False
        self._abort_is_due = False
        #: Whether an event is being sent that must not be cancelled: that would corrupt an HTTP/2 connection.
        self._in_event = False
        #: Interrupts ``run`` while it receives.
        self._wake: Callable[[], None] | None = None

    @property
    def client(self) -> tuple[str, int] | None:
        client = self._scope.get("client")
        return None if client is None else (client[0], client[1])

    @property
    def version(self) -> str:
        version: str = self._scope["http_version"]
        return version

    async def run(self, service: Callable[[HttpStream], None]) -> None:
        """Answer the request with a service. Return when the response is sent, or the client has left."""
        upload = self._upload
        service(self)
        try:
            for _ in range(2):
                # A guest that does not wait is done after one turn of all other tasks. Two checkpoints are cheaper than
                # waiting for its response and for events at once. One is not enough, because trio may run either of two
                # tasks first.
                await trio.lowlevel.cancel_shielded_checkpoint()
                if self._whole is not None:
                    break
            else:
                if self._whole is None and self._send_later is None and not self._abort_is_due:
                    with trio.CancelScope() as waiting:
                        self._wake = waiting.cancel
                        await upload.run()
                    self._wake = None
            if upload.client_left:
                return
            if self._whole is not None and upload.complete:
                await self._deliver(*self._whole)
            else:
                await self._send_while_receiving()
        finally:
            upload.end()
            if not self._is_over:
                self._leave()
            if self._intake is not None:
                await self._intake.end()

    async def _send_while_receiving(self) -> None:
        """Send a response while receiving the rest of the request.

        hypercorn requires this: its queue for a request's events is bounded, and while the queue is full, even sending
        the end of a response waits.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload.run)
            if self._whole is not None:
                self._upload.end()
                await self._deliver(*self._whole)
            elif self._send_later is not None:
                await self._send_later()
            if self._abort_is_due:
                await cut_response(self._send)
            nursery.cancel_scope.cancel()

    # ---- the stream --------------------------------------------------------------------------------------

    def receive_into(self, body: Body) -> None:
        """Do nothing: ``run`` writes into the request's body."""

    def send_whole(self, head: ResponseHead, content: bytes, trailers: Trailers | None) -> None:
        if not self._is_over:
            self._whole = head, content, trailers
            self._wake_up()

    def send_later(self, send: Callable[[], Awaitable[None]]) -> None:
        self._send_later = send
        self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake()

    async def _deliver(self, head: ResponseHead, content: bytes, trailers: Trailers | None) -> None:
        if not self._trailers_wanted:
            trailers = None
        if head.length is None and not head.bodiless and not trailers:
            head.headers.append((b"content-length", b"%d" % len(content)))
        self._is_over = True
        await self._send(self._start(head, trailers))
        await self._send_end(content, trailers)

    @staticmethod
    def _start(head: ResponseHead, trailers: Any) -> dict[str, Any]:
        headers = [(name.lower(), value) for name, value in head.headers]
        start = {"type": "http.response.start", "status": head.status, "headers": headers}
        return {**start, "trailers": True} if trailers else start

    async def _send_end(self, content: bytes, trailers: Trailers | None) -> None:
        await self._send({"type": "http.response.body", "body": content, "more_body": False})
        if trailers is not None:
            headers = [(name.lower().encode("latin-1"), value) for name, value in trailers]
            await self._send({"type": _TRAILERS, "headers": headers, "more_trailers": False})
        await http2.taken(self._send)

    def send_head(self, head: ResponseHead, content: ResponseContent) -> None:
        self._head = self._start(head, self._trailers_wanted)

    async def send_pieces(self, pieces: list[Piece]) -> None:
        await self._begin()
        if pieces:
            await self._send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
            await http2.taken(self._send)

    async def _begin(self) -> None:
        """Send the head, unless it was sent. Raise ClientLeft."""
        if self._is_over or self._upload.client_left:
            raise ClientLeft
        if self._has_begun or self._head is None:
            return
        self._has_begun = self._in_event = True
        try:
            await self._send(self._head)
        finally:
            self._in_event = False
        if self._upload.client_left:
            raise ClientLeft

    async def end(self, trailers: Trailers | None) -> None:
        await self._begin()
        self._is_over = True
        self._upload.end()
        head = self._head
        assert head is not None
        if not trailers and "trailers" in head and http2.carries(self._send):
            # hypercorn would send trailers without a field, which h2 refuses. It reads this key again at the end.
            del head["trailers"]
        await self._send_end(b"", (trailers or []) if "trailers" in head else None)

    def abort(self) -> None:
        if not self._is_over:
            self._is_over = self._abort_is_due = True
            self._upload.end()
            self._wake_up()

    def _leave(self) -> None:
        """Handle the client's departure."""
        if self._in_event:
            return  # the sender of the event handles it
        if self._is_over and has_sent_end(self._send):
            return  # the client has the whole response, and hypercorn is about to reuse or close the connection
        self._is_over = True
        report_left(self, HttpError("connection-terminated"))


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Refuse a WebSocket handshake with 403: wasi:http does not support it."""
    await receive()
    await send({"type": "websocket.close"})


async def pass_lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge all lifespan events, for a handler whose owner manages its lifetime."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
