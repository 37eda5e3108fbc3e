"""The garbage collector, kept from what imports make.

That is never garbage, and there is a lot of it: the collector would look through it several times while it is made,
whenever it collects afterwards, and three times at the end of the process, which costs a small command a quarter of
its time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """What is made in this block is not looked through for garbage, then or later; it is for imports."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def leave_to_system() -> None:
    """The process is about to end: its memory goes back to the system as a whole, garbage or not."""
    gc.freeze()
