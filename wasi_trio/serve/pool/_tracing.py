"""What a handler tells of its requests to whoever traces them."""

from __future__ import annotations

from typing import Protocol

from wasi_trio.serve.pool._exchange import Exchange, RequestTrace


class Carrier(Protocol):
    """What a request came by."""

    @property
    def client(self) -> tuple[str, int] | None:
        """The client's address and port, where it has any."""

    @property
    def version(self) -> str:
        """HTTP's version, such as 1.1 or 2."""


class Tracer(Protocol):
    """Follows the requests of handlers."""

    def begin(self, exchange: Exchange, carrier: Carrier | None) -> RequestTrace:
        """A request has come; its headers may be changed. None brought it where it came from this process."""
