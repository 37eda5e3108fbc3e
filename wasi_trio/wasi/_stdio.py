"""Standard input and output of guests, for all versions of WASI.

A source or a sink fails with OSError, and continues to raise it. BrokenPipeError means that the other end is closed:
the guest sees a closed stream, not a failed one. ``wait`` has the contract of ``wait`` in :mod:`wasi_trio.wasi.p2._io`.
It returns when the results of other methods may have changed, supports several waiting tasks, and loses nothing if it
is cancelled.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod

import trio

from wasi_trio._texts import shown_output

#: the size of an output buffer in bytes; a guest waits when it is full
ROOM = 64 * 1024


class StdinSource(ABC):
    """The source of a guest's standard input. All streams on it share one position."""

    __slots__ = ()

    is_terminal: bool = False

    @abstractmethod
    def take(self, limit: int) -> bytes | None:
        """Return at most ``limit`` available bytes, empty if none are available, or None at the end."""

    @abstractmethod
    def ready(self) -> bool:
        """Return whether ``take`` would return bytes or the end, or raise an error."""

    @abstractmethod
    async def wait(self) -> None:
        """Wait until ``ready`` may have become true."""


class StdoutSink(ABC):
    """The destination of a guest's standard output or standard error.

    ``copies`` means that ``put`` copies its argument, so that the argument may be any buffer.
    """

    __slots__ = ()

    is_terminal: bool = False
    copies: bool = False

    @abstractmethod
    def permit(self) -> int:
        """Return the number of bytes that the sink has room for."""

    @abstractmethod
    def put(self, data: bytes) -> None:
        """Accept all of ``data`` without blocking.

        ``data`` may exceed the result of ``permit``, because several writers may have received the same permit.
        """

    def flushed(self) -> bool:
        """Return whether all data has been written."""
        return True

    @abstractmethod
    async def wait(self) -> None:
        """Wait until the result of ``permit`` or ``flushed`` may have changed."""

    def finish(self) -> None:  # noqa: B027, a hook that most leave empty
        """End the guest's output: write the incomplete line that was held back."""


class BytesSource(StdinSource):
    """Standard input with fixed content."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes = b"") -> None:
        self._data = data
        self._position = 0

    def take(self, limit: int) -> bytes | None:
        data = self._data[self._position : self._position + limit]
        if not data and self._position >= len(self._data):
            return None
        self._position += len(data)
        return data

    def ready(self) -> bool:
        return True

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


class NullSink(StdoutSink):
    """A sink that discards all data."""

    __slots__ = ()

    def permit(self) -> int:
        return ROOM

    def put(self, data: bytes) -> None:
        pass

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


class CapturedOutput(StdoutSink):
    """A sink that captures at most ``limit`` bytes. After that the guest finds the stream closed."""

    __slots__ = ("_chunks", "_left")

    def __init__(self, limit: int = 1 << 20) -> None:
        self._chunks: list[bytes] = []
        self._left = limit

    def getvalue(self) -> bytes:
        """Return all data written so far."""
        self._chunks = [b"".join(self._chunks)]
        return self._chunks[0]

    def permit(self) -> int:
        if self._left <= 0:
            raise BrokenPipeError("the capture is full")
        return min(self._left, ROOM)

    def put(self, data: bytes) -> None:
        kept = data[: self._left]
        self._left -= len(kept)
        self._chunks.append(kept)

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


class CopyingSink(StdoutSink):
    """Writes to another sink, and keeps a copy of its own input. The other sink's limit bounds the copy."""

    __slots__ = ("_kept", "_target", "is_terminal")

    def __init__(self, target: StdoutSink) -> None:
        self._target = target
        self._kept: list[bytes] = []
        self.is_terminal = target.is_terminal

    def getvalue(self) -> bytes:
        """Return all bytes written so far."""
        self._kept = [b"".join(self._kept)]
        return self._kept[0]

    def permit(self) -> int:
        return self._target.permit()

    def put(self, data: bytes) -> None:
        copy = bytes(data)
        self._target.put(copy)
        self._kept.append(copy)

    def flushed(self) -> bool:
        return self._target.flushed()

    async def wait(self) -> None:
        await self._target.wait()

    def finish(self) -> None:
        self._target.finish()


class LinePrefixSink(StdoutSink):
    """A sink that writes whole lines to another sink, each with ``prefix``.

    So the lines of guests that share an output do not mix. An incomplete line waits for its end or for ``finish``. A
    line longer than ``LINE_LIMIT`` bytes is written in pieces.
    """

    __slots__ = ("_part", "_prefix", "_target")

    #: maximum bytes of a line and of one write, because the prefixes of many short lines enlarge a write
    LINE_LIMIT = 4096

    def __init__(self, target: StdoutSink, prefix: str) -> None:
        self._target = target
        self._prefix = prefix.encode()
        self._part = b""

    def permit(self) -> int:
        return min(self._target.permit(), self.LINE_LIMIT)

    def put(self, data: bytes) -> None:
        prefix = self._prefix
        *lines, rest = (self._part + data).split(b"\n")
        while len(rest) >= self.LINE_LIMIT:
            lines.append(rest[: self.LINE_LIMIT])
            rest = rest[self.LINE_LIMIT :]
        self._part = rest
        if lines:
            self._target.put(b"".join([prefix + line + b"\n" for line in lines]))

    def flushed(self) -> bool:
        return self._target.flushed()

    async def wait(self) -> None:
        await self._target.wait()

    def finish(self) -> None:
        if self._part:
            self.put(b"\n")


class TailSink(StdoutSink):
    """A sink that writes to another sink and remembers the last ``KEPT`` bytes."""

    __slots__ = ("_tail", "_target", "is_terminal")

    KEPT = 4096

    def __init__(self, target: StdoutSink) -> None:
        self._target = target
        self._tail = b""
        self.is_terminal = target.is_terminal

    def tail(self) -> str:
        return self._tail.decode("utf-8", "backslashreplace")

    def permit(self) -> int:
        return self._target.permit()

    def put(self, data: bytes) -> None:
        self._tail = (self._tail + bytes(data[-self.KEPT :]))[-self.KEPT :]
        self._target.put(data)

    def flushed(self) -> bool:
        return self._target.flushed()

    async def wait(self) -> None:
        await self._target.wait()

    def finish(self) -> None:
        self._target.finish()


class TerminalSink(StdoutSink):
    """A sink that escapes control characters for another sink, which is a terminal.

    The text is decoded as UTF-8. Line ends and tabs remain.
    """

    __slots__ = ("_decoder", "_target")

    #: maximum bytes of one write, because escaping can make four bytes of one
    LIMIT = ROOM // 4

    def __init__(self, target: StdoutSink) -> None:
        self._target = target
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def permit(self) -> int:
        return min(self._target.permit(), self.LIMIT)

    def put(self, data: bytes) -> None:
        self._write(self._decoder.decode(data))

    def flushed(self) -> bool:
        return self._target.flushed()

    async def wait(self) -> None:
        await self._target.wait()

    def finish(self) -> None:
        self._write(self._decoder.decode(b"", final=True))
        self._target.finish()

    def _write(self, text: str) -> None:
        if text:
            self._target.put(shown_output(text).encode())
