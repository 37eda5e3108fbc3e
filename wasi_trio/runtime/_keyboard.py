"""Ctrl-C, which trio raises as KeyboardInterrupt in whatever Python code the main thread runs.

A callback of wasmtime's would lose it: ctypes drops an exception that strikes before the callback's own ``try``, and
the guest goes on with garbage for an answer. Between two steps of a fiber it would leave the engine halfway. So code
that runs guests is ``uninterrupted``, together with all that it calls. trio then delivers the interrupt to the main
task, at its next checkpoint. A guest that computes is at a checkpoint after each tick.

Users' host functions are ``interruptible``, because they may block the event loop for good. An interrupt of one comes
out of the guest's call. Our own host functions do not block.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import trio

F = TypeVar("F", bound=Callable[..., Any])


def uninterrupted(function: F) -> F:
    """Keep KeyboardInterrupt out of a function and of what it calls; the main task gets it."""
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
    """Return a copy of ``function`` that KeyboardInterrupt may strike, whoever calls it.

    trio's protection goes by code objects, so the copy has one of its own.
    """
    assert isinstance(function, FunctionType)
    code = function.__code__.replace()
    name = f"interruptible_{function.__name__.lstrip('_')}"
    copy = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
    return trio.lowlevel.disable_ki_protection(copy)  # type: ignore[return-value]
