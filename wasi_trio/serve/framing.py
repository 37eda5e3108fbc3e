"""Where the content of a request over HTTP/1.1 ends, by its length or in chunks (RFC 9112, sections 6.2 and 7.1)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from wasi_trio.wasi.http.body import Piece

#: the line before a chunk
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]{0,256})?\r\n")
#: bytes that the line before a chunk may have
_LONGEST_LINE = 512
#: bytes of a piece of content from which on it is cheaper not to copy it
_WORTH_A_VIEW = 4096
#: chunks that are decoded at a time
_MOST_CHUNKS = 256


class Content(ABC):
    """The content of a request that is being received."""

    __slots__ = ("complete", "error")

    def __init__(self) -> None:
        #: what follows is no content
        self.complete = False
        #: what is wrong with its framing
        self.error = ""

    @abstractmethod
    def decode(self, data: bytes) -> tuple[list[Piece], bytes]:
        """Content that is in ``data``, which follows what was decoded before, and what has not been decoded of it.

        What the pieces keep in memory is no more than twice as large as they are.
        """

    @abstractmethod
    def may_end_in(self, data: bytes) -> bool:
        """Whether ``data`` has all of the rest, so that nothing but ``complete`` would tell of the end."""


class SizedContent(Content):
    """Content whose length was announced."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self.left = length

    def decode(self, data: bytes) -> tuple[list[Piece], bytes]:
        left = self.left
        if len(data) < left:
            self.left = left - len(data)
            return [data], b""
        self.left = 0
        self.complete = True
        return [data[:left]], data[left:]

    def may_end_in(self, data: bytes) -> bool:
        return len(data) >= self.left


class ChunkedContent(Content):
    """Content in chunks (RFC 9112, section 7.1). The last of them, which has no content, and what follows is left."""

    __slots__ = ("_footer", "_left")

    def __init__(self) -> None:
        super().__init__()
        #: bytes that are left of a chunk
        self._left = 0
        #: the line end after a chunk comes next
        self._footer = False

    def decode(self, data: bytes) -> tuple[list[Piece], bytes]:
        pieces: list[Piece] = []
        view = memoryview(data)
        start, size = 0, len(data)
        # Others have their turn between two calls.
        while start < size and len(pieces) < _MOST_CHUNKS:
            if self._left:
                end = min(start + self._left, size)
                pieces.append(view[start:end])
                self._left -= end - start
                self._footer = not self._left
                start = end
                continue
            line = start
            if self._footer:
                footer = data[start : start + 2]
                if footer == b"\r":
                    break
                if footer != b"\r\n":
                    self.error = "a chunk is longer than it said"
                    break
                line += 2
            header = _CHUNK.match(data, line)
            if header is None:
                if size - line > _LONGEST_LINE or data.find(b"\n", line) >= 0:
                    self.error = "illegal chunk header"
                break
            self._left = int(header[1], 16)
            if not self._left:
                self.complete = True
                start = line
                break
            self._footer = False
            start = header.end()
        content = sum(map(len, pieces))
        if pieces and content < max(size // 2, _WORTH_A_VIEW * len(pieces)):
            pieces = [b"".join(pieces)]
        return pieces, data[start:]

    def may_end_in(self, data: bytes) -> bool:
        return False
