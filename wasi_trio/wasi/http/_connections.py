"""Connections to origin servers that are kept for further requests (RFC 9112, section 9.3).

Whoever runs a component has one ``Connections``, so a connection never passes from one component to another. A kept
connection is one of the descriptors that guests may have, and the first to go when those are used up.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import trio

from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi.http._connect import AllowAddress, Connected
from wasi_trio.wasi.http._connection import Connection

#: seconds between two looks at the connections that nobody uses
INTERVAL = 1.0

_timeout = re.compile(rb"(?:.*,)?[ \t]*timeout[ \t]*=[ \t]*\"?([0-9]{1,9})\b", re.IGNORECASE).match


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """For how long connections are kept, in seconds, and how many.

    One that nobody uses is closed after ``idle_timeout``; zero keeps none. ``max_age`` counts from the connecting: what
    is older serves no further request, so that changes in DNS are followed; None is no limit. ``max_idle`` bounds the
    connections that nobody uses, and ``max_idle_per_host`` those of them to one host and port. The oldest are closed
    first.
    """

    # Many servers close after 5 s (Node.js, Apache, uvicorn, hypercorn), and a request that is sent just then is lost.
    idle_timeout: float = 4.0
    max_age: float | None = 60.0
    max_idle: int = 256
    max_idle_per_host: int = 128


class Connections:
    """Keeps connections between requests; those in use belong to who uses them.

    A task in ``nursery`` looks after the kept ones, while there are any. When that is cancelled, and at ``close``, they
    are closed, and no others are kept from then on. For one event loop.
    """

    def __init__(self, nursery: trio.Nursery, bounds: KeepAlive | None = None) -> None:
        self.bounds = bounds or KeepAlive()
        self._nursery = nursery
        #: those that nobody uses, by whom they lead to, the oldest first
        self._by_key: dict[Hashable, OrderedDict[Connection, None]] = {}
        #: all of them, those first that nobody has used for longest
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._scope: trio.CancelScope | None = None
        self._thread = threading.get_ident()
        self.closed = self.bounds.idle_timeout <= 0
        #: what is counted: those that are open, those that were opened, and requests on one that was kept
        self.open = self.opened = self.reused = 0

    @property
    def idle(self) -> int:
        """How many nobody uses."""
        return len(self._idle)

    def adopt(self, connected: Connected, key: Hashable, max_head: int) -> Connection:
        """A connection that is new, and counted among the descriptors of guests already."""
        self.open += 1
        self.opened += 1
        return Connection(connected, key, max_head, self._closed)

    def _closed(self) -> None:
        self.open -= 1
        GUESTS.release()

    async def take(self, key: Hashable, allow_address: AllowAddress | None) -> Connection | None:
        """One that is kept, the youngest first, if it is still good and its address is allowed."""
        while (connections := self._by_key.get(key)) is not None:
            connection = next(reversed(connections))
            self._remove(connection)
            try:
                if self._is_good(connection, allow_address) and await connection.holds_nothing():
                    self.reused += 1
                    connection.next_cycle()
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        return None

    def _is_good(self, connection: Connection, allow_address: AllowAddress | None) -> bool:
        now = trio.current_time()
        return (
            now < connection.idle_until
            and connection.is_silent()
            # What is allowed was asked when it was connected; whoever asks now may be allowed less.
            and (allow_address is None or allow_address(connection.address))
        )

    def keep(self, connection: Connection, headers: list[tuple[str, bytes]]) -> bool:
        """Keep a connection whose response had these headers, if that may be; whether it is kept.

        One that is not stays with the caller.
        """
        if self.closed or not connection.is_clean():
            return False
        now, bounds = trio.current_time(), self.bounds
        seconds = min(bounds.idle_timeout, _announced(headers))
        connection.idle_until = now + seconds
        if bounds.max_age is not None:
            connection.idle_until = min(connection.idle_until, connection.opened_at + bounds.max_age)
        if connection.idle_until <= now or not bounds.max_idle or not bounds.max_idle_per_host:
            return False
        connections = self._by_key.setdefault(connection.key, OrderedDict())
        connections[connection] = self._idle[connection] = None
        if len(connections) > bounds.max_idle_per_host:
            self._drop(next(iter(connections)))
        if len(self._idle) > bounds.max_idle:
            self._drop(next(iter(self._idle)))
        if self._scope is None:
            self._scope = trio.CancelScope()
            GUESTS.spare[self] = self._give_one
            self._nursery.start_soon(self._look_after, self._scope)
        return True

    def close(self) -> None:
        """Close what is kept, and keep nothing more."""
        self.closed = True
        self._drop_all()
        if self._scope is not None:
            self._scope.cancel()

    async def _look_after(self, scope: trio.CancelScope) -> None:
        """Close those whose time is over, and those that their servers have closed."""
        try:
            with scope:
                while self._idle:
                    await trio.sleep(INTERVAL)
                    now = trio.current_time()
                    for connection in list(self._idle):
                        if now >= connection.idle_until or not connection.is_silent():
                            self._drop(connection)
        except BaseException:
            self.closed = True
            raise
        finally:
            self._scope = None
            GUESTS.spare.pop(self, None)
            self._drop_all()

    def _remove(self, connection: Connection) -> None:
        del self._idle[connection]
        connections = self._by_key[connection.key]
        del connections[connection]
        if not connections:
            del self._by_key[connection.key]

    def _drop(self, connection: Connection) -> None:
        self._remove(connection)
        connection.close()

    def _drop_all(self) -> None:
        for connection in list(self._idle):
            self._drop(connection)

    def _give_one(self) -> bool:
        """Close one, as somebody needs a descriptor; whether one was closed. Sockets are closed on their loop alone."""
        if not self._idle or threading.get_ident() != self._thread:
            return False
        self._drop(next(iter(self._idle)))
        return True


def _announced(headers: list[tuple[str, bytes]]) -> float:
    """For how long a connection may be idle as its server announces it: half of that, since it counts by itself."""
    for name, value in headers:
        if name.lower() == "keep-alive":
            match = _timeout(value)
            if match is not None:
                return int(match[1]) / 2
    return float("inf")
