"""Workers whose instances are profiled: they note which requests an instance has, and when."""

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
    """A worker that a handler has in place of the usual one where guests are profiled."""

    def __init__(self, pool: Pool, slot: Slot, strategy: Callable[[Worker], Strategy]) -> None:
        super().__init__(pool, slot, strategy)
        self._profile: InstanceProfile | None = None
        self._spans: dict[Exchange, RequestSpan] = {}

    async def _make(self, exchange: Exchange, context: WasiContext) -> Instance | None:
        profiler = self.pool.component.engine.profiler
        assert profiler is not None
        profiler.next = self.number  # the instance's profile is made before anything else gets a turn
        instance = await super()._make(exchange, context)
        if instance is not None:
            self._profile = instance.profile
        return instance

    def begin(self, exchange: Exchange) -> bool:
        began = super().begin(exchange)
        if began and self._profile is not None:
            request = exchange.request
            # Without the query, which may have secrets in it: profiles are shown around.
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
