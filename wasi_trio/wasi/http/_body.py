"""The content of an HTTP message, in transfer from one trio task to another."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from functools import partial

import trio

from wasi_trio.component._account import FREE, Account, Charge
from wasi_trio.wasi.http._errors import HttpError

#: bytes that a body holds before its writer waits
CAPACITY = 512 << 10
#: the first charge of a body in bytes; the second is its whole capacity
_STEP = 16 << 10
#: maximum size of a write that is gathered with others into one buffer
_SMALL = 4096

Trailers = list[tuple[str, bytes]]
Piece = bytes | bytearray | memoryview


class BodyAborted(Exception):
    """The writer aborted the body before its end. ``error`` is the reason."""

    def __init__(self, error: HttpError) -> None:
        super().__init__(str(error))
        self.error = error


class BodyClosed(Exception):
    """The body has no reader, or has ended already. The write was discarded."""


class BodyEnd(Enum):
    """The end of a body for its reader."""

    #: the reader received all of it
    WHOLE = auto()
    #: the writer aborted it, and the reader received the written content
    CUT = auto()
    #: the reader closed it after the writer had ended it, without all of its content
    UNREAD = auto()
    #: the reader closed it before the writer had ended it, so the writer can stop
    LEFT = auto()


class Body:
    """A bounded pipe of bytes with one writer and one reader. It ends with optional trailers or with an error.

    Only the ``async`` methods wait. They are not checkpoints if they have nothing to wait for. Several tasks can wait
    on either end. A cancelled wait has no effect.

    ``subscribe_end`` accepts any number of callbacks. As soon as ``ended`` holds, each is called once, in the order of
    subscription.

    An end can use a callback instead of a task. The other end calls it synchronously: ``on_readable`` when
    ``wait_readable`` would return, ``on_permit`` when ``wait_permit`` would return. Each callback is cleared when it is
    called.

    An end of the host can act at once. If the body is empty, ``available`` calls ``on_underflow``, which may write.
    If it has no room, ``permit`` calls ``on_full``, which may take.

    A task that waits longer than ``read_timeout`` seconds for data calls ``on_read_timeout``, which ends the body.

    The body of a guest's message is charged to an account (``bill``). The charge grows in steps, which keeps writes
    cheap.

    ``complete`` means that all content of the announced length is written. Only trailers can follow, and a writer that
    aborts then ends the body well. ``awaits_guest``, if set, returns whether a guest must write more or end the body.

    ``wanted`` means that the reader has begun to read, or has taken the stream to read from.
    """

    __slots__ = (
        "_account",
        "_charge",
        "_chunks",
        "_counted",
        "_reader_wakeup",
        "_subscribers",
        "_writer_wakeup",
        "awaits_guest",
        "buffered",
        "capacity",
        "closed",
        "complete",
        "end",
        "error",
        "finished",
        "on_full",
        "on_permit",
        "on_read_timeout",
        "on_readable",
        "on_underflow",
        "read_timeout",
        "refusal",
        "trailers",
        "wanted",
    )

    def __init__(self, capacity: int = CAPACITY) -> None:
        #: bytes, a memoryview of bytes, or a bytearray that gathers small writes
        self._chunks: deque[Piece] = deque()
        self._reader_wakeup: trio.Event | None = None
        self._writer_wakeup: trio.Event | None = None
        self._subscribers: list[Callable[[BodyEnd], None]] | None = None
        self._account: Account | None = None
        self._charge: Charge | None = None
        #: the number of bytes that the body may hold before the next charge
        self._counted = sys.maxsize
        self.capacity = capacity
        #: bytes that are written and not taken
        self.buffered = 0
        #: the writer has ended the body, well or with ``error``
        self.finished = False
        #: the reader discards the rest of it
        self.closed = False
        self.complete = False
        self.wanted = False
        self.awaits_guest: Callable[[], bool] | None = None
        self.error: HttpError | None = None
        #: the end for the reader, once ``ended`` holds
        self.end: BodyEnd | None = None
        #: the reader's reason to close the body early, if it gave one
        self.refusal: HttpError | None = None
        #: the writer's trailers; they are valid once ``ended`` is true
        self.trailers: Trailers | None = None
        self.on_readable: Callable[[], None] | None = None
        self.on_permit: Callable[[], None] | None = None
        self.on_underflow: Callable[[], None] | None = None
        self.on_full: Callable[[], object] | None = None
        self.read_timeout = math.inf
        self.on_read_timeout: Callable[[], None] | None = None

    @classmethod
    def empty(cls) -> Body:
        """Return a body that has ended without content."""
        body = cls()
        body.finished = True
        body.end = BodyEnd.WHOLE
        return body

    @classmethod
    def of(cls, content: bytes, trailers: Trailers | None = None) -> Body:
        """Return a complete body."""
        body = cls()
        if content:
            body._chunks.append(content)
            body.buffered = len(content)
        else:
            body.end = BodyEnd.WHOLE
        body.trailers = trailers
        body.finished = True
        return body

    # ---- accounting --------------------------------------------------------------------------------------

    def bill(self, account: Account) -> None:
        """Charge the body to an account. Existing content is charged even beyond the account's limit."""
        if self._account is None and self.end is None:
            self._account = account
            self._counted = FREE
            if self.buffered > FREE:
                self._count()

    def _count(self) -> None:
        assert self._account is not None
        step = _STEP if self.buffered <= _STEP else max(self.capacity, self.buffered)
        self._charge = None
        self._charge = Charge(self._account, step, present=True)
        self._counted = step if step < self.capacity else sys.maxsize

    # ---- the writer's end --------------------------------------------------------------------------------

    def permit(self) -> int:
        """Return the number of bytes that ``try_write`` accepts at the moment."""
        room = self.capacity - self.buffered
        if room <= 0 and self.on_full is not None:
            self.on_full()
            room = self.capacity - self.buffered
        return room if room > 0 and not self.finished and not self.closed else 0

    def try_write(self, data: Piece) -> int:
        """Write as much of ``data`` as the body has room for, and return the number of bytes written.

        Raises BodyClosed if the body has no reader or has ended.
        """
        if self.finished or self.closed:
            raise BodyClosed
        size = len(data)
        room = self.capacity - self.buffered
        if size > room:
            if room <= 0:
                return 0
            data = memoryview(data)[:room]
            size = room
        if not size:
            return 0
        if size <= _SMALL:
            self._gather(data)
        else:
            self._chunks.append(bytes(data))
        self.buffered += size
        if self.buffered > self._counted:
            self._count()
        if self._reader_wakeup is not None or self.on_readable is not None:
            self._wake_reader()
        return size

    def write_pieces(self, pieces: list[Piece]) -> None:
        """Write pieces regardless of the room. Large pieces are not copied, so they must not change.

        Raises BodyClosed like ``try_write``.
        """
        if self.finished or self.closed:
            raise BodyClosed
        for piece in pieces:
            self.buffered += len(piece)
            if len(piece) <= _SMALL:
                self._gather(piece)
            else:
                self._chunks.append(piece)
        if self.buffered > self._counted:
            self._count()
        if pieces:
            self._wake_reader()

    def _gather(self, data: Piece) -> None:
        """Write a small piece."""
        chunks = self._chunks
        if not chunks:
            chunks.append(bytes(data))
        elif type(last := chunks[-1]) is bytearray:
            last += data
        else:
            chunks.append(bytearray(data))

    def move_from(self, other: Body) -> None:
        """Move all content of another body into this one without copying, regardless of the room.

        Raises BodyClosed like ``try_write``.
        """
        if self.finished or self.closed:
            raise BodyClosed
        size = other.buffered
        if size:
            self._chunks.extend(other._chunks)
            other._chunks.clear()
            other.buffered = 0
            self.buffered += size
            if self.buffered > self._counted:
                self._count()
            self._wake_reader()
            other._on_taken()

    async def wait_permit(self, least: int = 1) -> None:
        """Wait until the body has room for ``least`` bytes, or has ended or was closed.

        A wait continues until half of the capacity is free, so that small reads do not wake the writer each time.
        """
        if self.capacity - self.buffered >= least:
            return
        while not self.finished and not self.closed and self.buffered * 2 > self.capacity:
            if self._writer_wakeup is None:
                self._writer_wakeup = trio.Event()
            await self._writer_wakeup.wait()

    async def send_all(self, data: Piece) -> None:
        """Write all of ``data``, and wait for room as necessary. Raises BodyClosed like ``try_write``.

        After a cancellation, a part of the data may have been written.
        """
        sent = self.try_write(data)
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            await self.wait_permit()
            sent = self.try_write(rest)
            rest = rest[sent:]

    def finish(self, trailers: Trailers | None = None) -> None:
        """End the body well. Has no effect on a body that has ended."""
        if not self.finished:
            self.trailers = trailers
            self._end()

    def abort(self, error: HttpError) -> None:
        """Abort the body, unless it has ended. The reader receives the written content, then BodyAborted."""
        if not self.finished:
            self.error = None if self.complete else error
            self._end()

    def _end(self) -> None:
        self.finished = True
        if not self.buffered:
            self._notify_end(BodyEnd.WHOLE if self.error is None else BodyEnd.CUT)
        self._wake_reader()
        self._wake_writer()

    # ---- the reader's end --------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the reader has received everything or has closed the body."""
        return self.end is not None

    def subscribe_end(self, callback: Callable[[BodyEnd], None]) -> None:
        """Call ``callback`` when the body ends for its reader, or at once if it has. The callback must not raise."""
        if self.end is not None:
            callback(self.end)
        elif self._subscribers is None:
            self._subscribers = [callback]
        else:
            self._subscribers.append(callback)

    def subscribe_left(self, stop: Callable[[], object]) -> None:
        """Call ``stop`` if the reader closes the body before the writer has ended it."""
        self.subscribe_end(partial(_stop_if_left, stop))

    def available(self) -> int:
        """Return the number of bytes that can be taken at the moment."""
        if not self.buffered and self.on_underflow is not None:
            self.on_underflow()
        return self.buffered

    def take(self, max_bytes: int) -> bytes:
        """Take at most ``max_bytes`` available bytes. Return b"" if no bytes are available."""
        buffered = self.buffered
        if not buffered or max_bytes <= 0:
            return b""
        chunks = self._chunks
        if max_bytes >= buffered:
            if len(chunks) == 1:
                only = chunks.popleft()
                result = only if type(only) is bytes else bytes(only)
            else:
                result = b"".join(chunks)
                chunks.clear()
            self.buffered = 0
        else:
            result = self._take_some(max_bytes)
            self.buffered = buffered - len(result)
        self._on_taken()
        return result

    def take_view(self, max_bytes: int) -> bytes | memoryview:
        """Take bytes like ``take``, but possibly as a view of a written piece."""
        chunks = self._chunks
        size = min(max_bytes, self.buffered)
        if size > 0 and type(chunks[0]) is not bytearray and len(chunks[0]) >= size:
            view = memoryview(chunks.popleft())
            if len(view) > size:
                chunks.appendleft(view[size:])
            self.buffered -= size
            self._on_taken()
            return view[:size]
        return self.take(max_bytes)

    def take_pieces(self) -> list[Piece]:
        """Take all available pieces."""
        pieces = list(self._chunks)
        self._chunks.clear()
        if pieces:
            self.buffered = 0
            self._on_taken()
        return pieces

    def _on_taken(self) -> None:
        """Signal that content was taken."""
        if self.finished:
            if not self.buffered:
                self._notify_end(BodyEnd.WHOLE if self.error is None else BodyEnd.CUT)
        elif self.buffered * 2 <= self.capacity:
            self._wake_writer()

    def _take_some(self, max_bytes: int) -> bytes:
        """Take less than all available bytes."""
        chunks = self._chunks
        parts: list[Piece] = []
        wanted = max_bytes
        while wanted:
            chunk = chunks.popleft()
            size = len(chunk)
            if size > wanted:
                if type(chunk) is bytearray:
                    parts.append(chunk[:wanted])
                    del chunk[:wanted]
                    chunks.appendleft(chunk)
                else:
                    view = memoryview(chunk)
                    parts.append(view[:wanted])
                    chunks.appendleft(view[wanted:])
                break
            parts.append(chunk)
            wanted -= size
        return b"".join(parts)

    async def wait_readable(self) -> None:
        """Wait until the body has data or has ended."""
        self.wanted = True
        self.available()
        while not self.buffered and not self.finished and not self.closed:
            if self._reader_wakeup is None:
                self._reader_wakeup = trio.Event()
            if self.read_timeout == math.inf:
                await self._reader_wakeup.wait()
                continue
            with trio.move_on_after(self.read_timeout) as scope:
                await self._reader_wakeup.wait()
            if scope.cancelled_caught and self.on_read_timeout is not None:
                self.on_read_timeout()

    async def receive_some(self, max_bytes: int = CAPACITY) -> bytes:
        """Wait for data and take at most ``max_bytes``. Return b"" if the body has ended or the reader has closed it.

        Raises BodyAborted if the writer aborted the body. Cancellation loses no data.
        """
        return self.take(max_bytes) if await self._wait_for_some() else b""

    async def receive_pieces(self) -> list[Piece]:
        """Wait for data like ``receive_some``, and take all of it. Return an empty list at the end."""
        return self.take_pieces() if await self._wait_for_some() else []

    async def _wait_for_some(self) -> bool:
        await self.wait_readable()
        if self.buffered:
            return True
        self.check()
        return False

    def check(self) -> None:
        """Raise BodyAborted if the writer aborted the body and the reader has not closed it."""
        if self.error is not None and not self.closed:
            raise BodyAborted(self.error)

    def close(self, reason: HttpError | None = None) -> None:
        """Close the body as its reader, for an optional reason.

        The content is discarded, and the writer learns of it.
        """
        if self.closed:
            return
        self.refusal = reason
        self.closed = True
        if self.end is not None:
            return  # everything was taken, and nobody waits
        self._charge = None
        self._chunks.clear()
        self.buffered = 0
        self._notify_end(BodyEnd.UNREAD if self.finished else BodyEnd.LEFT)
        self._wake_reader()
        self._wake_writer()

    def _wake_reader(self) -> None:
        if self._reader_wakeup is not None:
            self._reader_wakeup.set()
            self._reader_wakeup = None
        if self.on_readable is not None:
            callback, self.on_readable = self.on_readable, None
            callback()

    def _wake_writer(self) -> None:
        if self._writer_wakeup is not None:
            self._writer_wakeup.set()
            self._writer_wakeup = None
        if self.on_permit is not None:
            callback, self.on_permit = self.on_permit, None
            callback()

    def _notify_end(self, end: BodyEnd) -> None:
        if self.end is not None:
            return
        self.end = end
        self._charge = None
        self._counted = sys.maxsize
        subscribers, self._subscribers = self._subscribers, None
        for callback in subscribers or ():
            callback(end)


def _stop_if_left(stop: Callable[[], object], end: BodyEnd) -> None:
    if end is BodyEnd.LEFT:
        stop()
