"""Where the content of a request over HTTP/1 ends, by its length or in chunks (RFC 9112, sections 6.2 and 7.1)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from wasi_trio.serve.http._heads import BadRequest, Fields, read_trailers
from wasi_trio.wasi.http._body import Piece

#: the line before a chunk
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t !-~\x80-\xff]{0,256})?\r\n")
#: bytes that the line before a chunk may have
_LONGEST_LINE = 512
#: bytes of a piece of content from which on it is cheaper not to copy it
_WORTH_A_VIEW = 4096
#: chunks that are decoded at a time, so that others have their turn
_MOST_CHUNKS = 256


class Content(ABC):
    """The content of a request that is being received."""

    __slots__ = ("complete", "trailers")

    def __init__(self) -> None:
        #: what follows is no content
        self.complete = False
        #: the fields after the content, once it is complete
        self.trailers: Fields | None = None

    @abstractmethod
    def decode(self, data: bytes) -> tuple[list[Piece], bytes]:
        """The content in ``data``, which follows what was decoded before, and the undecoded rest.

        More of the rest may be decoded at once. The pieces keep at most twice their size in memory. Raises BadRequest.
        """

    @property
    @abstractmethod
    def left(self) -> int | None:
        """How many bytes of content are still to come; None if that is unknown."""


class SizedContent(Content):
    """Content with an announced length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        super().__init__()
        self._left = length
        self.complete = not length

    @property
    def left(self) -> int:
        return self._left

    def decode(self, data: bytes) -> tuple[list[Piece], bytes]:
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return [data], b""
        self._left = 0
        self.complete = True
        return ([data[:left]] if left else []), data[left:]


class ChunkedContent(Content):
    """Content in chunks. Trailers have at most ``trailers_limit`` bytes."""

    __slots__ = ("_after_chunk", "_in_chunk", "_last", "_trailers_limit")

    def __init__(self, trailers_limit: int) -> None:
        super().__init__()
        self._trailers_limit = trailers_limit
        #: bytes that are left of a chunk
        self._in_chunk = 0
        #: the line end after a chunk comes next
        self._after_chunk = False
        #: the last chunk was read, trailers come next
        self._last = False

    @property
    def left(self) -> int | None:
        return 0 if self._last else None

    def decode(self, data: bytes) -> tuple[list[Piece], bytes]:
        if self._last:
            return [], self._read_trailers(data)
        pieces: list[Piece] = []
        view = memoryview(data)
        start, size = 0, len(data)
        while start < size and len(pieces) < _MOST_CHUNKS:
            if self._in_chunk:
                end = min(start + self._in_chunk, size)
                pieces.append(view[start:end])
                self._in_chunk -= end - start
                self._after_chunk = not self._in_chunk
                start = end
                continue
            line = start
            if self._after_chunk:
                end_of_chunk = data[start : start + 2]
                if end_of_chunk == b"\r":
                    break
                if end_of_chunk != b"\r\n":
                    raise BadRequest("a chunk is longer than it said")
                line += 2
            header = _CHUNK.match(data, line)
            if header is None:
                if size - line > _LONGEST_LINE or data.find(b"\n", line) >= 0:
                    raise BadRequest("a malformed chunk header")
                break
            self._after_chunk = False
            self._in_chunk = int(header[1], 16)
            start = header.end()
            if not self._in_chunk:
                self._last = True
                break
        content = sum(map(len, pieces))
        if pieces and content < max(size // 2, _WORTH_A_VIEW * len(pieces)):
            pieces = [b"".join(pieces)]
        rest = data[start:]
        if self._last:
            rest = self._read_trailers(rest)
        return pieces, rest

    def _read_trailers(self, data: bytes) -> bytes:
        if data.startswith(b"\r\n"):
            self.complete = True
            return data[2:]
        end = data.find(b"\r\n\r\n", 0, self._trailers_limit)
        if end < 0:
            if len(data) >= self._trailers_limit:
                raise BadRequest("the trailers are too large", 431)
            return data
        self.trailers = read_trailers(data[: end + 4])
        self.complete = True
        return data[end + 4 :]
