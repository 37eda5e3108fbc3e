"""The private parts of trio that the runtime reads: pyproject.toml admits a release of trio that passes these tests."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest
import trio

from wasi_trio.runtime._coroutines import abandon
from wasi_trio.runtime._trio_internals import abort, trap_of


class Cancelled(Exception):
    """The exception that ``cancel`` raises."""


def cancel() -> NoReturn:
    raise Cancelled


async def wait(answer: trio.lowlevel.Abort, told: list[Callable[[], NoReturn]]) -> None:
    def abort_func(raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        told.append(raise_cancel)
        return answer

    await trio.lowlevel.wait_task_rescheduled(abort_func)


@pytest.mark.parametrize("answer", trio.lowlevel.Abort)
async def test_the_trap_of_wait_task_rescheduled_has_its_abort_func(answer: trio.lowlevel.Abort) -> None:
    told: list[Callable[[], NoReturn]] = []
    coroutine = wait(answer, told)
    trap = coroutine.send(None)
    assert abort(trap, cancel) is (answer is trio.lowlevel.Abort.SUCCEEDED)
    assert told == [cancel]
    coroutine.close()


async def test_the_trap_of_a_checkpoint_has_no_abort_func() -> None:
    coroutine = of_a_shielded_checkpoint()
    assert not abort(coroutine.send(None), cancel)
    coroutine.close()


# ---- the local variable obj ------------------------------------------------------------------------------


async def of_trio() -> None:
    await trio.sleep_forever()


async def of_a_shielded_checkpoint() -> None:
    await trio.lowlevel.cancel_shielded_checkpoint()


@types.coroutine
def _generator() -> Generator[Any, Any, None]:
    yield from of_trio().__await__()


async def of_a_generator() -> None:
    await _generator()


class Waiting:
    def __await__(self) -> Iterator[Any]:
        return of_trio().__await__()


async def of_an_object() -> None:
    await Waiting()


async def _endless() -> AsyncIterator[int]:
    await trio.sleep_forever()
    yield 1


async def of_an_asynchronous_generator() -> None:
    async for _ in _endless():
        pass


async def of_anext_with_a_default() -> None:
    await anext(_endless(), None)  # type: ignore[arg-type]


@asynccontextmanager
async def _context() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await trio.sleep_forever()


async def of_the_end_of_a_context() -> None:
    async with _context():
        pass


async def of_an_error_in_a_context() -> None:
    async with _context():
        raise ValueError


async def of_the_end_of_an_asynchronous_generator() -> None:
    generator = _waits_at_its_end()
    await anext(generator)
    await generator.aclose()  # type: ignore[attr-defined]


async def _waits_at_its_end() -> AsyncIterator[int]:
    try:
        yield 1
    finally:
        await trio.sleep_forever()


WAITS = [
    of_trio,
    of_a_shielded_checkpoint,
    of_a_generator,
    of_an_object,
    of_an_asynchronous_generator,
    of_anext_with_a_default,
    of_the_end_of_a_context,
    of_an_error_in_a_context,
    of_the_end_of_an_asynchronous_generator,
]


@pytest.mark.parametrize("function", WAITS)
async def test_the_variable_obj_of_trios_generator_is_the_trap(function: Callable[[], Any]) -> None:
    coroutine = function()
    trap = coroutine.send(None)
    assert trap is not None
    assert trap_of(coroutine) is trap
    await abandon(coroutine, trap)
    assert coroutine.cr_frame is None
    await trio.lowlevel.checkpoint()  # the task is registered nowhere


class Wrapped:
    """An iterator that hides what it iterates over in Python's own attributes."""

    def __init__(self) -> None:
        self._inner = of_a_shielded_checkpoint().__await__()

    def __await__(self) -> Iterator[Any]:
        return self  # type: ignore[return-value]

    def __next__(self) -> Any:
        return next(self._inner)


async def of_an_iterator_of_its_own() -> None:
    await Wrapped()  # type: ignore[misc]


async def test_a_trap_that_nothing_refers_to_is_not_found() -> None:
    coroutine = of_an_iterator_of_its_own()
    assert coroutine.send(None) is not None
    trap = trap_of(coroutine)
    assert trap is None
    with pytest.raises(TypeError, match="unrecognized yield message"):
        await abandon(coroutine, trap)
