"""Chains of components. The next component answers a component's requests to ``wasi:http/handler``."""

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
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import ExchangeFailed
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._tracing import RequestStream
from wasi_trio.wasi import p3
from wasi_trio.wasi._state import opened
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.p3._http import handler_interface

HANDLER = "wasi:http/handler"

#: Loads an HTTP component from an engine, a path and the imports beside WASI. Raises LoadError.
Load: TypeAlias = Callable[[Engine, str | None, Imports], LinkedComponent]


class Handler(Protocol):
    """The interface of a request handler, such as ProxyHandler."""

    def submit(self, request: Request, stream: RequestStream | None = None) -> Exchange:
        """Submit a request without waiting for its response. ``stream`` transported it, if given."""


class NextHandler:
    """A component's import of wasi:http/handler. ``handler`` answers its requests, and is set later.

    Bodies and trailers are streamed. The calling guest receives the ``error-code`` of the called one, or internal-error
    if the called one trapped or exited. If the caller cancels its call, or drops an unfinished response, the work of
    the called guest is cancelled.
    """

    def __init__(self) -> None:
        self.handler: Handler | None = None

    def provide(self, imports: Imports) -> None:
        """Add this interface to the imports of a component."""
        imports.add(f"{HANDLER}@{p3.VERSION}", handler_interface(self.answer))

    async def answer(self, request: Request) -> Response:
        """Return the response to a guest's request. Raise HttpError."""
        assert self.handler is not None, "a chain must be opened before it receives requests"
        exchange = self.handler.submit(request)
        try:
            response = await exchange.wait()
        except ExchangeFailed as failure:
            raise failure.error or HttpError("internal-error", str(failure)) from failure
        response.body.subscribe_left(exchange.cancel)
        return response


class Chain:
    """Loaded components that answer requests together. The first component receives the requests.

    Each component's import of wasi:http/handler is answered by the next one. Each has its own pool of instances.
    ``imports`` supplement WASI for all of them. A path of None stands for the built-in component. ``load`` loads the
    component at a path. If something else than a component answers the last one, ``end`` is its name for messages, and
    ``open`` takes the handler itself. The constructor raises LoadError.
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
        #: The components with their imports of wasi:http/handler, the last component first.
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
        self, options: HandlerOptions | None = None, end: Handler | None = None
    ) -> AsyncIterator[list[ProxyHandler]]:
        """Run a handler for each component, and return them in the order of the components. They share their state.

        The requests of the first handler count in ``options.shared_limit``, if given. The other handlers work for
        requests that already count. ``end`` answers the last component. On exit the handlers close in order, as a
        ProxyHandler does: each finishes its requests before the next one closes.
        """
        async with AsyncExitStack() as stack:
            options = options or HandlerOptions()
            state = await stack.enter_async_context(opened(options.wasi.state, self.engine.budget))
            options = replace(options, wasi=replace(options.wasi, state=state))
            handlers: list[ProxyHandler] = []
            behind = options if options is None or options.shared_limit is None else replace(options, shared_limit=None)
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
