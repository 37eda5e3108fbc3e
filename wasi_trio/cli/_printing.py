"""Writing to standard output what others may have chosen the words of."""

from __future__ import annotations

import os
import sys


def write_out(text: str) -> None:
    """Write to standard output; that its reader has left (``| head``) is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer is not to fail again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
