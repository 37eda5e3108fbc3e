"""wasi:http 0.2: the interfaces ``types`` and ``outgoing-handler``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from wasi_trio.component.values import Err, Ok, Variant
from wasi_trio.wasi.http.client import RequestOptions as Timeouts
from wasi_trio.wasi.http.context import HttpContext
from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.http.messages import Request, Response
from wasi_trio.wasi.p2 import http_bodies, http_messages
from wasi_trio.wasi.p2.http_fields import Fields
from wasi_trio.wasi.p2.http_messages import FutureIncomingResponse, OutgoingRequest, RequestOptions
from wasi_trio.wasi.p2.io import Error

if TYPE_CHECKING:
    from wasi_trio.wasi.context import WasiContext


class Types:
    """The interface wasi:http/types."""

    Fields = Fields
    IncomingRequest = http_messages.IncomingRequest
    OutgoingRequest = http_messages.OutgoingRequest
    RequestOptions = http_messages.RequestOptions
    ResponseOutparam = http_messages.ResponseOutparam
    IncomingResponse = http_messages.IncomingResponse
    IncomingBody = http_bodies.IncomingBody
    FutureTrailers = http_bodies.FutureTrailers
    OutgoingResponse = http_messages.OutgoingResponse
    OutgoingBody = http_bodies.OutgoingBody
    FutureIncomingResponse = http_messages.FutureIncomingResponse

    def __init__(self, context: WasiContext) -> None:
        pass

    def http_error_code(self, err: Error) -> Variant | None:
        return err.reason.code if isinstance(err.reason, HttpError) else None


class OutgoingHandler:
    """The interface wasi:http/outgoing-handler."""

    def __init__(self, context: WasiContext) -> None:
        self.nursery = context.nursery
        self.http = context.http

    def handle(
        self, request: OutgoingRequest, options: RequestOptions | None
    ) -> Ok[FutureIncomingResponse] | Err[Variant]:
        """Start a request as a task of the instance's nursery."""
        try:
            return Ok(self._start(request.to_request(), options.timeouts() if options else Timeouts()))
        except HttpError as error:
            request.on_drop()
            return Err(error.code)

    def _start(self, request: Request, timeouts: Timeouts) -> FutureIncomingResponse:
        http = self.http
        if self.nursery is None or not (http.options.allow is None or http.options.allow(request)):
            raise HttpError("HTTP-request-denied")
        if http.outgoing >= http.options.max_outgoing:
            raise HttpError("connection-limit-reached")
        future = FutureIncomingResponse()
        http.outgoing += 1
        self.nursery.start_soon(_perform, http, request, timeouts, future)
        return future


async def _perform(http: HttpContext, request: Request, timeouts: Timeouts, future: FutureIncomingResponse) -> None:
    """Carry out a request, in a nursery of its own that is left when its response has ended."""
    try:
        with future.scope:
            async with trio.open_nursery() as nursery:
                try:
                    future.settle(await http.options.send(request, timeouts, nursery))
                except HttpError as error:
                    future.settle(error)
    finally:
        http.outgoing -= 1
        # Nobody is left to read the request, unless what answered it gave the content back as the response's.
        if not (isinstance(future.outcome, Response) and future.outcome.body is request.body):
            request.body.close()


HTTP_INTERFACES: dict[str, type[Any]] = {"wasi:http/types": Types, "wasi:http/outgoing-handler": OutgoingHandler}
