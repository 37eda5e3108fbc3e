"""The framing of request content in HTTP/1: by length or in chunks (RFC 9112, sections 6.2 and 7.1)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from wasi_trio.serve.http._heads import BadRequest, Fields, read_trailers
from wasi_trio.wasi.http._body import Piece

#: The line before a chunk.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t !-~\x80-\xff]{0,256})?\r\n")
#: The maximum length of the line before a chunk.
_MAX_LINE = 512
#: The size of a piece of content from which a view is cheaper than a copy.
_WORTH_A_VIEW = 4096
#: The maximum number of chunks decoded at a time, so that other tasks run in between.
_MAX_CHUNKS = 256


class Content(ABC):
    """The content of a request while it is received."""

    __slots__ = ("complete", "trailers")

    def __init__(self) -> None:
        #: Whether the content has ended.
        self.complete = False
        #: The trailer fields, once the content is complete.
        self.trailers: Fields | None = None

    @abstractmethod
    def decode(self, data: bytes) -> tuple[list[Piece], bytes]:
        """Decode the next part of the content. Return its pieces and the undecoded rest of ``data``.

        The rest may contain more content that can be decoded at once. The pieces keep at most twice their size in
        memory. Raise BadRequest for malformed framing.
        """

    @property
    @abstractmethod
    def left(self) -> int | None:
        """The number of content bytes still to come, or None if it is unknown."""


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
    """Content in chunks. ``trailers_limit`` is the maximum size of the trailers in bytes."""

    __slots__ = ("_after_chunk", "_in_chunk", "_last", "_trailers_limit")

    def __init__(self, trailers_limit: int) -> None:
        super().__init__()
        self._trailers_limit = trailers_limit
        #: The number of bytes left of the current chunk.
        self._in_chunk = 0
        #: Whether the line end after a chunk comes next.
        self._after_chunk = False
        #: Whether the last chunk was read, so that trailers come next.
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
        while start < size and len(pieces) < _MAX_CHUNKS:
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
                    raise BadRequest("a chunk is longer than announced")
                line += 2
            header = _CHUNK.match(data, line)
            if header is None:
                if size - line > _MAX_LINE or data.find(b"\n", line) >= 0:
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
