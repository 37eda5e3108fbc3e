"""wasi:cli 0.3: ``environment`` and the three standard streams. The rest is in :mod:`wasi_trio.wasi._cli`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.p3._stdio import InputSource, OutputDrain


class Types:
    """The interface wasi:cli/types, which has no functions."""

    def __init__(self, context: WasiContext) -> None:
        pass


class Environment:
    """The interface wasi:cli/environment."""

    def __init__(self, context: WasiContext) -> None:
        self._options = context.options

    def get_environment(self) -> Sequence[tuple[str, str]]:
        return self._options.env

    def get_arguments(self) -> Sequence[str]:
        return self._options.args

    def get_initial_cwd(self) -> str | None:
        return self._options.initial_cwd


class Stdin:
    """The interface wasi:cli/stdin."""

    def __init__(self, context: WasiContext) -> None:
        self._context = context

    def read_via_stream(self) -> tuple[SharedStream, SharedFuture]:
        """Return a stream of the standard input. All streams share one position: the first reader receives a byte."""
        source = InputSource(self._context.stdin, self._context.own_nursery)
        return source.stream, source.future


class Stdout:
    """The interface wasi:cli/stdout."""

    def __init__(self, context: WasiContext) -> None:
        self._sink = context.stdout
        self._nursery = context.own_nursery

    def write_via_stream(self, data: Any) -> SharedFuture:
        return OutputDrain(data.into_shared(), self._sink, self._nursery).future


class Stderr:
    """The interface wasi:cli/stderr."""

    def __init__(self, context: WasiContext) -> None:
        self._sink = context.stderr
        self._nursery = context.own_nursery

    def write_via_stream(self, data: Any) -> SharedFuture:
        return OutputDrain(data.into_shared(), self._sink, self._nursery).future
