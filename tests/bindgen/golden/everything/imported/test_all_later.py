"""test:all/later@1.2.3, as a host provides it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from wasi_trio.bindings import (
    Err,
    ErrorContext,
    FutureReader,
    FutureWriter,
    Ok,
    Returns,
    StreamReader,
    StreamWriter,
    TypedInterface,
    future_pair,
    stream_pair,
)

from .._wit import WIT
from .test_all_types import INTERFACE as _test_all_types
from .test_all_types import AnyNode, Color, Point


class Later(Protocol):
    """The host functions of test:all/later@1.2.3."""

    def points(self, /) -> Returns[StreamReader[list[Point]]]: ...

    def read_all(
        self,
        data: StreamReader[bytes],
        what: StreamReader[int],
        numbers: StreamReader[list[int]],
        /,
    ) -> Returns[FutureReader[Ok[int] | Err[Color]]]: ...

    def wait(self, how_long: int, /) -> Returns[Color]: ...

    def nodes(self, /) -> Returns[FutureReader[AnyNode]]: ...

    def error(self, e: ErrorContext | None, /) -> Returns[ErrorContext]: ...

    def mapped(self, m: dict[str, Point], /) -> Returns[Mapping[int, Sequence[Color]]]: ...


INTERFACE = TypedInterface(
    "test:all/later@1.2.3",
    WIT,
    {},
    [
        _test_all_types,
    ],
)


def make_stream_point() -> tuple[StreamWriter[list[Point]], StreamReader[list[Point]]]:
    """Return the writer and the reader of a new ``stream<point>``; pass on the reader."""
    return stream_pair(INTERFACE, "pipe-0")


def make_future_result_u32_colour() -> tuple[FutureWriter[Ok[int] | Err[Color]], FutureReader[Ok[int] | Err[Color]]]:
    """Return the writer and the reader of a new ``future<result<u32, colour>>``; pass on the reader."""
    return future_pair(INTERFACE, "pipe-1")
