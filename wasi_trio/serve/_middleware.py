"""Components in front of others: what one asks of ``wasi:http/handler`` is answered by the next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Protocol, TypeAlias

from wasi_trio.component._imports import Imports
from wasi_trio.component._names import parse_import_name
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._loading import LoadError, load
from wasi_trio.serve.pool._exchange import Exchange, ExchangeFailed
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._tracing import Carrier
from wasi_trio.wasi import p3
from wasi_trio.wasi._state import opened
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.p3._http import handler_interface

HANDLER = "wasi:http/handler"

#: from an engine, a path and what is provided beside WASI to an HTTP component; raises LoadError
Load: TypeAlias = Callable[[Engine, str | None, Imports], LinkedComponent]


class Answerer(Protocol):
    """What requests are given to: a ProxyHandler, or what does as it does."""

    def submit(self, request: Request, carrier: Carrier | None = None) -> Exchange:
        """Hand a request over without waiting for its response; ``carrier`` tells where it came from."""


class NextHandler:
    """What a component in front finds behind its import of wasi:http/handler: ``handler``, once that is set.

    Bodies and trailers stream through. The guest in front is given the ``error-code`` that the one behind answered
    with, and internal-error where that trapped or exited. Where it cancels its call, or drops a response whose body has
    not ended, the work behind is cancelled.
    """

    def __init__(self) -> None:
        self.handler: Answerer | None = None

    def provide(self, imports: Imports) -> None:
        """Put this among the imports of the component in front."""
        imports.add(f"{HANDLER}@{p3.VERSION}", handler_interface(self.answer))

    async def answer(self, request: Request) -> Response:
        """The response to a guest's request; raises HttpError."""
        assert self.handler is not None, "a chain is entered before it is given requests"
        exchange = self.handler.submit(request)
        try:
            response = await exchange.wait()
        except ExchangeFailed as failure:
            raise failure.error or HttpError("internal-error", str(failure)) from failure
        response.body.subscribe_left(exchange.cancel)
        return response


class Chain:
    """Components that are loaded to answer requests together; the first is the one that is given them.

    Each but the last has its import of wasi:http/handler answered by the one after it, which has a pool of instances of
    its own. ``imports`` are provided to all of them beside that and WASI. A path of None is the built-in component.
    ``load`` makes a component of a path. ``end`` is what answers the last one, if something other than a component is
    to, which ``open`` is given then. Raises LoadError.
    """

    def __init__(
        self,
        engine: Engine,
        paths: Sequence[str | None],
        imports: Imports | None = None,
        load: Load = load,
        end: str | None = None,
    ) -> None:
        self.engine = engine
        #: each with what answers it, the last first
        self._links: list[tuple[LinkedComponent, NextHandler]] = []
        behind = end
        for path in reversed(paths):
            provided = Imports()
            if imports is not None:
                provided.update(imports)
            answer = NextHandler()
            is_answered = bool(self._links) or end is not None
            if is_answered:
                answer.provide(provided)
            linked = load(engine, path, provided)
            if is_answered and not _calls_on(linked):
                raise LoadError(f"{path} cannot stand in front of {behind}: {_why_not(linked)}")
            self._links.append((linked, answer))
            behind = path

    @asynccontextmanager
    async def open(
        self, options: HandlerOptions | None = None, end: Answerer | None = None
    ) -> AsyncIterator[list[ProxyHandler]]:
        """Run a handler for each component; they are given in the order of the components, and share their state.

        The first has its place among the requests that are worked on in ``options.places``, if there are any; those
        behind it work for requests that have one. ``end`` answers the last.
        Leaving it is as with a ProxyHandler; each lets its requests finish before the one behind it is closed.
        """
        async with AsyncExitStack() as stack:
            options = options or HandlerOptions()
            state = await stack.enter_async_context(opened(options.wasi.state, self.engine.budget))
            options = replace(options, wasi=replace(options.wasi, state=state))
            handlers: list[ProxyHandler] = []
            behind = options if options is None or options.places is None else replace(options, places=None)
            for number, (linked, answer) in enumerate(self._links, 1):
                answer.handler = handlers[0] if handlers else end
                own = options if number == len(self._links) else behind
                handlers.insert(0, await stack.enter_async_context(ProxyHandler(linked, own)))
            yield handlers


def _calls_on(linked: LinkedComponent) -> bool:
    return any(parse_import_name(name)[0] == HANDLER for name in linked.component.imports)


def _why_not(linked: LinkedComponent) -> str:
    why = f"it does not import {HANDLER}"
    if not linked.concurrent:
        why += ", which WASI 0.2 does not have"
    return why
