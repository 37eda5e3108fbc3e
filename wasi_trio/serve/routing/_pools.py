"""The pools of all routes, and how one takes the place of another: new requests go to it, and the old one drains."""

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
from wasi_trio.serve.pool._tracing import Carrier
from wasi_trio.serve.routing._table import Ambiguous, RouteTable
from wasi_trio.serve.routing._versions import LoadedRoute, RouteVersion
from wasi_trio.wasi.http._messages import Request

if TYPE_CHECKING:
    from wasi_trio.serve.pool._metrics import Metrics

logger = get_logger("wasi_trio.serve")

#: pools of one route that drain at once; of more, the oldest is ended
MOST_DRAINING = 8


class NoRoute(Exception):
    """No route is for a request, or nobody knows which; ``status`` is what its client is told."""

    def __init__(self, status: int) -> None:
        super().__init__(f"no route: {status}")
        self.status = status


class Pool:
    """One generation of a route, which is run by ``Pools``."""

    def __init__(self, loaded: LoadedRoute, generation: int) -> None:
        self.version: RouteVersion = loaded.version
        self.generation = generation
        #: what it is called in metrics
        self.route = ""
        #: the handlers of its components; none where it has only files, or does not run yet
        self.handlers: Sequence[ProxyHandler] = ()
        self.service: HandlerService | None = None
        self.retired = trio.Event()
        self.scope = trio.CancelScope()

    @property
    def name(self) -> str:
        return self.version.order.name


@dataclass(frozen=True, slots=True)
class Common:
    """What all routes of a server have in common.

    ``adapt`` makes the options of a handler out of those that the settings say. ``answers`` are the server's own.
    Requests for other hosts than ``server_names``, if there are any, are not found; routes and guests see the path
    below ``root_path``.
    """

    adapt: Callable[[LoadedRoute], HandlerOptions] = lambda loaded: loaded.options
    answers: OwnAnswers = field(default_factory=OwnAnswers)
    server_names: frozenset[str] = frozenset()
    root_path: str = ""
    observed: bool = False
    metrics: Metrics | None = None


class Pools:
    """Runs the pools of routes in ``nursery``, and gives each request to the one that it is for.

    A call with a stream has its request answered. To go through this goes through the handlers of all pools.
    ``on_ended`` is called when a generation that was replaced has ended.
    """

    def __init__(self, nursery: trio.Nursery, common: Common) -> None:
        self._nursery = nursery
        self._common = common
        self._answers = common.answers
        self._table: RouteTable[Pool] = RouteTable(())
        self._current: dict[str, Pool] = {}
        self._draining: dict[str, deque[Pool]] = {}
        #: a number for each name of a route that there has been, and the generations of each
        self._numbers: dict[str, int] = {}
        self._generations: dict[str, int] = {}
        #: whether there are routes, or were: names of instances, and metrics, tell of them then
        self.routed = False
        self._is_draining = False
        self.on_ended: Callable[[], None] = lambda: None

    @property
    def current(self) -> Sequence[Pool]:
        """Those that are given requests."""
        return list(self._current.values())

    @property
    def handlers(self) -> Sequence[ProxyHandler]:
        """Those of all pools, of those that drain, too; may be asked on any thread."""
        draining = [pool for pools in list(self._draining.values()) for pool in list(pools)]
        return [handler for pool in (*self.current, *draining) for handler in pool.handlers]

    def __iter__(self) -> Iterator[ProxyHandler]:
        return iter(self.handlers)

    async def adopt(self, loaded: Iterable[LoadedRoute], kept: Iterable[Pool] = ()) -> None:
        """From here on answer with these, and with some that run already. All others drain, and end."""
        pools = {pool.name: pool for pool in kept}
        for route in loaded:
            pool = Pool(route, self._generations.get(route.version.order.name, 0) + 1)
            self._generations[pool.name] = pool.generation
            await self._nursery.start(self._run, pool, route)
            pools[pool.name] = pool
        order = [(pool.version.order.pattern, pool) for pool in pools.values()]
        old = [pool for pool in self._current.values() if pools.get(pool.name) is not pool]
        # From one request to the next: nothing waits here.
        self._table = RouteTable(order)
        self._current = pools
        for pool in old:
            self._retire(pool)
        if self._is_draining:
            self.begin_to_drain()

    def begin_to_drain(self) -> None:
        """The server ends: what is not done within the time for draining is ended then."""
        self._is_draining = True
        for handler in self.handlers:
            handler.begin_to_drain()

    def end(self) -> None:
        """There are no more requests: all pools end, those that are busy when they are done."""
        for pool in self.current:
            pool.retired.set()

    def _retire(self, pool: Pool) -> None:
        draining = self._draining.setdefault(pool.name, deque())
        draining.append(pool)
        for handler in pool.handlers:
            handler.begin_to_drain()
        pool.retired.set()
        for oldest in list(draining)[:-MOST_DRAINING]:
            if not oldest.scope.cancel_called:
                logger.warning("the route %s has too many old versions that drain: the oldest is ended", pool.name)
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
        order = loaded.version.order
        try:
            with pool.scope:
                async with loaded.open(options) as (answerer, handlers):
                    pool.handlers = handlers
                    pool.service = HandlerService(
                        answerer,
                        headers=loaded.headers,
                        response_headers=common.answers.response_headers,
                        adds_date=common.answers.adds_date,
                        root_path=order.pattern.root_path if order.strip_prefix else "",
                        observed=common.observed,
                    )
                    task_status.started()
                    await pool.retired.wait()
        finally:
            self._ended(pool)

    def _prefix(self, pool: Pool) -> str:
        """What comes before the numbers of its instances, so that no two have the same."""
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
        assert pool.service is not None, "a pool in the table runs"
        pool.service(stream)

    def find(self, request: Request) -> Pool | None:
        """The pool that a request is for, if there is one; raises Ambiguous."""
        return self._table.find(request.authority, (request.path_with_query or "/").partition("?")[0])

    def submit(self, request: Request, carrier: Carrier | None = None) -> Exchange:
        """Hand a request over to whom it is for, without waiting for its response; raises NoRoute."""
        try:
            pool = self.find(request)
        except Ambiguous:
            raise NoRoute(400) from None
        if pool is None:
            raise NoRoute(404)
        assert pool.service is not None, "a pool in the table runs"
        pool.service.prepare(request)
        return pool.service.handler.submit(request, carrier)

    def _refuse(self, stream: HttpStream, status: int) -> None:
        stream.send_whole(*self._answers.error(status, stream.request.method))
