"""The server behind the command line: our sockets and our end, hypercorn's trio protocols in between."""

from __future__ import annotations

import logging
import math
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from wasi_trio.serve.connection import Connection
from wasi_trio.serve.protocol_options import default_config
from wasi_trio.serve.sending import Stream, transport_of

logger = logging.getLogger("wasi_trio.serve")

#: connections the system may hold that were not accepted yet, as wasmtime serve has it
BACKLOG = 100


def bind(address: tuple[str, int], backlog: int = BACKLOG) -> socket.socket:
    """A listening socket at an IP address and port (0 for any that is free); raises OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # So that an address can be used again at once although connections to the last server linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by what is accepted: small parts of a response must not wait for acknowledgements.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """``HOST:PORT`` as it stands in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Server:
    """Serves an ASGI application over HTTP/1 and HTTP/2, which a client begins with or, over TLS, agrees on.

    At most ``max_connections`` are open at once; further ones wait to be accepted. One without a request for
    ``keep_alive_timeout`` seconds is closed; by default ``config`` says so, hypercorn's configuration, by which its
    protocols go. A client that takes nothing of its response for ``send_timeout`` seconds is given up. In the end
    connections are waited for ``drain_timeout`` seconds, and dropped then.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        max_connections: int | None = None,
        keep_alive_timeout: float | None = None,
        send_timeout: float | None = None,
        config: Config | None = None,
        drain_timeout: float | None = None,
    ) -> None:
        self._app = ASGIWrapper(app)
        self._config = default_config() if config is None else config
        if keep_alive_timeout is not None:
            self._config.keep_alive_timeout = keep_alive_timeout
        self._send_timeout = math.inf if send_timeout is None else send_timeout
        self._drain_timeout = math.inf if drain_timeout is None else drain_timeout
        self._slots = trio.Semaphore(max_connections) if max_connections is not None else None
        self._open: set[Stream] = set()
        self._handshakes: set[trio.CancelScope] = set()

    async def run(
        self,
        listeners: Sequence[socket.socket],
        stop: trio.Event,
        *,
        secure: Sequence[socket.socket] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Serve on listening sockets until ``stop`` is set; returns when the requests under way then are answered.

        Those in ``secure`` are served over TLS, with the context ``tls``. All are closed. Cancelling this drops every
        connection.
        """
        context = WorkerContext(None)
        async with trio.open_nursery() as guard:
            guard.start_soon(self._close_when_cancelled, guard.cancel_scope)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, None, context, connections)
                    for listener in secure:
                        accepting.start_soon(self._accept, listener, tls, context, connections)
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                # Idle connections are closed now, and busy ones after their response.
                await context.terminated.set()
                for handshake in self._handshakes:
                    handshake.cancel()
                guard.cancel_scope.deadline = trio.current_time() + self._drain_timeout
            guard.cancel_scope.cancel()

    async def _accept(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        context: WorkerContext,
        connections: trio.Nursery,
    ) -> None:
        limited = _Listener(trio.SocketListener(trio.socket.from_stdlib_socket(listener)), self._slots)

        async def handle(stream: trio.SocketStream) -> None:
            # Not https_compatible: a response that ends with its connection, as in HTTP/1.0, is to be seen to end.
            secured = stream if tls is None else trio.SSLStream(stream, tls, server_side=True)
            await self._serve_connection(secured, context)

        await trio.serve_listeners(handle, [limited], handler_nursery=connections)

    async def _serve_connection(self, stream: Stream, context: WorkerContext) -> None:
        self._open.add(stream)
        try:
            if isinstance(stream, trio.SocketStream) or await self._shake_hands(stream, context):
                await Connection(self._app, self._config, context, stream, self._send_timeout).run()
        except Exception:
            # One client's doing, or the protocol's fault: no reason for other connections to end.
            logger.exception("a connection ended with an error")
        finally:
            self._open.discard(stream)
            if self._slots is not None:
                self._slots.release()
            await trio.aclose_forcefully(stream)

    async def _shake_hands(self, stream: trio.SSLStream[trio.SocketStream], context: WorkerContext) -> bool:
        """Whether TLS could be agreed on, within hypercorn's time for it and before the server ends."""
        with trio.move_on_after(self._config.ssl_handshake_timeout) as scope:
            self._handshakes.add(scope)
            try:
                if context.terminated.is_set():
                    return False
                await stream.do_handshake()
                return True
            except trio.BrokenResourceError:
                return False
            finally:
                self._handshakes.discard(scope)
        return False

    async def _close_when_cancelled(self, scope: trio.CancelScope) -> None:
        """hypercorn can not be cancelled while it sends, only have the ground taken from under it."""
        try:
            await trio.sleep_forever()
        finally:
            if self._open and trio.current_time() >= scope.deadline:
                count = len(self._open)
                what = "connection is" if count == 1 else "connections are"
                logger.warning("%d %s dropped, being busy %g s after the end began", count, what, self._drain_timeout)
            for stream in self._open:
                transport_of(stream).socket.close()


class _Listener(trio.abc.Listener[trio.SocketStream]):
    """Accepts a connection only when there is a slot for it; whoever serves the connection releases that."""

    def __init__(self, listener: trio.SocketListener, slots: trio.Semaphore | None) -> None:
        self._listener = listener
        self._slots = slots

    async def accept(self) -> trio.SocketStream:
        if self._slots is None:
            return await self._listener.accept()
        await self._slots.acquire()
        try:
            return await self._listener.accept()
        except BaseException:
            self._slots.release()
            raise

    async def aclose(self) -> None:
        await self._listener.aclose()


@asynccontextmanager
async def shutdown_on_signals() -> AsyncIterator[trio.Event]:
    """Within this block the first SIGTERM or SIGINT sets the event it gives, and the second cancels the block.

    For the main thread only, where signals arrive.
    """
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_signals, signals, stop, nursery.cancel_scope)
            yield stop
            nursery.cancel_scope.cancel()


async def _watch_signals(signals: AsyncIterator[int], stop: trio.Event, scope: trio.CancelScope) -> None:
    await anext(signals)
    logger.warning("shutting down when the requests under way are answered; a second signal ends at once")
    stop.set()
    await anext(signals)
    scope.cancel()


async def shutdown_on_connection(listener: socket.socket, stop: trio.Event) -> None:
    """Wait for the first connection to a listening socket, then set ``stop``; the socket is closed in the end."""
    async with trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as shutdown, await shutdown.accept():
        stop.set()
