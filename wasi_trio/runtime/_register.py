"""Who is told of what comes into being in a context, and of its end: the leak check of a test."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class Register(Protocol):
    """Is told of instances and of the host's ends of streams, synchronously. It takes no time, and raises nothing."""

    def opened(self, thing: Any, what: str) -> None:
        """Something came into being that has to be closed; ``what`` describes it."""

    def closed(self, thing: Any) -> None:
        """It was closed; harmless when repeated."""

    def ending(self, instance: Any) -> None:
        """An instance is about to be closed, which cuts its streams."""


#: None where nobody wants to know
REGISTER: ContextVar[Register | None] = ContextVar("the register of what is open", default=None)
