"""wasi:cli 0.2: ``environment`` and the three standard streams. The rest is in :mod:`wasi_trio.wasi._cli`."""

from __future__ import annotations

from collections.abc import Sequence

from wasi_trio.component._values import Err
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._stdio import StdinSource, StdoutSink
from wasi_trio.wasi.p2._io import InputStream, OutputStream, StreamError, closed, failed


class Environment:
    """The interface wasi:cli/environment."""

    def __init__(self, context: WasiContext) -> None:
        self._options = context.options

    def get_environment(self) -> Sequence[tuple[str, str]]:
        return self._options.env

    def get_arguments(self) -> Sequence[str]:
        return self._options.args

    def initial_cwd(self) -> str | None:
        return self._options.initial_cwd


class SourceStream(InputStream):
    """An input stream that reads a StdinSource."""

    __slots__ = ("_source",)

    def __init__(self, source: StdinSource) -> None:
        super().__init__()
        self._source = source

    def _take(self, limit: int) -> bytes | None:
        try:
            return self._source.take(limit)
        except OSError as error:
            raise self._failure(error) from None

    def _ready(self) -> bool:
        return self._source.ready()

    async def _wait(self) -> None:
        await self._source.wait()

    def _failure(self, error: OSError) -> Err[StreamError]:
        return _stream_error(error)


class SinkStream(OutputStream):
    """An output stream that writes to a StdoutSink."""

    __slots__ = ("_sink",)

    def __init__(self, sink: StdoutSink) -> None:
        super().__init__()
        self._sink = sink

    def _permit(self) -> int:
        try:
            return self._sink.permit()
        except OSError as error:
            raise self._failure(error) from None

    def _put(self, data: bytes) -> None:
        try:
            self._sink.put(data)
        except OSError as error:
            raise self._failure(error) from None

    def _flushed(self) -> bool:
        try:
            return self._sink.flushed()
        except OSError as error:
            raise self._failure(error) from None

    async def _wait(self) -> None:
        await self._sink.wait()

    def _failure(self, error: OSError) -> Err[StreamError]:
        return _stream_error(error)


def _stream_error(error: OSError) -> Err[StreamError]:
    return closed() if isinstance(error, BrokenPipeError) else failed(error)


# Each get-std* function returns the same stream, so that a guest cannot collect permits from many streams.


class Stdin:
    """The interface wasi:cli/stdin."""

    def __init__(self, context: WasiContext) -> None:
        self._stream = SourceStream(context.stdin)

    def get_stdin(self) -> InputStream:
        return self._stream


class Stdout:
    """The interface wasi:cli/stdout."""

    def __init__(self, context: WasiContext) -> None:
        self._stream = SinkStream(context.stdout)

    def get_stdout(self) -> OutputStream:
        return self._stream


class Stderr:
    """The interface wasi:cli/stderr."""

    def __init__(self, context: WasiContext) -> None:
        self._stream = SinkStream(context.stderr)

    def get_stderr(self) -> OutputStream:
        return self._stream
