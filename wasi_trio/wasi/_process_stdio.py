"""Standard streams inherited from the process. A guest's I/O never blocks the event loop.

A thread reads, and its result stays for the next reader, so that a cancelled wait loses no data. A write happens inline
while the kernel guarantees to accept it at once (``select.PIPE_BUF``): a log line then takes one system call and no
thread. A thread writes the rest, in order, while the room in the buffer shrinks.

The threads are trio's cached threads, which do not keep the process alive. One stream can serve several consecutive
trio.run calls, but not concurrent ones.
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
    """Tasks that wait for a thread. ``lock`` guards the state that the thread and the tasks share."""

    __slots__ = ("_lot", "_token", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._lot = trio.lowlevel.ParkingLot()
        self._token: trio.lowlevel.TrioToken | None = None

    async def wait_while(self, condition: Callable[[], bool]) -> None:
        """Wait for a wake-up if ``condition`` holds. The condition is called with the lock held."""
        with self.lock:
            holds = condition()
            self._token = trio.lowlevel.current_trio_token()
        if holds:
            await self._lot.park()

    def wake(self) -> None:
        """Wake the tasks, after a change. Called in the thread."""
        with self.lock:
            token = self._token
        if token is not None:
            with contextlib.suppress(trio.RunFinishedError):  # no task waits; the change is kept
                token.run_sync_soon(self._lot.unpark_all)


class ProcessStdin(StdinSource):
    """Standard input from a file descriptor of the process. The first read happens when a guest requests input."""

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
        """Return whether input is available, and start a read if it is not, so that polling alone makes progress."""
        with self._waiters.lock:
            if not self._is_pending():
                return True
            if self._reading:
                return False
            self._reading = True
        trio.lowlevel.start_thread_soon(self._read, self._on_read)
        return False

    async def wait(self) -> None:
        if not self.ready():
            await self._waiters.wait_while(self._is_pending)

    def _is_pending(self) -> bool:
        return not (self._data or self._ended or self._error)

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._fd, ROOM)
            except BlockingIOError:  # another process may make the descriptor non-blocking
                select.select([self._fd], [], [])

    def _on_read(self, result: outcome.Outcome[bytes]) -> None:
        with self._waiters.lock:
            self._reading = False
            try:
                self._data = result.unwrap()
                self._ended = not self._data
            except OSError as error:
                self._error = error
        self._waiters.wake()


class ProcessOutput(StdoutSink):
    """Standard output or error to a file descriptor of the process, shared by any number of guests.

    After a failed write, such as to a full disk, guests find the stream failed. With ``log`` the output is a log, which
    no guest depends on. Data of failed writes is lost, each further write is tried, and ``log`` reports the start and
    the end of the failure.
    """

    __slots__ = ("_error", "_fd", "_log", "_lost", "_mid_line", "_queue", "_queued", "_waiters", "is_terminal")

    def __init__(self, fd: int, log: logging.Logger | None = None) -> None:
        self._fd = fd
        self._log = log
        #: bytes lost since the last successful write, with ``log``
        self._lost = 0
        #: whether the last write ended within a line
        self._mid_line = False
        self.is_terminal = os.isatty(fd)
        self._error: OSError | None = None
        self._queue: list[bytes] = []
        #: bytes in the queue and in the thread; a thread runs while this is positive
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
        """Wait until all data is written or a write has failed."""
        while self._queued:
            await self.wait()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)  # otherwise each raise would extend the traceback

    def _write_at_once(self, data: bytes) -> bytes:
        """Write as much as the kernel accepts without blocking, and return the rest."""
        try:
            while data and select.select([], [self._fd], [], 0)[1]:
                data = data[self._write_some(data[: select.PIPE_BUF]) :]
        except BlockingIOError:  # a non-blocking descriptor with less room than PIPE_BUF
            return data
        except OSError as error:
            if self._record_failure(error, len(data)):
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
                if self._record_failure(error, len(data)):
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
                return self._write_some(data)
            except BlockingIOError:
                select.select([], [self._fd], [])

    def _write_some(self, data: bytes) -> int:
        if self._lost and self._mid_line:
            os.write(self._fd, b"\n")  # only the first part of the line was written
            self._mid_line = False
        count = os.write(self._fd, data)
        if count:
            self._mid_line = data[count - 1] != _LINE_END
            if self._lost:
                lost, self._lost = self._lost, 0
                if self._log is not None:
                    self._log.warning("Writing to %s works again; %d bytes from guests were lost", self._name(), lost)
        return count

    def _record_failure(self, error: OSError, lost: int) -> bool:
        """Return whether a failed write ends the output. Otherwise count the lost bytes, and log the first failure."""
        if self._log is None:
            self._error = error
            return True
        if not self._lost:
            self._log.error(
                "Cannot write to %s; output of guests is lost until it recovers: %s",
                self._name(),
                error.strerror,
            )
        self._lost += lost
        return False

    def _name(self) -> str:
        return {1: "standard output", 2: "standard error"}.get(self._fd, f"descriptor {self._fd}")
