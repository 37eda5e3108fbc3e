"""The host's ends of streams and futures.

Each operation has a callback, which is called once. The call comes while the operation starts if the other end is
already waiting, otherwise from the code that completes the operation, such as a guest's built-in. So a callback may
only record the event (wake a task, start the next operation). It must never run a guest. Its argument is a
``CopyResult``: COMPLETED, DROPPED if the other end is dropped, or CANCELLED.

A copy between two host ends involves no guest. If the reader takes all the bytes of a write, they are not even copied.
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
    """An end that the host holds. It has at most one operation at a time."""

    __slots__ = ("_block", "_on_done", "_watcher", "length", "progress", "shared")

    #: Always None, because the host holds the end.
    instance: ClassVar[None] = None

    def __init__(self, shared: S) -> None:
        self.shared = shared
        self.length = self.progress = 0
        self._block: Any = None
        self._on_done: OnDone | None = None
        self._watcher: Callable[[], None] | None = None

    @property
    def active(self) -> bool:
        """Whether an operation is in progress."""
        return self._on_done is not None

    @property
    def peer_dropped(self) -> bool:
        """Whether the other end has been dropped."""
        return self.shared.dropped

    def watch(self, watcher: Callable[[], None] | None) -> None:
        """Call ``watcher`` once when the other end is dropped. It replaces an earlier watcher."""
        if self._watcher is not None and self._watcher in self.shared.watchers:
            self.shared.watchers.remove(self._watcher)
        self._watcher = watcher
        if watcher is not None:
            self.shared.watchers.append(watcher)

    def cancel(self) -> None:
        """Cancel the current operation, if any. Its callback is called with CANCELLED before this returns."""
        if self.shared.pending is self:
            self.shared.cancel()

    def drop(self) -> None:
        """Drop this end. A current operation ends without a call of its callback. May be called again."""
        self._on_done = self._block = None
        self.watch(None)
        if self.shared.pending is self:
            self.shared.pending = None
        self.shared.drop()

    def _begin(self, on_done: OnDone, length: int) -> None:
        if self.active:
            raise HostError(f"this end of a {self.shared.kind} already has an operation in progress")
        self._on_done = on_done
        self.length = length
        self.progress = 0

    def _end(self, result: CopyResult, data: Any) -> None:
        on_done, self._on_done, self._block = self._on_done, None, None
        if on_done is not None:  # None if the end has been dropped
            on_done(result, data)


class HostReader(HostEnd[SharedStream]):
    """The host's readable end of a stream. Raises HostError if the readable end already has a holder."""

    __slots__ = ()

    def __init__(self, shared: SharedStream) -> None:
        super().__init__(shared)
        shared.hold()

    def start_read(self, max_items: int, on_done: OnDone) -> None:
        """Read at most ``max_items`` elements: those that the writer has ready at once.

        The callback gets the elements: bytes for ``u8``, a count for a stream without a type, otherwise a list. Only a
        COMPLETED read has elements. It has none if ``max_items`` is 0, which waits for the writer to be ready, or if
        the writer wrote none. Raises Trap if the elements are invalid.
        """
        self._begin(on_done, max_items)
        self.shared.read(self)

    def into_shared(self) -> SharedStream:
        """Detach the stream from this end, as a value to pass to a guest. This end cannot be used afterwards."""
        if self.active:
            raise HostError("a stream cannot be transferred during a read")
        self.shared.held = False
        return self.shared

    def write(self, block: Any, count: int) -> None:
        # Memory behind a view may change. Bytes, and lists made for this copy, do not.
        self._block = bytes(block) if isinstance(block, (memoryview, bytearray)) else block

    def copied(self) -> None:
        self.shared.finish(CopyResult.COMPLETED)

    def done(self, result: CopyResult) -> None:
        element = self.shared.element
        self._end(result, self.progress if element.type is None else element.unpack(self._block))


class HostWriter(HostEnd[SharedStream]):
    """The host's writable end of a stream.

    ``HostWriter(SharedStream(type_))`` creates a stream. Its ``shared`` is a value to pass to a guest as a ``stream``
    of that type.
    """

    __slots__ = ("_outcome", "_starting", "_stopped")

    def __init__(self, shared: SharedStream) -> None:
        super().__init__(shared)
        self._starting = False
        self._stopped = False
        self._outcome: CopyResult | None = None

    def start_write(self, data: Any, on_done: OnDone) -> None:
        """Write all of ``data``: a buffer for ``u8``, a count for a stream without a type, otherwise a list.

        The callback gets the number of elements that were read, which is all of them if COMPLETED. Writing no elements
        waits for the reader to be ready. ``data`` must not change before the callback. Raises HostError if ``data``
        does not fit the type. Elements other than numbers are checked when a guest takes them, and the error is raised
        there.
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
        """Write the rest. ``_outcome`` is the result, or None if the operation continues."""
        self._outcome = None
        self._stopped = False
        self.shared.write(self)

    def cancel(self) -> None:
        """Cancel the current operation, if any. Its callback is called with CANCELLED.

        The callback runs before this returns, unless the reader's callback calls this during ``start_write``.
        """
        self._stopped = self._starting
        super().cancel()

    def read(self, count: int) -> Any:
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
    """The host's readable end of a future. Raises HostError if the readable end already has a holder."""

    __slots__ = ()

    def __init__(self, shared: SharedFuture) -> None:
        super().__init__(shared)
        shared.hold()

    def start_read(self, on_done: OnDone) -> None:
        """Wait for the value, which the callback gets with COMPLETED. Afterwards this end can only be dropped."""
        self._begin(on_done, 1)
        self.shared.read(self)

    def into_shared(self) -> SharedFuture:
        """Detach the future from this end, as a value to pass to a guest. This end cannot be used afterwards."""
        if self.active:
            raise HostError("a future cannot be transferred during a read")
        self.shared.held = False
        return self.shared

    def write(self, block: Any, count: int) -> None:
        element = self.shared.element
        if element.type is not None:
            self._block = element.unpack(bytes(block) if element.code else block)[0]

    def copied(self) -> None:
        raise AssertionError("a future is never copied in part")

    def done(self, result: CopyResult) -> None:
        self._end(result, self._block)


class Given:
    """An existing value as the source of any number of futures of one type: ``future.write(given)``.

    The host does not learn whether a future was read. So the futures need no ends.
    """

    __slots__ = ("_block", "length")

    instance: ClassVar[None] = None

    def __init__(self, type_: ValType | None, value: Any) -> None:
        """Raise HostError if the value does not fit the type."""
        self._block = element_of(type_).pack_one(value)
        self.length = 1

    @property
    def progress(self) -> int:
        return 0

    @progress.setter
    def progress(self, count: int) -> None:
        """Ignore the progress, because all futures share this source."""

    def read(self, count: int) -> Any:
        return self._block

    def copied(self) -> None:
        raise AssertionError("a future is never copied in part")

    def done(self, result: CopyResult) -> None:
        pass


class HostFutureWriter(HostEnd[SharedFuture]):
    """The host's writable end of a future. ``HostFutureWriter(SharedFuture(type_))`` creates a future.

    If it is dropped without a write, a guest that reads the future traps, because it has no value to continue with.
    """

    __slots__ = ()

    def start_write(self, value: Any, on_done: OnDone) -> None:
        """Write the value. The callback gets COMPLETED after the value is read, or DROPPED if it never will be.

        Raises HostError as ``HostWriter.start_write`` does.
        """
        block = self.shared.element.pack_one(value)
        self._begin(on_done, 1)
        self._block = block
        self.shared.write(self)

    def read(self, count: int) -> Any:
        return self._block

    def copied(self) -> None:
        raise AssertionError("a future is never copied in part")

    def done(self, result: CopyResult) -> None:
        self._end(result, None)
