"""What HTTP is to the guests of one application, and what one instance of them has under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi.http._client import Client, Send
from wasi_trio.wasi.http._connections import Connections, KeepAlive
from wasi_trio.wasi.http._messages import Request


def _network() -> Send:
    return Client().send


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What stays the same from one guest instance to the next.

    ``send`` answers outgoing requests: the network, or whatever a test puts in its place. It raises HttpError
    to fail one; any other exception ends the instance. Its nursery lasts as long as the tasks in it, and is
    cancelled when the guest drops the request, or the instance ends.

    ``allow`` says whether a guest may make a request at all. ``max_outgoing`` bounds those that one instance
    may have under way, each counted until its response has ended. ``keep_alive`` bounds the connections that
    whoever runs the component keeps between requests.
    """

    send: Send = field(default_factory=_network)
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
        #: where connections are kept from one request to the next, if anywhere
        self.connections = connections
        #: where requests may go
        self.outbound = outbound
        #: outgoing requests under way
        self.outgoing = 0
