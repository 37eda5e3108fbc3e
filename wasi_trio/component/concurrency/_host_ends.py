"""The host's ends of streams and futures.

An operation is started with a callback, which is called once: during the start if the other end was waiting already,
else out of whatever completes it, such as a guest's built-in. So it must only note what happened (wake a task, start
the next operation), never run a guest. Callbacks are given a ``CopyResult``: COMPLETED, DROPPED when the other end is
gone, or CANCELLED.

What one host end writes and another reads passes between them with no guest involved, and bytes that are read whole
are not even copied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from wasi_trio.component._errors import HostError
from wasi_trio.component._types import ValType
from wasi_trio.component.concurrency._copying import CopyResult, Shared
from wasi_trio.component.concurrency._elements import element_of
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._streams import SharedStream

OnDone = Callable[[CopyResult, Any], None]
S = TypeVar("S", bound=Shared)


class HostEnd(Generic[S]):
    """An end that the host holds. At most one operation at a time."""

    __slots__ = ("_block", "_on_done", "_watcher", "length", "progress", "shared")

    #: none: the host's
    instance: ClassVar[None] = None

    def __init__(self, shared: S) -> None:
        self.shared = shared
        self.length = self.progress = 0
        self._block: Any = None
        self._on_done: OnDone | None = None
        self._watcher: Callable[[], None] | None = None

    @property
    def active(self) -> bool:
        """Whether an operation is under way."""
        return self._on_done is not None

    @property
    def peer_dropped(self) -> bool:
        """Whether the other end is gone."""
        return self.shared.dropped

    def watch(self, watcher: Callable[[], None] | None) -> None:
        """Have ``watcher`` called once when the other end is dropped; the one given last counts."""
        if self._watcher is not None and self._watcher in self.shared.watchers:
            self.shared.watchers.remove(self._watcher)
        self._watcher = watcher
        if watcher is not None:
            self.shared.watchers.append(watcher)

    def cancel(self) -> None:
        """Stop the operation under way, if there is one: its callback is called with CANCELLED before this returns."""
        if self.shared.pending is self:
            self.shared.cancel()

    def drop(self) -> None:
        """Give up this end. An operation under way is forgotten, its callback never called. Harmless when repeated."""
        self._on_done = self._block = None
        self.watch(None)
        if self.shared.pending is self:
            self.shared.pending = None
        self.shared.drop()

    def _begin(self, on_done: OnDone, length: int) -> None:
        if self.active:
            raise HostError(f"an operation on this end of a {self.shared.kind} is under way")
        self._on_done = on_done
        self.length = length
        self.progress = 0

    def _end(self, result: CopyResult, data: Any) -> None:
        on_done, self._on_done, self._block = self._on_done, None, None
        if on_done is not None:  # else the end was dropped meanwhile
            on_done(result, data)


class HostReader(HostEnd[SharedStream]):
    """The host's readable end of a stream that it was given. Raises HostError if something else holds it."""

    __slots__ = ()

    def __init__(self, shared: SharedStream) -> None:
        super().__init__(shared)
        shared.hold()

    def start_read(self, max_items: int, on_done: OnDone) -> None:
        """Read as many elements as there are at once, up to ``max_items``.

        The callback gets them: bytes for ``u8``, a count for a stream without a type, else a list. There are some
        only if it gets COMPLETED, and none even then if ``max_items`` is 0, which waits for the writer to be ready,
        or if the writer has written none. Raises Trap if elements that wait are not valid.
        """
        self._begin(on_done, max_items)
        self.shared.read(self)

    def into_shared(self) -> SharedStream:
        """Give the stream away, unread from here on, as a value to pass to a guest; this end is of no more use."""
        if self.active:
            raise HostError("a stream that is being read cannot be given away")
        self.shared.held = False
        return self.shared

    def take(self, block: Any, count: int) -> None:
        # A view is of memory that changes; bytes, and lists made for this copy, can be kept.
        self._block = bytes(block) if isinstance(block, (memoryview, bytearray)) else block

    def copied(self) -> None:
        self.shared.finish(CopyResult.COMPLETED)

    def done(self, result: CopyResult) -> None:
        element = self.shared.element
        self._end(result, self.progress if element.type is None else element.unpack(self._block))


class HostWriter(HostEnd[SharedStream]):
    """The host's writable end of a stream; ``HostWriter(SharedStream(type_))`` makes one, whose ``shared`` is a value
    that can be passed to a guest as a ``stream`` of that type."""

    __slots__ = ("_outcome", "_starting", "_stopped")

    def __init__(self, shared: SharedStream) -> None:
        super().__init__(shared)
        self._starting = False
        self._stopped = False
        self._outcome: CopyResult | None = None

    def start_write(self, data: Any, on_done: OnDone) -> None:
        """Write all of ``data``: bytes or another buffer for ``u8``, a count for a stream without a type, else a list.

        The callback gets the number of elements that were read: all if it gets COMPLETED. No data at all waits for the
        reader to be ready. ``data`` must not change until then. Raises HostError if it does not fit the type; elements
        that are not numbers are checked when a guest takes them, and the error is raised there.
        """
        block, length = self.shared.element.pack(data)
        self._begin(on_done, length)
        self._block = block
        self._starting = True
        while True:
            self._offer()
            if self._outcome is not CopyResult.COMPLETED or self.progress == self.length or self._stopped:
                break
        self._starting = False
        if self._stopped and self._outcome is CopyResult.COMPLETED and self.progress < self.length:
            self._outcome = CopyResult.CANCELLED
        if self._outcome is not None:
            self._end(self._outcome, self.progress)

    def _offer(self) -> None:
        """Write what is left; ``_outcome`` is how that ended, if it has."""
        self._outcome = None
        self._stopped = False
        self.shared.write(self)

    def cancel(self) -> None:
        """Stop the operation under way, if there is one: its callback is called with CANCELLED.

        That is before this returns, unless this is called out of the reader's callback during ``start_write``.
        """
        self._stopped = self._starting
        super().cancel()

    def give(self, count: int) -> Any:
        return self.shared.element.block(self._block, self.progress, count)

    def copied(self) -> None:
        if self.progress == self.length:
            self.shared.finish(CopyResult.COMPLETED)

    def done(self, result: CopyResult) -> None:
        if self._starting:
            self._outcome = result
        else:
            self._end(result, self.progress)


class HostFutureReader(HostEnd[SharedFuture]):
    """The host's readable end of a future that it was given. Raises HostError if something else holds it."""

    __slots__ = ()

    def __init__(self, shared: SharedFuture) -> None:
        super().__init__(shared)
        shared.hold()

    def start_read(self, on_done: OnDone) -> None:
        """Wait for the value; the callback gets it with COMPLETED. After that there is nothing left but to drop."""
        self._begin(on_done, 1)
        self.shared.read(self)

    def into_shared(self) -> SharedFuture:
        """Give the future away, as a value to pass to a guest; this end is of no more use."""
        if self.active:
            raise HostError("a future that is being read cannot be given away")
        self.shared.held = False
        return self.shared

    def take(self, block: Any, count: int) -> None:
        element = self.shared.element
        if element.type is not None:
            self._block = element.unpack(bytes(block) if element.code else block)[0]

    def copied(self) -> None:
        raise AssertionError("a future is never copied in part")

    def done(self, result: CopyResult) -> None:
        self._end(result, self._block)


class Given:
    """A value that is there already, as the source of any number of futures of one type: ``future.write(given)``.

    Nobody learns whether it was read, so it needs no end of its own for each future.
    """

    __slots__ = ("_block", "length")

    instance: ClassVar[None] = None

    def __init__(self, type_: ValType | None, value: Any) -> None:
        """Raises HostError where the value does not fit the type."""
        self._block = element_of(type_).pack_one(value)
        self.length = 1

    @property
    def progress(self) -> int:
        return 0

    @progress.setter
    def progress(self, count: int) -> None:
        """Each future is told of its own; there is nothing to keep."""

    def give(self, count: int) -> Any:
        return self._block

    def copied(self) -> None:
        raise AssertionError("a future is never copied in part")

    def done(self, result: CopyResult) -> None:
        pass


class HostFutureWriter(HostEnd[SharedFuture]):
    """The host's writable end of a future; ``HostFutureWriter(SharedFuture(type_))`` makes one.

    To drop it unwritten makes a guest that reads the future trap: there is no value for it to go on with.
    """

    __slots__ = ()

    def start_write(self, value: Any, on_done: OnDone) -> None:
        """Write the value; the callback gets COMPLETED once it is read, or DROPPED if it never will be.

        Raises HostError as ``HostWriter.start_write`` does.
        """
        block = self.shared.element.pack_one(value)
        self._begin(on_done, 1)
        self._block = block
        self.shared.write(self)

    def give(self, count: int) -> Any:
        return self._block

    def copied(self) -> None:
        raise AssertionError("a future is never copied in part")

    def done(self, result: CopyResult) -> None:
        self._end(result, None)
