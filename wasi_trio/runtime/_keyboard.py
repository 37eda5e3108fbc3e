"""Handles Ctrl-C, which trio raises as KeyboardInterrupt in any Python code of the main thread.

A callback from wasmtime would lose it: ctypes drops an exception that comes before the callback's own ``try``, and the
guest continues with an undefined answer. Between two steps of a fiber, it would leave the engine in an inconsistent
state. So code that runs guests is ``uninterrupted``, including its callees. Then trio delivers the interrupt to the
main task at its next checkpoint. A guest that computes reaches a checkpoint after each tick.

Users' host functions are ``interruptible``, because they may block the event loop forever. The guest's call raises the
interrupt of such a function. Our own host functions do not block.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import trio

F = TypeVar("F", bound=Callable[..., Any])


def uninterrupted(function: F) -> F:
    """Protect a function and its callees from KeyboardInterrupt, which the main task gets instead."""
    if not isinstance(function, FunctionType):
        function = _with_frame(function)
    return trio.lowlevel.enable_ki_protection(function)


def _with_frame(function: F) -> F:
    """Return a Python function that calls a compiled one, which has no frame that trio could find protected."""
    if inspect.iscoroutinefunction(function):

        async def wait(*arguments: Any) -> Any:
            return await function(*arguments)

        return wait  # type: ignore[return-value]

    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call  # type: ignore[return-value]


def interruptible(function: F) -> F:
    """Return a copy of ``function`` that KeyboardInterrupt may interrupt, regardless of the caller.

    trio's protection applies to code objects, so the copy has a separate one.
    """
    assert isinstance(function, FunctionType)
    code = function.__code__.replace()
    name = f"interruptible_{function.__name__.lstrip('_')}"
    copy = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
    return trio.lowlevel.disable_ki_protection(copy)  # type: ignore[return-value]
