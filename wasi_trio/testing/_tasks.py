"""Nurseries that do not wrap a test's exceptions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from wasi_trio._ungrouped import ungrouped


@asynccontextmanager
async def open_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery whose tasks are cancelled when the block ends. A single exception is raised without a group."""
    __tracebackhide__ = True
    with ungrouped():
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
