"""Writing to standard output."""

from __future__ import annotations

import os
import sys


def write_out(text: str) -> None:
    """Write to standard output. A reader that has left (``| head``) is not an error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Otherwise the rest of the buffer would fail again at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
