"""Outgoing requests of guests, each a task of its instance."""

from __future__ import annotations

from dataclasses import replace

import trio

from wasi_trio._texts import get_logger
from wasi_trio.runtime._containment import split
from wasi_trio.runtime._origins import ORIGIN, Sent
from wasi_trio.wasi._outbound import Outbound, plain_address
from wasi_trio.wasi.http._context import HttpContext
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.http._request_options import RequestOptions
from wasi_trio.wasi.http._uri import destination

log = get_logger("wasi_trio")


class PendingResponse:
    """A request in progress. ``outcome`` is None until it has a response or has failed."""

    __slots__ = ("_event", "outcome", "scope")

    def __init__(self) -> None:
        self.outcome: Response | HttpError | None = None
        #: the cancel scope of the request's task
        self.scope = trio.CancelScope()
        self._event = trio.Event()

    def settle(self, outcome: Response | HttpError) -> None:
        """Set the response or the failure of the request."""
        self.outcome = outcome
        self._event.set()

    async def wait_outcome(self) -> None:
        """Wait for the outcome."""
        if self.outcome is None:
            await self._event.wait()


def start(
    http: HttpContext,
    nursery: trio.Nursery | None,
    request: Request,
    timeouts: RequestOptions,
    pending: PendingResponse,
) -> None:
    """Start a request in a task of ``nursery``. Raises HttpError if the options forbid it."""
    if nursery is None or not (http.options.allow is None or http.options.allow(request)):
        raise HttpError("HTTP-request-denied")
    if http.outgoing >= http.options.max_outgoing:
        raise HttpError("connection-limit-reached")
    http.outgoing += 1
    origin = ORIGIN.get()
    sent = None if origin is None else origin.sends(request)
    nursery.start_soon(_perform, http, request, timeouts, pending, sent)


def check(outbound: Outbound, request: Request) -> None:
    """Raise HttpError if an allow-list denies a request, regardless of the addresses of its host."""
    secure, host, port = destination(request)
    scheme = "https" if secure else "http"
    if plain_address(host) is not None:
        admitted = outbound.admits_connection(scheme, host, host, port)
    else:
        admitted = outbound.admits_name(scheme, host, port) or outbound.has_addresses
    if not admitted:
        raise HttpError("HTTP-request-denied")


def _fail_pending(pending: PendingResponse) -> None:
    error = HttpError("internal-error")
    if isinstance(pending.outcome, Response):
        pending.outcome.body.abort(error)
    elif pending.outcome is None:
        pending.settle(error)


async def _perform(
    http: HttpContext, request: Request, timeouts: RequestOptions, pending: PendingResponse, sent: Sent | None
) -> None:
    """Perform a request in its own nursery, which ends with the response."""
    try:
        with pending.scope:
            async with trio.open_nursery() as nursery:
                try:
                    if http.outbound is not None:
                        check(http.outbound, request)
                    timeouts = replace(timeouts, outbound=http.outbound, connections=http.connections)
                    pending.settle(await http.options.send(request, timeouts, nursery))
                except HttpError as error:
                    pending.settle(error)
    except BaseException as error:
        failure, passing = split(error)
        if failure is not None:
            log.error("The function that answers outgoing requests failed", exc_info=failure)
            _fail_pending(pending)
        if passing is not None:
            raise passing from None
    finally:
        http.outgoing -= 1
        if sent is not None:
            sent.ended(pending.outcome)
        # The request has no reader, unless its content became that of the response.
        if not (isinstance(pending.outcome, Response) and pending.outcome.body is request.body):
            request.body.close(pending.outcome if isinstance(pending.outcome, HttpError) else None)
