"""The built-ins for streams and futures."""

from __future__ import annotations

from typing import Any

from wasi_trio.component import abi
from wasi_trio.component._equality import same
from wasi_trio.component._errors import Trap
from wasi_trio.component._plan import AsyncBuiltin
from wasi_trio.component._types import Future, Stream, ValType
from wasi_trio.component.concurrency._copying import CopyState, GuestEnd
from wasi_trio.component.concurrency._futures import ReadableFutureEnd, SharedFuture, WritableFutureEnd
from wasi_trio.component.concurrency._instance import ComponentInstance
from wasi_trio.component.concurrency._streams import ReadableStreamEnd, SharedStream, WritableStreamEnd
from wasi_trio.component.concurrency._threads import Until
from wasi_trio.component.concurrency._waitable_builtins import BLOCKED

_ENDS: dict[tuple[type, bool], type[GuestEnd[Any]]] = {
    (Stream, False): ReadableStreamEnd,
    (Stream, True): WritableStreamEnd,
    (Future, False): ReadableFutureEnd,
    (Future, True): WritableFutureEnd,
}


class _Ends:
    """Finds the ends that a built-in works on, which have one class and one element type."""

    __slots__ = ("class_", "element", "name")

    def __init__(self, builtin: AsyncBuiltin) -> None:
        type_ = builtin.type
        assert isinstance(type_, (Stream, Future))
        writes = builtin.name.endswith(("write", "writable"))
        self.class_ = _ENDS[type(type_), writes]
        self.element: ValType | None = type_.element
        self.name = f"{'writable' if writes else 'readable'} end of a {'stream' if type(type_) is Stream else 'future'}"

    def get(self, instance: ComponentInstance, index: int) -> Any:
        end = instance.handles.get(index)
        if end.__class__ is not self.class_:
            raise Trap(f"handle index {index} is not the {self.name}")
        element = end.shared.element.type
        if element is not self.element and not same(element, self.element):
            raise Trap(f"handle index {index} used with the wrong type, it is another {self.name}")
        return end


def new(builtin: AsyncBuiltin) -> Any:
    """Return the function for ``stream.new`` or ``future.new``."""
    type_ = builtin.type
    assert isinstance(type_, (Stream, Future))
    element = type_.element
    shared_class: Any = SharedStream if type(type_) is Stream else SharedFuture
    writable_class = _ENDS[type(type_), True]

    def call(instance: ComponentInstance) -> int:
        instance.check_leave()
        shared = shared_class(element)
        shared.held = True
        readable, writable = shared.readable_end(instance), writable_class(instance, shared)
        readable.index = instance.handles.add(readable)
        writable.index = instance.handles.add(writable)
        return int(readable.index | writable.index << 32)

    return call


def copy(builtin: AsyncBuiltin) -> Any:
    """Return the function for ``stream.read``, ``stream.write``, ``future.read`` or ``future.write``."""
    ends = _Ends(builtin)
    class_, element = ends.class_, ends.element
    options = builtin.options
    is_async = options.is_async
    codec: Any = None
    if element is not None:
        make: Any = abi.load_list if class_.writes else abi.store_list
        codec = make(element, options.encoding)

    def call(instance: ComponentInstance, index: int, pointer: int, count: int = 1) -> int | Until:
        if not instance.may_leave:
            instance.check_leave()
        end: Any = instance.handles.get(index)
        if end.__class__ is not class_ or end.shared.element.type is not element:
            end = ends.get(instance, index)
        if end.state is not CopyState.IDLE:
            end.check_idle()
        if not is_async:
            end.check_sync()
        context = instance.contexts.get(options)
        end.begin(instance.context(options) if context is None else context, codec, pointer, count)
        if end.pending:
            return int(end.take_event()[2])
        return BLOCKED if is_async else end.wait(end.take_payload)

    return call


def cancel(builtin: AsyncBuiltin) -> Any:
    """Return the function for ``stream.cancel-read`` and the like. It never waits, because it ends the copy at once."""
    ends = _Ends(builtin)
    is_async = builtin.options.is_async
    kind = "write" if ends.class_.writes else "read"

    def call(instance: ComponentInstance, index: int) -> int:
        instance.check_leave()
        end = ends.get(instance, index)
        if end.state is not CopyState.COPYING or end.sync_waiter is not None:
            raise Trap(f"stream or future {kind} cancelled when no {kind} is pending")
        if not is_async:
            end.check_sync()
        end.withdraw()
        return int(end.take_event()[2])

    return call


def drop(builtin: AsyncBuiltin) -> Any:
    """Return the function for ``stream.drop-readable`` and the like."""
    ends = _Ends(builtin)

    def call(instance: ComponentInstance, index: int) -> None:
        instance.check_leave()
        ends.get(instance, index).drop()
        instance.handles.remove(index)

    return call
