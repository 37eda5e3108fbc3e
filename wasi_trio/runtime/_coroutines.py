"""Taking a coroutine's first step by hand and leaving the rest to trio."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any, NoReturn

import trio

from wasi_trio.runtime._containment import contained
from wasi_trio.runtime._trio_internals import abort


@types.coroutine
def resume(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine whose first step was taken by hand and asked for ``trap``."""
    # Without a name when the coroutine goes on; why is told in ``_host_calls.steps``.
    answers: list[Any] = []
    while True:
        try:
            answers.append((yield trap))
        except BaseException as error:  # whatever trio throws in belongs to the coroutine
            try:
                trap = coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
        else:
            try:
                trap = coroutine.send(answers.pop())
            except StopIteration as stop:
                return stop.value


class Abandoned(BaseException):
    """What a coroutine that nobody can wait for any more was interrupted by, where trio asks."""


def _raise_abandoned() -> NoReturn:
    raise Abandoned


async def _cancelled() -> trio.Cancelled:
    """The exception with which trio cancels."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            return error.with_traceback(None)
    raise AssertionError("the scope is cancelled")


def _raise_contained(error: BaseException | None) -> None:
    if error is None:
        return
    failure = contained(error)
    try:
        raise failure from failure.__cause__
    finally:
        del error, failure  # or they and this frame would keep each other until garbage is collected


@types.coroutine
def abandon(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, None]:
    """Cancel a coroutine that cannot be waited for, in the task that took its steps.

    To merely drop it would leave this task registered with whatever it had begun to wait for. A cancel scope would not
    do: the coroutine may have scopes of its own open, which would have to be inside.
    """
    try:
        while True:
            if abort(trap, _raise_abandoned):
                trap = coroutine.throw((yield from _cancelled().__await__()))
                continue
            try:
                answer = yield trap
            except BaseException as error:  # whatever trio throws in belongs to the coroutine
                trap = coroutine.throw(error)
            else:
                trap = coroutine.send(answer)
    except (StopIteration, trio.Cancelled, Abandoned):
        return
    except GeneratorExit:
        raise  # it ends as it was told to
    except BaseExceptionGroup as group:
        _raise_contained(group.split((trio.Cancelled, Abandoned))[1])
    except BaseException as error:
        _raise_contained(error)
