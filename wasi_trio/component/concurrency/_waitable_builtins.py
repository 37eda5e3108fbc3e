"""The built-ins for waitable sets, subtasks and error contexts."""

from __future__ import annotations

import functools
import struct
from typing import Any, TypeVar

from wasi_trio.component import abi
from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._plan import AsyncBuiltin
from wasi_trio.component._types import STRING
from wasi_trio.component.abi._strings import require
from wasi_trio.component.concurrency._instance import ComponentInstance
from wasi_trio.component.concurrency._subtasks import Subtask
from wasi_trio.component.concurrency._threads import Until
from wasi_trio.component.concurrency._waitables import NO_EVENT, Event, Waitable, WaitableSet

BLOCKED = 0xFFFF_FFFF

#: Maximum number of characters kept of an error context's message.
MAX_DEBUG_MESSAGE = 1024

_AFTER_END = "`subtask.cancel` called after terminal status delivered"
_PAIR = struct.Struct("<II")
_T = TypeVar("_T")


def entry(instance: ComponentInstance, index: int, kind: type[_T], name: str) -> _T:
    """Return the object behind a handle, which must be of the given kind. Raises Trap."""
    found = instance.handles.get(index)
    if not isinstance(found, kind):
        raise Trap(f"handle index {index} is not a {name}")
    return found


# ---- waitable sets ---------------------------------------------------------------------------------------


def waitable_set_new(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance) -> int:
        instance.check_leave()
        return instance.handles.add(WaitableSet(instance))

    return call


def waitable_set_wait(builtin: AsyncBuiltin) -> Any:
    options = builtin.options

    def call(instance: ComponentInstance, index: int, pointer: int) -> int | Until:
        instance.check_leave()
        wset = entry(instance, index, WaitableSet, "waitable set")
        context = instance.context(options)
        if wset.ready:
            return _store_event(context, pointer, wset.take_event())
        return wset.wait(functools.partial(_store_event, context, pointer))

    return call


def waitable_set_poll(builtin: AsyncBuiltin) -> Any:
    options = builtin.options

    def call(instance: ComponentInstance, index: int, pointer: int) -> int:
        instance.check_leave()
        wset = entry(instance, index, WaitableSet, "waitable set")
        event = wset.take_event() if wset.ready else NO_EVENT
        return _store_event(instance.context(options), pointer, event)

    return call


def _store_event(context: Context, pointer: int, event: Event) -> int:
    if pointer & 3:
        raise Trap("unaligned pointer")
    memory = context.memory
    if pointer + 8 > memory.size:
        require(memory, pointer + 8, "pointer out of bounds of memory")
    code, first, second = event
    _PAIR.pack_into(memory.view, pointer, first, second)
    return int(code)


def waitable_set_drop(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance, index: int) -> None:
        instance.check_leave()
        entry(instance, index, WaitableSet, "waitable set").drop()
        instance.handles.remove(index)

    return call


def waitable_join(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance, index: int, set_index: int) -> None:
        instance.check_leave()
        waitable = entry(instance, index, Waitable, "waitable")
        waitable.join(entry(instance, set_index, WaitableSet, "waitable set") if set_index else None)

    return call


# ---- subtasks --------------------------------------------------------------------------------------------


def subtask_cancel(builtin: AsyncBuiltin) -> Any:
    is_async = builtin.options.is_async

    def call(instance: ComponentInstance, index: int) -> int | Until:
        instance.check_leave()
        subtask = entry(instance, index, Subtask, "subtask")
        if subtask.delivered or subtask.cancellation_requested:
            raise Trap(_AFTER_END)
        subtask.check_sync()
        if not subtask.resolved:
            subtask.cancellation_requested = True
            subtask.on_cancel()
            if not subtask.resolved:
                if is_async:
                    return BLOCKED
                return subtask.wait(subtask.take_payload)
        return subtask.take_payload()

    return call


def subtask_drop(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance, index: int) -> None:
        instance.check_leave()
        subtask = entry(instance, index, Subtask, "subtask")
        if not subtask.delivered:
            raise Trap("cannot drop a subtask which has not yet resolved")
        subtask.join(None)
        instance.handles.remove(index)

    return call


# ---- error contexts --------------------------------------------------------------------------------------


class ErrorContext:
    """An ``error-context``: a debug message."""

    __slots__ = ("debug_message",)

    def __init__(self, debug_message: str) -> None:
        self.debug_message = debug_message


def error_context_new(builtin: AsyncBuiltin) -> Any:
    options = builtin.options
    lift = abi.lift_values((STRING,), options.encoding, abi.MAX_FLAT_PARAMS)

    def call(instance: ComponentInstance, pointer: int, length: int) -> int:
        instance.check_leave()
        (message,) = lift(instance.context(options), (pointer, length))
        return instance.handles.add(ErrorContext(message[:MAX_DEBUG_MESSAGE]))

    return call


def error_context_debug_message(builtin: AsyncBuiltin) -> Any:
    options = builtin.options
    lower = abi.lower_results(STRING, options.encoding, max_flat=0)

    def call(instance: ComponentInstance, index: int, pointer: int) -> None:
        instance.check_leave()
        message = entry(instance, index, ErrorContext, "error context").debug_message
        lower(instance.context(options), [], pointer, message)

    return call


def error_context_drop(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance, index: int) -> None:
        instance.check_leave()
        entry(instance, index, ErrorContext, "error context")
        instance.handles.remove(index)

    return call
