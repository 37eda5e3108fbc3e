"""The readiness of a server for requests, for its admin address."""

from __future__ import annotations

from collections.abc import Iterable

from wasi_trio.serve.pool._handler import ProxyHandler


class Readiness:
    """The readiness for requests. Only the event loop's thread changes it; any thread may read it."""

    def __init__(self) -> None:
        #: The current handlers. None have started while this is false.
        self.handlers: Iterable[ProxyHandler] = ()
        self._draining = False

    @property
    def obstacle(self) -> str | None:
        """The reason in one word for which clients should send no requests, or None."""
        if self._draining:
            return "draining"
        if not self.handlers:
            return "starting"
        if any(handler.watchdog.stalled for handler in self.handlers):
            return "stalled"
        return None

    def end(self) -> None:
        """Note that the server shuts down."""
        self._draining = True
