"""The exception for a guest that exits."""

from __future__ import annotations


class Exit(Exception):
    """The guest called ``wasi:cli/exit``.

    The exception unwinds the guest's call and reaches the caller. ``code`` is 0 for success. The instance cannot be
    entered again.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"the guest exited with code {self.code}"
