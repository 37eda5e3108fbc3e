"""Deadlines of requests that no task waits for by itself."""

from __future__ import annotations

from collections import deque

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve.pool._exchange import DeadlinePassed, Exchange
from wasi_trio.wasi.http._errors import HttpError

log = get_logger("wasi_trio.serve")


#: exchanges that may be watched although they have been answered
_LEAST = 64
#: exchanges that are failed in one turn of the loop
_AT_ONCE = 64


class Deadlines:
    """Fails exchanges whose deadlines pass before they have a response, and has the guest's work on them stopped.

    All exchanges of a handler have the same timeout, so they come in the order of their deadlines, and one task that
    sleeps for the first of them is enough. It runs in ``nursery`` while there is any.
    """

    def __init__(self, nursery: trio.Nursery, timeout: float) -> None:
        self._nursery = nursery
        self._timeout = timeout
        self._watched: deque[Exchange] = deque()
        #: so many are watched before those are looked for that have been answered
        self._most = _LEAST
        self._scope: trio.CancelScope | None = None

    def watch(self, exchange: Exchange) -> None:
        """See to an exchange's deadline, which is not before that of any watched so far."""
        if len(self._watched) >= self._most:
            self._forget_answered()
        self._watched.append(exchange)
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._run, self._scope)

    def _forget_answered(self) -> None:
        """Let go of exchanges that have an answer: each would be kept until its deadline, with its messages."""
        expected = [exchange for exchange in self._watched if exchange.expected]
        self._watched.clear()
        self._watched.extend(expected)
        self._most = max(2 * len(expected), _LEAST)

    def stop(self) -> None:
        """No exchange is left that could miss its deadline."""
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
        """Fail those whose deadlines have passed, in one go: a turn of the loop for each would make the next late."""
        watched = self._watched
        for _ in range(_AT_ONCE):
            if not watched or (watched[0].expected and watched[0].deadline > now):
                return
            exchange = watched.popleft()
            if exchange.expected:
                failure = DeadlinePassed(f"no response within {self._timeout:g} s")
                log.warning("%s: %s", exchange, failure, extra={"about": exchange.about()})
                exchange.expire(failure, HttpError("internal-error", str(failure)))
