"""The register of open instances and stream ends in a context, which a test's leak check provides."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol


class Register(Protocol):
    """Learns of instances and of the host's ends of streams, synchronously. Its methods are quick and do not raise."""

    def opened(self, thing: Any, what: str) -> None:
        """Note a new object that must be closed. ``what`` describes it."""

    def closed(self, thing: Any) -> None:
        """Note that an object was closed. May be called again."""

    def ending(self, instance: Any) -> None:
        """Note that an instance is about to close, which cuts its streams."""


#: None if no test checks for leaks.
REGISTER: ContextVar[Register | None] = ContextVar("the register of open objects", default=None)
