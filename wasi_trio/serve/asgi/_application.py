"""The ASGI application (ASGI 3, HTTP): an adapter from ASGI's events to a stream of HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.asgi import _http2 as http2
from wasi_trio.serve.asgi._cutting import cut_response
from wasi_trio.serve.asgi._request import Scope, build_request
from wasi_trio.serve.asgi._upload import Message, Receive, Upload
from wasi_trio.serve.http._stream import ClientLeft, HttpStream, ResponseContent, ResponseHead
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.wasi.http._body import Body, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request

__all__ = ["Application", "Message", "Receive", "Scope", "Send", "pass_lifespan", "refuse_websocket"]

Send = Callable[[Message], Awaitable[None]]

_TRAILERS = "http.response.trailers"


class Application:
    """An ASGI application that has a handler answer each request.

    ``headers`` replace those of the same name in every request (names in lower case). ``adds_date`` is for a
    server that gives responses no ``date`` header.

    A call returns when its response is sent, or the client has left. When the client leaves first, or the call
    is cancelled, the guest's work on the request is dropped; what a guest does after its response goes on.
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
        """One that has a service answer each request, which may choose among handlers."""
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


class AsgiStream(HttpStream):
    """One request of an ASGI server. The application's own task receives and sends for it, in ``run``."""

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
    )

    def __init__(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(request)
        self._scope = scope
        self._send = send
        # Asked for before anything is read, so that it sees everything.
        self._intake = http2.intake(send) if scope["http_version"] == "2" else None
        self._upload = Upload(receive, request.body, self._intake)
        self._upload.on_left = self._leave
        self._trailers_wanted = _TRAILERS in scope.get("extensions", ()) and any(
            name == b"te" and value.strip().lower() == b"trailers" for name, value in scope["headers"]
        )
        #: a response of which everything is there
        self._whole: tuple[ResponseHead, bytes, Trailers | None] | None = None
        #: what sends any other
        self._send_later: Callable[[], Awaitable[None]] | None = None
        #: a head that goes out with what follows it
        self._head: dict[str, Any] | None = None
        self._has_begun = False
        self._is_over = False
        self._abort_is_due = False
        #: an event is being sent that cannot be dropped half-way: an HTTP/2 connection would be left in disorder
        self._in_event = False
        #: has ``run`` go on, while it receives
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
        """Have a service answer the request; returns when the response is sent, or the client has left."""
        upload = self._upload
        service(self)
        try:
            for _ in range(2):
                # A guest that need not wait is done when each other task had its turn. That is cheaper to find
                # out than to wait for its response and for events at once. Of two tasks that become runnable
                # together trio may run either first, hence two turns.
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
        """Send a response while the rest of the request is taken.

        This is not only for the guest's sake: hypercorn holds so many of a request's events, and when it can
        hold no more even the sending of a response's end waits for somebody to take them.
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
        """Nothing to do: ``run`` writes into the request's body."""

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
        """Send the head, if that is still to be done; raises ClientLeft."""
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
            # hypercorn would send a head without a field, which h2 cannot, and looks at this again at the end.
            del head["trailers"]
        await self._send_end(b"", (trailers or []) if "trailers" in head else None)

    def abort(self) -> None:
        if not self._is_over:
            self._is_over = self._abort_is_due = True
            self._upload.end()
            self._wake_up()

    def _leave(self) -> None:
        """The client is gone."""
        if self._in_event:
            return  # what sends it finds out
        self._is_over = True
        self.report_left(HttpError("connection-terminated"))


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Answer a WebSocket handshake with 403: wasi:http has no word for it."""
    await receive()
    await send({"type": "websocket.close"})


async def pass_lifespan(receive: Receive, send: Send) -> None:
    """Agree to every event of the server's life, where the handler's is someone else's care."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
