"""A guest without wasm, for the values that WASI's interfaces exchange with guests."""

from __future__ import annotations

from typing import Any

from tests.component.concurrency.world import BLOCKED, World
from wasi_trio.component._types import U8, Stream
from wasi_trio.component.concurrency import CopyResult, HostFutureReader, SharedFuture, SharedStream
from wasi_trio.runtime._streams import FutureWriter, make_future
from wasi_trio.wasi.p3._http_types import TRAILERS

BYTES = Stream(U8)
#: the largest read of a guest here
BUFFER = 16384
DROPPED, CANCELLED = "dropped", "cancelled"
_RESULTS = {CopyResult.DROPPED: DROPPED, CopyResult.CANCELLED: CANCELLED}


class _End:
    def __init__(self) -> None:
        self.guest = World().guest()
        self.context = self.guest.instance.context(self.guest.options())
        self.pointer = self.guest.scratch(BUFFER)
        self.index = 0

    def outcome(self, code: int) -> Any:
        """Return what a built-in's result code means, or None if it blocks."""
        return None if code == BLOCKED else self.decode(code >> 4, CopyResult(code & 15))

    def decode(self, count: int, result: CopyResult) -> Any:
        raise NotImplementedError

    def event(self) -> Any:
        """Return the result of the current operation, or None if it has none."""
        end = self.guest.handles.get(self.index)
        if not end.pending:
            return None
        return self.outcome(end.take_event()[2])


class GuestReader(_End):
    """A guest's readable end of a ``stream<u8>``. Reads return bytes, and DROPPED at the end."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.index = self.context.lower_stream(stream, U8)

    def read(self, count: int = BUFFER) -> Any:
        return self.outcome(self.guest.call("stream.read", self.index, self.pointer, count, type_=BYTES, is_async=True))

    def decode(self, count: int, result: CopyResult) -> Any:
        data = self.guest.read(self.pointer, count)
        return data if result is CopyResult.COMPLETED or data else _RESULTS[result]

    def cancel(self) -> Any:
        return self.outcome(self.guest.call("stream.cancel-read", self.index, type_=BYTES, is_async=True))

    def drop(self) -> None:
        self.guest.call("stream.drop-readable", self.index, type_=BYTES)

    def pass_on(self) -> SharedStream:
        shared = self.context.lift_stream(self.index, U8)
        assert isinstance(shared, SharedStream)
        return shared


class GuestWriter(_End):
    """A guest's writable end of a ``stream<u8>``. ``stream`` is the readable end that a host function receives."""

    def __init__(self) -> None:
        super().__init__()
        ends = self.guest.call("stream.new", type_=BYTES)
        self.index = ends >> 32
        self.stream: SharedStream = self.context.lift_stream(ends & 0xFFFF_FFFF, U8)

    def write(self, data: bytes) -> Any:
        """Return the number of bytes written, or DROPPED."""
        pointer = self.guest.memory.size - len(data)
        self.guest.memory.view[pointer:] = data
        code = self.guest.call("stream.write", self.index, pointer, len(data), type_=BYTES, is_async=True)
        return self.outcome(code)

    def decode(self, count: int, result: CopyResult) -> Any:
        return count if result is CopyResult.COMPLETED else _RESULTS[result]

    def drop(self) -> None:
        self.guest.call("stream.drop-writable", self.index, type_=BYTES)

    def die(self) -> None:
        """Trap the guest."""
        list(self.guest.instance.abandon())


def trailers() -> tuple[FutureWriter[Any], SharedFuture]:
    """Return the future of trailers that a guest passes with contents."""
    return make_future(TRAILERS)


class Watched:
    """A future with a reader. ``value`` is None until it has a value, and DROPPED if it never will."""

    def __init__(self, future: SharedFuture) -> None:
        self.value: Any = None
        HostFutureReader(future).start_read(self._done)

    def _done(self, result: CopyResult, value: Any) -> None:
        self.value = DROPPED if result is CopyResult.DROPPED else value
