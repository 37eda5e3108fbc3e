"""The common part of streams and futures: two ends, and copies from one to the other.

Each end brings a *buffer* for its current copy: a readable one for a writer, a writable one for a reader. It has
``length`` elements, of which ``progress`` are copied. A guest's end (``GuestEnd``) and the ends of the host
(``_host_ends``) are their own buffers. Elements are copied in blocks: bytes for numbers, None for elements without a
type, otherwise a list ("Buffer State" and "Stream State" of the Canonical ABI).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from wasi_trio.component._account import Charge
from wasi_trio.component._context import Context
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._types import ValType
from wasi_trio.component.concurrency._elements import MAX_LENGTH, Element, element_of
from wasi_trio.component.concurrency._instance import ComponentInstance
from wasi_trio.component.concurrency._waitables import Waitable
from wasi_trio.component.concurrency._weights import weigh


class CopyResult(IntEnum):
    COMPLETED = 0
    DROPPED = 1
    CANCELLED = 2


class CopyState(IntEnum):
    IDLE = 1
    COPYING = 2
    DONE = 3


class Buffer(Protocol):
    """One end's side of a copy, with the specification's callbacks. ``instance`` is None for the host."""

    length: int
    progress: int

    @property
    def instance(self) -> ComponentInstance | None: ...

    def copied(self) -> None:
        """Handle a copy into or from this pending buffer. It remains pending unless it ends the operation."""

    def done(self, result: CopyResult) -> None:
        """End the operation of this end."""


class ReadableBuffer(Buffer, Protocol):
    def read(self, count: int) -> Any:
        """Return a block of the next elements."""


class WritableBuffer(Buffer, Protocol):
    def write(self, block: Any, count: int) -> None:
        """Take a block, which is valid only during this call."""


class Shared:
    """The shared state of the two ends of a stream or future. It represents the readable end between components.

    A host that does not use a readable end must ``discard`` it. ``held`` means that the readable end has a holder.
    ``dropped`` means that an end has been dropped. ``pending`` is the buffer of the end that waits for the other.
    ``guest_ends`` counts the ends in guests' handle tables, including dropped ones. ``reader`` and ``writer`` are those
    in tables now. An end that leaves its table clears its attribute, which breaks a reference cycle.
    """

    __slots__ = ("dropped", "element", "guest_ends", "held", "pending", "reader", "watchers", "writer")

    kind: ClassVar[str]

    def __init__(self, type_: ValType | None) -> None:
        self.element: Element = element_of(type_)
        self.dropped = False
        self.pending: Any = None
        self.held = False
        self.guest_ends = 0
        self.reader: GuestEnd[Any] | None = None
        self.writer: GuestEnd[Any] | None = None
        #: Callbacks, called once when either end is dropped.
        self.watchers: list[Callable[[], None]] = []

    def into_shared(self) -> Shared:
        """Return this object. A Python wrapper of a readable end has a method of the same name, which detaches it."""
        return self

    def become(self, type_: ValType | None) -> None:
        """Change the element type to one for the same Python objects."""
        self.element = element_of(type_)

    def hold(self) -> None:
        """Note that the readable end has a holder. Raise HostError if it already has one."""
        if self.held:
            raise HostError(f"the readable end of this {self.kind} was transferred earlier")
        self.held = True

    def discard(self) -> None:
        """Drop a readable end without a holder."""
        self.hold()
        self.drop()

    def cancel(self) -> None:
        """Cancel the pending operation."""
        self.finish(CopyResult.CANCELLED)

    def drop(self) -> None:
        """Drop one end, and notify the other."""
        if self.dropped:
            return
        self.dropped = True
        if self.pending is not None:
            self.finish(CopyResult.DROPPED)
        if self.reader is not None:
            self.reader.note_drop()
        if self.writer is not None:
            self.writer.note_drop()
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher()

    def finish(self, result: CopyResult) -> None:
        """End the pending operation."""
        buffer, self.pending = self.pending, None
        buffer.done(result)

    def check_instances(self, one: Buffer, other: Buffer) -> None:
        """Raise Trap for a copy of non-numbers within one instance ("temporary" in the specification)."""
        if one.instance is other.instance is not None:
            raise Trap(f"cannot read from and write to intra-component {self.kind} with a payload that is not numeric")

    @staticmethod
    def move(source: ReadableBuffer, destination: WritableBuffer, count: int) -> None:
        """Copy ``count`` elements."""
        destination.write(source.read(count), count)
        source.progress += count
        destination.progress += count

    def readable_end(self, instance: ComponentInstance) -> GuestEnd[Any]:
        """Return an end for a guest's handle table."""
        raise NotImplementedError


S = TypeVar("S", bound=Shared)


class GuestEnd(Waitable, Generic[S]):
    """An end of a stream or future in a guest's handle table, with its current copy.

    ``codec`` loads or stores lists of elements that are not copied as blocks of bytes.
    """

    __slots__ = ("codec", "context", "deferred", "length", "pointer", "progress", "result", "shared", "state", "weight")

    event_code: ClassVar[int]
    writes: ClassVar[bool]
    #: "stream" or "future" for their readable ends, which can be transferred.
    readable: ClassVar[str | None] = None

    context: Context
    codec: Any

    def __init__(self, instance: ComponentInstance, shared: S) -> None:
        super().__init__(instance)
        self.shared = shared
        shared.guest_ends += 1
        self.state = CopyState.IDLE
        self.pointer = self.length = self.progress = 0
        self.result = CopyResult.COMPLETED
        #: Elements to lower with the reader's own realloc, which is only possible when the reader takes the event.
        self.deferred: list[Any] = []
        self.weight: Charge | None = None
        if self.writes:
            shared.writer = self
        else:
            shared.reader = self
        if shared.dropped:
            self.note_drop()

    # ---- starting ----------------------------------------------------------------------------------------

    def check_idle(self) -> None:
        """Raise Trap unless an operation can start."""
        raise NotImplementedError

    def begin(self, context: Context, codec: Any, pointer: int, length: int) -> None:
        """Start an operation on ``length`` elements in memory at ``pointer``. Its result is an event."""
        element = self.shared.element
        if length > MAX_LENGTH:
            raise Trap("stream read/write count too large")
        if length and element.size:
            if pointer & (element.alignment - 1):
                raise Trap(f"{'write' if self.writes else 'read'} pointer not aligned")
            end = pointer + length * element.size
            if end > context.memory.size:
                try:
                    context.memory.require(end)
                except Trap:
                    raise Trap(f"{'write' if self.writes else 'read'} pointer out of bounds of memory") from None
        self.context = context
        self.codec = codec
        self.pointer = pointer
        self.length = length
        self.progress = 0
        self.state = CopyState.COPYING
        self.copy()

    def copy(self) -> None:
        raise NotImplementedError

    # ---- as a buffer -------------------------------------------------------------------------------------

    def read(self, count: int) -> Any:
        element = self.shared.element
        pointer = self.pointer + self.progress * element.size
        if element.code is not None:
            return self.context.memory.view[pointer : pointer + count * element.size]
        return None if element.type is None else self.codec(self.context, pointer, count)

    def write(self, block: Any, count: int) -> None:
        element = self.shared.element
        if element.varies:
            self.deferred += block
            weight = weigh(block)
            if self.weight is None:
                self.weight = Charge(self.instance.handles.account, weight)
            else:
                self.weight.resize(self.weight.size + weight)
            return
        pointer = self.pointer + self.progress * element.size
        if element.code is not None:
            self.context.memory.view[pointer : pointer + count * element.size] = block
        elif element.type is not None:
            self.codec(self.context, pointer, block)

    def window(self, count: int) -> memoryview | None:
        """Return the memory for the next numbers, into which a caller can write them, or None for other elements."""
        element = self.shared.element
        if element.code is None:
            return None
        pointer = self.pointer + self.progress * element.size
        return self.context.memory.view[pointer : pointer + count * element.size]

    def copied(self) -> None:
        self.result = CopyResult.COMPLETED
        if self.deferred:
            self.length = self.progress  # bounds the elements that wait in Python until the guest takes the event
        self.notify()

    def done(self, result: CopyResult) -> None:
        self.result = result
        self.notify()

    # ---- ending ------------------------------------------------------------------------------------------

    def reclaim(self) -> None:
        """End the operation, because the guest takes its event and its buffer."""
        self.settle()
        if self.shared.pending is self:
            self.shared.pending = None
        if self.deferred:
            values, self.deferred = self.deferred, []
            self.weight = None
            self.codec(self.context, self.pointer, values)

    def withdraw(self) -> None:
        """Cancel the current operation. Its event then reports the elements that were copied before."""
        if not self.pending:
            self.shared.cancel()

    def drop(self) -> None:
        """Drop this end. Raises Trap while a copy is active or its event is pending."""
        if self.state is CopyState.COPYING:
            raise Trap(f"cannot {'drop' if self.writes else 'remove'} busy {self.shared.kind}")
        shared = self.shared
        if self.writes:
            shared.writer = None
        else:
            shared.reader = None
        shared.drop()
        self.join(None)

    def abandon(self) -> None:
        """Drop this end, because the guest has ended."""
        shared = self.shared
        if shared.pending is self:
            shared.pending = None
        if self.writes:
            shared.writer = None
        else:
            shared.reader = None
        shared.drop()

    def note_drop(self) -> None:
        """Learn that the other end has been dropped. An end without an operation gets an event for it."""
        if self.state is CopyState.IDLE:
            self.result = CopyResult.DROPPED
            self.progress = 0
            self.notify()

    # ---- passing on --------------------------------------------------------------------------------------

    def give_up(self) -> Shared:
        """Remove a readable end from the guest and return its shared state. Raises Trap if that is not possible."""
        shared = self.shared
        if self.state is CopyState.DONE:
            raise Trap(self.done_message("lift"))
        if self.state is CopyState.COPYING:
            raise Trap(f"cannot remove busy {shared.kind}")
        if self.wset is not None:
            raise Trap(f"cannot lift {shared.kind} while it's in a waitable set")
        shared.held = False
        shared.guest_ends -= 1
        shared.reader = None
        return shared

    @property
    def awaits_host(self) -> bool:
        return self.pending or (self.state is not CopyState.DONE and self.shared.guest_ends < 2)

    def done_message(self, action: str) -> str:
        """Return the message for the use of an end whose work is done."""
        raise NotImplementedError
