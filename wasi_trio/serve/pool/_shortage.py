"""The time limit of requests that wait for memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._states import State


class Shortage:
    """Refuses exchanges that have waited for memory for ``timeout`` seconds.

    All exchanges have the same timeout, so they expire in order of arrival. One task serves them all. It runs in
    ``nursery`` while it has exchanges to watch.
    """

    def __init__(self, nursery: trio.Nursery, timeout: float, give_up: Callable[[Exchange], None]) -> None:
        self._nursery = nursery
        self._timeout = timeout
        self._give_up = give_up
        #: The watched exchanges with the ends of their time.
        self._watched: dict[Exchange, float] = {}
        self._scope: trio.CancelScope | None = None

    def watch(self, exchanges: Iterable[Exchange]) -> None:
        """Watch exchanges that wait for memory. Their time begins now, unless they are already watched."""
        end = trio.current_time() + self._timeout
        for exchange in exchanges:
            self._watched.setdefault(exchange, end)
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._run, self._scope)

    def stop(self) -> None:
        """Stop watching. No waiting exchange may be left."""
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, scope: trio.CancelScope) -> None:
        with scope:
            while self._watched:
                exchange, end = next(iter(self._watched.items()))
                if exchange.state is State.QUEUED:
                    await trio.sleep_until(end)
                del self._watched[exchange]
                if exchange.state is State.QUEUED:
                    self._give_up(exchange)
        self._watched.clear()
        self._scope = None
