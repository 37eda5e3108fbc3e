"""Nurseries that do not get between a test and its exceptions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio


@contextmanager
def ungrouped() -> Iterator[None]:
    """Around a nursery: an exception that is the only one in its group comes out without the group.

    ``pytest.raises`` and pytest's own ``skip`` and ``fail`` would not find it there.
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
        finally:  # the group is no context of it
            alone.__context__ = context


@asynccontextmanager
async def open_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks beside a block: they are cancelled when it ends. A single exception is not put in a group."""
    __tracebackhide__ = True
    with ungrouped():
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
