"""The origin of running guest code: the request for which it runs, if requests are traced.

``ORIGIN`` is set while a guest runs for an origin, and so in every host function that it calls. Tasks started there
inherit it, because trio copies the context. It is None if requests are not traced, or if it is unknown for which
request a guest runs.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class Sent(Protocol):
    """Follows a request that a guest has sent."""

    def ended(self, outcome: Any) -> None:
        """Handle the end of the request: a response, an HttpError, or None if it was cancelled."""


class Origin(Protocol):
    """Is notified synchronously of a guest's actions. It must return quickly and raise nothing."""

    def waited(self, func: Any, began: float) -> None:
        """Handle the end of a wait for a host function, which began at ``began`` in trio's time."""

    def sends(self, request: Any) -> Sent | None:
        """Handle an HTTP request of the guest, whose headers this may change. Return None to ignore its end."""


ORIGIN: ContextVar[Origin | None] = ContextVar("the origin of guest code", default=None)
