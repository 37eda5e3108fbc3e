"""On whose behalf guest code runs, where somebody follows that: a request, which may have host calls and requests of
its own.

``ORIGIN`` is set while a guest runs for an origin, and so in every host function that it calls. Tasks that are started
there have it as well, as trio copies the context. It is None where nobody follows requests, and where it is not known
for whom a guest runs.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class Sent(Protocol):
    """Follows a request that a guest has sent."""

    def ended(self, outcome: Any) -> None:
        """It is over, with a response, an HttpError, or None where it was cancelled."""


class Origin(Protocol):
    """Is told what a guest does on its behalf, synchronously: it must take no time, and raise nothing."""

    def waited(self, func: Any, began: float) -> None:
        """A host function has been waited for since ``began``, in trio's time, and is over."""

    def sends(self, request: Any) -> Sent | None:
        """The guest sends an HTTP request, whose headers this may change; None where nobody follows it."""


ORIGIN: ContextVar[Origin | None] = ContextVar("the origin of guest code", default=None)
