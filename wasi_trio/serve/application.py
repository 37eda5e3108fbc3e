"""The ASGI application: what stands between an ASGI server and a handler of requests (ASGI 3, HTTP)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from wasi_trio.serve import http2
from wasi_trio.serve.connection import connection_of
from wasi_trio.serve.pool.exchange import Exchange
from wasi_trio.serve.pool.handler import ProxyHandler
from wasi_trio.serve.reply import BadResponse, Reply, Scope, Send, error_response, path_of
from wasi_trio.serve.request import RequestHeaders, build_request
from wasi_trio.serve.upload import Receive, Upload

logger = logging.getLogger("wasi_trio.serve")


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
        self._handler = handler
        self._headers = RequestHeaders(headers)
        self._adds_date = adds_date

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._answer(scope, receive, send)
        elif kind == "websocket":
            await refuse_websocket(receive, send)
        elif kind == "lifespan":
            await pass_lifespan(receive, send)
        else:
            raise NotImplementedError(f"ASGI scope {kind!r}")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = build_request(scope, self._headers)
        connection = connection_of(scope)
        http1 = None if connection is None else connection.http1
        exchange = self._handler.submit(request)
        intake = http2.intake(send) if scope["http_version"] == "2" else None
        upload = Upload(receive, request.body, http1, intake)
        if http1 is not None:
            http1.upload = upload
        answered = False
        try:
            for _ in range(2):
                # A guest that need not wait is done when each other task had its turn. That is cheaper to find
                # out than to wait for its response and for events at once. Of two tasks that become runnable
                # together trio may run either first, hence two turns.
                await trio.lowlevel.cancel_shielded_checkpoint()
                if exchange.answered:
                    break
            else:
                with trio.CancelScope() as waiting:
                    exchange.notify = waiting.cancel
                    await upload.run()
                exchange.notify = None
                if upload.client_left:
                    return
            reply = self._reply(scope, send, exchange)
            if reply.whole and upload.complete:
                answered = await reply.send_whole(upload)
            else:
                answered = await self._send_while_receiving(scope, reply, upload)
        finally:
            upload.end()
            if not answered:
                exchange.cancel()
            if intake is not None:
                await intake.end()

    def _reply(self, scope: Scope, send: Send, exchange: Exchange) -> Reply:
        """What to send: the guest's response, or an error in its place."""
        response = exchange.response
        status, retry_after = 500, None
        if response is None:
            # The handler has logged why.
            if exchange.failure is not None:
                status, retry_after = exchange.failure.status, exchange.failure.retry_after
        else:
            if response.body.error is None:
                try:
                    return Reply(scope, send, response, self._adds_date)
                except BadResponse as error:
                    problem = str(error)
            else:
                problem = f"the guest broke off its response: {response.body.error}"
            response.body.close()
            logger.error("%s %s: %s", scope["method"], path_of(scope), problem)
        return Reply(scope, send, error_response(status, retry_after), self._adds_date)

    async def _send_while_receiving(self, scope: Scope, reply: Reply, upload: Upload) -> bool:
        """Send a response while the rest of the request is taken; whether it was sent to its end.

        This is not only for the guest's sake: hypercorn holds so many of a request's events, and when it can
        hold no more even the sending of a response's end waits for somebody to take them.
        """
        connection = connection_of(scope)
        if connection is not None:
            connection.on_broken.add(upload.leave)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(upload.run)
                if reply.whole:
                    upload.end()
                    answered = await reply.send_whole(upload)
                else:
                    answered = await reply.send_stream(upload)
                nursery.cancel_scope.cancel()
        finally:
            if connection is not None:
                connection.on_broken.discard(upload.leave)
        return answered


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
