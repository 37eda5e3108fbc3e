"""HTTP options of an application, and the HTTP state of one instance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi.http._connections import Connections, KeepAlive
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.http._request_options import RequestOptions, Send


def _send(request: Request, options: RequestOptions, nursery: trio.Nursery) -> Awaitable[Response]:
    """Send a request over the network."""
    # Imported late, because few guests send requests, and the client loads h11.
    from wasi_trio.wasi.http._client import DEFAULT_CLIENT

    return DEFAULT_CLIENT.send(request, options, nursery)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """HTTP options that all guest instances share.

    ``send`` answers outgoing requests: over the network, or as a test decides. It raises HttpError to fail a request.
    Other exceptions are logged, and fail the request as well. It receives a nursery, which lasts as long as the tasks
    in it. The nursery is cancelled when the guest drops the request or the instance ends.

    ``allow`` decides whether a guest may send a request at all. ``max_outgoing`` bounds the concurrent requests of one
    instance; each counts until its response has ended. ``keep_alive`` limits the kept connections of the application.
    """

    send: Send = _send
    allow: Callable[[Request], bool] | None = None
    max_outgoing: int = 128
    keep_alive: KeepAlive = field(default_factory=KeepAlive)


DEFAULT_HTTP_OPTIONS = HttpOptions()


class HttpContext:
    """The HTTP state of one guest instance."""

    __slots__ = ("connections", "options", "outbound", "outgoing")

    def __init__(
        self,
        options: HttpOptions = DEFAULT_HTTP_OPTIONS,
        outbound: Outbound | None = None,
        connections: Connections | None = None,
    ) -> None:
        self.options = options
        #: the pool of connections, if any
        self.connections = connections
        #: the allow-list of destinations
        self.outbound = outbound
        #: the number of outgoing requests in progress
        self.outgoing = 0
