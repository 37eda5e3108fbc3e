"""A guest's standard input and output, whichever version of WASI it sees them through.

A source or a sink fails by raising OSError, and goes on raising it; BrokenPipeError means that the other end
is gone, which a guest sees as a closed stream rather than a failed one. ``wait`` is as the hooks of the same
name in :mod:`wasi_trio.wasi.p2._io`: it returns when the other answers may have changed, several tasks may wait
at once, and cancelling it loses nothing.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod

import trio

from wasi_trio._texts import shown_output

#: room of an output's buffer, in bytes, past which a guest is made to wait
ROOM = 64 * 1024


class StdinSource(ABC):
    """Where a guest's standard input comes from. All streams a guest opens on it share one position."""

    __slots__ = ()

    is_terminal: bool = False

    @abstractmethod
    def take(self, limit: int) -> bytes | None:
        """At most ``limit`` of the bytes at hand, empty when there are none now, None at the end."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether ``take`` would give bytes, the end, or an error."""

    @abstractmethod
    async def wait(self) -> None:
        """Return once ``ready`` may have become true."""


class StdoutSink(ABC):
    """Where a guest's standard output or standard error goes.

    ``copies`` says that ``put`` keeps nothing of what it is given but a copy, so that this may be any buffer.
    """

    __slots__ = ()

    is_terminal: bool = False
    copies: bool = False

    @abstractmethod
    def permit(self) -> int:
        """How many bytes there is room for."""

    @abstractmethod
    def put(self, data: bytes) -> None:
        """Take all of ``data``; never blocks.

        More than ``permit`` allowed is taken all the same: several writers may have been told of the same room.
        """

    def flushed(self) -> bool:
        """Whether everything put has been written."""
        return True

    @abstractmethod
    async def wait(self) -> None:
        """Return once ``permit`` or ``flushed`` may have changed."""

    def finish(self) -> None:  # noqa: B027, a hook that most leave empty
        """The guest that wrote here is gone: write what was kept back for the rest of a line."""


class BytesSource(StdinSource):
    """Standard input that holds these bytes and then ends."""

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
    """Takes everything and keeps nothing."""

    __slots__ = ()

    def permit(self) -> int:
        return ROOM

    def put(self, data: bytes) -> None:
        pass

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


class CapturedOutput(StdoutSink):
    """Keeps what is written, up to ``limit`` bytes; then the guest finds the stream closed."""

    __slots__ = ("_chunks", "_left")

    def __init__(self, limit: int = 1 << 20) -> None:
        self._chunks: list[bytes] = []
        self._left = limit

    def getvalue(self) -> bytes:
        """All that was written so far."""
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
    """Writes to another sink, and keeps all that this has taken. What bounds the other bounds what is kept."""

    __slots__ = ("_kept", "_target", "is_terminal")

    def __init__(self, target: StdoutSink) -> None:
        self._target = target
        self._kept: list[bytes] = []
        self.is_terminal = target.is_terminal

    def getvalue(self) -> bytes:
        """All that was written so far."""
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
    """Writes whole lines to another sink, each with ``prefix`` before it.

    So lines of guests that share an output do not run into each other. The rest of an unfinished line is
    kept, up to ``LINE_LIMIT`` bytes (a longer line is written in pieces), until ``finish``.
    """

    __slots__ = ("_part", "_prefix", "_target")

    #: the longest line, and the most that one write may have: with many newlines in it, it grows by their prefixes
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
    """Writes to another sink, and remembers the last ``KEPT`` bytes."""

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
    """Writes to another sink, which is a terminal: what would steer that is escaped.

    The text is taken to be UTF-8; line ends and tabs are left.
    """

    __slots__ = ("_decoder", "_target")

    #: the most that one write may have: each byte may become four
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
