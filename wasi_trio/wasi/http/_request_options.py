"""The options of one outgoing request, and the type of functions that answer such requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import trio

from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi.http._connections import Connections
from wasi_trio.wasi.http._messages import Request, Response


@dataclass(slots=True)
class RequestOptions:
    """The timeouts of one request, in seconds. None selects the client's default."""

    connect_timeout: float | None = None
    first_byte_timeout: float | None = None
    between_bytes_timeout: float | None = None
    #: The allow-list for the addresses of the host. Its names were checked before.
    outbound: Outbound | None = None
    #: the pool of connections; without it, the request opens a new one
    connections: Connections | None = None

    @classmethod
    def from_nanoseconds(cls, connect: int | None, first_byte: int | None, between_bytes: int | None) -> RequestOptions:
        """Convert the timeouts from a guest."""
        given = (connect, first_byte, between_bytes)
        to_connect, to_first_byte, to_next = (None if duration is None else duration / 1e9 for duration in given)
        return cls(to_connect, to_first_byte, to_next)


#: the function that answers outgoing requests: ``Client.send`` or a replacement
Send: TypeAlias = Callable[[Request, RequestOptions, trio.Nursery], Awaitable[Response]]
