"""Whether a server wants requests, as it tells those who ask on its admin address."""

from __future__ import annotations

from collections.abc import Iterable

from wasi_trio.serve.pool._handler import ProxyHandler


class Readiness:
    """Whether requests should be sent here; written on the event loop's thread and asked on any."""

    def __init__(self) -> None:
        #: those that there are at the moment; one that is false is none yet
        self.handlers: Iterable[ProxyHandler] = ()
        self._draining = False

    @property
    def obstacle(self) -> str | None:
        """Why no requests should be sent here, in a word; None where they should be."""
        if self._draining:
            return "draining"
        if not self.handlers:
            return "starting"
        if any(handler.watchdog.stalled for handler in self.handlers):
            return "stalled"
        return None

    def end(self) -> None:
        """Not ready any more: the server shuts down."""
        self._draining = True
