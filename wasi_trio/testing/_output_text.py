"""The text of a guest's output."""

from __future__ import annotations

from abc import ABC, abstractmethod


class OutputText(ABC):
    """The output of guests, as bytes and as text."""

    @property
    @abstractmethod
    def stdout_bytes(self) -> bytes:
        """The standard output so far."""

    @property
    @abstractmethod
    def stderr_bytes(self) -> bytes:
        """The standard error so far."""

    @property
    def stdout(self) -> str:
        """The standard output so far, as UTF-8. Invalid bytes are replaced."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """The standard error so far, as UTF-8. Invalid bytes are replaced."""
        return self.stderr_bytes.decode(errors="replace")
