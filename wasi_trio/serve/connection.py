"""hypercorn's connection, with what a server of guests needs beyond it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from wasi_trio.serve.h11_trailers import TrailingConnection

#: where the state of a request's ASGI scope has its ``Connection``
CONNECTION = "wasi_trio.connection"
#: what bytes come and go by
Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"
#: bytes to read at a time from a connection, at first, and where it has more
_LEAST_READ = 16 << 10
_MOST_READ = 256 << 10
#: seconds for TLS to say that a connection ends, where its client takes nothing
_FAREWELL = 1.0


class Connection(TCPServer):
    """A connection that ends when its client leaves, and tells the requests on it when sending finds it gone.

    By itself hypercorn keeps it until the keep-alive timeout, and tells a request only by an event, for which
    there may be no room while the application waits for the guest to read.
    """

    def __init__(self, app: ASGIWrapper, config: Config, context: WorkerContext, stream: Any) -> None:
        super().__init__(app, config, context, {CONNECTION: self}, stream)
        #: called, each of them, when the client turns out to have left
        self.on_broken: set[Callable[[], None]] = set()
        self.idle_task: _IdleTimer = _IdleTimer(  # type: ignore[assignment]
            config.keep_alive_timeout, context, self._initiate_server_close
        )
        self._corked = False
        self._held = b""
        #: around the reading
        self._reading = trio.CancelScope()

    def cork(self) -> None:
        """Hold back what is sent next until something follows it, so that both go out together."""
        self._corked = True

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Closed):
            try:
                await super().protocol_send(event)
            finally:
                # It may be waiting to go on with the next request, which it never will.
                self._reading.cancel()
            return
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        if self._corked:
            self._corked = False
            self._held += event.data
            return
        try:
            self.send_lock.acquire_nowait()
        except trio.WouldBlock:
            await self.send_lock.acquire()
        try:
            data = self._held + event.data if self._held else event.data
            self._held = b""
            if data:
                # What was partly sent could never be completed: the next frame would be read as its rest.
                with trio.CancelScope(shield=True):
                    await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            # Busy it is, as others wait for the lock, with being closed.
            for leave in list(self.on_broken):
                leave()
            broken = True
        else:
            broken = False
        finally:
            self.send_lock.release()
        if broken:
            await self.protocol.handle(Closed())

    @property
    def trailing(self) -> TrailingConnection | None:
        """Where trailers of the request that it has at the moment go, if it speaks HTTP/1.1."""
        protocol = getattr(self.protocol.protocol, "connection", None)
        return protocol if isinstance(protocol, TrailingConnection) else None

    async def _read_data(self) -> None:
        with self._reading:
            await self._read_pieces()
        await self.protocol.handle(Closed())
        self.idle_task.end()

    async def _read_pieces(self) -> None:
        """As hypercorn reads, but in larger pieces while so much comes: what one costs hardly depends on its size."""
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol):
            most = self.config.h11_max_incomplete_size
            protocol.connection = TrailingConnection(h11.SERVER, max_incomplete_event_size=most)
        size = _LEAST_READ
        while True:
            try:
                if self.config.read_timeout is None:
                    data = await self.stream.receive_some(size)
                else:
                    with trio.fail_after(self.config.read_timeout):
                        data = await self.stream.receive_some(size)
            except (trio.ClosedResourceError, trio.BrokenResourceError, trio.TooSlowError):
                break
            size = min(2 * size, _MOST_READ) if len(data) == size else max(len(data), _LEAST_READ)
            await self.protocol.handle(RawData(bytes(data)))
            if not data:
                break

    async def _close(self) -> None:
        with trio.move_on_after(_FAREWELL):
            await super()._close()

    async def _initiate_server_close(self) -> None:
        with trio.move_on_after(_FAREWELL):
            await super()._initiate_server_close()


def transport_of(stream: Stream) -> trio.SocketStream:
    """The socket's stream below TLS, if there is that."""
    return stream if isinstance(stream, trio.SocketStream) else stream.transport_stream


def connection_of(scope: MutableMapping[str, Any]) -> Connection | None:
    """The connection that a request came by, where the server is ours."""
    connection = scope.get("state", {}).get(CONNECTION)
    return connection if isinstance(connection, Connection) else None


class _IdleTimer:
    """Closes a connection that was idle for ``timeout`` seconds, or at once when the server ends.

    It stands in for hypercorn's, which starts a task after each request and cancels it at the next.
    """

    def __init__(self, timeout: float, context: WorkerContext, close: Callable[[], Awaitable[None]]) -> None:
        self._timeout = timeout
        self._context = context
        self._close = close
        self._deadline = math.inf
        self._scope: trio.CancelScope | None = None
        #: set when the connection is idle or has ended, for a server that ends
        self._leavable = trio.Event()
        self._ended = False

    async def restart(self, task_group: Any, action: Any) -> None:
        """The connection is idle from now on."""
        self._deadline = trio.current_time() + self._timeout
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=self._deadline)
            task_group.spawn(self._run)
        else:
            self._scope.deadline = self._deadline
        self._leavable.set()

    async def stop(self) -> None:
        """The connection is no longer idle."""
        self._deadline = math.inf
        if self._scope is not None:
            self._scope.deadline = math.inf
        if self._leavable.is_set():
            self._leavable = trio.Event()

    def end(self) -> None:
        """The connection has ended by itself."""
        self._ended = True
        self._leavable.set()
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self) -> None:
        while not self._ended:
            self._scope = trio.CancelScope(deadline=self._deadline)
            with self._scope:
                await self._context.terminated.wait()
                await self._leavable.wait()
            # It may have become busy again just when its time was over.
            if self._leavable.is_set() and not self._ended:
                with trio.CancelScope(shield=True):
                    await self._close()
                return
