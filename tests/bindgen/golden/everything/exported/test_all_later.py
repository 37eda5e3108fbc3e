"""test:all/later@1.2.3, as a component exports it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from collections.abc import Mapping

from wasi_trio.bindings import (
    Err,
    ErrorContext,
    FutureReader,
    InterfaceClient,
    Ok,
    StreamReader,
    StreamWriter,
    TypedInterface,
    stream_pair,
)

from .._wit import WIT
from .test_all_types import INTERFACE as _test_all_types
from .test_all_types import Color, Node, Point

INTERFACE = TypedInterface(
    "test:all/later@1.2.3",
    WIT,
    {},
    [
        _test_all_types,
    ],
)


class LaterClient(InterfaceClient):
    """Client of test:all/later@1.2.3."""

    async def points(self) -> StreamReader[list[Point]]:
        return await self._call("points")

    async def read_all(
        self,
        data: StreamReader[bytes],
        what: StreamReader[int],
        numbers: StreamReader[list[int]],
    ) -> FutureReader[Ok[int] | Err[Color]]:
        return await self._call("read-all", data, what, numbers)

    async def wait(self, how_long: int) -> Color:
        return await self._call("wait", how_long)

    async def nodes(self) -> FutureReader[Node]:
        return await self._call("nodes")

    async def error(self, e: ErrorContext | None) -> ErrorContext:
        return await self._call("error", e)

    async def mapped(self, m: Mapping[str, Point]) -> dict[int, list[Color]]:
        return await self._call("mapped", m)


LaterClient.INTERFACE = INTERFACE


def make_stream_u8() -> tuple[StreamWriter[bytes], StreamReader[bytes]]:
    """Return the writer and the reader of a new ``stream<u8>``; pass on the reader."""
    return stream_pair(INTERFACE, "pipe-0")


def make_stream() -> tuple[StreamWriter[int], StreamReader[int]]:
    """Return the writer and the reader of a new ``stream``; pass on the reader."""
    return stream_pair(INTERFACE, "pipe-1")


def make_stream_u32() -> tuple[StreamWriter[list[int]], StreamReader[list[int]]]:
    """Return the writer and the reader of a new ``stream<u32>``; pass on the reader."""
    return stream_pair(INTERFACE, "pipe-2")
