"""Takes a coroutine's first step outside trio, and leaves the other steps to trio."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any, NoReturn

import trio

from wasi_trio.runtime._containment import contained
from wasi_trio.runtime._trio_internals import abort


@types.coroutine
def resume(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, Any]:
    """Continue a coroutine whose first step was taken outside trio and yielded ``trap``."""
    # No variable refers to the answer while the coroutine runs, for the reason in ``_host_calls.steps``.
    answers: list[Any] = []
    while True:
        try:
            answers.append((yield trap))
        except BaseException as error:  # an exception that trio throws in belongs to the coroutine
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
    """Interrupts a coroutine for which no task can wait, at the point where it yielded to trio."""


def _raise_abandoned() -> NoReturn:
    raise Abandoned


async def _cancelled() -> trio.Cancelled:
    """Return the exception with which trio cancels."""
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
        del error, failure  # breaks the reference cycle with this frame


@types.coroutine
def abandon(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, None]:
    """Cancel a coroutine for which no task can wait, in the task that took its steps.

    If the coroutine were only dropped, this task would remain registered with the object that the coroutine awaits. A
    cancel scope would not work, because it cannot enclose the scopes that the coroutine has open.
    """
    try:
        while True:
            if abort(trap, _raise_abandoned):
                trap = coroutine.throw((yield from _cancelled().__await__()))
                continue
            try:
                answer = yield trap
            except BaseException as error:  # an exception that trio throws in belongs to the coroutine
                trap = coroutine.throw(error)
            else:
                trap = coroutine.send(answer)
    except (StopIteration, trio.Cancelled, Abandoned):
        return
    except GeneratorExit:
        raise  # the coroutine ends as requested
    except BaseExceptionGroup as group:
        _raise_contained(group.split((trio.Cancelled, Abandoned))[1])
    except BaseException as error:
        _raise_contained(error)
