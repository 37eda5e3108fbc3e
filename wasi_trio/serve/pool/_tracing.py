"""The interface between a handler and the tracing of its requests."""

from __future__ import annotations

from typing import Protocol

from wasi_trio.serve.pool._exchange import Exchange, RequestTrace


class RequestStream(Protocol):
    """The stream that transported a request."""

    @property
    def client(self) -> tuple[str, int] | None:
        """The client's address and port, if known."""

    @property
    def version(self) -> str:
        """The HTTP version, such as 1.1 or 2."""


class Tracer(Protocol):
    """Traces the requests of handlers."""

    def begin(self, exchange: Exchange, stream: RequestStream | None) -> RequestTrace:
        """Begin the trace of a request, and possibly change its header fields. ``stream`` is None within a process."""
