"""Exceptions of a nursery without their group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ungrouped() -> Iterator[None]:
    """Unwrap the exception of a nursery if it is the only one in its group.

    Callers of code with a hidden nursery expect the exception itself. ``pytest.raises``, and pytest's ``skip`` and
    ``fail``, do not look into groups.
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
