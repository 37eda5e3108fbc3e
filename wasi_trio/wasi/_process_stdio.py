"""Standard streams inherited from the process, without a guest's I/O ever stopping the event loop.

A read happens in a thread, and what it brings is kept for whoever asks next, so that it is not lost with the
wait that asked for it. A write is made inline as long as the kernel promises to take it at once (that is what
``select.PIPE_BUF`` is about), since a line of log is then one system call and no thread; what does not fit
goes out from a thread, in order, while the guest sees the room in the buffer shrink.

Threads are trio's cached ones, which do not keep the process from ending. A stream may be used by one
trio.run after another, though not by two at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable

import outcome
import trio

from wasi_trio.wasi._stdio import ROOM, StdinSource, StdoutSink

_LINE_END = ord("\n")


class _Waiters:
    """Tasks that wait for a thread. ``lock`` guards what the thread and the tasks both look at."""

    __slots__ = ("_lot", "_token", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._lot = trio.lowlevel.ParkingLot()
        self._token: trio.lowlevel.TrioToken | None = None

    async def wait_while(self, condition: Callable[[], bool]) -> None:
        """Return once woken, at once if ``condition`` (called with the lock held) does not hold."""
        with self.lock:
            holds = condition()
            self._token = trio.lowlevel.current_trio_token()
        if holds:
            await self._lot.park()

    def wake(self) -> None:
        """Called in the thread, after the change."""
        with self.lock:
            token = self._token
        if token is not None:
            with contextlib.suppress(trio.RunFinishedError):  # whoever waited is gone; the change is kept
                token.run_sync_soon(self._lot.unpark_all)


class ProcessStdin(StdinSource):
    """Standard input that is a file descriptor of the process. It is read only once a guest wants input."""

    __slots__ = ("_data", "_ended", "_error", "_fd", "_reading", "_waiters", "is_terminal")

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self.is_terminal = os.isatty(fd)
        self._data = b""
        self._ended = False
        self._error: OSError | None = None
        self._reading = False
        self._waiters = _Waiters()

    def take(self, limit: int) -> bytes | None:
        if not self.ready():
            return b""
        with self._waiters.lock:
            if self._data:
                data, self._data = self._data[:limit], self._data[limit:]
                return data
        if self._error is not None:
            raise self._error.with_traceback(None)
        return None

    def ready(self) -> bool:
        """Also starts a read where nothing is at hand, so that polling alone makes progress."""
        with self._waiters.lock:
            if not self._nothing_yet():
                return True
            if self._reading:
                return False
            self._reading = True
        trio.lowlevel.start_thread_soon(self._read, self._arrived)
        return False

    async def wait(self) -> None:
        if not self.ready():
            await self._waiters.wait_while(self._nothing_yet)

    def _nothing_yet(self) -> bool:
        return not (self._data or self._ended or self._error)

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._fd, ROOM)
            except BlockingIOError:  # someone made the descriptor non-blocking
                select.select([self._fd], [], [])

    def _arrived(self, result: outcome.Outcome[bytes]) -> None:
        with self._waiters.lock:
            self._reading = False
            try:
                self._data = result.unwrap()
                self._ended = not self._data
            except OSError as error:
                self._error = error
        self._waiters.wake()


class ProcessOutput(StdoutSink):
    """Standard output or error that is a file descriptor of the process, shared by any number of guests.

    Where it cannot be written, a disk that is full for instance, guests find it failed from then on. With ``log`` it
    is a log, which nobody's work depends on: what cannot be written is lost, each further write tries again, and
    ``log`` is told of the beginning and the end of that.
    """

    __slots__ = ("_error", "_fd", "_log", "_lost", "_midline", "_queue", "_queued", "_waiters", "is_terminal")

    def __init__(self, fd: int, log: logging.Logger | None = None) -> None:
        self._fd = fd
        self._log = log
        #: bytes that were lost since it could last be written, with ``log``
        self._lost = 0
        #: what was written last is no whole line
        self._midline = False
        self.is_terminal = os.isatty(fd)
        self._error: OSError | None = None
        self._queue: list[bytes] = []
        #: bytes in the queue and in the thread's hands; a thread is at work while there are any
        self._queued = 0
        self._waiters = _Waiters()

    def permit(self) -> int:
        self._check()
        return max(0, ROOM - self._queued)

    def put(self, data: bytes) -> None:
        self._check()
        if not self._queued:
            data = self._write_at_once(data)
            if not data:
                return
        with self._waiters.lock:
            idle = not self._queued
            self._queue.append(data)
            self._queued += len(data)
        if idle:
            trio.lowlevel.start_thread_soon(self._drain_queue, outcome.Outcome.unwrap)

    def flushed(self) -> bool:
        self._check()
        return not self._queued

    async def wait(self) -> None:
        await self._waiters.wait_while(lambda: self._queued > 0)

    async def drain(self) -> None:
        """Return once all is written, or cannot be."""
        while self._queued:
            await self.wait()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)  # or each raise would add to it

    def _write_at_once(self, data: bytes) -> bytes:
        """Write what the kernel takes without waiting; gives what is left."""
        try:
            while data and select.select([], [self._fd], [], 0)[1]:
                data = data[self._try(data[: select.PIPE_BUF]) :]
        except BlockingIOError:  # a non-blocking descriptor with less room than that
            return data
        except OSError as error:
            if self._gives_up(error, len(data)):
                raise
            return b""
        return data

    def _drain_queue(self) -> None:
        while True:
            with self._waiters.lock:
                data = b"".join(self._queue)
                self._queue.clear()
            size = len(data)
            try:
                while data:
                    data = data[self._write(data) :]
            except OSError as error:
                if self._gives_up(error, len(data)):
                    with self._waiters.lock:
                        self._queue.clear()
                        self._queued = 0
                    self._waiters.wake()
                    return
            with self._waiters.lock:
                self._queued -= size
                done = not self._queued
            self._waiters.wake()
            if done:
                return

    def _write(self, data: bytes) -> int:
        while True:
            try:
                return self._try(data)
            except BlockingIOError:
                select.select([], [self._fd], [])

    def _try(self, data: bytes) -> int:
        if self._lost and self._midline:
            os.write(self._fd, b"\n")  # of a line only the first part was written
            self._midline = False
        count = os.write(self._fd, data)
        if count:
            self._midline = data[count - 1] != _LINE_END
            if self._lost:
                lost, self._lost = self._lost, 0
                if self._log is not None:
                    self._log.warning("%s can be written again: %d bytes of guests' are lost", self._name(), lost)
        return count

    def _gives_up(self, error: OSError, lost: int) -> bool:
        """Whether a failed write is the end of the output. Else so many bytes are lost, and that is told once."""
        if self._log is None:
            self._error = error
            return True
        if not self._lost:
            self._log.error(
                "%s cannot be written, and what guests write there is lost until it can: %s",
                self._name(),
                error.strerror,
            )
        self._lost += lost
        return False

    def _name(self) -> str:
        return {1: "standard output", 2: "standard error"}.get(self._fd, f"descriptor {self._fd}")
