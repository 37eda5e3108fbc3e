"""Functions whose code is written at their first call."""

from __future__ import annotations

import gc
import weakref

import pytest

from wasi_trio.component.abi._codegen import Source, lazy_function


def _fails_once(source: Source, failures: list[BaseException]) -> None:
    if failures:
        raise failures.pop()
    source.line("return 2 * n")


def test_a_callback_whose_code_cannot_be_written_returns_the_failure() -> None:
    """An exception would not reach the guest's caller: ctypes drops it."""
    failures: list[BaseException] = [KeyboardInterrupt()]
    caught: list[BaseException] = []

    def on_failure(error: BaseException) -> int:
        caught.append(error)
        return -1

    twice = lazy_function("twice", ("n",), lambda source: _fails_once(source, failures), on_failure)
    assert twice(4) == -1
    assert [type(error) for error in caught] == [KeyboardInterrupt]
    assert twice(4) == 8


def test_another_function_raises_it() -> None:
    failures: list[BaseException] = [MemoryError()]
    twice = lazy_function("twice", ("n",), lambda source: _fails_once(source, failures))
    with pytest.raises(MemoryError):
        twice(4)
    assert twice(4) == 8


@pytest.mark.parametrize("calls", [0, 1])
def test_a_function_is_freed_with_its_last_reference(calls: int) -> None:
    """It refers to the engine and to host functions, which a server must not keep until a full collection."""
    twice = lazy_function("twice", ("n",), lambda source: _fails_once(source, []))
    for _ in range(calls):
        twice(4)
    reference = weakref.ref(twice)
    gc.disable()
    try:
        del twice
        assert reference() is None
    finally:
        gc.enable()
