"""wasi:http 0.3: the interfaces ``types`` and ``client``, and both sides of ``handler``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http import _messages as messages
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._outgoing import PendingResponse, start
from wasi_trio.wasi.p3._http_fields import Fields
from wasi_trio.wasi.p3._http_messages import Request, Response
from wasi_trio.wasi.p3._http_options import RequestOptions

if TYPE_CHECKING:
    from wasi_trio.wasi._context import WasiContext

#: answers requests that a guest sends through an import of ``wasi:http/handler``; raises HttpError for an error
Answer = Callable[[messages.Request], Awaitable[messages.Response]]


class Types:
    """The interface wasi:http/types."""

    #: ends of streams and futures are passed unwrapped, because wrappers cost several objects for each message
    _takes_ends = True

    Fields = Fields
    Request = Request
    RequestOptions = RequestOptions
    Response = Response

    def __init__(self, context: WasiContext) -> None:
        pass


class Client:
    """The interface wasi:http/client."""

    def __init__(self, context: WasiContext) -> None:
        self._nursery = context.own_nursery
        self._http = context.http

    async def send(self, request: Request) -> Ok[Response] | Err[Variant]:
        """Send a request, and return its response. A task in the instance's nursery transfers the bodies.

        Cancellation ends the exchange. After the response, closing the response's body ends it.
        """
        pending = PendingResponse()
        try:
            message = request.to_network()
        except HttpError as error:
            return Err(error.code)
        try:
            start(self._http, self._nursery, message, request.timeouts(), pending)
        except HttpError as error:
            message.body.close(error)
            request.answered(error)
            return Err(error.code)
        try:
            await pending.wait_outcome()
        except BaseException:
            pending.scope.cancel()
            request.answered(HttpError("connection-terminated"))
            raise
        response = pending.outcome
        assert response is not None
        if isinstance(response, HttpError):
            request.answered(response)
            return Err(response.code)
        request.answered()
        response.body.subscribe_left(pending.scope.cancel)
        return Ok(Response.received(response))


def handler_interface(answer: Answer) -> type[Any]:
    """Return a class for an import of wasi:http/handler, whose requests ``answer`` answers.

    So a middleware guest can precede another handler. Cancellation of the guest's call cancels ``answer``.
    """

    class Handler:
        """The interface wasi:http/handler."""

        def __init__(self, context: WasiContext) -> None:
            pass

        async def handle(self, request: Request) -> Ok[Response] | Err[Variant]:
            try:
                message = request.to_request()
            except HttpError as error:
                return Err(error.code)
            try:
                response = await answer(message)
            except HttpError as error:
                message.body.close(error)
                request.answered(error)
                return Err(error.code)
            except BaseException:
                message.body.close()
                request.answered(HttpError("connection-terminated"))
                raise
            request.answered()
            return Ok(Response.received(response))

    return Handler


# ---- the handler that a guest exports ----------------------------------------------------------------------


def incoming_request(request: messages.Request) -> Request:
    """Return the argument for a guest's ``handler.handle``."""
    return Request.received(request)


def outgoing_response(result: Ok[Response] | Err[Variant], request: messages.Request) -> messages.Response:
    """Convert the result of a guest's ``handler.handle`` for ``request`` to a neutral response.

    The guest writes the response's body. Its transmission future is settled when the body has been read completely, was
    aborted, or was closed by its reader. If the guest passed on the request's own body, that body moves into the
    response's without the guest, until it has ended or is closed. Raises HttpError for an error from the guest, and for
    a response that is invalid in HTTP.
    """
    if isinstance(result, Err):
        raise HttpError.of(result.value)
    return result.value.to_response(request.method)


def refuse_response(result: Ok[Response] | Err[Variant], error: HttpError) -> None:
    """Discard the result of a guest's ``handler.handle``. The response's own future reports the reason."""
    if isinstance(result, Ok):
        result.value.discard(error)


HTTP_INTERFACES: dict[str, type[Any]] = {"wasi:http/types": Types, "wasi:http/client": Client}
