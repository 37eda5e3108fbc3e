"""How a guest's failure is told to who runs the test."""

from __future__ import annotations

import textwrap

from wasi_trio.component._errors import Trap
from wasi_trio.serve.pool._exchange import GuestFailed

#: lines of a guest's standard error that go with an exception
LINES = 40


class ResponseCut(GuestFailed):
    """The guest began a response and did not bring it to its end."""


def explain(error: BaseException, cause: BaseException | None, stderr: str, whose: str = "the component") -> None:
    """Add to an exception what ended the guest, and what was written to standard error, and by whom."""
    if isinstance(cause, Trap):
        _, _, backtrace = str(cause).partition("\n")
        if backtrace.strip():
            error.add_note(backtrace.strip("\n"))
    elif cause is not None:
        error.__cause__ = cause
    if stderr.strip():
        lines = stderr.splitlines()
        kept = lines[-LINES:]
        heading = f"standard error of {whose}"
        if len(kept) < len(lines):
            heading += f" (the last {LINES} of {len(lines)} lines)"
        error.add_note(f"{heading}:\n{textwrap.indent(chr(10).join(kept), '    ')}")
