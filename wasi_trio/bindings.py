"""The runtime of code that ``wasi_trio bindgen`` generates; see docs/bindings.md."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeAlias, TypeVar

from wasi_trio.component import _types as t
from wasi_trio.component._bindings import TypedInterface, WitText
from wasi_trio.component._imports import Imports
from wasi_trio.component._typed import converter
from wasi_trio.component._values import Case, Err, GuestResource, Ok, PlainCase, Some
from wasi_trio.runtime._clients import ExportedResource, InterfaceClient, drop
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._streams import (
    FutureReader,
    FutureWriter,
    StreamReader,
    StreamWriter,
    make_future,
    make_stream,
)

__all__ = [
    "Case",
    "Err",
    "ErrorContext",
    "ExportedResource",
    "FutureReader",
    "FutureWriter",
    "GuestResource",
    "Implementation",
    "Imports",
    "Instance",
    "InterfaceClient",
    "Ok",
    "PlainCase",
    "Returns",
    "Some",
    "StreamReader",
    "StreamWriter",
    "TypedInterface",
    "WitText",
    "drop",
    "future_pair",
    "stream_pair",
]

T = TypeVar("T")

#: the return type of a host function: a value, or a coroutine for it from an ``async def``
Returns: TypeAlias = T | Coroutine[Any, Any, T]

#: an implementation of an interface: a class, called with an instance's context, or an object for all instances
Implementation: TypeAlias = type[T] | T


class ErrorContext(Protocol):
    """An ``error-context``."""

    @property
    def debug_message(self) -> str: ...


def stream_pair(interface: TypedInterface, name: str) -> tuple[StreamWriter[Any], StreamReader[Any]]:
    """Return the writer and the reader of a new stream, whose type has this name in an interface's WIT."""
    type_ = interface.type(name)
    assert isinstance(type_, t.Stream), f"{name} is no stream"
    writer, shared = make_stream(type_.element)
    reader = StreamReader[Any](shared)
    if type_.element is not None:
        typed = interface.typing.of(type_.element, type_.element)
        if typed != type_.element:
            reader.converter = converter(typed)
    return writer, reader


def future_pair(interface: TypedInterface, name: str) -> tuple[FutureWriter[Any], FutureReader[Any]]:
    """Return the writer and the reader of a new future, whose type has this name in an interface's WIT."""
    type_ = interface.type(name)
    assert isinstance(type_, t.Future), f"{name} is no future"
    writer, shared = make_future(type_.element)
    reader = FutureReader[Any](shared)
    if type_.element is not None:
        typed = interface.typing.of(type_.element, type_.element)
        if typed != type_.element:
            reader.converter = converter(typed)
    return writer, reader
