"""TCP sockets."""

from __future__ import annotations

import trio

from wasi_trio.wasi.sockets.addresses import Address, Family, check_family, check_remote, check_unicast
from wasi_trio.wasi.sockets.context import NetworkContext
from wasi_trio.wasi.sockets.errors import Code, SocketError, code_of, is_of_a_connection, would_block
from wasi_trio.wasi.sockets.flows import Connection, Receiving, Sending
from wasi_trio.wasi.sockets.options import copy_options, get_option, set_option
from wasi_trio.wasi.sockets.states import Step, TcpState, after
from wasi_trio.wasi.sockets.transports import Network, Option, TcpTransport

#: connections that may wait at a socket that listens, unless the guest says otherwise
BACKLOG = 128
_MOST_BACKLOG = 2**31 - 1
#: connections that are passed over in one look because they were gone before they were taken
_GONE = 64
#: seconds after which it is tried again whether another connection may be accepted
RETRY = 0.1


class TcpSocket:
    """A socket and its state. What it can not do in its state, or may not, raises SocketError; all else OSError.

    It is closed when this was dropped and neither ``receiving`` nor ``sending`` is open any more.
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
        #: what kept it from being connected, which is told when that is to be finished
        self._failure: OSError | None = None
        self._held = True
        self._receiving: Receiving | None = None
        self._sending: Sending | None = None
        self._connection = Connection(context, self.transport)
        self._connection.hold()

    # ---- from unbound to connected -----------------------------------------------------------------------

    def bind(self, address: Address) -> None:
        state = after(self.state, Step.BIND)
        check_family(address, self.family)
        check_unicast(address)
        self._move_to(self._context.to_bind(address))
        self.transport.bind(address)
        self.state = state

    def connect(self, address: Address) -> None:
        """Begin to connect; ``finish_connect`` tells how that goes on."""
        state = after(self.state, Step.CONNECT)
        check_family(address, self.family)
        check_unicast(address)
        check_remote(address)
        self._move_to(self._context.to_reach("tcp", address))
        self.state = state
        try:
            self.transport.connect(address)
        except OSError as error:
            self._failure = error

    def finish_connect(self) -> bool:
        """Whether it is connected; raises what kept it from that."""
        try:
            if self._failure is not None:
                raise self._failure
            if not self.transport.connected():
                return False
        except OSError:
            self._failed()
            raise
        self.state = after(self.state, Step.ESTABLISH)
        return True

    async def connect_and_wait(self, address: Address) -> None:
        """Connect. When this is cancelled, or the socket is dropped meanwhile, it is of no more use."""
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
            self.state = after(self.state, Step.FAIL)
            self._let_go()

    def _move_to(self, network: Network) -> None:
        """Have a socket of this network, in which there was nothing to do for this one before."""
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
        """Let connections come; a socket that was not bound is bound to a port that is free."""
        state = after(self.state, Step.LISTEN)
        if self.state is TcpState.UNBOUND:
            self._move_to(self._context.to_listen())
            self.transport.bind(Address(self.family.any, 0))
        self.transport.listen(self._backlog)
        self.state = state
        self._context.listens(self.transport)

    def accept(self) -> TcpSocket:
        """The next connection. Raises BlockingIOError when there is none, and TOO_MANY_SOCKETS, which passes."""
        if self.state is not TcpState.LISTENING:
            raise SocketError(Code.INVALID_STATE)
        for _ in range(_GONE):
            try:
                return TcpSocket(self._context, self.family, self._context.accept(self.transport))
            except BlockingIOError:
                raise
            except OSError as error:
                if not is_of_a_connection(error):
                    raise
        raise would_block()

    @property
    def is_bound(self) -> bool:
        """Whether it is bound, and in no later state."""
        return self.state is TcpState.BOUND

    @property
    def is_listening(self) -> bool:
        return self.state is TcpState.LISTENING

    def set_backlog(self, size: int) -> None:
        if size == 0:
            raise SocketError(Code.INVALID_ARGUMENT)
        if self.state not in (TcpState.UNBOUND, TcpState.BOUND, TcpState.LISTENING):
            raise SocketError(Code.INVALID_STATE)
        self._backlog = min(size, _MOST_BACKLOG)
        if self.is_listening:
            self.transport.listen(self._backlog)

    # ---- connected ---------------------------------------------------------------------------------------

    def receiving(self) -> Receiving:
        """What the peer sends; there is one such stream."""
        if self.state is not TcpState.CONNECTED or self._receiving is not None:
            raise SocketError(Code.INVALID_STATE)
        self._receiving = Receiving(self._connection)
        return self._receiving

    def sending(self) -> Sending:
        """What is sent to the peer; there is one such stream."""
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
        if self.state in (TcpState.UNBOUND, TcpState.CLOSED):
            raise SocketError(Code.INVALID_STATE)
        return self.transport.local_address()

    def remote_address(self) -> Address:
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
        if self.state is TcpState.CLOSED:
            raise SocketError(Code.INVALID_STATE)

    async def wait(self) -> None:
        """Return when what was begun may be done: a connection, or one that comes."""
        if self.ready():
            await trio.lowlevel.checkpoint()
        elif self.state is TcpState.CONNECTING:
            await self.transport.wait_writable()
        elif self.is_listening:
            await self.transport.wait_readable()

    def ready(self) -> bool:
        """Whether ``wait`` has nothing to wait for."""
        if self.state is TcpState.CONNECTING:
            return self._failure is not None or self.transport.can_send()
        return not self.is_listening or self.transport.can_receive()

    def drop(self) -> None:
        """The guest has no more of it than, perhaps, its streams."""
        self._let_go()

    def _let_go(self) -> None:
        if self._held:
            self._held = False
            self._connection.release()


class Incoming:
    """The connections that come to a socket that listens: sockets, where a ``StdinSource`` has bytes.

    None is taken that nobody asks for. Where there are too many sockets, they wait.
    """

    __slots__ = ("_connection", "_context", "_full", "_socket")

    def __init__(self, context: NetworkContext, socket: TcpSocket) -> None:
        self._context = context
        self._socket = socket
        self._connection = socket._connection
        self._connection.hold()
        self._full = False

    def take(self, limit: int) -> list[TcpSocket] | None:
        """The next connection, or [] when there is none now; raises OSError once there will be no more."""
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
