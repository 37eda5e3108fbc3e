"""Writing to standard output what others may have chosen the words of."""

from __future__ import annotations

import os
import sys


def printable(text: str) -> str:
    """Text out of a component or the name of a file, made so that it can neither end a line nor steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def write_out(text: str) -> None:
    """Write to standard output; that its reader has left (``| head``) is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer is not to fail again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
