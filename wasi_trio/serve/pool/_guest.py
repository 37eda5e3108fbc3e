"""Calls of a guest with a request, through the interface that it exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from wasi_trio.component._errors import LinkError
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._pump import Call
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import GuestFailed
from wasi_trio.wasi import p2, p3
from wasi_trio.wasi._exports import find_exported, other_versions
from wasi_trio.wasi.http._messages import Response

if TYPE_CHECKING:
    from wasi_trio.wasi.p2._http_messages import ResponseOutparam

INCOMING_HANDLER = "wasi:http/incoming-handler"
HANDLER = "wasi:http/handler"


class GuestCalls(Protocol):
    """The exported interface of one component. The strategy for its WASI version makes the calls."""

    default_reuse_count: int
    default_concurrent_count: int


class IncomingHandler:
    """wasi:http/incoming-handler@0.2: the guest sets its response in an out-parameter."""

    default_reuse_count = 1
    default_concurrent_count = 1

    def __init__(self, component: LinkedComponent) -> None:
        # Imported late, because a component has only one of the two interfaces.
        from wasi_trio.wasi.p2._http_messages import IncomingRequest, ResponseOutparam

        export = find_exported(component, INCOMING_HANDLER, "handle", p2.VERSION)
        assert export is not None
        self.export = export
        self._request = IncomingRequest
        self._outparam = ResponseOutparam

    async def call(self, instance: Instance, exchange: Exchange) -> None:
        """Run the guest's handler for one request. Return when the guest returns."""

        def on_set(outparam: ResponseOutparam) -> None:
            outcome = outparam.outcome
            if isinstance(outcome, Response):
                exchange.respond(outcome)
            elif outcome is not None:
                exchange.fail(GuestFailed(f"the guest answered with the error {outcome}"), outcome)

        request = exchange.request
        await instance.call_export(self.export, (self._request(request), self._outparam(request.method, on_set)))


class ServiceHandler:
    """wasi:http/handler@0.3: an async function from request to response. See ``serve.pool._concurrent``."""

    default_reuse_count = 128
    default_concurrent_count = 16

    def __init__(self, component: LinkedComponent) -> None:
        from wasi_trio.wasi.p3._http import incoming_request

        export = find_exported(component, HANDLER, "handle", p3.VERSION)
        assert isinstance(export, LiftedFunction)
        self.export = export
        self._request = incoming_request

    def begin(self, instance: Instance, exchange: Exchange, on_done: Callable[[], None]) -> Call:
        """Start the guest's handler for one request. ``on_done`` is called when it has returned or failed."""
        pump = instance.pump
        assert pump is not None
        return pump.call(self.export, (self._request(exchange.request),), on_done, exchange.trace)


def guest_calls(component: LinkedComponent) -> GuestCalls:
    """Return the interface that a component exports. Raise LinkError if it exports neither."""
    if find_exported(component, HANDLER, "handle", p3.VERSION) is not None:
        return ServiceHandler(component)
    if find_exported(component, INCOMING_HANDLER, "handle", p2.VERSION) is not None:
        return IncomingHandler(component)
    others = other_versions(component, (HANDLER, INCOMING_HANDLER))
    if others:
        raise LinkError(
            f"the component exports {', '.join(others)}, but the server supports {INCOMING_HANDLER}@0.2.x and "
            f"{HANDLER}@{p3.VERSION}"
        )
    hint = "; it is a command: use `python -m wasi_trio run`" if other_versions(component, ("wasi:cli/run",)) else ""
    raise LinkError(
        f"the component exports neither {INCOMING_HANDLER} nor {HANDLER}: it is not an HTTP component{hint}"
    )
