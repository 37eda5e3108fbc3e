"""Requests that wait for memory, and how long they may."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from wasi_trio.serve.pool._exchange import Exchange, State


class Shortage:
    """Gives up exchanges that have waited for ``timeout`` seconds and wait still.

    They all have the same time, so they come in the order of their ends, and one task is enough, which runs in
    ``nursery`` while there is any.
    """

    def __init__(self, nursery: trio.Nursery, timeout: float, give_up: Callable[[Exchange], None]) -> None:
        self._nursery = nursery
        self._timeout = timeout
        self._give_up = give_up
        #: those that wait, or did, and until when
        self._watched: dict[Exchange, float] = {}
        self._scope: trio.CancelScope | None = None

    def watch(self, exchanges: Iterable[Exchange]) -> None:
        """These wait for memory, from now on unless they have done so before."""
        end = trio.current_time() + self._timeout
        for exchange in exchanges:
            self._watched.setdefault(exchange, end)
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._run, self._scope)

    def stop(self) -> None:
        """No exchange is left that waits."""
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, scope: trio.CancelScope) -> None:
        with scope:
            while self._watched:
                exchange, end = next(iter(self._watched.items()))
                if exchange.state is State.HELD:
                    await trio.sleep_until(end)
                del self._watched[exchange]
                if exchange.state is State.HELD:
                    self._give_up(exchange)
        self._watched.clear()
        self._scope = None
