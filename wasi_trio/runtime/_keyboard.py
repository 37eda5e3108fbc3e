"""Ctrl-C, which trio raises as KeyboardInterrupt in whatever Python code the main thread runs.

In a callback of wasmtime's it would be lost: ctypes drops what is raised before the callback's own ``try``, and the guest
goes on with garbage for an answer. Between two steps of a fiber it would leave the engine in the middle of one. So
whatever runs guests is ``uninterrupted``, together with all that it calls: trio delivers the interrupt to the main task
at its next checkpoint, and a guest that computes is at one when it is pre-empted.

Host functions of users' own are ``interruptible``, because they may block the event loop for good. What is raised in
one comes out of the guest's call. Ours never block.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import trio

F = TypeVar("F", bound=Callable[..., Any])


def uninterrupted(function: F) -> F:
    """Have no KeyboardInterrupt raised in a function, or in what it calls: the main task gets it."""
    return trio.lowlevel.enable_ki_protection(function)  # type: ignore[type-var]


def interruptible(function: F) -> F:
    """A function that may be interrupted, and that does what ``function`` does.

    Protection goes by code objects, so it has one of its own.
    """
    assert isinstance(function, FunctionType)
    code = function.__code__.replace()
    name = f"interruptible_{function.__name__.lstrip('_')}"
    copy = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
    return trio.lowlevel.disable_ki_protection(copy)  # type: ignore[return-value]
