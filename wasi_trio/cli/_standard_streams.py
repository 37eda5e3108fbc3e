"""Standard streams that are closed at the start of the process, or at its end."""

from __future__ import annotations

import os
import sys

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def open_standard_streams() -> None:
    """Open the null device on closed descriptors among 0 to 2.

    Call this before anything else is opened: a file or a socket with such a number would be taken for a standard
    stream. Child processes inherit these descriptors.
    """
    for number, (name, mode) in enumerate(_MODES.items()):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def drop_unwritable_messages() -> None:
    """Drop messages on standard error that cannot be written, because its terminal is closed for example.

    Call this at the end of the process. Python's own attempt to write them would change the exit code to 120.
    """
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
