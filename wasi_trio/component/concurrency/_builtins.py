"""All built-ins of the Component Model's concurrency, by name, with their core types.

``bind`` makes the function for a definition, once for each linked component. The caller passes the instance and the
core arguments as unsigned bits. The function returns the core result as bits, or None if the built-in has no result. If
it returns an ``Until``, the caller must park its thread on that. The function raises Trap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from wasi_trio.component import abi
from wasi_trio.component._plan import AsyncBuiltin
from wasi_trio.component._types import FuncType
from wasi_trio.component.concurrency import _copy_builtins as copy_builtins
from wasi_trio.component.concurrency import _task_builtins as task_builtins
from wasi_trio.component.concurrency import _waitable_builtins as waitable_builtins
from wasi_trio.component.concurrency._threads import Until

Builtin: TypeAlias = Callable[..., "int | Until | None"]
Signature: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]

_NOTHING: Signature = ((), ())
_GIVES_ONE: Signature = ((), ("i32",))
_TAKES_ONE: Signature = (("i32",), ())
_ONE_TO_ONE: Signature = (("i32",), ("i32",))
_TWO_TO_ONE: Signature = (("i32", "i32"), ("i32",))
_TAKES_TWO: Signature = (("i32", "i32"), ())

_BUILTINS: dict[str, tuple[Callable[[AsyncBuiltin], Builtin], Signature | None]] = {
    "task.return": (task_builtins.task_return, None),
    "task.cancel": (task_builtins.task_cancel, _NOTHING),
    "context.get": (task_builtins.context_get, None),
    "context.set": (task_builtins.context_set, None),
    "backpressure.inc": (task_builtins.backpressure_inc, _NOTHING),
    "backpressure.dec": (task_builtins.backpressure_dec, _NOTHING),
    "thread.yield": (task_builtins.thread_yield, _GIVES_ONE),
    "waitable-set.new": (waitable_builtins.waitable_set_new, _GIVES_ONE),
    "waitable-set.wait": (waitable_builtins.waitable_set_wait, _TWO_TO_ONE),
    "waitable-set.poll": (waitable_builtins.waitable_set_poll, _TWO_TO_ONE),
    "waitable-set.drop": (waitable_builtins.waitable_set_drop, _TAKES_ONE),
    "waitable.join": (waitable_builtins.waitable_join, _TAKES_TWO),
    "subtask.cancel": (waitable_builtins.subtask_cancel, _ONE_TO_ONE),
    "subtask.drop": (waitable_builtins.subtask_drop, _TAKES_ONE),
    "error-context.new": (waitable_builtins.error_context_new, _TWO_TO_ONE),
    "error-context.debug-message": (waitable_builtins.error_context_debug_message, _TAKES_TWO),
    "error-context.drop": (waitable_builtins.error_context_drop, _TAKES_ONE),
    "stream.read": (copy_builtins.copy, (("i32", "i32", "i32"), ("i32",))),
    "stream.write": (copy_builtins.copy, (("i32", "i32", "i32"), ("i32",))),
    "future.read": (copy_builtins.copy, _TWO_TO_ONE),
    "future.write": (copy_builtins.copy, _TWO_TO_ONE),
}
for _kind in ("stream", "future"):
    _BUILTINS[f"{_kind}.new"] = (copy_builtins.new, ((), ("i64",)))
    for _operation in ("read", "write"):
        _BUILTINS[f"{_kind}.cancel-{_operation}"] = (copy_builtins.cancel, _ONE_TO_ONE)
    for _end in ("readable", "writable"):
        _BUILTINS[f"{_kind}.drop-{_end}"] = (copy_builtins.drop, _TAKES_ONE)

_MAY_WAIT_UNLESS_ASYNC = frozenset(("subtask.cancel", "stream.read", "stream.write", "future.read", "future.write"))
_MAY_WAIT = frozenset(("thread.yield", "waitable-set.wait"))


def bind(builtin: AsyncBuiltin) -> Builtin:
    """Return the function for this definition."""
    return _BUILTINS[builtin.name][0](builtin)


def core_signature(builtin: AsyncBuiltin) -> Signature:
    """Return the core parameters and results of the function from ``bind``."""
    signature = _BUILTINS[builtin.name][1]
    if signature is not None:
        return signature
    if builtin.name == "context.get":
        return (), (builtin.core_type,)
    if builtin.name == "context.set":
        return (builtin.core_type,), ()
    results = () if builtin.type is None else (("result", builtin.type),)
    return abi.core_signature(FuncType(results), "lift")[0], ()


def may_wait(builtin: AsyncBuiltin) -> bool:
    """Return whether the function may return an ``Until``."""
    return builtin.name in _MAY_WAIT or (builtin.name in _MAY_WAIT_UNLESS_ASYNC and not builtin.options.is_async)
