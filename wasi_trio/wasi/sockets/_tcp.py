"""TCP sockets."""

from __future__ import annotations

import select

import trio

from wasi_trio.wasi.sockets._addresses import Address, Family, check_family, check_remote, check_unicast
from wasi_trio.wasi.sockets._context import NetworkContext
from wasi_trio.wasi.sockets._errors import Code, SocketError, code_of, is_connection_error, would_block
from wasi_trio.wasi.sockets._flows import Connection, Receiving, Sending
from wasi_trio.wasi.sockets._options import copy_options, get_option, set_option
from wasi_trio.wasi.sockets._states import Step, TcpState, next_state
from wasi_trio.wasi.sockets._transports import Network, Option, TcpTransport

#: the default number of connections that may wait at a listening socket
BACKLOG = 128
_MAX_BACKLOG = 2**31 - 1
#: maximum closed connections that one ``accept`` skips
_MAX_SKIPPED = 64
#: seconds before the next attempt to accept, after the limit of sockets was reached
RETRY = 0.1


class TcpSocket:
    """A socket and its state. An operation raises SocketError if the state or the options forbid it, else OSError.

    After ``drop``, the system's socket is closed as soon as ``receiving`` and ``sending`` are closed too.
    """

    __slots__ = (
        "_backlog",
        "_connection",
        "_context",
        "_failure",
        "_held",
        "_receiving",
        "_sending",
        "family",
        "state",
        "transport",
    )

    def __init__(self, context: NetworkContext, family: Family, accepted: TcpTransport | None = None) -> None:
        self._context = context
        self.family = family
        self.transport = context.open_tcp(family) if accepted is None else accepted
        self.state = TcpState.UNBOUND if accepted is None else TcpState.CONNECTED
        self._backlog = BACKLOG
        #: the failure of the connection attempt, which ``finish_connect`` and then most other operations report
        self._failure: OSError | None = None
        self._held = True
        self._receiving: Receiving | None = None
        self._sending: Sending | None = None
        self._connection = Connection(context, self.transport)
        self._connection.hold()

    # ---- from unbound to connected -----------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        state = next_state(self.state, Step.BIND)
        check_family(address, self.family)
        check_unicast(address)
        self._move_to(self._context.network_to_bind(address))
        self.transport.bind(address)
        self.state = state

    def connect(self, address: Address) -> None:
        """Start to connect. ``finish_connect`` reports the outcome."""
        state = next_state(self.state, Step.CONNECT)
        check_family(address, self.family)
        check_unicast(address)
        check_remote(address)
        self._move_to(self._context.network_to_reach("tcp", address))
        self.state = state
        try:
            self.transport.connect(address)
        except OSError as error:
            self._failure = error

    def finish_connect(self) -> bool:
        """Return whether the connection is established. Raises OSError if the attempt failed."""
        try:
            if self._failure is not None:
                raise self._failure
            if not self.transport.connected():
                return False
        except OSError as error:
            self._failure = error
            self._failed()
            raise
        self.state = next_state(self.state, Step.ESTABLISH)
        return True

    async def connect_and_wait(self, address: Address) -> None:
        """Connect. A cancellation closes the socket, which is then unusable."""
        self.connect(address)
        try:
            while not self.finish_connect():
                await self.transport.wait_writable()
                if self.transport.closed:
                    raise SocketError(Code.CONNECTION_ABORTED)
        except trio.Cancelled:
            self._failed()
            raise

    def _failed(self) -> None:
        if self.state is TcpState.CONNECTING:
            self.state = next_state(self.state, Step.FAIL)
            self._release()

    def _move_to(self, network: Network) -> None:
        """Replace the transport by one of another network, with the same options. Only unbound sockets can move."""
        if self.transport.network is network:
            return
        if self.state is not TcpState.UNBOUND:
            raise SocketError(Code.REMOTE_UNREACHABLE)
        transport = self._context.open_tcp(self.family, network)
        copy_options(self.transport, transport, tuple(Option))
        self._context.close(self.transport)
        self.transport = self._connection.transport = transport

    # ---- listening ---------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Listen for connections. An unbound socket is first bound to a free port."""
        state = next_state(self.state, Step.LISTEN)
        if self.state is TcpState.UNBOUND:
            self._move_to(self._context.network_to_listen())
            self.transport.bind(Address(self.family.any, 0))
        self.transport.listen(self._backlog)
        self.state = state
        self._context.record_listener(self.transport)

    def accept(self) -> TcpSocket:
        """Accept the next connection.

        Raises BlockingIOError if none waits, and OSError; TOO_MANY_SOCKETS is transient.
        """
        if self.state is not TcpState.LISTENING:
            raise SocketError(Code.INVALID_STATE)
        for _ in range(_MAX_SKIPPED):
            try:
                return TcpSocket(self._context, self.family, self._context.accept(self.transport))
            except BlockingIOError:
                raise
            except OSError as error:
                if not is_connection_error(error):
                    raise
        raise would_block()

    @property
    def is_bound(self) -> bool:
        """Whether the socket is in the state BOUND."""
        return self.state is TcpState.BOUND

    @property
    def is_listening(self) -> bool:
        return self.state is TcpState.LISTENING

    def set_backlog(self, size: int) -> None:
        if size == 0:
            raise SocketError(Code.INVALID_ARGUMENT)
        self._check_open()
        if self.state not in (TcpState.UNBOUND, TcpState.BOUND, TcpState.LISTENING):
            raise SocketError(Code.INVALID_STATE)
        self._backlog = min(size, _MAX_BACKLOG)
        if self.is_listening:
            self.transport.listen(self._backlog)

    # ---- connected ---------------------------------------------------------------------------------------

    def receiving(self) -> Receiving:
        """Return the stream from the peer. Raises SocketError the second time."""
        if self.state is not TcpState.CONNECTED or self._receiving is not None:
            raise SocketError(Code.INVALID_STATE)
        self._receiving = Receiving(self._connection)
        return self._receiving

    def sending(self) -> Sending:
        """Return the stream to the peer. Raises SocketError the second time."""
        if self.state is not TcpState.CONNECTED or self._sending is not None:
            raise SocketError(Code.INVALID_STATE)
        self._sending = Sending(self._connection)
        return self._sending

    def shut_down(self, receive: bool, send: bool) -> None:
        if self.state is not TcpState.CONNECTED:
            raise SocketError(Code.INVALID_STATE)
        if receive and self._receiving is not None:
            self._receiving.close()
        if send and self._sending is not None:
            self._sending.close()

    # ---- at any time -------------------------------------------------------------------------------------

    def local_address(self) -> Address:
        self._check_open()
        if self.state is TcpState.UNBOUND:
            raise SocketError(Code.INVALID_STATE)
        return self.transport.local_address()

    def remote_address(self) -> Address:
        self._check_open()
        if self.state is not TcpState.CONNECTED:
            raise SocketError(Code.INVALID_STATE)
        return self.transport.remote_address()

    def get(self, option: Option) -> int:
        self._check_open()
        return get_option(self.transport, option)

    def set(self, option: Option, value: int) -> None:
        self._check_open()
        set_option(self.transport, option, value)

    def _check_open(self) -> None:
        """Raise OSError if the connection attempt failed.

        WIT permits INVALID_STATE here, but C libraries take that for their own mistake, and abort the guest.
        """
        if self.state is TcpState.CLOSED:
            raise SocketError(Code.INVALID_STATE) if self._failure is None else self._failure.with_traceback(None)

    async def wait(self) -> None:
        """Wait until ``finish_connect`` or ``accept`` may have an outcome."""
        if self.ready():
            await trio.lowlevel.checkpoint()
        elif self.state is TcpState.CONNECTING:
            await self.transport.wait_writable()
        elif self.is_listening:
            await self.transport.wait_readable()

    def interest(self) -> tuple[int, int] | None:
        """Return the events for which ``wait`` would wait, as ``Transport.interest`` does."""
        if self.state is TcpState.CONNECTING:
            return self.transport.interest(select.POLLOUT)
        return self.transport.interest(select.POLLIN) if self.is_listening else None

    def ready(self) -> bool:
        """Return whether ``wait`` would return at once."""
        if self.state is TcpState.CONNECTING:
            return self._failure is not None or self.transport.can_send()
        return not self.is_listening or self.transport.can_receive()

    def drop(self) -> None:
        """Release the socket for the guest's handle. Its streams continue."""
        self._release()

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._connection.release()


class Incoming:
    """The incoming connections of a listening socket, with the interface of a ``StdinSource``.

    A connection is accepted only when a reader requests it. At the limit of sockets, connections wait.
    """

    __slots__ = ("_connection", "_context", "_full", "_socket")

    def __init__(self, context: NetworkContext, socket: TcpSocket) -> None:
        self._context = context
        self._socket = socket
        self._connection = socket._connection
        self._connection.hold()
        self._full = False

    def take(self, limit: int) -> list[TcpSocket] | None:
        """Return the next connection, or [] if none waits. Raises OSError for a permanent failure."""
        self._full = False
        if not limit:
            return []
        try:
            return [self._socket.accept()]
        except BlockingIOError:
            return []
        except OSError as error:
            if code_of(error) not in (Code.TOO_MANY_SOCKETS, Code.OUT_OF_MEMORY):
                raise
            self._full = True
            return []

    def ready(self) -> bool:
        return not self._full and self._socket.transport.can_receive()

    async def wait(self) -> None:
        if self._full:
            with trio.move_on_after(RETRY):
                await self._context.freed.park()
        else:
            await self._socket.transport.wait_readable()

    def close(self) -> None:
        self._connection.release()
