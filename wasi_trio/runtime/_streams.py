"""Streams and futures of the Component Model with trio's manners, for host functions.

A host function that is given a ``stream<T>`` or ``future<T>`` reads it through a StreamReader or FutureReader; one
that returns a stream or future makes a pair with ``make_stream`` or ``make_future`` and returns the readable half.

Every ``async`` method is a checkpoint, and all are cancel-safe: a cancelled ``receive`` or ``get`` took nothing. Like
trio's own streams these are for one task at a time, else trio.BusyResourceError.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import trio

from wasi_trio.component._types import ValType
from wasi_trio.component.concurrency._copying import CopyResult, Shared
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._host_ends import (
    HostEnd,
    HostFutureReader,
    HostFutureWriter,
    HostReader,
    HostWriter,
)
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.runtime._register import REGISTER

T = TypeVar("T")

#: how many elements ``receive`` asks for where its caller does not say
RECEIVE_SIZE = 64 << 10


class _Operation:
    """One operation of an end, and the task that waits for it."""

    __slots__ = ("data", "event", "result")

    def __init__(self) -> None:
        self.result: CopyResult | None = None
        self.data: Any = None
        self.event: trio.Event | None = None

    def done(self, result: CopyResult, data: Any) -> None:
        self.result = result
        self.data = data
        if self.event is not None:
            self.event.set()

    async def wait(self, end: HostEnd) -> CopyResult:
        """How the operation, which was started on ``end``, ended. Cancelling this cancels it."""
        if self.result is None:
            self.event = trio.Event()
            try:
                await self.event.wait()
            except trio.Cancelled:
                end.cancel()
                raise
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        assert self.result is not None
        return self.result


class _Half:
    """One half of a stream or future; closing it lets the other half know."""

    __slots__ = ("_closed", "_end", "_register")

    _end: HostEnd

    def __init__(self) -> None:
        self._closed = False
        self._register = REGISTER.get()
        if self._register is not None:
            self._register.opened(self, f"a {type(self).__name__}")

    @property
    def peer_dropped(self) -> bool:
        """Whether the other half is gone."""
        return self._end.peer_dropped

    def close(self) -> None:
        """Give up this half; harmless when repeated. A task that waits in it gets trio.ClosedResourceError."""
        if not self._closed:
            self._set_closed()
            self._end.cancel()
            self._end.drop()

    def _set_closed(self) -> None:
        self._closed = True
        if self._register is not None:
            self._register.closed(self)

    async def aclose(self) -> None:
        """``close``, and a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _start(self) -> None:
        """What every operation does first: see that nothing speaks against it."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if self._end.active:
            raise trio.BusyResourceError("another task uses this end")


class StreamReader(_Half, Generic[T]):
    """The readable half of a stream: ``StreamReader[bytes]`` for ``stream<u8>``, else ``StreamReader[list[...]]``.

    What a host function is given for a ``stream`` it either reads or closes, or returns to pass it on.
    ``async for`` gives what ``receive`` gives, to the end.
    """

    __slots__ = ("converter",)

    _end: HostReader

    def __init__(self, stream: SharedStream) -> None:
        super().__init__()
        self._end = HostReader(stream)
        #: converts each element for ``receive``, where elements need converting
        self.converter: Callable[[Any], Any] | None = None

    async def receive(self, max_items: int = RECEIVE_SIZE) -> T:
        """At least one element and at most ``max_items``; b"" or [] once the writer has closed the stream.

        (A stream without a type has elements of no content: for that this gives their number, 0 at the end.)
        Raises trio.ClosedResourceError if this half was closed.
        """
        if max_items < 1:
            raise ValueError("max_items must be at least 1")
        while True:
            await self._start()
            operation = _Operation()
            self._end.start_read(max_items, operation.done)
            result = await operation.wait(self._end)
            if self._closed:
                raise trio.ClosedResourceError("this end was closed")
            if operation.data or result is CopyResult.DROPPED:
                data = operation.data
                return cast(T, data if self.converter is None else [self.converter(element) for element in data])

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        data = await self.receive()
        if not data:
            raise StopAsyncIteration
        return data

    def into_shared(self) -> SharedStream:
        """The stream itself, to be passed on; this reader is closed without the stream being closed."""
        self._set_closed()
        return self._end.into_shared()


class StreamWriter(_Half, Generic[T]):
    """The writable half of a stream, made by ``make_stream``."""

    __slots__ = ()

    _end: HostWriter

    def __init__(self, stream: SharedStream) -> None:
        super().__init__()
        self._end = HostWriter(stream)

    async def send_all(self, data: T) -> None:
        """Write everything, and wait until it is read.

        That is bytes for ``u8``, a number for a stream without a type, else a list; it must not change meanwhile.
        Raises trio.BrokenResourceError when the reader is gone, trio.ClosedResourceError if this half was closed,
        HostError if ``data`` is not of the stream's type. When this is cancelled some of it may have been read.
        """
        await self._start()
        if not data:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        operation = _Operation()
        self._end.start_write(data, operation.done)
        result = await operation.wait(self._end)
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if result is CopyResult.DROPPED:
            raise trio.BrokenResourceError("the stream's reader is gone")


class FutureReader(_Half, Generic[T]):
    """The readable half of a future."""

    __slots__ = ("_outcome", "converter")

    _end: HostFutureReader

    def __init__(self, future: SharedFuture) -> None:
        super().__init__()
        self._end = HostFutureReader(future)
        #: converts the value for ``get``, where it needs converting
        self.converter: Callable[[Any], Any] | None = None
        self._outcome: _Operation | None = None

    async def get(self) -> T:
        """The value, once it is written; the same each time.

        Raises trio.BrokenResourceError if the writer is gone and never wrote one, trio.ClosedResourceError if this
        half was closed before.
        """
        if self._outcome is None:
            await self._start()
            operation = _Operation()
            self._end.start_read(operation.done)
            result = await operation.wait(self._end)
            if self._closed:
                raise trio.ClosedResourceError("this end was closed")
            assert result is not CopyResult.CANCELLED
            if self.converter is not None and result is not CopyResult.DROPPED:
                operation.data = self.converter(operation.data)
            self._outcome = operation
        else:
            await trio.lowlevel.checkpoint()
        if self._outcome.result is CopyResult.DROPPED:
            raise trio.BrokenResourceError("the future's writer is gone and wrote no value")
        return cast(T, self._outcome.data)

    def into_shared(self) -> SharedFuture:
        """The future itself, to be passed on; this reader is closed without the future being closed."""
        self._set_closed()
        return self._end.into_shared()


class FutureWriter(Generic[T]):
    """The writable half of a future, made by ``make_future``."""

    __slots__ = ("_done", "_end")

    def __init__(self, future: SharedFuture) -> None:
        self._end = HostFutureWriter(future)
        self._done = False

    def set(self, value: T) -> None:
        """Write the value; it is kept for the reader, and dropped if there is none any more.

        Raises RuntimeError if the future has a value or was closed, HostError if this is none of the future's type.
        """
        if self._done:
            raise RuntimeError("the future has a value already, or was closed")
        self._end.start_write(value, _ignore)
        self._done = True

    def close(self) -> None:
        """Give the future up; harmless once it has a value. A guest that reads one without a value traps."""
        if not self._done:
            self._done = True
            self._end.drop()


def _ignore(result: CopyResult, data: Any) -> None:
    pass


def make_stream(element: ValType | None) -> tuple[StreamWriter[Any], SharedStream]:
    """A stream of elements of this type, and its readable half as a value that a host function may return."""
    stream = SharedStream(element)
    return StreamWriter(stream), stream


def make_future(type_: ValType | None) -> tuple[FutureWriter[Any], SharedFuture]:
    """A future of this type, and its readable half as a value that a host function may return."""
    future = SharedFuture(type_)
    return FutureWriter(future), future


def discard(value: Any) -> None:
    """Drop a readable half that was given to a host function, reader or not, if anything is left to drop."""
    shared: Shared = value.into_shared()
    if not shared.held:
        shared.discard()


def adopt(shared: Any) -> StreamReader[Any] | FutureReader[Any]:
    """What a host function is given for the readable end of a stream or future that a guest passes to it."""
    return StreamReader(shared) if isinstance(shared, SharedStream) else FutureReader(shared)
