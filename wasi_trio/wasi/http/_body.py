"""The content of an HTTP message on its way from one trio task to another."""

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

#: bytes a body holds before its writer has to wait
CAPACITY = 512 << 10
#: bytes that a body is counted to hold at first, before it is counted with its whole capacity
_STEP = 16 << 10
#: writes up to this size are gathered in one buffer instead of being kept apart
_SMALL = 4096

Trailers = list[tuple[str, bytes]]
Piece = bytes | bytearray | memoryview


class BodyAborted(Exception):
    """The writer gave the body up before its end; ``error`` says why."""

    def __init__(self, error: HttpError) -> None:
        super().__init__(str(error))
        self.error = error


class BodyClosed(Exception):
    """Nobody reads the body any more, or it was already ended: what is written now goes nowhere."""


class BodyEnd(Enum):
    """How a body ended for its reader."""

    #: the reader had all of it
    WHOLE = auto()
    #: the writer cut it short, and the reader had what there was
    CUT = auto()
    #: the reader closed it after the writer had ended it, and did not have all
    UNREAD = auto()
    #: the reader closed it before the writer had ended it: a writer that waits for something else can stop
    LEFT = auto()


class Body:
    """A bounded pipe of bytes with one writer and one reader, which ends with optional trailers or an error.

    Nothing here waits except the ``async`` methods, and those not even once when they need not: they are no
    checkpoints. Several tasks may wait on either end. A cancelled wait has had no effect.

    Any number of callbacks may be given to ``subscribe_end``. Each is called once, in the order in which they were
    given, as soon as ``ended`` holds.

    Instead of a task, an end may leave a callback, which is called synchronously by whoever has the other end:
    ``on_readable`` where ``wait_readable`` would return, ``on_permit`` where ``wait_permit`` would. Each is forgotten
    when it is called.

    Where the other end is the host's it may do its part at once: ``on_underflow`` is called where ``available`` finds
    nothing, and may write, and ``on_full`` where ``permit`` finds no room, and may take.

    A task that waits longer than ``read_timeout`` seconds for something to read calls ``on_read_timeout``, which ends
    the body.

    A body that belongs to a guest's message is counted in an account (``bill``): in steps, so that what is written does
    not cost much more.

    ``complete`` says that all the content that was announced is written: only trailers may follow, and a writer that
    gives up then has ended the body well. ``awaits_guest``, if set, tells whether it is a guest from whom there must
    come more of it, or its end.
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
    )

    def __init__(self, capacity: int = CAPACITY) -> None:
        #: bytes, a memoryview of bytes, or a bytearray that gathers small writes
        self._chunks: deque[Piece] = deque()
        self._reader_wakeup: trio.Event | None = None
        self._writer_wakeup: trio.Event | None = None
        self._subscribers: list[Callable[[BodyEnd], None]] | None = None
        self._account: Account | None = None
        self._charge: Charge | None = None
        #: how many bytes it may hold before they have to be counted
        self._counted = sys.maxsize
        self.capacity = capacity
        #: bytes written and not yet taken
        self.buffered = 0
        #: the writer has ended the body, well or with ``error``
        self.finished = False
        #: the reader wants no more of it
        self.closed = False
        self.complete = False
        self.awaits_guest: Callable[[], bool] | None = None
        self.error: HttpError | None = None
        #: how it ended for the reader, once ``ended`` holds
        self.end: BodyEnd | None = None
        #: why the reader closed the body early, if it said so
        self.refusal: HttpError | None = None
        #: the trailers the writer gave; they are the message's once ``ended`` is true
        self.trailers: Trailers | None = None
        self.on_readable: Callable[[], None] | None = None
        self.on_permit: Callable[[], None] | None = None
        self.on_underflow: Callable[[], None] | None = None
        self.on_full: Callable[[], object] | None = None
        self.read_timeout = math.inf
        self.on_read_timeout: Callable[[], None] | None = None

    @classmethod
    def empty(cls) -> Body:
        """A body that has ended without content."""
        body = cls()
        body.finished = True
        body.end = BodyEnd.WHOLE
        return body

    @classmethod
    def of(cls, content: bytes, trailers: Trailers | None = None) -> Body:
        """A whole body."""
        body = cls()
        if content:
            body._chunks.append(content)
            body.buffered = len(content)
        else:
            body.end = BodyEnd.WHOLE
        body.trailers = trailers
        body.finished = True
        return body

    # ---- what it counts ----------------------------------------------------------------------------------

    def bill(self, account: Account) -> None:
        """Count what the body holds, from here on, in an account. It is there already, so that is never refused."""
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
        """How many bytes ``try_write`` would accept now."""
        room = self.capacity - self.buffered
        if room <= 0 and self.on_full is not None:
            self.on_full()
            room = self.capacity - self.buffered
        return room if room > 0 and not self.finished and not self.closed else 0

    def try_write(self, data: Piece) -> int:
        """Hand over as much of ``data`` as there is room for, and return how much that was.

        Raises BodyClosed when nobody reads the body, or when it was already ended.
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
        """Hand over pieces, however little room there is; large ones are not copied, so they must not change.

        Raises BodyClosed as ``try_write`` does.
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
        """Write a little."""
        chunks = self._chunks
        if not chunks:
            chunks.append(bytes(data))
        elif type(last := chunks[-1]) is bytearray:
            last += data
        else:
            chunks.append(bytearray(data))

    def move_from(self, other: Body) -> None:
        """Take over, without copying it, all that another body holds, however little room there is.

        Raises BodyClosed as ``try_write`` does.
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
            other._taken()

    async def wait_permit(self, least: int = 1) -> None:
        """Wait while the body has room for fewer than ``least`` bytes; returns too when it was ended or closed.

        Once there was too little room there is until half of what it holds was taken, so that a writer is not woken
        for every few bytes.
        """
        if self.capacity - self.buffered >= least:
            return
        while not self.finished and not self.closed and self.buffered * 2 > self.capacity:
            if self._writer_wakeup is None:
                self._writer_wakeup = trio.Event()
            await self._writer_wakeup.wait()

    async def send_all(self, data: Piece) -> None:
        """Hand over all of ``data``, waiting for room as often as it takes; raises BodyClosed as ``try_write`` does.

        When this is cancelled some of the data may have been handed over.
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
        """End the body well. Does nothing to a body that has ended."""
        if not self.finished:
            self.trailers = trailers
            self._end()

    def abort(self, error: HttpError) -> None:
        """End the body short: the reader gets what was written, then BodyAborted. Does nothing once it has ended."""
        if not self.finished:
            self.error = None if self.complete else error
            self._end()

    def _end(self) -> None:
        self.finished = True
        if not self.buffered:
            self._tell_end(BodyEnd.WHOLE if self.error is None else BodyEnd.CUT)
        self._wake_reader()
        self._wake_writer()

    # ---- the reader's end --------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Nothing more can be read: the reader has had everything, or closed the body."""
        return self.end is not None

    def subscribe_end(self, callback: Callable[[BodyEnd], None]) -> None:
        """Have ``callback`` called when the body ends for its reader; at once where it has. It must raise nothing."""
        if self.end is not None:
            callback(self.end)
        elif self._subscribers is None:
            self._subscribers = [callback]
        else:
            self._subscribers.append(callback)

    def subscribe_left(self, stop: Callable[[], object]) -> None:
        """Have ``stop`` called if the reader closes the body before the writer has ended it."""
        self.subscribe_end(partial(_if_left, stop))

    def available(self) -> int:
        """How many bytes can be taken now."""
        if not self.buffered and self.on_underflow is not None:
            self.on_underflow()
        return self.buffered

    def take(self, max_bytes: int) -> bytes:
        """Up to so many of the bytes that are there, in one piece; b"" where there are none."""
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
        self._taken()
        return result

    def take_view(self, max_bytes: int) -> bytes | memoryview:
        """As ``take``, but perhaps a view of a part of what was written."""
        chunks = self._chunks
        if chunks and type(chunks[0]) is not bytearray and len(chunks[0]) >= max_bytes > 0:
            view = memoryview(chunks.popleft())
            if len(view) > max_bytes:
                chunks.appendleft(view[max_bytes:])
            self.buffered -= max_bytes
            self._taken()
            return view[:max_bytes]
        return self.take(max_bytes)

    def take_pieces(self) -> list[Piece]:
        """All that is there."""
        pieces = list(self._chunks)
        self._chunks.clear()
        if pieces:
            self.buffered = 0
            self._taken()
        return pieces

    def _taken(self) -> None:
        """Some of what was there is not any more."""
        if self.finished:
            if not self.buffered:
                self._tell_end(BodyEnd.WHOLE if self.error is None else BodyEnd.CUT)
        elif self.buffered * 2 <= self.capacity:
            self._wake_writer()

    def _take_some(self, max_bytes: int) -> bytes:
        """As ``take``, where there is more than is wanted."""
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
        """Wait until there is something to take or the body has ended."""
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
        """Up to so many bytes, waiting for the first; b"" at the body's end, or once the reader closed it.

        Raises BodyAborted where the writer ended the body short. Nothing is lost when this is cancelled.
        """
        return self.take(max_bytes) if await self._wait_for_some() else b""

    async def receive_pieces(self) -> list[Piece]:
        """All that is there, as ``receive_some`` waits for it; nothing at the end."""
        return self.take_pieces() if await self._wait_for_some() else []

    async def _wait_for_some(self) -> bool:
        await self.wait_readable()
        if self.buffered:
            return True
        self.check()
        return False

    def check(self) -> None:
        """Raises BodyAborted where the writer ended the body short, unless its reader has closed it."""
        if self.error is not None and not self.closed:
            raise BodyAborted(self.error)

    def close(self, reason: HttpError | None = None) -> None:
        """Want no more of the body, for this reason: what it holds is dropped, and its writer finds it closed."""
        if self.closed:
            return
        self.refusal = reason
        self.closed = True
        self._charge = None
        self._chunks.clear()
        self.buffered = 0
        if self.end is None:
            self._tell_end(BodyEnd.UNREAD if self.finished else BodyEnd.LEFT)
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

    def _tell_end(self, end: BodyEnd) -> None:
        if self.end is not None:
            return
        self.end = end
        self._charge = None
        self._counted = sys.maxsize
        subscribers, self._subscribers = self._subscribers, None
        for callback in subscribers or ():
            callback(end)


def _if_left(stop: Callable[[], object], end: BodyEnd) -> None:
    if end is BodyEnd.LEFT:
        stop()
