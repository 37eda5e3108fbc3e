"""Garbage collection in short-lived commands.

The many objects created by imports are never garbage. The collector would visit them several times while they are
created, at each later collection, and three times at the end of the process. That takes a quarter of a small command's
time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def excluded_from_collection() -> Iterator[None]:
    """Exclude the objects created in this block from garbage collection, now and later. For imports."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def skip_final_collection() -> None:
    """Skip garbage collection at the end of the process, when the system reclaims all memory anyway."""
    gc.freeze()
