"""The two directions of a connection, as byte streams.

They implement ``StdinSource`` and ``StdoutSink``, and follow the rules of those.
"""

from __future__ import annotations

import select

import trio

from wasi_trio.wasi._stdio import StdinSource, StdoutSink
from wasi_trio.wasi._time_slice import TimeSlice
from wasi_trio.wasi.sockets._context import NetworkContext
from wasi_trio.wasi.sockets._errors import Code, SocketError
from wasi_trio.wasi.sockets._transports import Direction, TcpTransport

#: bytes of one receive
CHUNK = 64 << 10
#: seconds to send written data after the end of the instance
LINGER = 5.0


class Connection:
    """A connected socket with a count of its users. The last release closes it."""

    __slots__ = ("_holds", "context", "transport")

    def __init__(self, context: NetworkContext, transport: TcpTransport) -> None:
        self.context = context
        self.transport = transport
        self._holds = 0

    def hold(self) -> None:
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1
        if not self._holds:
            self.context.close(self.transport)


class Receiving(StdinSource):
    """Receives from the peer. ``time_slice`` limits the time for which a guest receives without a wait."""

    __slots__ = ("_connection", "_data", "_done", "_error", "time_slice")

    def __init__(self, connection: Connection) -> None:
        connection.hold()
        self._connection = connection
        self.time_slice: TimeSlice | None = None
        #: data that ``ready`` has received
        self._data = b""
        self._done = False
        self._error: OSError | None = None

    def take(self, limit: int) -> bytes | None:
        if self._data:
            data = self._data
            if len(data) > limit:
                data, self._data = data[:limit], data[limit:]
            else:
                self._data = b""
            return data
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._done:
            return None
        if not limit:
            return b""
        return self._receive(limit)

    def _receive(self, limit: int) -> bytes | None:
        time_slice = self.time_slice
        if time_slice is not None and not time_slice.may_continue():
            return b""
        try:
            data = self._connection.transport.receive(limit)
        except BlockingIOError:
            if time_slice is not None:
                time_slice.end()
            return b""
        except OSError as error:
            self._error = error
            self._release()
            raise
        if not data:
            self._release()
            return None
        return data

    def ready(self) -> bool:
        if self._data or self._done:
            return True
        try:
            self._data = self._receive(CHUNK) or b""
        except OSError:  # the next ``take`` raises it
            return True
        return bool(self._data) or self._done

    async def wait(self) -> None:
        if not self._done:
            await self._connection.transport.wait_readable()

    def interest(self) -> tuple[int, int] | None:
        """Return the events for which ``wait`` would wait, as ``Transport.interest`` does."""
        return None if self._done else self._connection.transport.interest(select.POLLIN)

    def close(self) -> None:
        """Stop receiving. Further data is discarded. Has no effect if repeated."""
        self._data = b""
        if not self._done:
            transport = self._connection.transport
            if not transport.closed:
                transport.shut_down(Direction.RECEIVE)
            self._release()

    def _release(self) -> None:
        if not self._done:
            self._done = True
            self._connection.release()


class Sending(StdoutSink):
    """Sends to the peer.

    The system accepts as much data as it has room for. The rest, at most as much as ``permit`` allowed, waits here for
    a task that sends it. After the end of the instance that task has ``LINGER`` seconds, because the guest was told
    that the data is written.
    """

    __slots__ = ("_changed", "_connection", "_error", "_finished", "_pushing", "_shut", "_unsent")

    def __init__(self, connection: Connection) -> None:
        connection.hold()
        self._connection = connection
        self._unsent = bytearray()
        self._pushing = False
        self._changed = trio.lowlevel.ParkingLot()
        self._error: OSError | None = None
        #: no more data follows
        self._finished = False
        #: the direction is shut down, so the peer knows
        self._shut = False

    @property
    def closed(self) -> bool:
        """Whether the sink accepts no more data."""
        return self._finished

    def permit(self) -> int:
        self._check()
        return 0 if self._unsent else self._connection.transport.room()

    def put(self, data: bytes) -> None:
        self._check()
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._connection.transport.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(error)
            raise
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            nursery = self._connection.context.nursery
            if nursery is not None:
                self._pushing = True
                nursery.start_soon(self._push_in_task)

    def flushed(self) -> bool:
        self._check()
        return not self._unsent

    async def wait(self) -> None:
        if self._pushing:
            await self._changed.park()
        elif self._unsent or not self._connection.transport.room():
            await self._connection.transport.wait_writable()
            self._push()
        else:
            await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """End this direction after all data is sent. Has no effect if repeated."""
        self._finished = True
        if self._pushing:
            return
        if not self._push():
            # The linger time has passed, and the task has ended.
            self._fail(SocketError(Code.CONNECTION_ABORTED))
        self._shut_down()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _fail(self, error: OSError) -> None:
        self._error = error
        # Not cleared, because the error's traceback may hold a view of it.
        self._unsent = bytearray()
        self._release()

    def _push(self) -> bool:
        """Send as much as the system accepts. Return whether all data is sent or sending has failed."""
        try:
            while self._unsent and not self._shut:
                with memoryview(self._unsent) as view:
                    sent = self._connection.transport.send(view[:CHUNK])
                del self._unsent[:sent]
        except BlockingIOError:
            return False
        except OSError as error:
            self._fail(error)
        return True

    async def _push_in_task(self) -> None:
        try:
            try:
                await self._push_all()
            except trio.Cancelled:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + LINGER):
                    await self._push_all()
                raise
        finally:
            self._pushing = False
            if self._finished:
                self._shut_down()
            self._changed.unpark_all()

    async def _push_all(self) -> None:
        while not self._push():
            await self._connection.transport.wait_writable()

    def _shut_down(self) -> None:
        if not self._shut:
            transport = self._connection.transport
            if not transport.closed:
                transport.shut_down(Direction.SEND)
            self._release()

    def _release(self) -> None:
        if not self._shut:
            self._shut = True
            self._connection.release()
