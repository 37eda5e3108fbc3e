"""Adds the reasons for a guest's failure to the exceptions that a test sees."""

from __future__ import annotations

import textwrap

from wasi_trio.component._errors import Trap
from wasi_trio.serve.pool._failures import GuestFailed

#: Maximum number of lines of a guest's standard error in an exception's notes.
LINES = 40


class ResponseCut(GuestFailed):
    """The guest began a response but did not complete it."""


def explain(error: BaseException, cause: BaseException | None, stderr: str, writer: str = "the component") -> None:
    """Add the cause of the guest's failure and the standard error of ``writer`` to an exception."""
    if isinstance(cause, Trap):
        _, _, backtrace = str(cause).partition("\n")
        if backtrace.strip():
            error.add_note(backtrace.strip("\n"))
    elif cause is not None:
        error.__cause__ = cause
    if stderr.strip():
        lines = stderr.splitlines()
        kept = lines[-LINES:]
        heading = f"standard error of {writer}"
        if len(kept) < len(lines):
            heading += f" (the last {LINES} of {len(lines)} lines)"
        error.add_note(f"{heading}:\n{textwrap.indent(chr(10).join(kept), '    ')}")
