"""The private parts of trio that the runtime requires: only this module reads them.

``pyproject.toml`` caps trio at the newest release that passes ``tests/runtime/test_trio_internals.py``. No public
interface replaces them:

* The *trap* is the object that a coroutine yields to trio's run loop. The runtime passes most traps on unread. To end
  a coroutine that waits in ``trio.lowlevel.wait_task_rescheduled``, ``_coroutines.abandon`` calls the ``abort_func`` of
  this wait: the trap's attribute of that name. A cancel scope cannot replace the call. It would be inside the scopes
  that the coroutine has open, and trio forbids this.
* If an interruption strikes after a coroutine has yielded its trap and before the caller has stored it, only the local
  variable ``obj`` of trio's own generator refers to the trap.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import CoroutineType
from typing import Any, NoReturn

import trio

#: attributes of coroutines, generators and asynchronous generators that hold the awaited object
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")
#: names of the built-in iterators that hold one of these objects, first of all that they refer to, without an attribute
_ITERATORS = ("anext_awaitable", "async_generator_asend", "async_generator_athrow", "coroutine_wrapper")


def abort(trap: Any, raise_cancel: Callable[[], NoReturn]) -> bool:
    """End the wait that a trap has begun, as trio does to cancel it; return False if that is impossible."""
    abort_func = getattr(trap, "abort_func", None)  # a checkpoint's trap has none
    return abort_func is not None and abort_func(raise_cancel) is trio.lowlevel.Abort.SUCCEEDED


def trap_of(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Return the trap that a suspended coroutine has yielded.

    Return None if the coroutine awaits an iterator that is neither trio's nor built in. trio answers this with a
    TypeError.
    """
    innermost: Any = coroutine
    while True:
        inner = next(filter(None, (getattr(innermost, name, None) for name in _AWAITED)), None)
        if inner is None and type(innermost).__name__ in _ITERATORS:
            inner = gc.get_referents(innermost)[0]
        if inner is None:
            frame = getattr(innermost, "gi_frame", None)
            return None if frame is None else frame.f_locals.get("obj")
        innermost = inner
