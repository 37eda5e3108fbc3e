"""Standard input and output as a ``stream<u8>`` with a future for its outcome.

Data moves during the guest's read or write. A task of the instance waits only if no data or no room is available.
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

#: maximum bytes taken from a source at once
CHUNK = 64 << 10


class Outcome:
    """The outcome for a guest's future. The first one counts. ``code_of`` converts a failure.

    ``on_settled`` is called when the outcome is set.
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
    """A StdinSource, or a similar source of other elements."""

    def take(self, limit: int) -> Any: ...

    def ready(self) -> bool: ...

    async def wait(self) -> None: ...


class InputSource:
    """The readable buffer of ``stream``, filled from a source.

    It is pending whenever no reader is, and takes nothing from ``source`` before a reader wants it. ``on_end`` is
    called once when no more reads will follow. ``fill`` writes available bytes to the guest's memory directly, and
    returns their number. One operation takes at most ``chunk`` elements.
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
        #: the cancel scope of the task that waits for data
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
        """Serve the waiting readers, or arrange to serve them later."""
        self._asked = True
        if self._supplying:  # called by a reader that was just served and reads again
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
        if not wanted and self._source.ready():  # a read of zero elements completes when any read would
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
            raise OSError("no data is available, and no task can wait for it")
        elif self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._wait, self._scope)

    async def _wait(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._source.wait()
        self._scope = None
        if not self.stream.dropped:
            self._supply()

    # ---- as a buffer -------------------------------------------------------------------------------------

    def read(self, count: int) -> Any:
        return self._data

    def copied(self) -> None:
        pass

    def done(self, result: CopyResult) -> None:
        if result is CopyResult.COMPLETED:
            self._supply()


class OutputDrain(Drain):
    """Moves data that a guest writes to a StdoutSink."""

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

    def put(self, data: Any) -> None:
        try:
            self._sink.put(data)
        except OSError as error:
            self._fail(error)

    def await_room(self) -> None:
        if self._outcome.settled:
            self.stop()
        elif self._nursery is None:
            self._fail(OSError("the stream has no room, and no task can wait for room"))
        else:
            self._nursery.start_soon(self._wait_for_room)

    async def _wait_for_room(self) -> None:
        await self._sink.wait()
        self.pull()

    def ended(self) -> None:
        """End the stream. The outcome is success once all data is flushed."""
        if self._flushed() or self._nursery is None:
            self._outcome.settle()
        else:
            self._nursery.start_soon(self._wait_until_flushed)

    def _flushed(self) -> bool:
        """Return whether all data is written or a write has failed."""
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
