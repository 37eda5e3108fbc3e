"""The server. It accepts connections and serves each over HTTP/1 or HTTP/2, until it is told to stop."""

from __future__ import annotations

import errno
import math
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from wasi_trio._texts import get_logger
from wasi_trio.component._account import Account, Budget
from wasi_trio.serve.http._access_log import AccessLog
from wasi_trio.serve.http._connection import Connection, Front, Phase
from wasi_trio.serve.http._http1_connection import Http1Connection
from wasi_trio.serve.http._limits import ConnectionLimits
from wasi_trio.serve.http._stream import HttpStream
from wasi_trio.serve.http._transport import Stream
from wasi_trio.serve.http._turns import Turns

if TYPE_CHECKING:
    from wasi_trio.serve.http._http2_connection import Http2Connection

logger = get_logger("wasi_trio.serve")

#: The maximum number of concurrent TLS handshakes. Beyond it the oldest one is dropped.
MAX_HANDSHAKES = 256
#: The errors for which a waiting connection is not accepted, and the time until the next attempt, in seconds.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_RETRY = 0.1
#: The maximum number of connections accepted in one turn of the event loop, for each listener.
MAX_AT_ONCE = 16


def _http2() -> type[Http2Connection]:
    # Imported late, because h2 takes time and memory, and few clients without TLS choose HTTP/2.
    from wasi_trio.serve.http._http2_connection import Http2Connection

    return Http2Connection


class Server:
    """Passes requests to ``service`` as streams. ``service`` must not wait.

    A client begins with HTTP/1 or HTTP/2, or negotiates one over TLS. At most ``max_connections`` connections are open;
    further ones wait to be accepted. TLS handshakes do not count. During shutdown, connections have ``drain_timeout``
    seconds to finish, and are closed then. The server calls ``access_log`` for each response. ``budget`` counts the
    memory that requests and responses hold here. ``fields`` returns further fields for the responses without a service,
    such as those to malformed requests.
    """

    def __init__(
        self,
        service: Callable[[HttpStream], None],
        *,
        limits: ConnectionLimits | None = None,
        max_connections: int | None = None,
        drain_timeout: float | None = None,
        access_log: AccessLog | None = None,
        budget: Budget | None = None,
        fields: Callable[[], list[tuple[bytes, bytes]]] = list,
    ) -> None:
        account = Account(budget=budget, is_instance=False)
        self._front = Front(service, limits or ConnectionLimits(), Turns(), account, access_log, fields)
        self._drain_timeout = math.inf if drain_timeout is None else drain_timeout
        self._slots = trio.Semaphore(max_connections) if max_connections is not None else None
        self._connections: set[Connection] = set()
        self._handshakes: OrderedDict[trio.CancelScope, None] = OrderedDict()
        self._arrived = trio.Event()
        #: The number of connections closed at the end of ``drain_timeout``.
        self._dropped = 0

    async def run(
        self,
        listeners: Sequence[socket.socket],
        stop: trio.Event,
        *,
        leave: trio.Event | None = None,
        secure: Sequence[socket.socket] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Serve on listening sockets until ``stop`` is set. Return once the active requests are answered.

        From ``leave`` on, connections and requests are still accepted, and clients are told to send further ones
        elsewhere: HTTP/1 responses have ``connection: close``, and HTTP/2 connections receive a GOAWAY frame.

        The sockets in ``secure`` use TLS with the context ``tls``. All sockets are closed at the end. Cancellation
        closes every connection.
        """
        if secure:
            _http2()  # Most clients with TLS choose HTTP/2, and the first one must not wait for the import.
        async with trio.open_nursery() as helpers:
            helpers.start_soon(self._front.turns.run)
            helpers.start_soon(self._check_timeouts)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, None, connections)
                    for listener in secure:
                        accepting.start_soon(self._accept, listener, tls, connections)
                    if leave is not None:
                        accepting.start_soon(self._leave, leave)
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                self._stop()
                scope = connections.cancel_scope
                scope.deadline = trio.current_time() + self._drain_timeout
            if scope.cancelled_caught:
                self._log_dropped()
            helpers.cancel_scope.cancel()

    async def _leave(self, leave: trio.Event) -> None:
        await leave.wait()
        self._front.phase = Phase.LEAVING
        for connection in list(self._connections):
            connection.leave()

    def _stop(self) -> None:
        """Close idle connections now, and busy ones after their response."""
        self._front.phase = Phase.STOPPING
        for handshake in self._handshakes:
            handshake.cancel()
        for connection in list(self._connections):
            connection.stop()

    def _log_dropped(self) -> None:
        connections = "connection" if self._dropped == 1 else "connections"
        logger.warning("Closed %d %s still active %g s into shutdown", self._dropped, connections, self._drain_timeout)

    async def _check_timeouts(self) -> None:
        """Check the timeouts of all connections at intervals."""
        interval = self._front.limits.interval
        while True:
            if not self._connections:
                self._arrived = trio.Event()
                await self._arrived.wait()
            await trio.sleep(interval)
            now = trio.current_time()
            for connection in list(self._connections):
                connection.check(now)

    # ---- connections -------------------------------------------------------------------------------------

    async def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None, connections: trio.Nursery) -> None:
        # Connections take their slot after the handshake, so that a stalled handshake keeps nobody out.
        limited = _Listener(listener, None if tls else self._slots)

        async def handle(stream: trio.SocketStream) -> None:
            # Not https_compatible: in HTTP/1.0 the end of TLS marks the end of a response, so clients must see it.
            secured = stream if tls is None else trio.SSLStream(stream, tls, server_side=True)
            await self._handle(secured)

        await trio.serve_listeners(handle, [limited], handler_nursery=connections)

    async def _handle(self, stream: Stream) -> None:
        has_slot = isinstance(stream, trio.SocketStream) and self._slots is not None
        try:
            if isinstance(stream, trio.SSLStream):
                if not await self._shake_hands(stream):
                    return
                if self._slots is not None:
                    await self._slots.acquire()
                    has_slot = True
            await self._serve(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError, ssl.SSLError) as errors:
            logger.info("A client's connection broke: %s", errors.exceptions[0])
        except* Exception:
            # One client, or a mistake in the protocol code, must not end other connections.
            logger.exception("A connection ended with an error")
        finally:
            if has_slot and self._slots is not None:
                self._slots.release()
            await trio.aclose_forcefully(stream)

    async def _shake_hands(self, stream: trio.SSLStream[trio.SocketStream]) -> bool:
        """Perform the TLS handshake. Return whether it succeeded in time and before the server stops."""
        with trio.move_on_after(self._front.limits.handshake_timeout) as scope:
            self._handshakes[scope] = None
            if len(self._handshakes) > MAX_HANDSHAKES:
                self._handshakes.popitem(last=False)[0].cancel()
            try:
                if self._front.phase is Phase.STOPPING:
                    return False
                await stream.do_handshake()
                return True
            except trio.BrokenResourceError:
                return False
            finally:
                self._handshakes.pop(scope, None)
        return False

    async def _serve(self, stream: Stream) -> None:
        is_http2 = isinstance(stream, trio.SSLStream) and stream.selected_alpn_protocol() == "h2"
        data = b""
        async with trio.open_nursery() as nursery:
            connection: Connection = (_http2() if is_http2 else Http1Connection)(stream, self._front, nursery)
            handed_over = await self._run(connection, data)
            if handed_over:
                # The client began with the preface of HTTP/2, and has sent no HTTP/1 request.
                await self._run(_http2()(stream, self._front, nursery), handed_over)
            nursery.cancel_scope.cancel()

    async def _run(self, connection: Connection, data: bytes) -> bytes | None:
        self._connections.add(connection)
        self._arrived.set()
        if self._front.phase is Phase.STOPPING:
            connection.stop()
        elif self._front.phase is Phase.LEAVING:
            connection.leave()
        try:
            return await connection.run(data)
        except trio.Cancelled:
            # Active requests learn that their client is gone. A connection that ended by itself has none.
            if not connection.output.broken:
                self._dropped += 1
                connection.output.fail()
            raise
        finally:
            self._connections.discard(connection)
            connection.release()


class _Listener(trio.abc.Listener[trio.SocketStream]):
    """A listener that accepts a connection only with a free slot. The caller releases the slot.

    It accepts several waiting connections at once. With a turn of the event loop for each, clients would wait long when
    turns are long.
    """

    def __init__(self, listener: socket.socket, slots: trio.Semaphore | None) -> None:
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        #: The same socket, for accepting without waiting.
        self._socket = listener
        self._slots = slots
        #: Whether a lack of resources prevents accepting, and was logged.
        self._exhausted = False
        #: Accepted connections to return, each with a slot.
        self._accepted: deque[trio.SocketStream] = deque()

    async def accept(self) -> trio.SocketStream:
        if self._accepted:
            return self._accepted.popleft()
        if self._slots is None:
            stream = await self._accept()
        else:
            await self._slots.acquire()
            try:
                stream = await self._accept()
            except BaseException:
                self._slots.release()
                raise
        self._accept_more()
        return stream

    def _accept_more(self) -> None:
        for _ in range(MAX_AT_ONCE - 1):
            try:
                if self._slots is not None:
                    self._slots.acquire_nowait()
            except trio.WouldBlock:
                return
            try:
                accepted, _address = self._socket.accept()
            except OSError:  # no connection, or an error that the next accept() reports
                if self._slots is not None:
                    self._slots.release()
                return
            self._accepted.append(trio.SocketStream(trio.socket.from_stdlib_socket(accepted)))

    async def _accept(self) -> trio.SocketStream:
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                if not self._exhausted:
                    logger.error("Connections wait until others close: %s", error.strerror)
                self._exhausted = True
                await trio.sleep(_RETRY)
            else:
                self._exhausted = False
                return stream

    async def aclose(self) -> None:
        while self._accepted:
            await trio.aclose_forcefully(self._accepted.popleft())
            if self._slots is not None:
                self._slots.release()
        await self._listener.aclose()
