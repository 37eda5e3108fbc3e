"""Streams and futures of the Component Model for host functions, in the style of trio.

A host function that gets a ``stream<T>`` or ``future<T>`` reads it through a StreamReader or FutureReader. A host
function that returns one creates a pair with ``make_stream`` or ``make_future`` and returns the readable half.

Every ``async`` method is a checkpoint and is cancel-safe: a cancelled ``receive`` or ``get`` takes nothing. Like trio's
own streams, each half is for one task at a time. A second task gets trio.BusyResourceError.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import trio

from wasi_trio.component._types import ResourceType, ValType
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
E = TypeVar("E", bound=HostEnd[Any])

#: The default maximum number of elements for ``receive``.
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

    async def wait(self, end: HostEnd[Any]) -> CopyResult:
        """Wait for the end of the operation on ``end`` and return its result. Cancellation cancels the operation."""
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


class _Half(Generic[E]):
    """One half of a stream or future. Closing it notifies the other half."""

    __slots__ = ("_closed", "_end", "_register")

    def __init__(self, end: E) -> None:
        self._end = end
        self._closed = False
        self._register = REGISTER.get()
        if self._register is not None:
            self._register.opened(self, f"a {type(self).__name__}")

    @property
    def peer_dropped(self) -> bool:
        """Whether the other half is closed."""
        return self._end.peer_dropped

    def close(self) -> None:
        """Close this half. May be called again. A task that waits in it gets trio.ClosedResourceError."""
        if not self._closed:
            self._set_closed()
            self._end.cancel()
            self._end.drop()

    def _set_closed(self) -> None:
        self._closed = True
        if self._register is not None:
            self._register.closed(self)

    async def aclose(self) -> None:
        """Close this half as ``close`` does, with a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _start(self) -> None:
        """Check that a new operation may start."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if self._end.active:
            raise trio.BusyResourceError("another task is using this end")


class StreamReader(_Half[HostReader], Generic[T]):
    """The readable half of a stream: ``StreamReader[bytes]`` for ``stream<u8>``, otherwise ``StreamReader[list[...]]``.

    A host function that gets a ``stream`` must read it, close it, or return it to pass it on. ``async for`` yields the
    results of ``receive`` until the end.
    """

    __slots__ = ("converter",)
    kind = "stream"

    def __init__(self, stream: SharedStream) -> None:
        super().__init__(HostReader(stream))
        #: Converts each element for ``receive``, or None.
        self.converter: Callable[[Any], Any] | None = None

    async def receive(self, max_items: int = RECEIVE_SIZE) -> T:
        """Return at least one element and at most ``max_items``, or b"" or [] after the writer has closed the stream.

        A stream without a type has elements without content. For such a stream this returns their number, 0 at the end.
        Raises trio.ClosedResourceError if this half is closed.
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
        """Return the stream itself, to pass it on. This reader is closed, but the stream is not."""
        self._set_closed()
        return self._end.into_shared()


class StreamWriter(_Half[HostWriter], Generic[T]):
    """The writable half of a stream, created by ``make_stream``."""

    __slots__ = ()

    def __init__(self, stream: SharedStream) -> None:
        super().__init__(HostWriter(stream))

    async def send_all(self, data: T) -> None:
        """Write all of ``data``, and wait until it is read.

        ``data`` is bytes for ``u8``, a number for a stream without a type, otherwise a list. It must not change during
        the call. Raises trio.BrokenResourceError if the reader is closed, and trio.ClosedResourceError if this half is
        closed. Raises HostError, and writes nothing, if ``data`` does not fit the stream's type. If this is cancelled,
        part of ``data`` may have been read.
        """
        await self._start()
        if not data:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        self._end.shared.element.check_all(data)
        operation = _Operation()
        self._end.start_write(data, operation.done)
        result = await operation.wait(self._end)
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        if result is CopyResult.DROPPED:
            raise trio.BrokenResourceError("the stream's reader is closed")


class FutureReader(_Half[HostFutureReader], Generic[T]):
    """The readable half of a future."""

    __slots__ = ("_outcome", "converter")
    kind = "future"

    def __init__(self, future: SharedFuture) -> None:
        super().__init__(HostFutureReader(future))
        #: Converts the value for ``get``, or None.
        self.converter: Callable[[Any], Any] | None = None
        self._outcome: _Operation | None = None

    async def get(self) -> T:
        """Wait for the value and return it. Every call returns the same value.

        Raises trio.BrokenResourceError if the writer closed without a value, and trio.ClosedResourceError if this half
        was closed before.
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
            raise trio.BrokenResourceError("the future's writer closed without a value")
        return cast(T, self._outcome.data)

    def into_shared(self) -> SharedFuture:
        """Return the future itself, to pass it on. This reader is closed, but the future is not."""
        self._set_closed()
        return self._end.into_shared()


class FutureWriter(Generic[T]):
    """The writable half of a future, created by ``make_future``."""

    __slots__ = ("_done", "_end")

    def __init__(self, future: SharedFuture) -> None:
        self._end = HostFutureWriter(future)
        self._done = False

    def set(self, value: T) -> None:
        """Write the value. It is kept for the reader, or dropped if the reader is closed.

        Raises RuntimeError if the future has a value or is closed, and HostError if the value does not fit the type.
        """
        if self._done:
            raise RuntimeError("the future already has a value or is closed")
        self._end.shared.element.check(value)
        self._end.start_write(value, _ignore)
        self._done = True

    def close(self) -> None:
        """Close the future. No effect if it has a value. A guest that reads a future without a value traps."""
        if not self._done:
            self._done = True
            self._end.drop()


def _ignore(result: CopyResult, data: Any) -> None:
    pass


@functools.lru_cache(maxsize=256)
def _element(text: str) -> ValType:
    """Return the type that WIT writes like this. Raises ValueError."""
    # Only programs without bindings come here.
    from wasi_trio.component.wit import WitError, parse

    try:
        wit = parse(f"package host:element;\ninterface element {{ type element = {text}; }}")
    except WitError as error:
        raise ValueError(f"{text!r} is not a type of WIT, or a name, which requires typed bindings: {error}") from None
    type_ = wit.interface("host:element/element").types["element"]
    assert not isinstance(type_, ResourceType), "only a name can be that of a resource"
    return type_


def make_stream(element: ValType | str | None) -> tuple[StreamWriter[Any], SharedStream]:
    """Return the writer of a new stream, and its readable half as a value that a host function may return.

    ``element`` is the type of the elements in the notation of WIT, such as ``"u8"`` or ``"tuple<string, u32>"``, or
    None. A type with a name, such as a record, requires typed bindings, which have a function for each stream. Raises
    ValueError.
    """
    stream = SharedStream(_element(element) if isinstance(element, str) else element)
    return StreamWriter(stream), stream


def make_future(type_: ValType | str | None) -> tuple[FutureWriter[Any], SharedFuture]:
    """Return the writer of a new future, and its readable half as a value that a host function may return.

    ``type_`` is the type of the value, as in ``make_stream``.
    """
    future = SharedFuture(_element(type_) if isinstance(type_, str) else type_)
    return FutureWriter(future), future


def discard(value: Any) -> None:
    """Drop a readable half that a host function got, whether it is a reader or not, unless it has a holder."""
    shared: Shared = value.into_shared()
    if not shared.held:
        shared.discard()


def adopt(shared: Any) -> StreamReader[Any] | FutureReader[Any]:
    """Return the reader that a host function gets for the readable end of a guest's stream or future."""
    return StreamReader(shared) if isinstance(shared, SharedStream) else FutureReader(shared)
