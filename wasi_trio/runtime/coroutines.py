"""Taking a coroutine's first step by hand and leaving the rest to trio."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any

import trio


@types.coroutine
def resume(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine whose first step was taken by hand and asked for ``trap``."""
    while True:
        try:
            answer = yield trap
        except BaseException as error:  # whatever trio throws in belongs to the coroutine
            try:
                trap = coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
        else:
            try:
                trap = coroutine.send(answer)
            except StopIteration as stop:
                return stop.value


async def abandon(coroutine: Coroutine[Any, Any, Any], trap: Any) -> None:
    """Cancel a coroutine that can not be waited for, in the task that took its steps.

    To merely drop it would leave this task registered with whatever it had begun to wait for.
    """
    with trio.CancelScope() as scope:
        scope.cancel()
        await resume(coroutine, trap)
