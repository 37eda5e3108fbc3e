"""A pool of connections to origin servers (RFC 9112, section 9.3).

Each application has one ``Connections``, so components never share connections. A kept connection counts as a
descriptor of guests, and is the first one to close when they run out.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from wasi_trio.lazy import Pattern
from wasi_trio.wasi._descriptors import GUESTS

if TYPE_CHECKING:
    from wasi_trio.wasi.http._connect import AllowAddress, Connected
    from wasi_trio.wasi.http._connection import Connection

#: seconds between two inspections of idle connections
INTERVAL = 1.0

_TIMEOUT = Pattern(rb"(?:.*,)?[ \t]*timeout[ \t]*=[ \t]*\"?([0-9]{1,9})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Limits of kept connections.

    An idle connection is closed after ``idle_timeout`` seconds; zero disables the pool. A connection serves no further
    requests ``max_age`` seconds after it was opened, so that changes in DNS take effect; None means no limit.
    ``max_idle`` bounds all idle connections, and ``max_idle_per_host`` those to one host and port. The oldest are
    closed first.
    """

    # Many servers close after 5 s (Node.js, Apache, uvicorn, hypercorn), and would lose a request sent at that moment.
    idle_timeout: float = 4.0
    max_age: float | None = 60.0
    max_idle: int = 256
    max_idle_per_host: int = 128


class Connections:
    """Keeps idle connections between requests. Connections in use belong to their requests.

    A task in ``nursery`` inspects the idle connections, while any exist. Its cancellation and ``close`` close all idle
    connections, and disable the pool. A pool serves one event loop.
    """

    def __init__(self, nursery: trio.Nursery, bounds: KeepAlive | None = None) -> None:
        self.bounds = bounds or KeepAlive()
        self._nursery = nursery
        #: idle connections by their keys, the oldest first
        self._by_key: dict[Hashable, OrderedDict[Connection, None]] = {}
        #: all idle connections, in the order in which they became idle
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._scope: trio.CancelScope | None = None
        self._thread = threading.get_ident()
        self.closed = self.bounds.idle_timeout <= 0
        #: statistics: connections that are open, connections opened, and requests on kept connections
        self.open = self.opened = self.reused = 0

    @property
    def idle(self) -> int:
        """The number of idle connections."""
        return len(self._idle)

    def adopt(self, connected: Connected, key: Hashable, max_head: int) -> Connection:
        """Return a new connection, which already counts as a descriptor of guests."""
        # Imported late, because it loads h11.
        from wasi_trio.wasi.http._connection import Connection

        self.open += 1
        self.opened += 1
        return Connection(connected, key, max_head, self._on_closed)

    def _on_closed(self) -> None:
        self.open -= 1
        GUESTS.release()

    async def take(self, key: Hashable, allow_address: AllowAddress | None) -> Connection | None:
        """Return the youngest kept connection of the key that is usable and whose address is allowed, or None."""
        while (connections := self._by_key.get(key)) is not None:
            connection = next(reversed(connections))
            self._remove(connection)
            try:
                if self._is_good(connection, allow_address) and await connection.has_empty_tls_buffer():
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
            # The address was allowed when it was opened, but this request may have fewer rights.
            and (allow_address is None or allow_address(connection.address))
        )

    def keep(self, connection: Connection, headers: list[tuple[str, bytes]]) -> bool:
        """Keep a connection after a response with these headers, if possible. Return whether it is kept.

        Otherwise the caller still owns it.
        """
        if self.closed or not connection.is_clean():
            return False
        now, bounds = trio.current_time(), self.bounds
        seconds = min(bounds.idle_timeout, _announced_timeout(headers))
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
            GUESTS.spare[self] = self._close_one
            self._nursery.start_soon(self._close_expired, self._scope)
        return True

    def close(self) -> None:
        """Close all idle connections, and disable the pool."""
        self.closed = True
        self._drop_all()
        if self._scope is not None:
            self._scope.cancel()

    async def _close_expired(self, scope: trio.CancelScope) -> None:
        """Close connections that have expired or that their servers have closed."""
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

    def _close_one(self) -> bool:
        """Close one idle connection to free a descriptor, on this loop's thread only. Return whether one was closed."""
        if not self._idle or threading.get_ident() != self._thread:
            return False
        self._drop(next(iter(self._idle)))
        return True


def _announced_timeout(headers: list[tuple[str, bytes]]) -> float:
    """Return half of the idle time that the server announces, because the server's clock starts earlier."""
    for name, value in headers:
        if name.lower() == "keep-alive":
            match = _TIMEOUT.match(value)
            if match is not None:
                return int(match[1]) / 2
    return float("inf")
