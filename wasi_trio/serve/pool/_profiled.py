"""Workers with profiled instances. They record the requests of an instance and their times."""

from __future__ import annotations

import time
from collections.abc import Callable

from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._profile_file import RequestSpan
from wasi_trio.runtime._profile_sampling import InstanceProfile
from wasi_trio.serve.pool._admission import Slot
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._worker import Pool, Strategy, Worker
from wasi_trio.wasi._context import WasiContext


class ProfiledWorker(Worker):
    """A worker that also records its requests in the instance's profile."""

    def __init__(self, pool: Pool, slot: Slot, strategy: Callable[[Worker], Strategy]) -> None:
        super().__init__(pool, slot, strategy)
        self._profile: InstanceProfile | None = None
        self._spans: dict[Exchange, RequestSpan] = {}

    async def _make(self, exchange: Exchange, context: WasiContext) -> Instance | None:
        profiler = self.pool.component.engine.profiler
        assert profiler is not None
        profiler.next = self.number  # no other task runs before the instance's profile is created
        instance = await super()._make(exchange, context)
        if instance is not None:
            self._profile = instance.profile
        return instance

    def begin(self, exchange: Exchange) -> bool:
        began = super().begin(exchange)
        if began and self._profile is not None:
            request = exchange.request
            # Leave out the query: it may hold secrets, and profiles are shared.
            path = (request.path_with_query or "/").partition("?")[0]
            self._spans[exchange] = self._profile.begin_request(request.method, path)
        return began

    def done(
        self, exchange: Exchange, reason: str, timed_out: bool = False, ready: bool = False, closed: bool = False
    ) -> None:
        super().done(exchange, reason, timed_out, ready, closed)
        span = self._spans.pop(exchange, None)
        if span is not None:
            span.ended = time.perf_counter()
            span.status = exchange.status
