"""wasi:http 0.2: the interfaces ``types`` and ``outgoing-handler``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._outgoing import start
from wasi_trio.wasi.http._request_options import RequestOptions as Timeouts
from wasi_trio.wasi.p2 import _http_bodies as http_bodies
from wasi_trio.wasi.p2 import _http_messages as http_messages
from wasi_trio.wasi.p2._http_fields import Fields
from wasi_trio.wasi.p2._http_messages import FutureIncomingResponse, OutgoingRequest, RequestOptions
from wasi_trio.wasi.p2._io import Error

if TYPE_CHECKING:
    from wasi_trio.wasi._context import WasiContext


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
        self.nursery = context.own_nursery
        self.http = context.http

    def handle(
        self, request: OutgoingRequest, options: RequestOptions | None
    ) -> Ok[FutureIncomingResponse] | Err[Variant]:
        """Start a request as a task of the instance's nursery."""
        try:
            future = FutureIncomingResponse()
            start(self.http, self.nursery, request.to_request(), options.timeouts() if options else Timeouts(), future)
            return Ok(future)
        except HttpError as error:
            request.on_drop()
            return Err(error.code)


HTTP_INTERFACES: dict[str, type[Any]] = {"wasi:http/types": Types, "wasi:http/outgoing-handler": OutgoingHandler}
