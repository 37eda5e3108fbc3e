"""What garbage collection need not look at."""

from __future__ import annotations

import gc


def freeze_garbage_collection() -> None:
    """Keep everything that is loaded by now out of garbage collection, for as long as the process lives.

    It is some hundred thousand objects. Looking through them now and then would stop the event loop for tens of
    milliseconds each time.
    """
    gc.collect()
    gc.freeze()
