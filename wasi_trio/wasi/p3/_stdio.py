"""Standard input and output as a ``stream<u8>``, and the future that says how that went.

Bytes move in the moment the guest reads or writes. Only where there are none, or no room, a task of the instance waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import trio

from wasi_trio.component._types import U8, Enum, Result, ValType
from wasi_trio.component._values import Err, Ok
from wasi_trio.component.concurrency._copying import CopyResult, GuestEnd
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.runtime._streams import FutureWriter
from wasi_trio.wasi._drain import Drain
from wasi_trio.wasi._stdio import StdoutSink

ERROR_CODE = Enum(("io", "illegal-byte-sequence", "pipe"))
RESULT = Result(None, ERROR_CODE)

#: the most bytes taken from a source at once
CHUNK = 64 << 10


class Outcome:
    """The future that a guest gets; the first outcome counts. ``code_of`` names a failure.

    ``on_settled`` is called when there is an outcome.
    """

    __slots__ = ("_code_of", "_on_settled", "_writer", "future")

    def __init__(
        self,
        type_: Result = RESULT,
        code_of: Callable[[OSError], Any] | None = None,
        on_settled: Callable[[], None] | None = None,
    ) -> None:
        self.future = SharedFuture(type_)
        self._writer: FutureWriter[Ok[None] | Err[Any]] | None = FutureWriter(self.future)
        self._code_of = code_of or _error_code
        self._on_settled = on_settled

    @property
    def settled(self) -> bool:
        return self._writer is None

    def settle(self, error: OSError | None = None) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.set(Ok() if error is None else Err(self._code_of(error)))
            if self._on_settled is not None:
                self._on_settled()


def _error_code(error: OSError) -> str:
    return "pipe" if isinstance(error, BrokenPipeError) else "io"


class Source(Protocol):
    """A StdinSource, or one like it that has elements of another type."""

    def take(self, limit: int) -> Any: ...

    def ready(self) -> bool: ...

    async def wait(self) -> None: ...


class InputSource:
    """Gives the guest that reads ``stream`` what a source has: the source of the stream's copies (a ``Party``).

    It is pending whenever no reader is. Nothing is taken from the source that no reader wants. ``on_end`` is called
    once when nobody will read any more. ``fill`` puts bytes in the guest's memory itself, if there are any, and says
    how many; at most ``chunk`` elements are taken at once.
    """

    __slots__ = (
        "_asked",
        "_chunk",
        "_data",
        "_fill",
        "_nursery",
        "_on_end",
        "_outcome",
        "_scope",
        "_source",
        "_supplying",
        "future",
        "length",
        "progress",
        "stream",
    )

    instance: Final = None

    def __init__(
        self,
        source: Source,
        nursery: trio.Nursery | None,
        outcome: Outcome | None = None,
        element: ValType = U8,
        on_end: Callable[[], None] | None = None,
        chunk: int = CHUNK,
        fill: Callable[[memoryview], int] | None = None,
    ) -> None:
        self.stream = SharedStream(element)
        self._outcome = outcome or Outcome()
        self._on_end = on_end
        self._chunk = chunk
        self._fill = fill
        self.future = self._outcome.future
        self._source = source
        self._nursery = nursery
        #: of the task that waits for bytes
        self._scope: trio.CancelScope | None = None
        self._data: Any = b""
        self._asked = self._supplying = False
        self.length = self.progress = 0
        self.stream.pending = self
        self.stream.watchers.append(self._dropped)

    def _dropped(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
        self._outcome.settle()
        if self._on_end is not None:
            self._on_end()

    def _supply(self) -> None:
        """Give each reader that waits what there is, or see to it that it gets it later."""
        self._asked = True
        if self._supplying:  # by a reader that has just been served, and reads again
            return
        self._supplying = True
        while self._asked:
            self._asked = False
            try:
                self._serve()
            except OSError as error:
                self._outcome.settle(error)
                self.stream.drop()
        self._supplying = False

    def _serve(self) -> None:
        sink = self.stream.pending
        if sink is None or sink is self:
            self.stream.pending = self
            return
        wanted = sink.length - sink.progress
        if not wanted and self._source.ready():  # a read of none is done when one of some would be
            self.stream.pending = self
            sink.done(CopyResult.COMPLETED)
            return
        if wanted and self._fill is not None and isinstance(sink, GuestEnd):
            window = sink.window(min(wanted, self._chunk))
            count = 0 if window is None else self._fill(window)
            if count:
                self.stream.pending = self
                sink.progress += count
                sink.done(CopyResult.COMPLETED)
                return
        data = self._source.take(min(wanted, self._chunk)) if wanted else b""
        if data is None:
            self.stream.drop()
        elif data:
            self._data = data
            self.length = self.progress + len(data)
            self.stream.pending = self
            self.stream.read(sink)
        elif self._nursery is None:
            raise OSError("there is nothing to read, and no task to wait for it")
        elif self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._wait, self._scope)

    async def _wait(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._source.wait()
        self._scope = None
        if not self.stream.dropped:
            self._supply()

    # ---- as a party --------------------------------------------------------------------------------------

    def give(self, count: int) -> Any:
        return self._data

    def copied(self) -> None:
        pass

    def done(self, result: CopyResult) -> None:
        if result is CopyResult.COMPLETED:
            self._supply()


class OutputDrain(Drain):
    """Writes what a guest writes to a stream to a StdoutSink."""

    __slots__ = ("_nursery", "_outcome", "_sink", "future")

    def __init__(
        self,
        stream: SharedStream,
        sink: StdoutSink,
        nursery: trio.Nursery | None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(stream)
        self._outcome = outcome or Outcome()
        self.future = self._outcome.future
        self._sink = sink
        self.views = sink.copies
        self._nursery = nursery
        self.begin()

    def _fail(self, error: OSError) -> None:
        self._outcome.settle(error)
        self.stop()

    def room(self) -> int:
        try:
            return self._sink.permit()
        except OSError as error:
            self._outcome.settle(error)
            return 0

    def put(self, data: bytes) -> None:
        try:
            self._sink.put(data)
        except OSError as error:
            self._fail(error)

    def await_room(self) -> None:
        if self._outcome.settled:
            self.stop()
        elif self._nursery is None:
            self._fail(OSError("there is no room, and no task to wait for it"))
        else:
            self._nursery.start_soon(self._wait_for_room)

    async def _wait_for_room(self) -> None:
        await self._sink.wait()
        self.pull()

    def ended(self) -> None:
        """All was put; it counts as written once it is flushed."""
        if self._flushed() or self._nursery is None:
            self._outcome.settle()
        else:
            self._nursery.start_soon(self._wait_until_flushed)

    def _flushed(self) -> bool:
        """Whether there is nothing left to write, or that has failed."""
        if not self._outcome.settled:
            try:
                return self._sink.flushed()
            except OSError as error:
                self._outcome.settle(error)
        return True

    async def _wait_until_flushed(self) -> None:
        while not self._flushed():
            await self._sink.wait()
        self._outcome.settle()
