"""The pools of all routes, and their replacement: a new pool takes new requests, while the old one drains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve._mounting import below
from wasi_trio.serve._responder import HandlerService, OwnAnswers
from wasi_trio.serve.http._stream import HttpStream
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._tracing import RequestStream
from wasi_trio.serve.routing._table import Ambiguous, RouteTable
from wasi_trio.serve.routing._versions import LoadedRoute, RouteVersion
from wasi_trio.wasi.http._messages import Request

if TYPE_CHECKING:
    from wasi_trio.serve.pool._metrics import Metrics

logger = get_logger("wasi_trio.serve")

#: The maximum number of draining pools of one route. Beyond it the oldest one is ended.
MAX_DRAINING = 8


class NoRoute(Exception):
    """No route matches a request, or the match is ambiguous. ``status`` is the status for the client."""

    def __init__(self, status: int) -> None:
        super().__init__(f"no route: {status}")
        self.status = status


class Pool:
    """One generation of a route. ``Pools`` runs it."""

    def __init__(self, loaded: LoadedRoute, generation: int) -> None:
        self.version: RouteVersion = loaded.version
        self.generation = generation
        #: The name of the route in metrics.
        self.route = ""
        #: The handlers of its components. Empty for a route of files, and before the start.
        self.handlers: Sequence[ProxyHandler] = ()
        self.service: HandlerService | None = None
        self.retired = trio.Event()
        self.scope = trio.CancelScope()

    @property
    def name(self) -> str:
        return self.version.declaration.name


@dataclass(frozen=True, slots=True)
class Common:
    """The options shared by all routes of a server.

    ``adapt`` returns the final options of a route's handler. ``answers`` is the server's own part in responses. If
    ``server_names`` is not empty, requests for other hosts are answered with 404. Routes and guests see the path below
    ``root_path``.
    """

    adapt: Callable[[LoadedRoute], HandlerOptions] = lambda loaded: loaded.options
    answers: OwnAnswers = field(default_factory=OwnAnswers)
    server_names: frozenset[str] = frozenset()
    root_path: str = ""
    observed: bool = False
    metrics: Metrics | None = None


class Pools:
    """Runs the pools of routes in ``nursery``, and passes each request to the pool of its route.

    Call it with a stream to answer its request. Iteration yields the handlers of all pools. ``on_ended`` is called when
    a replaced generation has ended.
    """

    def __init__(self, nursery: trio.Nursery, common: Common) -> None:
        self._nursery = nursery
        self._common = common
        self._answers = common.answers
        self._table: RouteTable[Pool] = RouteTable(())
        self._current: dict[str, Pool] = {}
        self._draining: dict[str, deque[Pool]] = {}
        #: The number of each route name, and its number of generations. Removed routes keep theirs.
        self._numbers: dict[str, int] = {}
        self._generations: dict[str, int] = {}
        #: Whether the server has, or had, routes. Names of instances and metrics then include them.
        self.routed = False
        self._is_draining = False
        self.on_ended: Callable[[], None] = lambda: None

    @property
    def current(self) -> Sequence[Pool]:
        """The pools that receive requests."""
        return list(self._current.values())

    @property
    def handlers(self) -> Sequence[ProxyHandler]:
        """The handlers of all pools, including draining ones. Safe to use on any thread."""
        draining = [pool for pools in list(self._draining.values()) for pool in list(pools)]
        return [handler for pool in (*self.current, *draining) for handler in pool.handlers]

    def __iter__(self) -> Iterator[ProxyHandler]:
        return iter(self.handlers)

    async def adopt(self, loaded: Iterable[LoadedRoute], kept: Iterable[Pool] = ()) -> None:
        """Answer new requests with these routes and with some running pools. All other pools drain and end."""
        pools = {pool.name: pool for pool in kept}
        for route in loaded:
            pool = Pool(route, self._generations.get(route.version.declaration.name, 0) + 1)
            self._generations[pool.name] = pool.generation
            await self._nursery.start(self._run, pool, route)
            pools[pool.name] = pool
        table = [(pool.version.declaration.pattern, pool) for pool in pools.values()]
        old = [pool for pool in self._current.values() if pools.get(pool.name) is not pool]
        # The exchange is atomic, because it has no checkpoint.
        self._table = RouteTable(table)
        self._current = pools
        for pool in old:
            self._retire(pool)
        if self._is_draining:
            self.begin_to_drain()

    def begin_to_drain(self) -> None:
        """Prepare for the end: requests that are not finished within ``drain_timeout`` are cut."""
        self._is_draining = True
        for handler in self.handlers:
            handler.begin_to_drain()

    def end(self) -> None:
        """End all pools after the last request. Active requests finish."""
        for pool in self.current:
            pool.retired.set()

    def _retire(self, pool: Pool) -> None:
        draining = self._draining.setdefault(pool.name, deque())
        draining.append(pool)
        for handler in pool.handlers:
            handler.begin_to_drain()
        pool.retired.set()
        for oldest in list(draining)[:-MAX_DRAINING]:
            if not oldest.scope.cancel_called:
                logger.warning("The route %s has too many draining versions; ending the oldest", pool.name)
                oldest.scope.cancel()

    async def _run(
        self, pool: Pool, loaded: LoadedRoute, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        common = self._common
        options = replace(common.adapt(loaded), generation=pool.generation)
        options = replace(options, instance_prefix=options.instance_prefix + self._prefix(pool))
        if self.routed:
            pool.route = pool.name
            options = replace(options, route=pool.name)
        declaration = loaded.version.declaration
        try:
            with pool.scope:
                async with loaded.open(options) as (answerer, handlers):
                    pool.handlers = handlers
                    pool.service = HandlerService(
                        answerer,
                        headers=loaded.headers,
                        response_headers=common.answers.response_headers,
                        adds_date=common.answers.adds_date,
                        root_path=declaration.pattern.root_path if declaration.strip_prefix else "",
                        observed=common.observed,
                    )
                    task_status.started()
                    await pool.retired.wait()
        finally:
            self._ended(pool)

    def _prefix(self, pool: Pool) -> str:
        """Return the prefix of the pool's instance numbers, which makes them unique."""
        prefix = ""
        if self.routed:
            prefix += f"r{self._numbers.setdefault(pool.name, len(self._numbers) + 1)}"
        if pool.generation > 1:
            prefix += f"g{pool.generation}"
        return f"{prefix}." if prefix else ""

    def _ended(self, pool: Pool) -> None:
        draining = self._draining.get(pool.name)
        was_replaced = draining is not None and pool in draining
        if draining is not None and was_replaced:
            draining.remove(pool)
            if not draining:
                del self._draining[pool.name]
        if self._common.metrics is not None and was_replaced:
            self._common.metrics.forget(pool.route, pool.generation)
        pool.handlers = ()
        pool.service = None
        if was_replaced:
            self.on_ended()

    # ---- requests ----------------------------------------------------------------------------------------

    def __call__(self, stream: HttpStream) -> None:
        request = stream.request
        common = self._common
        if common.server_names and request.authority not in common.server_names:
            self._refuse(stream, 404)
            return
        if common.root_path:
            request.path_with_query = below(common.root_path, request.path_with_query or "/")
        try:
            pool = self.find(request)
        except Ambiguous:
            self._refuse(stream, 400)
            return
        if pool is None:
            self._refuse(stream, 404)
            return
        assert pool.service is not None, "a pool in the table is running"
        pool.service(stream)

    def find(self, request: Request) -> Pool | None:
        """Return the pool for a request, if any. Raise Ambiguous."""
        return self._table.find(request.authority, (request.path_with_query or "/").partition("?")[0])

    def submit(self, request: Request, stream: RequestStream | None = None) -> Exchange:
        """Submit a request to the pool of its route without waiting for the response. Raise NoRoute."""
        try:
            pool = self.find(request)
        except Ambiguous:
            raise NoRoute(400) from None
        if pool is None:
            raise NoRoute(404)
        assert pool.service is not None, "a pool in the table is running"
        pool.service.prepare(request)
        return pool.service.handler.submit(request, stream)

    def _refuse(self, stream: HttpStream, status: int) -> None:
        stream.send_whole(*self._answers.error(status, stream.request.method))
