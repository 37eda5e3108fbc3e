"""Nurseries that do not wrap a test's exceptions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio


@contextmanager
def ungrouped() -> Iterator[None]:
    """Unwrap the exception of a nursery if it is the only one in its group.

    ``pytest.raises`` and pytest's ``skip`` and ``fail`` do not look into groups.
    """
    __tracebackhide__ = True
    alone: BaseException | None = None
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        alone = group.exceptions[0]
    if alone is not None:
        context = alone.__context__
        try:
            raise alone
        finally:  # the group must not be its context
            alone.__context__ = context


@asynccontextmanager
async def open_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery whose tasks are cancelled when the block ends. A single exception is raised without a group."""
    __tracebackhide__ = True
    with ungrouped():
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
