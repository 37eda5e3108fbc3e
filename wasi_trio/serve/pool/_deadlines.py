"""The deadlines of requests."""

from __future__ import annotations

from collections import deque

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import DeadlinePassed
from wasi_trio.wasi.http._errors import HttpError

log = get_logger("wasi_trio.serve")


#: The number of watched exchanges up to which answered ones are not removed.
_MIN_WATCHED = 64
#: The maximum number of exchanges that fail in one turn of the loop.
_AT_ONCE = 64


class Deadlines:
    """Fails exchanges that have no response by their deadline, and stops the guest's work on them.

    All exchanges of a handler have the same timeout, so they arrive in the order of their deadlines. One task that
    sleeps until the first deadline serves them all. It runs in ``nursery`` while it has exchanges to watch.
    """

    def __init__(self, nursery: trio.Nursery, timeout: float) -> None:
        self._nursery = nursery
        self._timeout = timeout
        self._watched: deque[Exchange] = deque()
        #: The number of watched exchanges at which answered ones are removed.
        self._most = _MIN_WATCHED
        self._scope: trio.CancelScope | None = None

    def watch(self, exchange: Exchange) -> None:
        """Watch an exchange. Its deadline must not be before that of any watched exchange."""
        if len(self._watched) >= self._most:
            self._forget_answered()
        self._watched.append(exchange)
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._run, self._scope)

    def _forget_answered(self) -> None:
        """Remove answered exchanges, which would otherwise stay until their deadline, with their messages."""
        expected = [exchange for exchange in self._watched if exchange.expected]
        self._watched.clear()
        self._watched.extend(expected)
        self._most = max(2 * len(expected), _MIN_WATCHED)

    def stop(self) -> None:
        """Stop watching. No exchange may be left that could miss its deadline."""
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, scope: trio.CancelScope) -> None:
        watched = self._watched
        with scope:
            while watched:
                if watched[0].expected:
                    await trio.sleep_until(watched[0].deadline)
                self._expire(trio.current_time())
        watched.clear()
        self._scope = None

    def _expire(self, now: float) -> None:
        """Fail overdue exchanges together: with a turn of the loop for each, the next ones would be late."""
        watched = self._watched
        for _ in range(_AT_ONCE):
            if not watched or (watched[0].expected and watched[0].deadline > now):
                return
            exchange = watched.popleft()
            if exchange.expected:
                failure = DeadlinePassed(f"no response within {self._timeout:g} s")
                log.warning("%s: %s", exchange, failure, extra={"about": exchange.about()})
                exchange.expire(failure, HttpError("internal-error", str(failure)))
